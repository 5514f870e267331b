"""R-Drop's loss for an adaptive softmax (arXiv 1609.04309): the definition, and the fast one.

An adaptive softmax has a head, whose softmax is over the frequent symbols and one entry for
each tail, and tails, whose softmax is over the rarer symbols of one cluster c:

    log P(w) = log P(c) + log P(w|c)        for w in tail c

Hence, with the sum over symbols sorted by cluster,

    KL(P||Q) = sum_{w in head} P(w) log P(w)/Q(w)
               + sum_c sum_{w in c} P(c) P(w|c) [log P(c)/Q(c) + log P(w|c)/Q(w|c)]
             = KL(P_head||Q_head) + sum_c P(c) KL(P(.|c)||Q(.|c))

because P(.|c) adds up to 1. The symmetric KL J = 1/2 [KL(P||Q) + KL(Q||P)] is that of the
head and, for every tail, its two KLs weighted by what each pass gives to the tail:

    J = J(head) + 1/2 sum_c [P(c) KL(P(.|c)||Q(.|c)) + Q(c) KL(Q(.|c)||P(.|c))]

That needs every tail's logits for every target, not only for the targets in that tail. The
same number, cluster by cluster, is 1/2 sum_w (P(w) - Q(w)) (log P(w) - log Q(w)). Its terms
are all >= 0, so that nothing cancels where the passes are close: this is what is added up.

``kl="target"`` is cheaper and not exact: J(head) + J(P(.|c), Q(.|c)) for the tail c of the
target, with weight 1, and J(head) alone for a target in the head. It is what the authors'
code adds up (dropreg/R-Drop, reg_adaptive_loss.py), which compares the logits that fairseq's
adaptive_loss happens to have. It draws the tail to compare from the data, the exact KL
averages over all tails; a tail with few targets is seldom compared.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.linalg import vecdot
from torch.utils.checkpoint import checkpoint

from .compiled import on_cpu
from .fused import (
    CHUNK_ELSEWHERE,
    CHUNK_ON_CPU,
    Settings,
    link_to,
    multiplied,
    once_differentiable,
    product_dtype,
)
from .reference import RDropLoss, symmetric_kl


class Layers(NamedTuple):
    """An adaptive softmax, such as fairseq's AdaptiveSoftmax or PyTorch's."""

    head: nn.Module  #: [N, D] to [N, cutoffs[0] + number of tails]
    tails: Sequence[nn.Module]  #: the i-th: [N, D] to [N, cutoffs[i + 1] - cutoffs[i]]
    cutoffs: Sequence[int]  #: where the tails begin, and V


def cluster_log_probs(features: Tensor, layers: Layers) -> list[Tensor]:
    """log-probabilities of the head and, within their cluster, of the tails.

    Args:
        features: [..., D]
    Returns: [..., size of the cluster] each; float32, or float64 for float64 features.
    """
    return [_lprobs(layers, cluster, features) for cluster in range(len(layers.cutoffs))]


def dense_log_probs(clusters: list[Tensor]) -> Tensor:
    """log P of every symbol, [..., V], from what `cluster_log_probs` returns."""
    head, *tails = clusters
    symbols, priors = head.tensor_split([head.size(-1) - len(tails)], dim=-1)
    return torch.cat([symbols, *map(torch.add, priors.split(1, -1), tails)], dim=-1)


def reference_adaptive_rdrop_loss(
    features: Tensor, target: Tensor, layers: Layers, settings: Settings, kl: str
) -> RDropLoss:
    """The definition, of the dense distribution; see adaptive_rdrop_loss.

    Args:
        features: [passes * N, D]
        target: [N]
    Returns: one value for each target.
    """
    clusters = cluster_log_probs(features, layers)
    dense = dense_log_probs(clusters)
    if kl == "exact":
        return settings.definition(dense, target)._replace(n_correct=None)
    head, *tails = (lprobs.unflatten(0, (settings.passes, -1)) for lprobs in clusters)
    divergence = _mean_over_pairs(head)
    for start, end, tail in zip(layers.cutoffs, layers.cutoffs[1:], tails, strict=False):
        outside = (target < start) | (target >= end)
        divergence = divergence + _mean_over_pairs(tail).masked_fill(outside, 0)
    if settings.ignore_index is not None:
        divergence = divergence.masked_fill(target.eq(settings.ignore_index), 0)
    objective, nll_loss, *_ = settings._replace(alpha=0.0).definition(dense, target)
    if settings.alpha:
        objective = objective + settings.alpha * divergence
    return RDropLoss(objective, nll_loss, divergence.detach(), None)


def _mean_over_pairs(lprobs: Tensor) -> Tensor:
    """The symmetric KL of [passes, N, V], mean over the pairs of passes: [N]."""
    return torch.stack([symmetric_kl(p, q) for p, q in combinations(lprobs, 2)]).mean(0)


def fused_adaptive_rdrop_loss(
    features: Tensor, target: Tensor, layers: Layers, settings: Settings, kl: str
) -> RDropLoss:
    """The same numbers, a chunk of targets at a time; see adaptive_rdrop_loss.

    Where one factor is all that backward adds to the gradient, it is made in forward and
    added up in float32. Not so with ``reduction="none"``, and in float16, where most of it
    is too small to be kept before the loss scale multiplies it: there torch's checkpoint
    visits each chunk once more in backward, which takes about 1.6 times as long.
    """
    features = features.unflatten(0, (settings.passes, -1))
    if not len(target):  # fairseq's tied head cannot take 0 rows
        nothing = features.sum((0, 2), dtype=torch.promote_types(features.dtype, torch.float32))
        return RDropLoss(nothing, nothing.detach(), nothing.detach(), None)
    chunk_rows = settings.chunk_rows
    if chunk_rows is None:
        budget = CHUNK_ON_CPU if on_cpu(features) else CHUNK_ELSEWHERE
        # "target" gives a tail its own targets only
        width = layers.cutoffs[-1] if kl == "exact" else layers.cutoffs[0]
        chunk_rows = max(1, budget // (settings.passes * width))
    chunks = [slice(start, start + chunk_rows) for start in range(0, len(target), chunk_rows)]
    visit = partial(_visit, layers, settings.alpha, kl)

    in_float16 = product_dtype(features) == torch.float16
    if settings.reduction != "none" and not in_float16 and torch.is_grad_enabled():
        parameters = nn.ModuleList([layers.head, *layers.tails]).parameters()
        inputs = [features, *(parameter for parameter in parameters if parameter.requires_grad)]
        result = _GradientInForward.apply(link_to(*inputs), visit, chunks, target, *inputs)
    else:
        visited = [
            checkpoint(visit, target[rows], features[:, rows], use_reentrant=False)
            for rows in chunks
        ]
        result = [torch.cat(values) for values in zip(*visited, strict=True)]
    objective, nll_loss, divergence = result
    return RDropLoss(objective, nll_loss.detach(), divergence.detach(), None)


class _GradientInForward(torch.autograd.Function):
    """Adds up what ``visit`` returns for each chunk, and the gradients of the first of it."""

    @staticmethod
    def forward(
        ctx: Any,
        link: Tensor,
        visit: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
        chunks: list[slice],
        target: Tensor,
        features: Tensor,
        *trained: Tensor,
    ) -> tuple[Tensor, ...]:
        wide = partial(torch.promote_types, torch.float32)
        grad_features = torch.empty_like(features, dtype=wide(features.dtype))
        # None for a tail that "target" never visits, as in fairseq's adaptive_loss
        grad_trained: list[Tensor | None] = [None] * len(trained)
        visited = []
        for rows in chunks:
            with torch.enable_grad():
                inputs = features[:, rows].detach().requires_grad_()
                values = [value.sum() for value in visit(target[rows], inputs)]
                grads = torch.autograd.grad(values[0], [inputs, *trained], allow_unused=True)
            visited.append(torch.stack(values).detach())
            grad_features[:, rows] = grads[0]
            for index, (total, grad) in enumerate(zip(grad_trained, grads[1:], strict=True)):
                if total is not None and grad is not None:
                    total += grad
                elif grad is not None:
                    grad_trained[index] = grad.to(wide(grad.dtype), copy=True)
        ctx.save_for_backward(link, grad_features, *grad_trained)
        objective, nll_loss, kl = torch.stack(visited).sum(0)
        ctx.mark_non_differentiable(nll_loss, kl)
        return objective, nll_loss, kl

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, saved: list, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, None, *multiplied(saved, grad_output)


def _visit(
    layers: Layers, alpha: float, kl: str, target: Tensor, features: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of a chunk.

    A tail is called once, for cross-entropy and KL together: with dropout inside the tail
    both are to see the same mask.

    Args:
        target: [R]
        features: [m, R, D]
    Returns: objective, nll_loss and kl, [R] each, all differentiable.
    """
    first = layers.cutoffs[0]
    head = _lprobs(layers, 0, features)
    label = target
    divergence = _symmetric_kl(head[..., :first] if kl == "exact" else head)
    nll_loss = torch.zeros_like(divergence)
    for index in range(len(layers.tails)):
        start, end = layers.cutoffs[index : index + 2]
        inside = (target >= start) & (target < end)
        label = torch.where(inside, first + index, label)
        symbol = (target - start).clamp(0, end - start - 1)  # any for a target that is elsewhere
        if kl == "exact":
            lprobs = _lprobs(layers, index + 1, features)
            divergence = divergence + _symmetric_kl(lprobs, head[..., first + index])
            nll_loss = nll_loss - _of(lprobs, symbol).masked_fill(~inside, 0)
        else:
            rows = inside.nonzero().squeeze(-1)
            if len(rows):
                lprobs = _lprobs(layers, index + 1, features[:, rows])
                divergence = divergence.index_add(0, rows, _symmetric_kl(lprobs))
                nll_loss = nll_loss.index_add(0, rows, -_of(lprobs, symbol[rows]))
    nll_loss = nll_loss - _of(head, label)
    objective = nll_loss + alpha * divergence if alpha else nll_loss  # not 0 * inf
    return objective, nll_loss, divergence


