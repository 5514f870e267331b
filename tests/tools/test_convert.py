"""scripts/convert_roberta.py on tiny random models that transformers makes."""

import json
import shutil
import sys
from argparse import Namespace

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode
from fairseq.models import ARCH_MODEL_REGISTRY

from rdrop_fairseq.bert import SEGMENT
from rdrop_fairseq.errors import UsageError

from ..conftest import ROOT, run

sys.modules.setdefault("torchaudio", None)  # see the script
import transformers  # noqa: E402

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "hidden_dropout_prob": 0.2,
    "attention_probs_dropout_prob": 0.3,
}
WORDS = ["the", "model", "reads", "twice", "##s", ".", "a"]


@pytest.fixture(scope="module", params=["bert", "bert-with-lm-head", "roberta"])
def hugging_face(request, tmp_path_factory):
    """A folder with a random model, every weight far from its usual start, and a tokenizer."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    if request.param.startswith("bert"):
        vocabulary = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
        tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"))
        # three rows more than symbols, as padded embeddings have
        config = transformers.BertConfig(
            vocab_size=len(vocabulary) + 3, max_position_embeddings=64, **SMALL
        )
        head = request.param == "bert-with-lm-head"
        model = (transformers.BertForMaskedLM if head else transformers.BertModel)(config)
    else:
        symbols = ["<s>", "<pad>", "</s>", "<unk>", *bytes_to_unicode().values(), "<mask>"]
        vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        tokenizer = transformers.RobertaTokenizer(
            str(folder / "vocab.json"), str(folder / "merges.txt")
        )
        config = transformers.RobertaConfig(
            vocab_size=len(symbols),
            max_position_embeddings=66,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            **SMALL,
        )
        model = transformers.RobertaForMaskedLM(config)
        (folder / "bpe").mkdir()
        # GPT-2 numbers its symbols in another order than RoBERTa's dictionary
        numbers = {symbol: 255 - n for n, symbol in enumerate(bytes_to_unicode().values())}
        (folder / "bpe" / "encoder.json").write_text(json.dumps(numbers))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def convert(folder, out, *flags, **kwargs):
    command = [sys.executable, ROOT / "scripts" / "convert_roberta.py", folder, out]
    if (folder / "bpe").is_dir() and "--gpt2-bpe" not in flags:
        command += ["--gpt2-bpe", folder / "bpe"]
    return run([*command, *flags], **kwargs)


def test_masked_lm_of_both_is_the_same(hugging_face, tmp_path) -> None:
    """Hidden states, and where there is a head the logits too, in an independent comparison."""
    (tmp_path / "text").write_text("the model reads twice .\n\na model .\n")
    result = convert(hugging_face, tmp_path / "out", "--sentences", tmp_path / "text")
    assert "final hidden states of 2 sentences and as many pairs differ by at most" in result.stdout

    dictionary = Dictionary.load(str(tmp_path / "out" / "dict.txt"))
    dictionary.add_symbol("<mask>")
    state = checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "out" / "model.pt"))
    model_args = state["cfg"]["model"]
    task = Namespace(source_dictionary=dictionary)
    ours = ARCH_MODEL_REGISTRY[model_args.arch].build_model(model_args, task).eval()
    ours.load_state_dict(state["model"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(hugging_face)
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(hugging_face).eval()
    sentence = "twice the model reads a model"
    special = {
        tokenizer.cls_token: "<s>",
        tokenizer.sep_token: "</s>",
        tokenizer.unk_token: "<unk>",
        tokenizer.mask_token: "<mask>",
        tokenizer.pad_token: "<pad>",
    }
    if (hugging_face / "bpe").is_dir():
        numbers = json.loads((hugging_face / "bpe" / "encoder.json").read_text())
        special |= {symbol: str(number) for symbol, number in numbers.items()}
    # a pair, in one batch with a shorter one: BERT's second sentences are of another segment
    texts = ([sentence, "a"], ["a model .", "the"])
    batch = tokenizer(*texts, padding=True, return_tensors="pt")
    pieces = [tokenizer.convert_ids_to_tokens(row) for row in batch["input_ids"].tolist()]
    tokens = [[dictionary.index(special.get(piece, piece)) for piece in row] for row in pieces]
    tokens = torch.tensor(tokens)
    assert dictionary.unk() not in tokens
    is_text = tokens.ne(dictionary.pad())
    with torch.no_grad():
        expected = theirs(**batch, output_hidden_states=True)
        features, _ = ours(tokens, features_only=True)
        logits, _ = ours(tokens)
        single = tokenizer([sentence], return_tensors="pt")
        length = single["input_ids"].shape[1]  # the pair begins with it
        alone, _ = ours(tokens[:1, :length], features_only=True)
        singly = theirs(**single, output_hidden_states=True)
    hidden = expected.hidden_states[-1]
    torch.testing.assert_close(features[is_text], hidden[is_text], rtol=0, atol=1e-4)
    torch.testing.assert_close(alone, singly.hidden_states[-1], rtol=0, atol=1e-4)
    has_head = "lm-head" in hugging_face.name or "roberta" in hugging_face.name
    assert ("no masked-LM head" in result.stdout) != has_head
    if not has_head:
        return
    theirs_of = {ours: theirs for theirs, ours in special.items()}
    order = tokenizer.convert_tokens_to_ids(
        [theirs_of.get(symbol, symbol) for symbol in dictionary.symbols]
    )
    wanted = expected.logits[..., order]
    torch.testing.assert_close(logits[is_text], wanted[is_text], rtol=1e-4, atol=1e-3)


def test_settings_of_the_model_are_kept(hugging_face, tmp_path) -> None:
    convert(hugging_face, tmp_path / "out")
    args = torch.load(tmp_path / "out" / "model.pt", weights_only=True)["args"]
    bert = (hugging_face / "vocab.txt").is_file()
    assert (args.arch, args.layer_norm_eps) == (("bert", 1e-12) if bert else ("roberta", 1e-5))
    assert (args.dropout, args.attention_dropout) == (0.2, 0.3)
    assert args.max_positions == 64
    assert (tmp_path / "out" / "tokenizer.json").is_file() == bert


def test_a_model_that_differs_is_refused(hugging_face, tmp_path, monkeypatch) -> None:
    """What the proof is for: another activation, and nothing is written."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import convert_roberta

    right = convert_roberta.fairseq_args
    wrong = lambda config: Namespace(**{**vars(right(config)), "activation_fn": "relu"})  # noqa: E731
    monkeypatch.setattr(convert_roberta, "fairseq_args", wrong)
    command = ["convert_roberta.py", str(hugging_face), str(tmp_path / "out")]
    command += ["--gpt2-bpe", str(hugging_face / "bpe")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(UsageError, match=r"hidden states are up to .* apart, more than 0.0001"):
        convert_roberta.main()
    assert not list(tmp_path.iterdir())


def test_pairs_are_compared_too(hugging_face, tmp_path, monkeypatch) -> None:
    """A model that is right for sentences, wrong for pairs: BERT without its second segment."""
    if not (hugging_face / "vocab.txt").is_file():
        pytest.skip("RoBERTa has one segment")
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import convert_roberta

    right = convert_roberta.converted

    def wrong(*args):
        state = right(*args)
        return {**state, SEGMENT: torch.zeros_like(state[SEGMENT])}

    monkeypatch.setattr(convert_roberta, "converted", wrong)
    command = ["convert_roberta.py", str(hugging_face), str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(UsageError, match="the converted model differs"):
        convert_roberta.main()


def test_bert_has_segments_whatever_its_eps(hugging_face, tmp_path) -> None:
    """With RoBERTa's eps, BERT would be --arch roberta but for its segments."""
    if not (hugging_face / "vocab.txt").is_file():
        pytest.skip("RoBERTa has one segment")
    copy = tmp_path / "copy"
    shutil.copytree(hugging_face, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-5}))
    convert(copy, tmp_path / "out")
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    assert (state["args"].arch, state["args"].layer_norm_eps) == ("bert", 1e-5)
    assert state["model"][SEGMENT].abs().max() > 0


