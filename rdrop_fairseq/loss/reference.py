"""The definition of R-Drop's loss (arXiv 2106.14448, equations 2 to 4): short and slow."""

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class RDropLoss(NamedTuple):
    """What R-Drop's loss functions return, in nats.

    With ``reduction="sum"`` or ``"mean"`` scalars, else one value for each target. Only
    ``objective`` carries a gradient. float32, or float64 for float64 logits.
    """

    objective: Tensor  #: what to minimise: all passes' CE + alpha * kl
    nll_loss: Tensor  #: -log P(target), without label smoothing, all passes added up
    kl: Tensor  #: symmetric KL divergence, mean over the pairs of passes
    n_correct: Tensor | None  #: how many of the passes have the target as argmax

    def map(self, function: Callable[[Tensor], Tensor]) -> "RDropLoss":
        """``function`` of each value that there is."""
        objective, nll_loss, kl, n_correct = self
        n_correct = None if n_correct is None else function(n_correct)
        return RDropLoss(function(objective), function(nll_loss), function(kl), n_correct)


def reference_rdrop_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    passes: int = 2,
    reduction: str = "sum",
) -> RDropLoss:
    """R-Drop's objective by its definition, differentiated by autograd.

        sum_i LSCE(P_i, y) + alpha * mean over i < j of 1/2 [KL(P_i||P_j) + KL(P_j||P_i)]

    LSCE is fairseq's label-smoothed cross-entropy: weight ``1 - eps - eps_i`` on the
    target and ``eps_i = eps / (V - 1)`` on every symbol.

    A symbol whose logit is -inf in a pass (a masked one) is left out of the label
    smoothing of that pass; where it is -inf in both passes, it adds 0 to their KL.

    Args:
        logits: [passes * B, ..., V], any float dtype; pass i is the i-th of ``passes``
            equal parts of the first dimension.
        target: [B, ...], int64
        alpha: weight of the KL term.
        label_smoothing: eps.
        ignore_index: positions with this target add exactly 0 to loss and gradient.
        passes: m, how many distributions there are for each target.
        reduction: "sum" or "none" (then results have the target's shape).
    """
    lprobs = logits.log_softmax(dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    lprobs = lprobs.view(passes, *target.shape, lprobs.size(-1))
    ignored = torch.zeros_like(target, dtype=torch.bool)
    if ignore_index is not None:
        ignored = target.eq(ignore_index)
        # an index outside the vocabulary, such as -100, would not do for gather
        target = target.masked_fill(ignored, 0)
    index = target.expand(passes, *target.shape).unsqueeze(-1)

    def keep(values: Tensor) -> Tensor:
        return values.masked_fill(ignored, 0)

    nll_loss = keep(-lprobs.gather(-1, index).squeeze(-1)).sum(0)
    smooth_loss = keep(-lprobs.masked_fill(lprobs.isneginf(), 0).sum(-1)).sum(0)
    pairs = [keep(symmetric_kl(p, q)) for p, q in combinations(lprobs, 2)]
    kl = torch.stack(pairs).mean(0)
    n_correct = (lprobs.argmax(-1).eq(target) & ~ignored).sum(0)

    eps_i = label_smoothing / (lprobs.size(-1) - 1)
    objective = (1 - label_smoothing - eps_i) * nll_loss + eps_i * smooth_loss
    if alpha:  # 0 times an infinite KL would be NaN
        objective = objective + alpha * kl
    result = RDropLoss(objective, nll_loss.detach(), kl.detach(), n_correct)
    return result if reduction == "none" else result.map(torch.sum)


def symmetric_kl(lprobs_p: Tensor, lprobs_q: Tensor) -> Tensor:
    """1/2 [KL(P||Q) + KL(Q||P)] = 1/2 sum_v (p - q)(log p - log q), a sum of terms >= 0.

    Args:
        lprobs_p, lprobs_q: log-probabilities, [..., V]
    Returns: [...]
    """
    log_ratio = (lprobs_p - lprobs_q).masked_fill(lprobs_p.eq(lprobs_q), 0)  # -inf - -inf too
    return ((lprobs_p.exp() - lprobs_q.exp()) * log_ratio).sum(-1) / 2


def reference_rdrop_binary_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float,
    ignore_index: int | None = None,
    passes: int = 2,
) -> RDropLoss:
    """R-Drop for several labels an example: each is a Bernoulli distribution of its own.

        sum_i BCE(p_i, y) + alpha * mean over i < j of 1/2 [KL(p_i||p_j) + KL(p_j||p_i)]

    with p = sigmoid(z), whose symmetric KL is 1/2 (p - q) (z_p - z_q), because z is
    log p - log(1 - p). It is `reference_rdrop_loss` of the two logits 0 and z.

    Args:
        logits: z, [passes * B, ...], any float dtype; pass i is the i-th of equal parts.
        target: y in [0, 1], [B, ...], floating point.

    The other arguments are those of `reference_rdrop_loss`. Returns one value for each target; no
    n_correct.
    """
    of_pass, target, ignored = _elementwise(logits, target, ignore_index, passes)
    loss = F.binary_cross_entropy_with_logits(
        of_pass, target.expand_as(of_pass), reduction="none"
    ).sum(0)
    pairs = [(p.sigmoid() - q.sigmoid()) * (p - q) / 2 for p, q in combinations(of_pass, 2)]
    return _of_elements(loss, pairs, ignored, alpha)


def reference_rdrop_mse_loss(
    predictions: Tensor,
    target: Tensor,
    *,
    alpha: float,
    ignore_index: int | None = None,
    passes: int = 2,
) -> RDropLoss:
    """R-Drop for regression, where there are no distributions to compare.

        sum_i (f_i - y)^2 + alpha * mean over i < j of (f_i - f_j)^2

    as the authors' BERT code has it for STS-B with alpha 1 (dropreg/R-Drop, modeling_bert.py; their
    other files take the first pass's error only). The paper's form is in its appendix A.4. It is
    what cross-entropy and symmetric KL become, up to factors, if predictions are means of
    Gaussians of one width.

    Args:
        predictions: f, [passes * B, ...], any float dtype; pass i is the i-th of equal parts.
        target: y, [B, ...]

    The other arguments are those of `reference_rdrop_loss`. Returns one value for each target; the
    squared errors are called nll_loss, the squared differences kl; no n_correct.
    """
    of_pass, target, ignored = _elementwise(predictions, target, ignore_index, passes)
    pairs = [(f - g).square() for f, g in combinations(of_pass, 2)]
    return _of_elements((of_pass - target).square().sum(0), pairs, ignored, alpha)


def _elementwise(
    outputs: Tensor, target: Tensor, ignore_index: int | None, passes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """``outputs`` as [passes, B, ...], target, both in float32 at least, and what to ignore."""
    dtype = torch.promote_types(outputs.dtype, torch.float32)
    ignored = torch.zeros_like(target, dtype=torch.bool)
    if ignore_index is not None:
        ignored = target.eq(ignore_index)
    return outputs.to(dtype).view(passes, *target.shape), target.to(dtype), ignored


def _of_elements(loss: Tensor, pairs: list[Tensor], ignored: Tensor, alpha: float) -> RDropLoss:
    loss = loss.masked_fill(ignored, 0)
    distance = torch.stack(pairs).mean(0).masked_fill(ignored, 0)
    return RDropLoss(loss + alpha * distance, loss.detach(), distance.detach(), None)