def _lprobs(layers: Layers, cluster: int, features: Tensor) -> Tensor:
    """log-probabilities of the head, cluster 0, or within a tail, for features [..., D].

    Raises:
        ValueError: the module has not as many logits as ``cutoffs`` say.
    """
    cutoffs, tails = layers.cutoffs, layers.tails
    if cluster == 0:
        name, module, width = "head", layers.head, cutoffs[0] + len(tails)
    else:
        name, module = f"tails[{cluster - 1}]", tails[cluster - 1]
        width = cutoffs[cluster] - cutoffs[cluster - 1]
    logits = module(features.flatten(0, -2))
    if logits.size(-1) != width:
        raise ValueError(
            f"{name} gives {logits.size(-1)} logits, cutoffs {list(cutoffs)} say {width}"
        )
    logits = logits.unflatten(0, features.shape[:-1])
    return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _of(lprobs: Tensor, index: Tensor) -> Tensor:
    """What lprobs [m, R, symbols] have at index [R], added up over the passes: [R]."""
    return lprobs.gather(-1, index.expand(lprobs.shape[:-1]).unsqueeze(-1)).squeeze(-1).sum(0)


def _symmetric_kl(lprobs: Tensor, prior: Tensor | None = None) -> Tensor:
    """The share of one cluster in the symmetric KL, mean over the pairs of passes.

        1/(m (m-1)) sum_{i<j} sum_w (p_i - p_j) (L_i - L_j),    L_i = lprobs_i + prior_i

    with p_i = exp(L_i); its gradient d/d L_i is derived in fused.py. L is what it is for the
    whole vocabulary: lprobs need not add up to 1.

    Args:
        lprobs: [m, R, size of the cluster]
        prior: log-probability of the cluster, [m, R]; None for 0.
    Returns: [R]
    """
    prior = lprobs.new_zeros(lprobs.shape[:-1]) if prior is None else prior
    return _SymmetricKL.apply(link_to(lprobs, prior), lprobs, prior)


