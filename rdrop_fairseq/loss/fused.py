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

import functools
from collections.abc import Callable
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.linalg import vecdot

from .compiled import on_cpu, visit_compiled
from .reference import RDropLoss, reference_rdrop_loss

# Numbers that a visit to a block holds at once: for m passes, m (m + 1) tensors as large as the
# logits of one pass. On a CPU they should stay in the cache; anything else needs enough of them to
# be busy.
_BLOCK_ON_CPU, _BLOCK_ELSEWHERE = 6 * 2**17, 6 * 2**24
# Logits of all passes that the fused projection makes at once: 64 MiB in float32 on a CPU. The
# larger, the fewer additions to the gradient of the weight, [V, D].
CHUNK_ON_CPU, CHUNK_ELSEWHERE = 2**24, 2**26


class Settings(NamedTuple):
    """What the losses depend on beside tensors; see rdrop_loss."""

    alpha: float
    label_smoothing: float = 0.0
    ignore_index: int | None = None
    passes: int = 2
    reduction: str = "sum"
    with_accuracy: bool = False
    chunk_rows: int | None = None
    inplace: bool = False
    compile: bool = False

    def definition(self, logits: Tensor, target: Tensor) -> RDropLoss:
        """`reference_rdrop_loss`, one value for each target."""
        return reference_rdrop_loss(
            logits,
            target,
            alpha=self.alpha,
            label_smoothing=self.label_smoothing,
            ignore_index=self.ignore_index,
            passes=self.passes,
            reduction="none",
        )


def product_dtype(tensor: Tensor) -> torch.dtype:
    """What a matrix product of ``tensor`` is computed in: autocast leaves float64 alone."""
    device = tensor.device.type
    if tensor.dtype == torch.float64:
        return tensor.dtype
    if hasattr(torch, "get_autocast_dtype"):
        enabled = torch.is_autocast_enabled(device)
        return torch.get_autocast_dtype(device) if enabled else tensor.dtype
    if device == "cpu":  # which has functions of its own in torch < 2.4
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else tensor.dtype
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else tensor.dtype


def link_to(*tensors: Tensor | None) -> Tensor:
    """A scalar that has the graph of ``tensors``, but does not keep their storage."""
    return torch.stack([t[None][:0].sum() for t in tensors if t is not None]).sum()


