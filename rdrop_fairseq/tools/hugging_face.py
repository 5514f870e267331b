"""A Hugging Face RoBERTa or BERT as fairseq's model."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_MODEL_REGISTRY
from torch import Tensor, nn

from ..bert import SEGMENT
from ..errors import UsageError
from .command_line import explained

# transformers would import torchaudio, and the one that ve-fairseq brings cannot be
# imported beside torch 2.13
sys.modules.setdefault("torchaudio", None)  # type: ignore[arg-type]
import transformers  # noqa: E402

TOLERANCE = 1e-4
_ROBERTA_EPS = 1e-5  # what fairseq's LayerNorm has


class Vocabulary(NamedTuple):
    """The symbols of fairseq's dictionary, and where their embeddings come from."""

    symbols: list[str]  #: in fairseq's order: <s> <pad> </s> <unk>, the others, <mask>
    rows: list[int]  #: for each of them its id in the Hugging Face model


class Converted(NamedTuple):
    """Both models and what belongs to them."""

    config: Any  #: Hugging Face's
    tokenizer: Any
    vocabulary: Vocabulary
    has_lm_head: bool  #: else fairseq's is random
    args: argparse.Namespace  #: of fairseq's model
    theirs: Any  #: transformers' model, whose parts have no types
    ours: Any  #: fairseq's


def convert(folder: Path, gpt2_bpe: Path | None) -> Converted:
    """The model of a folder, and the same one of fairseq.

    Raises:
        UsageError: it is another kind of model, or something is missing.
    """
    config = _config(folder)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with explained(f"cannot load the model and the tokenizer of {folder}"):
        theirs, loaded = transformers.AutoModelForMaskedLM.from_pretrained(
            folder, output_loading_info=True, attn_implementation="eager", dtype=torch.float32
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    vocabulary = find_vocabulary(tokenizer, config.model_type, gpt2_bpe)
    dictionary = Dictionary()
    for symbol in vocabulary.symbols[4:]:
        dictionary.add_symbol(symbol)
    if list(dictionary.symbols) != vocabulary.symbols:
        raise UsageError(f"the vocabulary of {folder} holds a symbol twice, or one of fairseq's")
    has_lm_head = not any(key.startswith(("lm_head", "cls")) for key in loaded["missing_keys"])
    args = fairseq_args(config)
    ours = ARCH_MODEL_REGISTRY[args.arch].build_model(args, _TaskWith(dictionary))
    ours.load_state_dict(converted(theirs, ours.state_dict(), vocabulary.rows, has_lm_head))
    return Converted(config, tokenizer, vocabulary, has_lm_head, args, theirs, ours)


class _TaskWith:
    """As much of a task as RobertaModel.build_model asks for."""

    def __init__(self, dictionary: Dictionary) -> None:
        self.source_dictionary = dictionary


def _config(folder: Path) -> Any:
    """config.json, if it can be converted what it describes."""
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
                f"{folder}/config.json: {name} is {value!r}; rdrop convert converts "
                f"{' and '.join(supported[name])}"
            )
    return config


def find_vocabulary(tokenizer: Any, model_type: str, gpt2_bpe: Path | None) -> Vocabulary:
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
        encoder = gpt2_bpe / "encoder.json"
        if not encoder.is_file():
            raise UsageError(
                f"{encoder} does not exist: fetch it with rdrop corpus gpt2_bpe --bpe-dir "
                f"{gpt2_bpe} --download"
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
    theirs: Any, initial: dict[str, Tensor], rows: list[int], has_lm_head: bool
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


def _copy(state: dict[str, Tensor], name: str, module: Any) -> None:
    state[f"{name}.weight"], state[f"{name}.bias"] = module.weight, module.bias


@torch.no_grad()
def largest_difference(models: Converted, sentences: list[str]) -> float:
    """How far the final hidden states of the two models are apart at most.

    The sentences make a padded batch, and each with the next one makes another; padding is left
    out of the comparison.

    Raises:
        UsageError: by more than TOLERANCE.
    """
    theirs, ours, rows = models.theirs.eval(), models.ours.eval(), models.vocabulary.rows
    symbol_of = torch.zeros(max(rows) + 1, dtype=torch.long)
    symbol_of[torch.tensor(rows)] = torch.arange(len(rows))
    difference = 0.0
    for texts in ((sentences,), (sentences, [*sentences[1:], sentences[0]])):
        batch = models.tokenizer(
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