def test_unsupported_models_are_refused(hugging_face, tmp_path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(hugging_face, copy)
    config = json.loads((copy / "config.json").read_text())
    config["position_embedding_type"] = "relative_key"
    (copy / "config.json").write_text(json.dumps(config))
    result = convert(copy, tmp_path / "out", check=False)
    assert result.returncode == 1
    assert "position_embedding_type is 'relative_key'; this script" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--gpt2-bpe", "/none"], "/none/encoder.json does not exist"),
        (["--sentences", "empty"], "has no sentence"),
    ],
)
def test_wrong_arguments(hugging_face, tmp_path, flags, message) -> None:
    if flags[0] == "--gpt2-bpe" and not (hugging_face / "bpe").is_dir():
        pytest.skip("BERT needs no GPT-2 BPE")
    if flags[1] == "empty":
        (tmp_path / "empty").write_text("\n")
        flags = ["--sentences", tmp_path / "empty"]
    result = convert(hugging_face, tmp_path / "out", *flags, check=False)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_nothing_is_overwritten(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    result = convert(tmp_path, tmp_path / "out", check=False)
    assert result.returncode == 1
    assert "out exists: give another folder" in result.stderr
    result = convert(tmp_path, tmp_path / "new", check=False)
    assert "has no config.json" in result.stderr
