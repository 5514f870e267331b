"""Turn a Hugging Face RoBERTa or BERT checkpoint into a fairseq one, and prove that it is the same.

    python scripts/convert_roberta.py HF_FOLDER OUT

Reads config.json, the weights (model.safetensors) and the tokenizer of HF_FOLDER; writes
OUT/model.pt, OUT/dict.txt and, for BERT, OUT/tokenizer.json (RoBERTa's is GPT-2's BPE). Both
models then read the same sentences, alone and in pairs: unless the final hidden states agree
to 1e-4, there is an error and no OUT.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_MODEL_REGISTRY
from torch import Tensor, nn

import rdrop_fairseq  # noqa: F401  (registers --arch bert)
from rdrop_fairseq.bert import SEGMENT
from rdrop_fairseq.errors import UsageError

sys.path.insert(0, str(Path(__file__).parent / "corpus"))
from text_files import command_line, write_lines, writing_folder

# transformers would import torchaudio, and the one that ve-fairseq brings cannot be
# imported beside torch 2.13
sys.modules.setdefault("torchaudio", None)
import transformers  # noqa: E402

TOLERANCE = 1e-4
SENTENCES = [
    "R-Drop sends every example through the model twice.",
    "Its two passes differ by dropout; their predictions should not.",
    "Short.",
    "How far are they apart, and does it matter (much)?",
]
_ROBERTA_EPS = 1e-5  # what fairseq's LayerNorm has


class Vocabulary(NamedTuple):
    """The symbols of fairseq's dictionary, and where their embeddings come from."""

    symbols: list[str]  #: in fairseq's order: <s> <pad> </s> <unk>, the others, <mask>
    rows: list[int]  #: for each of them its id in the Hugging Face model


