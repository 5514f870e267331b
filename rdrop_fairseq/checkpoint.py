"""Load fairseq's checkpoints with torch >= 2.6, weights_only kept on, and save them whole.

Since 2.6 torch.load unpickles only tensors, containers and classes on an allow-list.
fairseq's checkpoints also hold its configuration, meters and, at times, numpy arrays.
Exactly those are put on the list here, as allowed.py has them. Everything else stays refused.
"""

import os
import pickle
import re
import struct
import traceback
from collections.abc import Callable
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager
from fairseq.trainer import Trainer

from . import literals
from .allowed import SAFE_GLOBALS
from .errors import UsageError
from .patch import in_place_of, is_ours


def prepare() -> None:
    """Extend torch's allow-list, make fairseq's loading errors readable, save whole files."""
    # before 2.6 torch.load does not restrict by default, and refuses pairs
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 6):
        torch.serialization.add_safe_globals(SAFE_GLOBALS)
    literals.evaluate_nothing_else()
    if not is_ours(PathManager.copy):
        PathManager.copy = staticmethod(_whole(PathManager.copy))
    if not is_ours(checkpoint_utils.load_checkpoint_to_cpu):
        checkpoint_utils.load_checkpoint_to_cpu = _explain_errors(
            checkpoint_utils.load_checkpoint_to_cpu
        )
    if not is_ours(Trainer.load_checkpoint):
        Trainer.load_checkpoint = _explain_other_criterion(_begin_average(Trainer.load_checkpoint))


def _whole(copy: Callable[..., Any]) -> Callable[..., Any]:
    """Let a training that is killed while it saves be resumed.

    fairseq writes a checkpoint under a temporary name, and renames it; but copies it over
    checkpoint_last.pt, which a training resumes from and which then is half a file. What is not
    copied leaves that as it is: with iopath installed a copy that fails returns False.
    """

    @in_place_of(copy)
    def copy_whole(src_path: str, dst_path: str, overwrite: bool = False) -> Any:
        if not (overwrite and PathManager.supports_rename(dst_path)):
            return copy(src_path, dst_path, overwrite)
        target = os.path.realpath(dst_path)  # not the link to it
        partial = target + ".tmp"
        try:
            copied = copy(src_path, partial, overwrite)
            if copied:
                os.replace(partial, target)
            return copied
        finally:
            if os.path.exists(partial):
                os.remove(partial)

    return copy_whole


# what reading a cut off file, or something else than a checkpoint, ends in
_BROKEN = (
    *(pickle.UnpicklingError, EOFError, struct.error),
    *(LookupError, TypeError, ValueError, AttributeError),
)
_BROKEN_ARCHIVE = (
    "PytorchStreamReader|unexpected EOF|Invalid argument|Invalid magic number|Tensor.__contains__"
)


def _explain_errors(load: Callable[..., dict]) -> Callable[..., dict]:
    @in_place_of(load)
    def load_checkpoint_to_cpu(path: str, *args: Any, **kwargs: Any) -> dict:
        literals.evaluate_nothing_else()
        try:
            return load(path, *args, **kwargs)
        except Exception as error:
            refused = re.search(r".*(GLOBAL \S+|got <class '.*'>)", str(error))
            if isinstance(error, pickle.UnpicklingError) and refused:
                raise UsageError(_refusal(path, refused[0].strip())) from error
            if isinstance(error, _BROKEN) and _was_read(error):
                raise UsageError(_unusable(path, error)) from error
            if isinstance(error, _BROKEN) or re.search(_BROKEN_ARCHIVE, str(error)):
                raise UsageError(_unreadable(path, error)) from error
            raise  # no memory, no permission, ...: not the file's fault

    return load_checkpoint_to_cpu


def _begin_average(load: Callable[..., Any]) -> Callable[..., Any]:
    """Let --store-ema begin from a checkpoint without an average of parameters.

    fairseq begins it from the checkpoint's parameters, which it has already deleted: KeyError.
    Needed until it keeps them as long.
    """

    @in_place_of(load)
    def load_checkpoint(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        if not self.cfg.ema.store_ema:
            return load(self, *args, **kwargs)
        read = checkpoint_utils.load_checkpoint_to_cpu

        def with_average(*args: Any, **kwargs: Any) -> dict:
            state = read(*args, **kwargs)
            state["extra_state"].setdefault("ema", state["model"])
            return state

        checkpoint_utils.load_checkpoint_to_cpu = with_average
        try:
            return load(self, *args, **kwargs)
        finally:
            checkpoint_utils.load_checkpoint_to_cpu = read

    return load_checkpoint


def _explain_other_criterion(load: Callable[..., Any]) -> Callable[..., Any]:
    """Say what to do where fairseq asserts that the criterion has not changed."""

    @in_place_of(load)
    def load_checkpoint(self: Trainer, filename: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return load(self, filename, *args, **kwargs)
        except AssertionError as error:
            changed = re.fullmatch(r"Criterion does not match; .*\. (\w+) vs (\w+)", str(error))
            if not changed:
                raise
            raise UsageError(
                f"{filename} is from a training with {changed[1]}, this one has {changed[2]}: to "
                f"start from its parameters give --finetune-from-model {filename} and another "
                "--save-dir"
            ) from error

    return load_checkpoint


def _was_read(error: Exception) -> bool:
    """Whether the file was read, and the error came up over the settings that it holds."""
    functions = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
    return bool(functions & {"convert_namespace_to_omegaconf", "overwrite_args_by_name"})


def _unusable(path: str, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"{path} was read, but its settings cannot be used here. If it was trained with a task, "
        "criterion or architecture of somebody's own, give their --user-dir; if you override "
        f"settings (--model-overrides, arg_overrides), check their names. [{reason}]"
    )


def _unreadable(path: str, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    size = f" ({os.path.getsize(path):,} bytes)" if os.path.isfile(path) else ""
    return (
        f"cannot read {path}{size}: it is truncated or not a fairseq checkpoint. "
        f"Give another one, such as the one saved before it. [{reason}]"
    )


def _refusal(path: str, refused: str) -> str:
    return (
        f"refused to load {path}: it holds an object that fairseq checkpoints do not hold and that "
        f"could run code. [{refused}] If you trust the file's author and it is a checkpoint, allow "
        "that class with torch.serialization.add_safe_globals in a --user-dir of your own."
    )


prepare()  # whoever imports this has it applied