class _Refusal(torch.autograd.Function):
    """A gradient as it is, which cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, link: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        raise RuntimeError(
            "the gradient of R-Drop's fused loss cannot be differentiated (create_graph=True): "
            'take rdrop_loss or adaptive_rdrop_loss with impl="eager"'
        )


def once_differentiable(backward: Callable[..., tuple]) -> Callable[..., tuple]:
    """For the backward of a Function that saves a `link_to` its inputs, and then ``saved``.

    PyTorch's decorator of this name raises only where the gradient that comes in has a graph; with
    ``create_graph=True`` and none, second derivatives would silently be missing. And this one
    computes in the tensors' own dtype, though backward be called in an autocast region.
    """

    @functools.wraps(backward)
    def wrapped(ctx: Any, grad_output: Tensor, *_: Tensor) -> tuple:
        link, *saved = ctx.saved_tensors
        with torch.no_grad(), torch.autocast(grad_output.device.type, enabled=False):
            gradients = backward(ctx, saved, grad_output)
        if torch.is_grad_enabled():
            return tuple(g if g is None else _Refusal.apply(g, link) for g in gradients)
        return gradients

    return wrapped


def fused_loss(
    settings: Settings,
    target: Tensor,
    inputs: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
) -> RDropLoss:
    """The loss of logits, or of linear(features, weight, bias).

    Args:
        target: [N]
        inputs: logits [m * N, V]; with a weight, features [m * N, D].
        weight: [V, D]
        bias: [V]

    Returns: one value for each target with reduction "none", else the sums.
    """
    tensors = [inputs, weight, bias]
    if not torch.is_grad_enabled():  # a Function does not see this by itself
        tensors = [None if tensor is None else tensor.detach() for tensor in tensors]
    with torch.autocast(target.device.type, enabled=False):
        return RDropLoss(*_FusedLoss.apply(link_to(*tensors), settings, target, *tensors))


class _FusedLoss(torch.autograd.Function):
    """Makes the gradient in forward if all that backward adds to it is one factor.

    With ``reduction="none"`` every row has a factor of its own, and in float16 most
    gradients are too small to be kept before the loss scale multiplies them: there,
    backward visits the logits once more.
    """

    @staticmethod
    def forward(
        ctx: Any, link: Tensor, settings: Settings, target: Tensor, *tensors: Any
    ) -> RDropLoss:
        ctx.settings = settings
        ctx.early = settings.reduction != "none" and tensors[0].dtype != torch.float16
        needed = ctx.needs_input_grad[3:] if ctx.early else (False, False, False)
        result, gradients = _run(settings, target, tensors, needed)
        ctx.save_for_backward(link, *(gradients if ctx.early else (target, *tensors)))
        if settings.reduction != "none":
            result = result.map(torch.sum)
        ctx.mark_non_differentiable(*(value for value in result[1:] if value is not None))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, saved: list, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.early:
            return None, None, None, *multiplied(saved, grad_output)
        target, inputs, weight, bias = saved
        needed, factor = ctx.needs_input_grad[3:], grad_output.expand(target.shape)
        settings = ctx.settings._replace(with_accuracy=False)  # forward has counted
        _, gradients = _run(settings, target, (inputs, weight, bias), needed, factor)
        return None, None, None, *gradients


def multiplied(gradients: list[Tensor | None], factor: Tensor) -> list[Tensor | None]:
    """The gradients that forward made, times the one of the objective, a scalar."""
    keep_graph = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: True)
    if keep_graph():  # backward may come again: leave them as they are
        return [g if g is None else g * factor for g in gradients]
    if on_cpu(factor) and factor == 1:
        return gradients
    return [g if g is None else g.mul_(factor) for g in gradients]


def _run(
    settings: Settings,
    target: Tensor,
    tensors: tuple[Tensor, Tensor | None, Tensor | None],
    needed: tuple[bool, ...],
    factor: Tensor | None = None,
) -> tuple[RDropLoss, list[Tensor | None]]:
    """Visit the logits.

    Args:
        tensors: inputs, weight and bias; see fused_loss.
        needed: which of their gradients.
        factor: [N], what to multiply the rows of the logits' gradient with.

    Returns: one value for each target, and the three gradients, None where not needed.
    """
    inputs, weight, bias = tensors
    split = (settings.passes, -1)
    if weight is None:
        logits, gradient, out = inputs.unflatten(0, split), None, None
        if needed[0] and settings.inplace:
            # Through detach(), autograd sees that the logits are written to: whoever still needs
            # them for another gradient gets PyTorch's error, not a wrong result.
            gradient = inputs.detach()
            logits = out = gradient.unflatten(0, split)
        elif needed[0]:
            gradient = torch.empty_like(inputs)
            out = gradient.unflatten(0, split)
        result = _visit(settings, target, logits, out, factor)
        return result, [gradient, None, None]

    # the logits are made and left behind chunk by chunk
    budget = CHUNK_ON_CPU if on_cpu(inputs) else CHUNK_ELSEWHERE
    chunk = settings.chunk_rows or max(1, budget // (settings.passes * len(weight)))
    # added up in float32 at least
    dtype = torch.promote_types(inputs.dtype, torch.float32)
    grad_inputs, grad_weight, grad_bias = gradients = [
        torch.zeros_like(tensor, dtype=dtype) if tensor is not None and need else None
        for tensor, need in zip((inputs, weight, bias), needed, strict=True)
    ]
    results = []
    # one buffer for all chunks: to get this much memory anew each time costs more than a visit
    buffer = inputs.new_empty(min(chunk, len(target)) * settings.passes, len(weight))
    for start in range(0, max(1, len(target)), chunk):
        rows = slice(start, start + chunk)
        features = inputs.unflatten(0, split)[:, rows].flatten(0, 1)
        logits = torch.mm(features, weight.t(), out=buffer[: len(features)])
        if bias is not None:
            logits += bias
        passes = logits.unflatten(0, split)
        out = passes if any(needed) else None
        row_factor = None if factor is None else factor[rows]
        results.append(_visit(settings, target[rows], passes, out, row_factor))
        gradient = logits  # which has taken their place
        if grad_inputs is not None:
            grad_inputs.unflatten(0, split)[:, rows] = (gradient @ weight).unflatten(0, split)
        if grad_weight is not None and weight.dtype == dtype:
            grad_weight.addmm_(gradient.t(), features)
        elif grad_weight is not None:
            grad_weight += gradient.t() @ features
        if grad_bias is not None:
            grad_bias += gradient.sum(0, dtype=dtype)
    return _concatenated(results), gradients


def _concatenated(results: list[RDropLoss]) -> RDropLoss:
    parts = zip(*results, strict=True)
    return RDropLoss(*(None if p[0] is None else torch.cat(p) for p in parts))  # type: ignore[arg-type]


def _visit(
    settings: Settings,
    target: Tensor,
    logits: Tensor,
    gradient: Tensor | None,
    factor: Tensor | None,
) -> RDropLoss:
    """Visit logits [m, R, V], block by block; see _visit_block.

    Args:
        gradient: where to write it; may be the logits themselves.
    """
    m, _, vocabulary = logits.shape
    budget = _BLOCK_ON_CPU if on_cpu(logits) else _BLOCK_ELSEWHERE
    block = max(1, budget // (m * (m + 1) * vocabulary))
    if settings.chunk_rows is not None:
        block = min(block, settings.chunk_rows)
    visit = functools.partial(visit_compiled, _visit_block) if settings.compile else _visit_block
    results = []
    for start in range(0, max(1, len(target)), block):  # no rows are one empty block
        rows = slice(start, start + block)
        passes = list(logits[:, rows])
        out = passes if gradient is logits else None if gradient is None else [*gradient[:, rows]]
        row_factor = None if factor is None else factor[rows]
        results.append(visit(settings, target[rows], passes, out, row_factor))
    return _concatenated(results)


def _visit_block(
    settings: Settings,
    target: Tensor,
    logits: list[Tensor],
    gradient: list[Tensor] | None,
    factor: Tensor | None,
) -> RDropLoss:
    """The loss of a block of rows and, if asked for, its gradient.

    Args:
        target: [R]
        logits: of each pass, [R, V]
        gradient: where to write the logits' gradient; may be the list of logits itself.
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
        n_correct = torch.stack([lp.argmax(-1).eq(target) for lp in lprobs]).sum(0)
    nll_loss = -torch.cat([lp.gather(-1, index) for lp in lprobs], dim=-1).sum(-1)
    objective = (1 - epsilon - eps_i) * nll_loss
    masked = None
    if epsilon:
        smooth_loss = -torch.stack([lp.sum(-1) for lp in lprobs]).sum(0)
        # to ask would break a compiled graph in two
        if settings.compile or not on_cpu(logits[0]) or smooth_loss.isposinf().any():
            masked = [lp.isneginf() for lp in lprobs]
            kept = [lp.masked_fill(mask, 0) for lp, mask in zip(lprobs, masked, strict=True)]
            smooth_loss = -torch.stack([lp.sum(-1) for lp in kept]).sum(0)
        objective = objective + eps_i * smooth_loss

    # p_i - p_j and l_i - l_j of all pairs i < j
    pairs = []
    kl = torch.zeros_like(nll_loss)
    for i, j in combinations(range(m), 2):
        log_ratio = lprobs[i] - lprobs[j]
        log_ratio.nan_to_num_(nan=0.0, posinf=torch.inf, neginf=-torch.inf)  # of -inf - -inf
        difference = probs[i] - probs[j]
        kl += vecdot(difference, log_ratio)
        if alpha:  # 0 times an infinite KL would be NaN
            pairs.append((i, j, difference, log_ratio))
    kl /= m * (m - 1)
    if alpha:
        objective = objective + alpha * kl

    if gradient is not None:
        gamma = alpha / (m * (m - 1))
        minus_eps = lprobs[0].new_full((), -eps_i)
        for i, p in enumerate(probs):
            scale, rest = lprobs[0].new_ones(()), minus_eps
            if masked is not None:
                scale = scale - eps_i * masked[i].sum(-1, keepdim=True).to(dtype)
            for a, b, difference, log_ratio in pairs:
                if i in (a, b):
                    signed = gamma if i == a else -gamma
                    scale = scale - signed * vecdot(p, log_ratio).unsqueeze(-1)
                    rest = torch.add(rest, difference, alpha=signed)
            for a, b, _, log_ratio in pairs:
                if i in (a, b):
                    scale = torch.add(scale, log_ratio, alpha=gamma if i == a else -gamma)
            direct = gradient[i].dtype == dtype
            grad = torch.addcmul(rest, p, scale, out=gradient[i] if direct else p)
            if masked is not None:
                grad.masked_fill_(masked[i], 0)
            on_target = epsilon + eps_i - 1
            if settings.compile:  # scatter_add would need the gradient in memory before it
                symbols = torch.arange(grad.size(-1), device=grad.device)
                grad += torch.where(symbols == index, on_target, 0.0)
            else:
                grad.scatter_add_(-1, index, grad.new_full(index.shape, on_target))
            if factor is not None:
                grad *= factor.unsqueeze(-1)
            if ignored is not None:
                grad.masked_fill_(ignored.unsqueeze(-1), 0)
            if not direct:
                gradient[i].copy_(grad)

    result = RDropLoss(objective, nll_loss, kl, n_correct)
    return result if ignored is None else result.map(lambda value: value.masked_fill(ignored, 0))
