"""Change what a checkpoint holds beside the model. It is written anew under another name."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fairseq  # noqa: F401  (lets torch load its checkpoints)
import torch

from ..errors import UsageError
from .average import save


def forget_optimizer(path: Path) -> None:
    """Make a checkpoint that is only to be used as small as it can be.

    To train it further, start from it (--finetune-from-model).
    """
    _change(path, lambda state: state.update(last_optimizer_state=None))


def begin_epoch(path: Path) -> None:
    """Let a training that goes on from a checkpoint do so at the beginning of its epoch.

    Whatever its batches are: fairseq's --reset-dataloader would begin with epoch 1, and
    --keep-last-epochs then deletes each new checkpoint for old ones of higher epochs.
    """
    _change(
        path, lambda state: state["extra_state"]["train_iterator"].update(iterations_in_epoch=0)
    )


def _change(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"{path} cannot be read, is no checkpoint of fairseq, or is cut off ({reason})"
        ) from None
    change(state)
    save(state, path)
