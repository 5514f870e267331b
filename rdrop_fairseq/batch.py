"""Repeat a batch, so that one forward makes all the passes of R-Drop."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .errors import UsageError


def repeat_batch(
    batch: Any, passes: int, batch_size: int, *, interleave: bool = False, name: str = "net_input"
) -> Any:
    """A copy of ``batch`` in which every tensor holds each example ``passes`` times.

    Args:
        batch: tensors of shape [batch_size, ...], nested in dicts, lists and tuples.
            Whatever is not a tensor (None, numbers, strings) is handed on as it is.
        passes: m, how many times.
        batch_size: the first dimension that every tensor must have.
        interleave: False gives [x1, x2, x1, x2] as in the paper (section 2.2), True gives
            [x1, x1, x2, x2], which keeps lengths that are in descending order so.
        name: what an error calls ``batch``.

    Returns: the repeated batch; ``batch`` and its tensors are left unchanged.

    Raises:
        UsageError: a tensor's first dimension is not ``batch_size``.
    """
    if isinstance(batch, Tensor):
        if batch.dim() == 0 or batch.size(0) != batch_size:
            raise UsageError(
                f"cannot repeat {name} for R-Drop: its shape {tuple(batch.shape)} does not begin "
                f"with the batch size {batch_size}"
            )
        if interleave:
            return batch.repeat_interleave(passes, dim=0)
        return torch.cat([batch] * passes)

    def repeated(value: Any, key: Any) -> Any:
        return repeat_batch(
            value, passes, batch_size, interleave=interleave, name=f"{name}[{key!r}]"
        )

    if isinstance(batch, Mapping):
        return {key: repeated(value, key) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        items = [repeated(value, index) for index, value in enumerate(batch)]
        return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)
    return batch


def tiled(output: Tensor, passes: int) -> Tensor:
    """Turn the output of an interleaved batch, [x1, x1, x2, x2], into [x1, x2, x1, x2].

    Args:
        output: [batch_size * passes, ...]
    """
    return output.unflatten(0, (-1, passes)).transpose(0, 1).flatten(0, 1)
