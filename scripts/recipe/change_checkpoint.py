"""Change what a checkpoint holds beside the model.

    python scripts/recipe/change_checkpoint.py --forget-optimizer CHECKPOINT
    python scripts/recipe/change_checkpoint.py --begin-epoch CHECKPOINT

--forget-optimizer makes one that is only to be used as small as it can be: to train it further,
start from it (--finetune-from-model). --begin-epoch lets a training that goes on from it do so at
the beginning of its epoch, whatever its batches are: fairseq's --reset-dataloader would begin with
epoch 1, and --keep-last-epochs then deletes each new checkpoint for old ones of higher epochs.

It is written anew under another name and renamed.
"""

import pickle
import sys
from pathlib import Path

import torch

import rdrop_fairseq  # noqa: F401  (lets torch load fairseq's checkpoints)

sys.path.insert(0, str(Path(__file__).parents[1] / "corpus"))
from text_files import InputError, argument_parser, command_line, existing_file, writing


def main() -> None:
    parser = argument_parser(__doc__)
    change = parser.add_mutually_exclusive_group(required=True)
    change.add_argument("--forget-optimizer", action="store_true", help="drop its state")
    change.add_argument("--begin-epoch", action="store_true", help="forget the place in the epoch")
    parser.add_argument("checkpoint", type=existing_file, metavar="CHECKPOINT")
    args = parser.parse_args()
    path = args.checkpoint
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{path} cannot be read, is no checkpoint of fairseq, or is cut off ({reason})"
        ) from None
    if args.forget_optimizer:
        state["last_optimizer_state"] = None
    else:
        state["extra_state"]["train_iterator"]["iterations_in_epoch"] = 0
    try:
        with writing(path) as (file,):
            torch.save(state, file)
    except RuntimeError as error:  # what torch makes of a full disk
        raise InputError(f"cannot write {path}: is the disk full? ({error})") from None


if __name__ == "__main__":
    command_line(main)
