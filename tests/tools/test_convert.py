"""rdrop convert on tiny random models that transformers makes."""

import json
import shutil
from argparse import Namespace

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode
from fairseq.models import ARCH_MODEL_REGISTRY

from rdrop_fairseq.bert import SEGMENT
from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools import hugging_face
from rdrop_fairseq.tools.convert import main
from rdrop_fairseq.tools.hugging_face import transformers

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
def folder(request, tmp_path_factory):
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


def convert(folder, out, *flags) -> None:
    bpe = ["--gpt2-bpe", folder / "bpe"] if (folder / "bpe").is_dir() else []
    main([*map(str, [folder, out, *bpe, *flags])])


def test_masked_lm_of_both_is_the_same(folder, tmp_path, capsys) -> None:
    """Hidden states, and where there is a head the logits too, in an independent comparison."""
    (tmp_path / "text").write_text("the model reads twice .\n\na model .\n")
    convert(folder, tmp_path / "out", "--sentences", tmp_path / "text")
    printed = capsys.readouterr().out
    assert "final hidden states of 2 sentences and as many pairs differ by at most" in printed

    dictionary = Dictionary.load(str(tmp_path / "out" / "dict.txt"))
    dictionary.add_symbol("<mask>")
    state = checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "out" / "model.pt"))
    model_args = state["cfg"]["model"]
    task = Namespace(source_dictionary=dictionary)
    ours = ARCH_MODEL_REGISTRY[model_args.arch].build_model(model_args, task).eval()
    ours.load_state_dict(state["model"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    sentence = "twice the model reads a model"
    special = {
        tokenizer.cls_token: "<s>",
        tokenizer.sep_token: "</s>",
        tokenizer.unk_token: "<unk>",
        tokenizer.mask_token: "<mask>",
        tokenizer.pad_token: "<pad>",
    }
    if (folder / "bpe").is_dir():
        numbers = json.loads((folder / "bpe" / "encoder.json").read_text())
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
    has_head = "lm-head" in folder.name or "roberta" in folder.name
    assert ("no masked-LM head" in printed) != has_head
    if not has_head:
        return
    theirs_of = {ours: theirs for theirs, ours in special.items()}
    order = tokenizer.convert_tokens_to_ids(
        [theirs_of.get(symbol, symbol) for symbol in dictionary.symbols]
    )
    wanted = expected.logits[..., order]
    torch.testing.assert_close(logits[is_text], wanted[is_text], rtol=1e-4, atol=1e-3)


def test_settings_of_the_model_are_kept(folder, tmp_path) -> None:
    convert(folder, tmp_path / "out")
    args = torch.load(tmp_path / "out" / "model.pt", weights_only=True)["args"]
    bert = (folder / "vocab.txt").is_file()
    assert (args.arch, args.layer_norm_eps) == (("bert", 1e-12) if bert else ("roberta", 1e-5))
    assert (args.dropout, args.attention_dropout) == (0.2, 0.3)
    assert args.max_positions == 64
    assert (tmp_path / "out" / "tokenizer.json").is_file() == bert


def test_a_model_that_differs_is_refused(folder, tmp_path, monkeypatch) -> None:
    """What the proof is for: another activation, and nothing is written."""
    right = hugging_face.fairseq_args
    wrong = lambda config: Namespace(**{**vars(right(config)), "activation_fn": "relu"})  # noqa: E731
    monkeypatch.setattr(hugging_face, "fairseq_args", wrong)
    with pytest.raises(UsageError, match=r"hidden states are up to .* apart, more than 0.0001"):
        convert(folder, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_pairs_are_compared_too(folder, tmp_path, monkeypatch) -> None:
    """A model that is right for sentences, wrong for pairs: BERT without its second segment."""
    if not (folder / "vocab.txt").is_file():
        pytest.skip("RoBERTa has one segment")
    right = hugging_face.converted

    def wrong(*args):
        state = right(*args)
        return {**state, SEGMENT: torch.zeros_like(state[SEGMENT])}

    monkeypatch.setattr(hugging_face, "converted", wrong)
    with pytest.raises(UsageError, match="the converted model differs"):
        convert(folder, tmp_path / "out")


def test_bert_has_segments_whatever_its_eps(folder, tmp_path) -> None:
    """With RoBERTa's eps, BERT would be --arch roberta but for its segments."""
    if not (folder / "vocab.txt").is_file():
        pytest.skip("RoBERTa has one segment")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-5}))
    convert(copy, tmp_path / "out")
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    assert (state["args"].arch, state["args"].layer_norm_eps) == ("bert", 1e-5)
    assert state["model"][SEGMENT].abs().max() > 0


def test_unsupported_models_are_refused(folder, tmp_path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    config["position_embedding_type"] = "relative_key"
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="position_embedding_type is 'relative_key'; rdrop conv"):
        convert(copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_arguments(folder, tmp_path, capsys) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    with pytest.raises(UsageError, match=r"rdrop convert: .*empty has no sentence"):
        convert(folder, tmp_path / "out", "--sentences", empty)
    if (folder / "bpe").is_dir():
        with pytest.raises(UsageError, match=r"encoder\.json does not exist: fetch it with rdrop"):
            convert(folder, tmp_path / "out", "--gpt2-bpe", tmp_path)
        with pytest.raises(UsageError, match="RoBERTa needs --gpt2-bpe"):
            main([str(folder), f"{tmp_path}/out"])
    (tmp_path / "out").mkdir()
    with pytest.raises(SystemExit, match="2"):
        convert(folder, tmp_path / "out")
    assert "out is there already: remove it first" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"has no config\.json"):
        convert(tmp_path, tmp_path / "new")
    shutil.copy(folder / "config.json", tmp_path)
    with pytest.raises(UsageError, match="cannot load the model and the tokenizer of "):
        convert(tmp_path, tmp_path / "new")
    assert not list((tmp_path / "out").iterdir())
