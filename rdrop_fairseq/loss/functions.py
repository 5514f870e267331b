"""The public functions: check the arguments, then call the definition or the fused loss."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .adaptive import Layers, fused_adaptive_rdrop_loss, reference_adaptive_rdrop_loss
from .fused import Settings, fused_loss
from .reference import RDropLoss, reference_rdrop_loss


def rdrop_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    passes: int = 2,
    reduction: str = "sum",
    impl: str = "auto",
    with_accuracy: bool = False,
    chunk_rows: int | None = None,
    inplace: bool = False,
) -> RDropLoss:
    """R-Drop's loss of logits that several dropout passes gave for the same targets.

        sum_i LSCE(P_i, y) + alpha * mean over i < j of 1/2 [KL(P_i||P_j) + KL(P_j||P_i)]

    (arXiv 2106.14448, equations 2 to 4; `reference_rdrop_loss` spells the terms out.)

    Args:
        logits: [passes * N, V] or [passes * B, T, V], any float dtype: all targets' first
            pass, then all targets' second pass, and so on, as ``model(torch.cat([x, x]))``
            gives them.
        target: [N] or [B, T], int64, in [0, V) or ``ignore_index``.
        alpha: weight of the KL term, >= 0.
        label_smoothing: eps in [0, 1), spread over V - 1 symbols as fairseq does; PyTorch's
            ``cross_entropy`` spreads it over V: its eps is this one's times V / (V - 1).
        ignore_index: targets that add exactly 0 to loss and gradient.
        passes: m >= 2.
        reduction: "sum", "mean" (over the targets that are not ignored) or "none".
        impl: "fused" (not twice differentiable), "eager" (the definition, through
            autograd), or "auto": fused.
        with_accuracy: also count the passes whose argmax is the target.
        chunk_rows: how many rows of a pass the fused loss visits at once; None: chosen from
            V so that they stay in the cache.
        inplace: allow the fused loss to write the gradient over ``logits``, which saves
            their memory once. The logits are garbage afterwards: no other use of them, and
            in float16 or with reduction "none" no second backward, is possible.

    Returns: objective, nll_loss, kl (nats; float32, or float64 for float64 logits) and
        n_correct (None unless asked for). Only the objective has a gradient.

    Raises:
        ValueError: shapes that do not fit, or a value outside its range. On an accelerator
            the targets' range is not checked here, which would make the host wait; there
            PyTorch's gather kernel asserts it on the device.
    """
    _check_settings(alpha, label_smoothing, passes, reduction, chunk_rows)
    if impl not in ("auto", "fused", "eager"):
        raise ValueError(f"impl must be 'auto', 'fused' or 'eager', got {impl!r}")
    if logits.dim() != target.dim() + 1:
        raise ValueError(
            f"logits must have one dimension more than target, got {tuple(logits.shape)} "
            f"and {tuple(target.shape)}"
        )
    _check_rows("logits", logits, target, passes)
    _check_target(target, logits.size(-1), ignore_index)

    if impl == "eager":
        result = reference_rdrop_loss(
            logits,
            target,
            alpha=alpha,
            label_smoothing=label_smoothing,
            ignore_index=ignore_index,
            passes=passes,
            reduction="none" if reduction == "none" else "sum",
        )
        if not with_accuracy:
            result = result._replace(n_correct=None)
    else:
        settings = Settings(
            alpha=alpha,
            label_smoothing=label_smoothing,
            ignore_index=ignore_index,
            passes=passes,
            reduction="none" if reduction == "none" else "sum",
            with_accuracy=with_accuracy,
            chunk_rows=chunk_rows,
            inplace=inplace,
        )
        result = fused_loss(settings, target.flatten(), logits.flatten(0, -2))
    return _reduced(result, reduction, target, ignore_index)


def linear_rdrop_loss(
    features: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    alpha: float,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    passes: int = 2,
    reduction: str = "sum",
    bias: Tensor | None = None,
    with_accuracy: bool = False,
    chunk_rows: int | None = None,
) -> RDropLoss:
    """`rdrop_loss` of ``linear(features, weight, bias)``, whose logits never exist as a whole.

    A chunk of rows at a time is projected, visited and projected back, so that memory does
    not grow with N times V. Rows to ignore are dropped before the projection; not so on an
    accelerator, where to count them would make the host wait.

    Args:
        features: [passes * N, D] or [passes * B, T, D], any float dtype.
        weight: [V, D], the output projection; it may be tied to an embedding.
        bias: [V] or None.
        chunk_rows: how many targets are projected at once; None: as many as make 64 MiB of
            float32 logits on a CPU, 256 MiB elsewhere.

    The other arguments, results and errors are those of `rdrop_loss`.
    """
    _check_settings(alpha, label_smoothing, passes, reduction, chunk_rows)
    if features.dim() != target.dim() + 1:
        raise ValueError(
            f"features must have one dimension more than target, got {tuple(features.shape)} "
            f"and {tuple(target.shape)}"
        )
    if weight.dim() != 2 or features.size(-1) != weight.size(1):
        raise ValueError(
            f"weight must be [V, {features.size(-1)}] for features {tuple(features.shape)}, "
            f"got {tuple(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must be [{len(weight)}], got {tuple(bias.shape)}")
    _check_rows("features", features, target, passes)
    _check_target(target, len(weight), ignore_index)

    device = features.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        features, weight = features.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)

    rows, labels, kept = features.flatten(0, -2), target.flatten(), None
    if ignore_index is not None and device == "cpu":
        rows, labels, kept = _without_ignored(rows, labels, ignore_index, passes)
    settings = Settings(
        alpha=alpha,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index if kept is None else None,
        passes=passes,
        reduction="none" if reduction == "none" else "sum",
        with_accuracy=with_accuracy,
        chunk_rows=chunk_rows,
    )
    result = fused_loss(settings, labels, rows, weight, bias)
    if reduction == "none" and kept is not None:
        result = _with_ignored(result, kept, target)
    return _reduced(result, reduction, target, ignore_index)


def adaptive_rdrop_loss(
    features: Tensor,
    target: Tensor,
    head: nn.Module,
    tails: Sequence[nn.Module],
    cutoffs: Sequence[int],
    *,
    alpha: float,
    kl: str = "exact",
    ignore_index: int | None = None,
    passes: int = 2,
    reduction: str = "sum",
    impl: str = "auto",
    chunk_rows: int | None = None,
) -> RDropLoss:
    """`rdrop_loss` of an adaptive softmax, whose log-probabilities never exist as a whole.

    For PyTorch's ``nn.AdaptiveLogSoftmaxWithLoss`` give its ``head``, ``tail`` and
    ``cutoffs``, for fairseq's ``AdaptiveSoftmax`` its ``head``, ``tail`` and ``cutoff``.

    Args:
        features: [passes * N, D] or [passes * B, T, D], any float dtype.
        head: [rows, D] to logits [rows, cutoffs[0] + len(tails)]: of the symbols
            0 to cutoffs[0] - 1 and of the tails.
        tails: the i-th, [rows, D] to logits [rows, cutoffs[i + 1] - cutoffs[i]]. The
            parameters of these modules get their gradients.
        cutoffs: the first symbol of each tail, and V.
        kl: "exact", the KL of the whole distribution, for which every tail is computed for
            every target; or "target", cheaper and not exact: that of the head and, within
            the tail of the target, of that tail (adaptive.py has the formulas).
        impl: "fused" (a chunk of targets at a time, not twice differentiable), "eager" (the
            definition, through autograd), or "auto": fused.
        chunk_rows: how many targets are visited at once; None: as many as make 64 MiB of
            float32 logits on a CPU, 256 MiB elsewhere. Memory is several times that.

    The other arguments, results and errors are those of `rdrop_loss`, but that there is no
    label smoothing and no n_correct.
    """
    _check_settings(alpha, 0.0, passes, reduction, chunk_rows)
    if impl not in ("auto", "fused", "eager"):
        raise ValueError(f"impl must be 'auto', 'fused' or 'eager', got {impl!r}")
    if kl not in ("exact", "target"):
        raise ValueError(f"kl must be 'exact' or 'target', got {kl!r}")
    if len(cutoffs) != len(tails) + 1 or list(cutoffs) != sorted(set(cutoffs)):
        raise ValueError(
            f"cutoffs must be {len(tails) + 1} numbers in ascending order for {len(tails)} tails: "
            f"where each begins, and V; got {list(cutoffs)}"
        )
    if features.dim() != target.dim() + 1:
        raise ValueError(
            f"features must have one dimension more than target, got {tuple(features.shape)} "
            f"and {tuple(target.shape)}"
        )
    _check_rows("features", features, target, passes)
    _check_target(target, cutoffs[-1], ignore_index)

    layers = Layers(head, tails, cutoffs)
    settings = {"alpha": alpha, "passes": passes, "kl": kl}
    settings["reduction"] = "none" if reduction == "none" else "sum"
    rows, labels = features.flatten(0, -2), target.flatten()
    if impl == "eager":
        result = reference_adaptive_rdrop_loss(
            rows, labels, layers, ignore_index=ignore_index, **settings
        )
    else:
        kept = None
        if ignore_index is not None:
            rows, labels, kept = _without_ignored(rows, labels, ignore_index, passes)
        result = fused_adaptive_rdrop_loss(rows, labels, layers, chunk_rows=chunk_rows, **settings)
        if reduction == "none" and kept is not None:
            result = _with_ignored(result, kept, target)
    return _reduced(result._replace(n_correct=None), reduction, target, ignore_index)


def _without_ignored(
    rows: Tensor, labels: Tensor, ignore_index: int, passes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """``rows`` [passes * N, D] and ``labels`` [N] of the targets to keep, and which these are."""
    kept = labels.ne(ignore_index).nonzero().squeeze(1)
    return rows.unflatten(0, (passes, -1))[:, kept].flatten(0, 1), labels[kept], kept


def _with_ignored(result: RDropLoss, kept: Tensor, target: Tensor) -> RDropLoss:
    """``result``, one value for each target kept, with zeros for the others."""
    return RDropLoss(
        *(
            value if value is None else value.new_zeros(target.numel()).index_copy(0, kept, value)
            for value in result
        )
    )


def _reduced(
    result: RDropLoss, reduction: str, target: Tensor, ignore_index: int | None
) -> RDropLoss:
    """``result``, a sum or one value a target, as ``reduction`` asks for it."""
    if reduction == "sum":
        return result
    if reduction == "none":
        return RDropLoss(*(v if v is None else v.view(target.shape) for v in result))
    count = target.numel() if ignore_index is None else target.ne(ignore_index).sum()
    return RDropLoss(*(v if v is None else v / count for v in result))


def _check_settings(
    alpha: float, label_smoothing: float, passes: int, reduction: str, chunk_rows: int | None
) -> None:
    if not (math.isfinite(alpha) and alpha >= 0):
        raise ValueError(f"alpha must be a finite number >= 0, got {alpha}")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
    if passes < 2:
        raise ValueError(f"passes must be at least 2, got {passes}")
    if reduction not in ("sum", "mean", "none"):
        raise ValueError(f"reduction must be 'sum', 'mean' or 'none', got {reduction!r}")
    if chunk_rows is not None and chunk_rows < 1:
        raise ValueError(f"chunk_rows must be at least 1, got {chunk_rows}")


def _check_rows(name: str, tensor: Tensor, target: Tensor, passes: int) -> None:
    """Does ``tensor``, [passes * B, ..., any], hold ``passes`` rows for each target?"""
    if tensor.size(0) % passes:
        raise ValueError(f"{name} has {tensor.size(0)} rows, which passes={passes} does not divide")
    if tensor.shape[:-1] != (passes * target.size(0), *target.shape[1:]):
        raise ValueError(
            f"{name} {tuple(tensor.shape)} does not fit target {tuple(target.shape)} and "
            f"passes={passes}: expected {(passes * target.size(0), *target.shape[1:])} rows"
        )


def _check_target(target: Tensor, vocabulary: int, ignore_index: int | None) -> None:
    if target.dtype != torch.int64:
        raise ValueError(f"target must be int64, got {target.dtype}")
    if vocabulary < 2:
        raise ValueError(f"the vocabulary must have at least 2 symbols, got {vocabulary}")
    if target.device.type != "cpu":
        return
    wrong = (target < 0) | (target >= vocabulary)
    if ignore_index is not None:
        wrong &= target.ne(ignore_index)
    if wrong.any():
        raise ValueError(
            f"target must be in [0, {vocabulary}) or ignore_index={ignore_index}, "
            f"got {target[wrong][0].item()}"
        )
