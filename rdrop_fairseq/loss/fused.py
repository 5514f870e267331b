"""R-Drop's loss and its gradient in one visit to the logits.

The numbers are those of reference.py. What differs is that but for the gradient itself no
tensor as large as the logits is made on the way: rows are visited in blocks that fit the
cache, and a block's gradient, which has a closed form, is written while it is there. With the
output projection fused in, the logits themselves exist for a chunk of rows only.

The gradient, for one target y and passes i = 1..m with logits z_i, log-probabilities l_i
and probabilities p_i. Cross-entropy with label smoothing puts weight w_v on the symbols,
1 in total, hence

    d CE_i / d z_i = p_i - w,    w_v = eps_i + (1 - eps - eps_i) [v = y]

The mean over pairs of the symmetric KL is, with C_i = sum_j (l_i - l_j) and
E_i = sum_j (p_i - p_j),

    K = 1/(m (m-1)) sum_{i<j} sum_v (p_i - p_j) (l_i - l_j)
    d K / d l_i = 1/(m (m-1)) (p_i C_i + E_i)      since d p_i / d l_i = p_i
    d K / d z_i = d K / d l_i - p_i sum_v d K / d l_i
                = 1/(m (m-1)) [p_i (C_i - B_i) + E_i],   B_i = sum_v p_i C_i

because sum_v E_i = 0. For m = 2 that is 1/2 [p (log p - log q - KL(p||q)) + p - q].
Together, with gamma = alpha / (m (m-1)):

    g_i = p_i (1 + gamma (C_i - B_i)) + gamma E_i - w

A symbol masked with -inf is left out of the label smoothing, whose weights then add up to
less than 1, and of the KL if it is masked in both passes.
"""

from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.linalg import vecdot

from .reference import RDropLoss

# Logits of one pass that are visited at once. On a CPU, they and their scratch copies should
# stay in the cache; anything else needs enough of them to be busy.
_BLOCK_ON_CPU, _BLOCK_ELSEWHERE = 2**17, 2**24
# Logits of all passes that the fused projection makes at once: 64 MiB in float32 on a CPU. The
# larger, the fewer additions to the gradient of the weight, [V, D].
CHUNK_ON_CPU, CHUNK_ELSEWHERE = 2**24, 2**26


class Settings(NamedTuple):
    """What the loss depends on beside tensors; see rdrop_loss."""

    alpha: float
    label_smoothing: float = 0.0
    ignore_index: int | None = None
    passes: int = 2
    reduction: str = "sum"  # or "none"
    with_accuracy: bool = False
    chunk_rows: int | None = None
    inplace: bool = False


def fused_loss(settings: Settings, target: Tensor, *tensors: Tensor | None) -> RDropLoss:
    """The loss of (logits,) or of (features, weight, bias).

    Args:
        target: [N]
        tensors: logits [m * N, V], or features [m * N, D], weight [V, D] and bias [V] or None.
    """
    if not torch.is_grad_enabled():  # a Function does not see this by itself
        tensors = tuple(None if tensor is None else tensor.detach() for tensor in tensors)
    with torch.autocast(target.device.type, enabled=False):
        return RDropLoss(*_FusedLoss.apply(settings, target, *tensors))


class _FusedLoss(torch.autograd.Function):
    """Makes the gradient in forward if all that backward adds to it is one factor.

    With ``reduction="none"`` every row has a factor of its own, and in float16 most
    gradients are too small to be kept before the loss scale multiplies them: there,
    backward visits the logits once more.
    """

    @staticmethod
    def forward(ctx: Any, settings: Settings, target: Tensor, *tensors: Tensor | None) -> tuple:
        needed = ctx.needs_input_grad[2:]
        ctx.settings = settings
        ctx.early = settings.reduction == "sum" and tensors[0].dtype != torch.float16
        run = _run_logits if len(tensors) == 1 else _run_linear
        now = needed if ctx.early else (False,) * len(tensors)
        result, gradients = run(settings, target, *tensors, needed=now)
        ctx.save_for_backward(*(gradients if ctx.early else (target, *tensors)))
        if settings.reduction == "sum":
            result = [value if value is None else value.sum() for value in result]
        ctx.mark_non_differentiable(*(value for value in result[1:] if value is not None))
        return tuple(result)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.early:
            return None, None, *multiplied(ctx.saved_tensors, grad_output)
        target, *tensors = ctx.saved_tensors
        run = _run_logits if len(tensors) == 1 else _run_linear
        factor = grad_output.expand(target.shape)
        needed = ctx.needs_input_grad[2:]
        return None, None, *run(ctx.settings, target, *tensors, needed=needed, factor=factor)[1]