class _SymmetricKL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, link: Tensor, lprobs: Tensor, prior: Tensor) -> Tensor:
        m = len(lprobs)
        probs = (lprobs + prior.unsqueeze(-1)).exp_()
        gradient = torch.zeros_like(lprobs) if any(ctx.needs_input_grad) else None
        kl = torch.zeros_like(prior[0])
        for i, j in combinations(range(m), 2):
            log_ratio = lprobs[i] - lprobs[j]
            log_ratio += (prior[i] - prior[j]).unsqueeze(-1)
            # where both are -inf: no difference
            log_ratio.nan_to_num_(nan=0.0, posinf=torch.inf, neginf=-torch.inf)
            difference = probs[i] - probs[j]
            with torch.autocast(lprobs.device.type, enabled=False):  # it would round the KL
                kl += vecdot(difference, log_ratio)
            if gradient is not None:
                gradient[i].addcmul_(probs[i], log_ratio).add_(difference)
                gradient[j].addcmul_(probs[j], log_ratio, value=-1).sub_(difference)
        ctx.save_for_backward(link, gradient)
        return kl / (m * (m - 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, saved: list, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = saved
        m = len(gradient)
        gradient = gradient * (grad_output / (m * (m - 1))).unsqueeze(-1)
        return None, gradient, gradient.sum(-1) if ctx.needs_input_grad[2] else None
