"""Make a checkpoint that is only to be used as small as it can be: no optimizer's state.

    python scripts/recipe/forget_optimizer.py CHECKPOINT

It is written anew under another name and renamed. To train it further, start from it
(--finetune-from-model).
"""

import sys
from pathlib import Path

import torch

import rdrop_fairseq  # noqa: F401  (lets torch load fairseq's checkpoints)

sys.path.insert(0, str(Path(__file__).parents[1] / "corpus"))
from text_files import InputError, argument_parser, command_line, existing_file, writing


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("checkpoint", type=existing_file, metavar="CHECKPOINT")
    path = parser.parse_args().checkpoint
    state = torch.load(path, map_location="cpu", weights_only=True)
    state["last_optimizer_state"] = None
    try:
        with writing(path) as (file,):
            torch.save(state, file)
    except RuntimeError as error:  # what torch makes of a full disk
        raise InputError(f"cannot write {path}: is the disk full? ({error})") from None


if __name__ == "__main__":
    command_line(main)
