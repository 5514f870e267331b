"""The flags of fairseq-train that build the encoder of a RoBERTa checkpoint.

    python scripts/recipe/encoder_flags.py CHECKPOINT [--arch ARCH] [--max-positions N]

fairseq loads a checkpoint only into a model of the same dimensions and does not take them
from the checkpoint. --arch and --max-positions are checked against it.
"""

import argparse
import pickle
from argparse import Namespace
from pathlib import Path

import torch
from fairseq.models import ARCH_CONFIG_REGISTRY

import rdrop_fairseq  # noqa: F401  (lets torch load fairseq's checkpoints)
from rdrop_fairseq.bert import SEGMENT
from rdrop_fairseq.errors import UsageError

_FLAGS = (
    *("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads"),
    *("activation_fn", "pooler_activation_fn", "layer_norm_eps"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", help="model.pt of RoBERTa or of convert_roberta.py")
    parser.add_argument("--arch", help="refuse the checkpoint unless it has these dimensions")
    parser.add_argument("--max-positions", type=int, help="refuse it unless it has as many")
    args = parser.parse_args()
    print(encoder_flags(args.checkpoint, args.arch, args.max_positions))


def encoder_flags(
    checkpoint: str, arch: str | None = None, max_positions: int | None = None
) -> str:
    """The flags, from --arch to the dimensions, as one line.

    Raises:
        UsageError: not a RoBERTa checkpoint, or ``arch`` has other dimensions, or it has not
            ``max_positions``.
    """
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UsageError(f"{checkpoint} does not exist: set ROBERTA_PATH to a model.pt") from None
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n")[0]
        raise UsageError(
            f"cannot read {checkpoint}: not a fairseq checkpoint? [{reason}]"
        ) from None
    model = _model_args(state)
    name = getattr(model, "arch", None) or getattr(model, "_name", None)
    if name not in ARCH_CONFIG_REGISTRY or not hasattr(model, "encoder_embed_dim"):
        raise UsageError(f"{checkpoint} has the architecture {name!r}: expected a RoBERTa or bert")
    ARCH_CONFIG_REGISTRY[name](model)
    if name == "bert" and SEGMENT not in state["model"]:
        raise UsageError(
            f"{checkpoint} was converted by an older version, which left out what BERT adds to "
            "the second sentence of a pair: convert it again (--small: remove "
            f"{Path(checkpoint).parent} and run prepare.sh)"
        )
    if arch is not None:
        _check_arch(arch, model, checkpoint)
    found = getattr(model, "max_positions", max_positions)
    if max_positions is not None and found != max_positions:
        raise UsageError(
            f"{checkpoint} has {found} positions, MAX_POSITIONS is {max_positions}: they must be "
            "the same, since fairseq makes the encoder with them"
        )
    flags = {flag: getattr(model, flag) for flag in _FLAGS if hasattr(model, flag)}
    family = "bert" if "layer_norm_eps" in flags else "roberta"
    options = [f"--{flag.replace('_', '-')} {value}" for flag, value in flags.items()]
    return " ".join([f"--arch {family}", *options])


def _model_args(state: dict) -> Namespace:
    """What the checkpoint's model was built with: "args" until 2020, then "cfg"."""
    if state.get("args") is not None:
        model = Namespace(**vars(state["args"]))
    else:
        model = (state.get("cfg") or {}).get("model") or Namespace()
        model = Namespace(**(model if isinstance(model, dict) else vars(model)))
    # of --arch roberta too; only "bert" builds with it
    if getattr(model, "arch", None) != "bert" and hasattr(model, "layer_norm_eps"):
        del model.layer_norm_eps
    return model


def _check_arch(arch: str, model: Namespace, checkpoint: str) -> None:
    if arch not in ARCH_CONFIG_REGISTRY:
        raise UsageError(f"unknown architecture {arch!r}: roberta_base, roberta_large or bert")
    expected = Namespace()
    ARCH_CONFIG_REGISTRY[arch](expected)
    for flag in _FLAGS[:4]:
        wanted, found = getattr(expected, flag, None), getattr(model, flag)
        if wanted != found:
            raise UsageError(
                f"{checkpoint} does not fit --arch {arch}: its {flag} is {found}, that of {arch} "
                f"{wanted}. Leave ARCH unset to take the dimensions from the checkpoint"
            )


if __name__ == "__main__":
    main()