def multiplied(gradients: tuple[Tensor | None, ...], factor: Tensor) -> list[Tensor | None]:
    """The gradients that forward made, times the one of the objective, a scalar."""
    keep_graph = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: True)
    if keep_graph():  # backward may come again: leave them as they are
        return [g if g is None else g * factor for g in gradients]
    if factor.device.type == "cpu" and factor == 1:  # elsewhere, to ask would make the host wait
        return list(gradients)
    return [g if g is None else g.mul_(factor) for g in gradients]


Result = list[Tensor | None]  # objective, nll_loss, kl, n_correct, each [N]
Gradients = list[Tensor | None]  # one for each tensor, None where not needed


def _run_logits(
    settings: Settings,
    target: Tensor,
    logits: Tensor,
    *,
    needed: tuple[bool, ...],
    factor: Tensor | None = None,
) -> tuple[Result, Gradients]:
    """Visit logits [m * N, V]."""
    gradient = None
    if any(needed):
        # Through detach(), autograd sees that the logits are written to: whoever still needs
        # them for another gradient gets PyTorch's error, not a wrong result.
        gradient = logits.detach() if settings.inplace else torch.empty_like(logits)
    split = (settings.passes, -1)
    out = None if gradient is None else gradient.unflatten(0, split)
    return _visit(settings, target, logits.unflatten(0, split), out, factor), [gradient]


