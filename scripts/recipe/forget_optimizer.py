"""Make a checkpoint that is only to be used as small as it can be: no optimizer's state.

    python scripts/recipe/forget_optimizer.py CHECKPOINT

It is written anew under another name and renamed. To train it further, start from it
(--finetune-from-model).
"""

import argparse
import os
from pathlib import Path

import torch

import rdrop_fairseq  # noqa: F401  (lets torch load fairseq's checkpoints)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    path = parser.parse_args().checkpoint
    state = torch.load(path, map_location="cpu", weights_only=True)
    state["last_optimizer_state"] = None
    unfinished = path.with_name(path.name + ".tmp")
    torch.save(state, unfinished)
    os.replace(unfinished, path)


if __name__ == "__main__":
    main()
