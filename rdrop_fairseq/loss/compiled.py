"""The visit of a block through ``torch.compile``: the same code, as a few kernels."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

BACKEND = "inductor"  # the tests take others of torch.compile's, which need no C++ compiler


def on_cpu(tensor: Tensor) -> bool:
    """Whether to ask for a value costs nothing: elsewhere it makes the host wait."""
    return tensor.device.type == "cpu"


def is_compiled() -> bool:
    """Whether who asks is being compiled by ``torch.compile``, as a part of a larger function."""
    return getattr(getattr(torch, "compiler", None), "is_compiling", bool)()  # since torch 2.3


def missing_compiler(device: torch.device) -> str | None:
    """Why ``torch.compile`` does not work for tensors on ``device``, or None: it does.

    Found out by compiling a line, once: what it needs differs with the version of PyTorch.
    """
    return _missing_compiler(device.type, BACKEND)


@functools.cache
def _missing_compiler(device: str, backend: str) -> str | None:
    try:
        from torch._dynamo import maybe_mark_dynamic
    except ImportError:
        return f"torch.compile needs PyTorch 2.1 or newer for it, this is {torch.__version__}"
    try:
        ones = torch.ones(3, device=device)
        maybe_mark_dynamic(ones, 0)
        torch.compile(lambda x: x.exp() + 1, backend=backend)(ones)
    except Exception as error:  # every backend, and every version of it, has its own
        lines = [line for line in str(error).splitlines() if line and not line.endswith("raised:")]
        needed = "a C++ compiler (g++)" if device == "cpu" else "triton"
        found = lines[0] if lines else type(error).__name__
        return f"torch.compile, which needs {needed} here, fails with {found}"
    return None


def visit_compiled(
    visit: Callable[..., Any],
    settings: Any,
    target: Tensor,
    logits: list[Tensor],
    gradient: list[Tensor] | None,
    factor: Tensor | None,
) -> Any:
    """``visit(settings, target, logits, gradient, factor)``, compiled.

    One compilation serves every number of rows from 2 on; one row has its own, no rows need none.
    """
    if not len(target):
        return visit(settings, target, logits, gradient, factor)
    from torch._dynamo import maybe_mark_dynamic

    # views would be compiled for the shape of what they are views of
    rows = [z.detach() for z in logits]
    out = None if gradient is None else [g.detach() for g in gradient]
    over_logits = gradient is logits
    if over_logits and on_cpu(target):
        # inductor's C++ can fail where what is read is written, too: PyTorch's issue 196570
        out = [torch.empty_like(z) for z in rows]
    elif over_logits:
        out = rows  # the same tensors: not to be taken for others that overlap
    tensors = [target, *rows, *(out or []), *([] if factor is None else [factor])]
    for tensor in tensors:
        maybe_mark_dynamic(tensor, 0)
    result = _compiled(visit, BACKEND)(settings, target, rows, out, factor)
    if over_logits and out is not rows:
        for z, gradient_of_it in zip(rows, out or [], strict=True):
            z.copy_(gradient_of_it)
    return result


@functools.cache
def _compiled(visit: Callable[..., Any], backend: str) -> Callable[..., Any]:
    return torch.compile(visit, backend=backend)