def main() -> None:
    args = _parser().parse_args()
    source, out = Path(args.hf_folder), Path(args.out)
    if out.exists():
        raise UsageError(f"{out} exists: give another folder, or remove it")
    config = _config(source)
    sentences = SENTENCES
    if args.sentences:
        sentences = Path(args.sentences).read_text(encoding="utf-8").split("\n")
        sentences = [line for line in sentences if line.strip()]
        if not sentences:
            raise UsageError(f"{args.sentences} has no sentence")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    theirs, loaded = transformers.AutoModelForMaskedLM.from_pretrained(
        source, output_loading_info=True, attn_implementation="eager", dtype=torch.float32
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    vocabulary = find_vocabulary(tokenizer, config.model_type, args.gpt2_bpe)
    dictionary = Dictionary()
    for symbol in vocabulary.symbols[4:]:
        dictionary.add_symbol(symbol)
    if list(dictionary.symbols) != vocabulary.symbols:
        raise UsageError(f"the vocabulary of {source} holds a symbol twice, or one of fairseq's")

    has_lm_head = not any(key.startswith(("lm_head", "cls")) for key in loaded["missing_keys"])
    model_args = fairseq_args(config)
    model = ARCH_MODEL_REGISTRY[model_args.arch]
    ours = model.build_model(model_args, _TaskWith(dictionary))
    ours.load_state_dict(converted(theirs, ours.state_dict(), vocabulary.rows, has_lm_head))
    difference = largest_difference(theirs, ours, tokenizer, vocabulary, sentences)

    checkpoint = {
        "args": model_args,
        "model": ours.state_dict(),
        "optimizer_history": [
            {
                "criterion_name": "MaskedLmLoss",
                "optimizer_name": "FairseqAdam",
                "lr_scheduler_state": {},
                "num_updates": 0,
            }
        ],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "last_optimizer_state": None,
    }
    with writing_folder(out) as unfinished:
        # without <mask>, which fairseq's tasks add themselves
        write_lines(unfinished / "dict.txt", (f"{symbol} 1" for symbol in vocabulary.symbols[4:-1]))
        if config.model_type == "bert":
            tokenizer.backend_tokenizer.save(str(unfinished / "tokenizer.json"))
        torch.save(checkpoint, unfinished / "model.pt")
    parameters = sum(p.numel() for p in ours.parameters())
    print(
        f"{out}/model.pt: {config.model_type}, {config.num_hidden_layers} layers x "
        f"{config.hidden_size}, {parameters:,} parameters, {len(dictionary):,} symbols, LayerNorm "
        f"eps {config.layer_norm_eps:g} (--arch {model_args.arch})"
    )
    if not has_lm_head:
        print("it has no masked-LM head: fairseq's is random, which fine-tuning does not use")
    print(
        f"final hidden states of {len(sentences)} sentences and as many pairs differ by at most "
        f"{difference:.1e} from those of transformers {transformers.__version__}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("hf_folder", help="folder with config.json, model.safetensors, tokenizer")
    parser.add_argument("out", help="folder to make; it must not exist")
    parser.add_argument(
        "--gpt2-bpe",
        help="folder with GPT-2's encoder.json; needed for RoBERTa, whose fairseq dictionary "
        "consists of GPT-2's numbers (default: none; scripts/corpus/gpt2_bpe.py --download "
        "fetches it)",
    )
    parser.add_argument(
        "--sentences",
        help=f"text file, one sentence a line, to compare the models on (default: {len(SENTENCES)} "
        "short English ones)",
    )
    return parser


class _TaskWith:
    """As much of a task as RobertaModel.build_model asks for."""

    def __init__(self, dictionary: Dictionary) -> None:
        self.source_dictionary = dictionary


def _config(folder: Path) -> Any:
    """config.json, if this script can convert what it describes."""
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} has no config.json: give the folder of a Hugging Face model")
    config = transformers.AutoConfig.from_pretrained(folder)
    found = {
        "model_type": config.model_type,
        "hidden_act": getattr(config, "hidden_act", None),
        "position_embedding_type": getattr(config, "position_embedding_type", "absolute"),
    }
    supported = {
        "model_type": ("roberta", "bert"),
        "hidden_act": ("gelu", "relu"),
        "position_embedding_type": ("absolute",),
    }
    for name, value in found.items():
        if value not in supported[name]:
            raise UsageError(
                f"{folder}/config.json: {name} is {value!r}; this script converts "
                f"{' and '.join(supported[name])}"
            )
    return config


def find_vocabulary(tokenizer: Any, model_type: str, gpt2_bpe: str | None) -> Vocabulary:
    """fairseq's dictionary for the vocabulary of a Hugging Face tokenizer.

    Raises:
        UsageError: a special token or GPT-2's encoder.json is missing.
    """
    special = [tokenizer.cls_token, tokenizer.pad_token, tokenizer.sep_token]
    special += [tokenizer.unk_token, tokenizer.mask_token]
    ids = tokenizer.get_vocab()
    if None in special or not set(special) <= ids.keys():
        raise UsageError(f"the tokenizer must have cls, pad, sep, unk and mask tokens: {special}")
    pieces = [piece for piece in sorted(ids, key=ids.get) if piece not in special]
    names = pieces
    if model_type == "roberta":
        if gpt2_bpe is None:
            raise UsageError("RoBERTa needs --gpt2-bpe: a folder with GPT-2's encoder.json")
        encoder = Path(gpt2_bpe) / "encoder.json"
        if not encoder.is_file():
            raise UsageError(
                f"{encoder} does not exist: fetch it with scripts/corpus/gpt2_bpe.py "
                f"--bpe-dir {gpt2_bpe} --download"
            )
        number = json.loads(encoder.read_text(encoding="utf-8"))
        names = [str(number.get(piece, piece)) for piece in pieces]
    return Vocabulary(
        ["<s>", "<pad>", "</s>", "<unk>", *names, "<mask>"],
        [ids[piece] for piece in (*special[:4], *pieces, special[4])],
    )


def fairseq_args(config: Any) -> argparse.Namespace:
    """The arguments of fairseq's RoBERTa that make it the model of ``config``."""
    reserved = 2 if config.model_type == "roberta" else 0  # positions before the first
    eps = config.layer_norm_eps
    return argparse.Namespace(
        # --arch bert has segments, too, which RoBERTa has not
        arch="roberta" if config.model_type == "roberta" and eps == _ROBERTA_EPS else "bert",
        task="masked_lm",
        encoder_layers=config.num_hidden_layers,
        encoder_embed_dim=config.hidden_size,
        encoder_ffn_embed_dim=config.intermediate_size,
        encoder_attention_heads=config.num_attention_heads,
        max_positions=config.max_position_embeddings - reserved,
        tokens_per_sample=config.max_position_embeddings - reserved,
        activation_fn=config.hidden_act,
        pooler_activation_fn="tanh",
        dropout=config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
        layer_norm_eps=eps,
    )


def converted(
    theirs: nn.Module, initial: dict[str, Tensor], rows: list[int], has_lm_head: bool
) -> dict[str, Tensor]:
    """fairseq's state_dict with the weights of ``theirs``.

    Args:
        initial: that of a new fairseq model; what ``theirs`` lacks keeps these values.
        rows: for each symbol of fairseq's dictionary its row in their embedding.
    """
    state = dict(initial)
    encoder = theirs.base_model
    embeddings, ours = encoder.embeddings, "encoder.sentence_encoder"
    state[f"{ours}.embed_tokens.weight"] = embeddings.word_embeddings.weight[rows]
    # of token types, the first is part of the positions, as --arch bert has it. fairseq's
    # positions start at 2
    length = len(initial[f"{ours}.embed_positions.weight"]) - 2
    positions = embeddings.position_embeddings.weight[-length:]
    types = embeddings.token_type_embeddings.weight
    positions = positions + types[0]
    if SEGMENT in initial:
        state[SEGMENT] = types[min(1, len(types) - 1)] - types[0]
    state[f"{ours}.embed_positions.weight"] = nn.functional.pad(positions, (0, 0, 2, 0))
    _copy(state, f"{ours}.layernorm_embedding", embeddings.LayerNorm)
    for index, layer in enumerate(encoder.encoder.layer):
        for name, module in {
            "self_attn.q_proj": layer.attention.self.query,
            "self_attn.k_proj": layer.attention.self.key,
            "self_attn.v_proj": layer.attention.self.value,
            "self_attn.out_proj": layer.attention.output.dense,
            "self_attn_layer_norm": layer.attention.output.LayerNorm,
            "fc1": layer.intermediate.dense,
            "fc2": layer.output.dense,
            "final_layer_norm": layer.output.LayerNorm,
        }.items():
            _copy(state, f"{ours}.layers.{index}.{name}", module)
    state["encoder.lm_head.weight"] = state[f"{ours}.embed_tokens.weight"]
    if has_lm_head:
        if hasattr(theirs, "lm_head"):
            head, norm, bias = theirs.lm_head.dense, theirs.lm_head.layer_norm, theirs.lm_head.bias
        else:
            transform = theirs.cls.predictions.transform
            head, norm, bias = transform.dense, transform.LayerNorm, theirs.cls.predictions.bias
        _copy(state, "encoder.lm_head.dense", head)
        _copy(state, "encoder.lm_head.layer_norm", norm)
        state["encoder.lm_head.bias"] = bias[rows]
    return {name: value.detach().clone() for name, value in state.items()}


def _copy(state: dict[str, Tensor], name: str, module: nn.Module) -> None:
    state[f"{name}.weight"], state[f"{name}.bias"] = module.weight, module.bias


@torch.no_grad()
def largest_difference(
    theirs: nn.Module,
    ours: nn.Module,
    tokenizer: Any,
    vocabulary: Vocabulary,
    sentences: list[str],
) -> float:
    """How far the final hidden states of the two models are apart at most.

    The sentences make a padded batch, and each with the next one makes another; padding is left
    out of the comparison.

    Raises:
        UsageError: by more than TOLERANCE.
    """
    theirs.eval()
    ours.eval()
    symbol_of = torch.zeros(max(vocabulary.rows) + 1, dtype=torch.long)
    symbol_of[torch.tensor(vocabulary.rows)] = torch.arange(len(vocabulary.rows))
    difference = 0.0
    for texts in ((sentences,), (sentences, [*sentences[1:], sentences[0]])):
        batch = tokenizer(
            *texts,
            padding=True,
            truncation=True,
            max_length=ours.max_positions(),
            return_tensors="pt",
        )
        expected = theirs.base_model(**batch).last_hidden_state
        found, _ = ours(symbol_of[batch["input_ids"]], features_only=True)
        apart = (found - expected)[batch["attention_mask"].bool()].abs().max().item()
        difference = max(difference, apart)
    if not difference <= TOLERANCE:
        raise UsageError(
            f"the converted model differs: hidden states are up to {difference:.1e} apart, more "
            f"than {TOLERANCE:g}. Nothing was written; this kind of model is not supported"
        )
    return difference


if __name__ == "__main__":
    command_line(main)