def _run_linear(
    settings: Settings,
    target: Tensor,
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    needed: tuple[bool, ...],
    factor: Tensor | None = None,
) -> tuple[Result, Gradients]:
    """Visit the logits of features [m * N, D], made and left behind chunk by chunk."""
    split = (settings.passes, -1)
    on_cpu = features.device.type == "cpu"
    row = settings.passes * len(weight)
    chunk = settings.chunk_rows or max(1, (CHUNK_ON_CPU if on_cpu else CHUNK_ELSEWHERE) // row)
    # added up in float32 at least
    dtype = torch.promote_types(features.dtype, torch.float32)
    gradients = [
        torch.zeros_like(tensor, dtype=dtype) if need else None
        for tensor, need in zip((features, weight, bias), needed, strict=True)
    ]
    grad_features, grad_weight, grad_bias = gradients

    results = []
    # one buffer for all chunks: to get this much memory anew each time costs more than a visit
    buffer = features.new_empty(min(chunk, len(target)) * settings.passes, len(weight))
    for start in range(0, max(1, len(target)), chunk):
        rows = slice(start, start + chunk)
        inputs = features.unflatten(0, split)[:, rows].flatten(0, 1)
        logits = torch.mm(inputs, weight.t(), out=buffer[: len(inputs)])
        if bias is not None:
            logits += bias
        gradient = logits if any(needed) else None  # the one replaces the other
        passes = logits.unflatten(0, split)
        results.append(
            _visit(
                settings,
                target[rows],
                passes,
                None if gradient is None else passes,
                None if factor is None else factor[rows],
            )
        )
        if grad_features is not None:
            grad_features.unflatten(0, split)[:, rows] = (gradient @ weight).unflatten(0, split)
        if grad_weight is not None and weight.dtype == dtype:
            grad_weight.addmm_(gradient.t(), inputs)
        elif grad_weight is not None:
            grad_weight += gradient.t() @ inputs
        if grad_bias is not None:
            grad_bias += gradient.sum(0, dtype=dtype)
    return _concatenate(results), gradients


def _concatenate(results: list[Result]) -> Result:
    return [None if parts[0] is None else torch.cat(parts) for parts in zip(*results, strict=True)]


def _visit(
    settings: Settings,
    target: Tensor,
    logits: Tensor,
    gradient: Tensor | None,
    factor: Tensor | None,
) -> Result:
    """Visit logits [m, R, V], block by block; see _visit_block."""
    limit = _BLOCK_ON_CPU if logits.device.type == "cpu" else _BLOCK_ELSEWHERE
    block = max(1, limit // logits.size(-1))
    if settings.chunk_rows is not None:
        block = min(block, settings.chunk_rows)
    results = []
    for start in range(0, max(1, len(target)), block):  # no rows are one empty block
        rows = slice(start, start + block)
        out = None if gradient is None else list(gradient[:, rows])
        results.append(
            _visit_block(
                settings,
                target[rows],
                list(logits[:, rows]),
                out,
                None if factor is None else factor[rows],
            )
        )
    return _concatenate(results)


def _visit_block(
    settings: Settings,
    target: Tensor,
    logits: list[Tensor],
    gradient: list[Tensor] | None,
    factor: Tensor | None,
) -> Result:
    """The loss of a block of rows and, if asked for, its gradient.

    Args:
        target: [R]
        logits: of each pass, [R, V]
        gradient: where to write the logits' gradient; may be the logits themselves.
        factor: [R], what to multiply the rows of the gradient with.
    """
    alpha, epsilon, m = settings.alpha, settings.label_smoothing, settings.passes
    dtype = torch.promote_types(logits[0].dtype, torch.float32)
    eps_i = epsilon / (logits[0].size(-1) - 1)
    ignored = None
    if settings.ignore_index is not None:
        ignored = target.eq(settings.ignore_index)
        target = target.masked_fill(ignored, 0)  # -100 would not do for gather
    index = target.unsqueeze(-1)

    lprobs = [z.log_softmax(-1, dtype=dtype) for z in logits]
    probs = [lp.exp() for lp in lprobs]
    n_correct = None
    if settings.with_accuracy:
        n_correct = sum(lp.argmax(-1).eq(target).long() for lp in lprobs)
    nll_loss = -sum(lp.gather(-1, index) for lp in lprobs).squeeze(-1)
    objective = (1 - epsilon - eps_i) * nll_loss
    masked = None
    if epsilon:
        smooth_loss = -sum(lp.sum(-1) for lp in lprobs)
        # on an accelerator, to ask would make the host wait
        if logits[0].device.type != "cpu" or smooth_loss.isposinf().any():
            masked = [lp.isneginf() for lp in lprobs]
            smooth_loss = -sum(
                lp.masked_fill(mask, 0).sum(-1) for lp, mask in zip(lprobs, masked, strict=True)
            )
        objective = objective + eps_i * smooth_loss

    # p_i - p_j and l_i - l_j of all pairs i < j
    pairs, kl = [], 0.0
    for i, j in combinations(range(m), 2):
        log_ratio = lprobs[i] - lprobs[j]
        log_ratio.nan_to_num_(nan=0.0, posinf=torch.inf, neginf=-torch.inf)  # of -inf - -inf
        difference = probs[i] - probs[j]
        kl = kl + vecdot(difference, log_ratio)
        pairs.append((i, j, difference, log_ratio))
    kl = kl / (m * (m - 1))
    objective = objective + alpha * kl

    if gradient is not None:
        gamma = alpha / (m * (m - 1))
        minus_eps = lprobs[0].new_full((), -eps_i)
        for i, p in enumerate(probs):
            weight = 1.0
            if masked is not None:
                weight -= eps_i * masked[i].sum(-1, keepdim=True).to(dtype)
            scale, rest = weight, minus_eps
            for a, b, difference, log_ratio in pairs:
                if i in (a, b):
                    signed = gamma if i == a else -gamma
                    scale = scale - signed * vecdot(p, log_ratio).unsqueeze(-1)
                    rest = torch.add(rest, difference, alpha=signed)
            for a, b, _, log_ratio in pairs:
                if i in (a, b):
                    scale = torch.add(scale, log_ratio, alpha=gamma if i == a else -gamma)
            direct = gradient[i].dtype == dtype
            grad = torch.addcmul(rest, p, scale, out=gradient[i] if direct else scale)
            if masked is not None:
                grad.masked_fill_(masked[i], 0)
            grad.scatter_add_(-1, index, grad.new_full(index.shape, epsilon + eps_i - 1))
            if factor is not None:
                grad *= factor.unsqueeze(-1)
            if ignored is not None:
                grad.masked_fill_(ignored.unsqueeze(-1), 0)
            if not direct:
                gradient[i].copy_(grad)

    result = [objective, nll_loss, kl, n_correct]
    if ignored is not None:
        result = [value if value is None else value.masked_fill(ignored, 0) for value in result]
    return result
