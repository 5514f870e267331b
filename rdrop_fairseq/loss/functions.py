"""The public functions: check the arguments, then call the definition or the fused loss."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .adaptive import Layers, fused_adaptive_rdrop_loss, reference_adaptive_rdrop_loss
from .compiled import is_compiled, missing_compiler, on_cpu
from .fused import Settings, fused_loss, product_dtype
from .reference import RDropLoss, reference_rdrop_binary_loss, reference_rdrop_mse_loss

LARGEST_ALPHA = torch.finfo(torch.float32).max  # which the loss is computed in


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
    compile: bool = False,
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
        impl: "fused", "eager" (the definition, through autograd; the only one that can be
            differentiated twice), or "auto": fused.
        with_accuracy: also count the passes whose argmax is the target.
        chunk_rows: how many rows of a pass the fused loss visits at once; None: chosen from
            V so that they stay in the cache.
        inplace: allow the fused loss to write the gradient over ``logits``, which saves
            their memory once. The logits are garbage afterwards: no other use of them, and
            in float16 or with reduction "none" no second backward, is possible. Logits whose
            elements share memory, as expanded ones, are left as they are.
        compile: put the fused loss through ``torch.compile``, which takes some seconds at the
            first call; a function that is compiled itself compiles it, too. It serves every
            number of targets; other V, settings, or dtypes are compiled anew (after 8 of them
            PyTorch warns and compiles no more).

    Returns: objective, nll_loss, kl (nats; float32, or float64 for float64 logits) and
        n_correct (None unless asked for). Only the objective has a gradient.

    Raises:
        ValueError: shapes that do not fit, a value outside its range, or ``compile`` without a
            compiler. On an accelerator the targets' range is not checked here, which would
            make the host wait; there PyTorch's gather kernel asserts it on the device.
    """
    settings = Settings(
        alpha=alpha,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        passes=passes,
        reduction=reduction,
        with_accuracy=with_accuracy,
        chunk_rows=chunk_rows,
        inplace=inplace and not _overlaps(logits),
        compile=compile and not is_compiled(),
    )
    _check(settings, "logits", logits, target, impl=impl)
    if impl == "eager":
        result = settings.definition(logits, target)
        if not with_accuracy:
            result = result._replace(n_correct=None)
    else:
        result = fused_loss(settings, target.flatten(), logits.flatten(0, -2))
    return _reduced(result, settings, target)


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
    compile: bool = False,
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
    settings = Settings(
        alpha=alpha,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        passes=passes,
        reduction=reduction,
        with_accuracy=with_accuracy,
        chunk_rows=chunk_rows,
        compile=compile and not is_compiled(),
    )
    if weight.dim() != 2 or features.shape[-1:] != weight.shape[1:]:
        raise ValueError(
            f"weight must be [V, {features.size(-1)}] for features {tuple(features.shape)}, "
            f"got {tuple(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must be [{len(weight)}], got {tuple(bias.shape)}")
    _check(settings, "features", features, target, vocabulary=len(weight))

    features, weight = features.to(product_dtype(features)), weight.to(product_dtype(weight))
    bias = None if bias is None else bias.to(product_dtype(bias))
    rows, labels, kept = features.flatten(0, -2), target.flatten(), None
    if on_cpu(features):
        rows, labels, kept = _without_ignored(settings, rows, labels)
    to_ignore = ignore_index if kept is None else None
    result = fused_loss(settings._replace(ignore_index=to_ignore), labels, rows, weight, bias)
    return _reduced(result, settings, target, kept)


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
        impl: "fused" (a chunk of targets at a time; calls each module for each chunk), "eager"
            (the definition, through autograd; the only one that can be differentiated twice),
            or "auto": fused, but eager where a module has forward pre-hooks, as quantization
            noise, which may change it from call to call.
        chunk_rows: how many targets are visited at once; None: as many as make 64 MiB of
            float32 logits on a CPU, 256 MiB elsewhere. Memory is several times that.

    The other arguments, results and errors are those of `rdrop_loss`, but that there is no
    label smoothing and no n_correct.
    """
    settings = Settings(
        alpha=alpha,
        ignore_index=ignore_index,
        passes=passes,
        reduction=reduction,
        chunk_rows=chunk_rows,
    )
    if kl not in ("exact", "target"):
        raise ValueError(f"kl must be 'exact' or 'target', got {kl!r}")
    if len(cutoffs) != len(tails) + 1 or list(cutoffs) != sorted(set(cutoffs)):
        raise ValueError(
            f"cutoffs must be {len(tails) + 1} numbers in ascending order for {len(tails)} tails: "
            f"where each begins, and V; got {list(cutoffs)}"
        )
    _check(settings, "features", features, target, vocabulary=cutoffs[-1], impl=impl)

    modules = nn.ModuleList([head, *tails]).modules()
    if any(module._forward_pre_hooks for module in modules):
        if impl == "fused":
            raise ValueError("head or tails have forward pre-hooks: give impl='auto' or 'eager'")
        impl = "eager"
    layers, kept = Layers(head, tails, cutoffs), None
    rows, labels = features.flatten(0, -2), target.flatten()
    if impl == "eager":
        result = reference_adaptive_rdrop_loss(rows, labels, layers, settings, kl)
    else:
        rows, labels, kept = _without_ignored(settings, rows, labels)
        result = fused_adaptive_rdrop_loss(rows, labels, layers, settings, kl)
    return _reduced(result, settings, target, kept)


def rdrop_binary_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float,
    ignore_index: int | None = None,
    passes: int = 2,
    reduction: str = "sum",
) -> RDropLoss:
    """R-Drop's loss for several labels an example, each of which holds or not.

        sum_i BCE(p_i, y) + alpha * mean over i < j of 1/2 [KL(p_i||p_j) + KL(p_j||p_i)]

    with p = sigmoid(logits) and the KL of Bernoulli distributions.

    Args:
        logits: [passes * B, ...], any float dtype, in the order of `rdrop_loss`; usually
            [passes * B, labels].
        target: [B, ...], floating point, in [0, 1] or ``ignore_index``.
        ignore_index: targets that add exactly 0 to loss and gradient.
        reduction: "sum", "mean" (over the labels of all examples, as PyTorch's
            ``binary_cross_entropy_with_logits`` takes it, but for those ignored) or "none".

    Returns: what `rdrop_loss` returns, without n_correct; a value for each label with "none".

    Raises:
        ValueError: as `rdrop_loss`.
    """
    settings = Settings(alpha=alpha, ignore_index=ignore_index, passes=passes, reduction=reduction)
    _check_elementwise(settings, "logits", logits, target)
    if not target.is_floating_point():
        raise ValueError(f"target must be floating point, got {target.dtype}")
    if on_cpu(target):
        wrong = ~((target >= 0) & (target <= 1))  # NaN, too
        _refuse_targets(settings, target, wrong, "[0, 1]")
    return _of_definition(reference_rdrop_binary_loss, settings, logits, target)


def rdrop_mse_loss(
    predictions: Tensor,
    target: Tensor,
    *,
    alpha: float,
    ignore_index: int | None = None,
    passes: int = 2,
    reduction: str = "sum",
) -> RDropLoss:
    """R-Drop's loss for numbers, such as ratings.

        sum_i (f_i - y)^2 + alpha * mean over i < j of (f_i - f_j)^2

    (`reference_rdrop_mse_loss` says where this is from.)

    Args:
        predictions: f, [passes * B, ...], any float dtype, in the order of `rdrop_loss`.
        target: y, [B, ...]
        ignore_index: targets that add exactly 0 to loss and gradient.
        reduction: "sum", "mean" (over the targets that are not ignored) or "none".

    Returns: objective, squared errors as nll_loss, squared differences as kl; no n_correct.

    Raises:
        ValueError: as `rdrop_loss`.
    """
    settings = Settings(alpha=alpha, ignore_index=ignore_index, passes=passes, reduction=reduction)
    _check_elementwise(settings, "predictions", predictions, target)
    return _of_definition(reference_rdrop_mse_loss, settings, predictions, target)


def _of_definition(
    definition: Callable[..., RDropLoss], settings: Settings, outputs: Tensor, target: Tensor
) -> RDropLoss:
    result = definition(
        outputs,
        target,
        alpha=settings.alpha,
        ignore_index=settings.ignore_index,
        passes=settings.passes,
    )
    return _reduced(result, settings, target)


def _overlaps(tensor: Tensor) -> bool:
    """Whether elements of ``tensor`` may share memory."""
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride <= reach:
            return True
        reach += stride * (size - 1)
    return False


def _without_ignored(
    settings: Settings, rows: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """``rows`` [passes * N, D] and ``labels`` [N] of the targets to keep, and which these are."""
    if settings.ignore_index is None:
        return rows, labels, None
    kept = labels.ne(settings.ignore_index).nonzero().squeeze(1)
    return rows.unflatten(0, (settings.passes, -1))[:, kept].flatten(0, 1), labels[kept], kept


def _reduced(
    result: RDropLoss, settings: Settings, target: Tensor, kept: Tensor | None = None
) -> RDropLoss:
    """``result``, sums or one value for each target that was kept, reduced as was asked for."""
    if settings.reduction == "none":
        if kept is not None:
            size = target.numel()
            result = result.map(lambda v: v.new_zeros(size).index_copy(0, kept, v))
        return result.map(lambda v: v.view(target.shape))
    result = result.map(torch.sum)
    if settings.reduction == "sum":
        return result
    ignored = settings.ignore_index
    kept_targets = torch.ones_like(target) if ignored is None else target.ne(ignored)
    count = kept_targets.sum().clamp(min=1)  # of no target: 0, and no gradient
    return result.map(lambda v: v / count)


def _check(
    settings: Settings,
    name: str,
    tensor: Tensor,
    target: Tensor,
    *,
    vocabulary: int | None = None,
    impl: str = "auto",
) -> None:
    """Raise ValueError unless settings make sense and ``tensor`` is [passes * B, ..., any].

    Args:
        target: [B, ...]
        vocabulary: V; None: the size of the last dimension.
    """
    _check_settings(settings)
    label_smoothing, chunk_rows = settings.label_smoothing, settings.chunk_rows
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
    if chunk_rows is not None and chunk_rows < 1:
        raise ValueError(f"chunk_rows must be at least 1, got {chunk_rows}")
    if impl not in ("auto", "fused", "eager"):
        raise ValueError(f"impl must be 'auto', 'fused' or 'eager', got {impl!r}")
    if settings.compile and impl == "eager":
        raise ValueError("compile=True is for the fused loss: leave it out, or impl='eager'")
    if impl != "eager" and torch._C._are_functorch_transforms_active():
        raise ValueError(
            "torch.func cannot transform the fused loss: take rdrop_loss or adaptive_rdrop_loss "
            'with impl="eager"'
        )
    missing = missing_compiler(tensor.device) if settings.compile else None
    if missing is not None:
        raise ValueError(f"compile=True: {missing}. Mend that, or leave compile=True out")

    if not target.dim():
        raise ValueError("target must have at least one dimension, got a scalar")
    if tensor.dim() != target.dim() + 1:
        raise ValueError(
            f"{name} must have one dimension more than target, got {tuple(tensor.shape)} "
            f"and {tuple(target.shape)}"
        )
    _check_rows(settings, name, tensor, tensor.shape[:-1], target)

    vocabulary = tensor.size(-1) if vocabulary is None else vocabulary
    if target.dtype != torch.int64:
        raise ValueError(f"target must be int64, got {target.dtype}")
    if vocabulary < 2:
        raise ValueError(f"the vocabulary must have at least 2 symbols, got {vocabulary}")
    if not on_cpu(target):
        return
    wrong = (target < 0) | (target >= vocabulary)
    _refuse_targets(settings, target, wrong, f"[0, {vocabulary})")


def _check_elementwise(settings: Settings, name: str, outputs: Tensor, target: Tensor) -> None:
    """Raise ValueError unless settings make sense and ``outputs`` is [passes * B, ...].

    Args:
        target: [B, ...]
    """
    _check_settings(settings)
    if not target.dim() or outputs.dim() != target.dim():
        raise ValueError(
            f"{name} must have as many dimensions as target, one at least, got "
            f"{tuple(outputs.shape)} and {tuple(target.shape)}"
        )
    _check_rows(settings, name, outputs, outputs.shape, target)


def _check_settings(settings: Settings) -> None:
    alpha, passes, reduction = settings.alpha, settings.passes, settings.reduction
    if isinstance(alpha, Tensor) and alpha.requires_grad:
        raise ValueError("alpha is a tensor that requires a gradient: give a number")
    if not 0 <= alpha <= LARGEST_ALPHA:
        raise ValueError(f"alpha must be a finite number >= 0, got {alpha}, in float32")
    if passes < 2:
        raise ValueError(f"passes must be at least 2, got {passes}")
    if reduction not in ("sum", "mean", "none"):
        raise ValueError(f"reduction must be 'sum', 'mean' or 'none', got {reduction!r}")


def _check_rows(
    settings: Settings, name: str, tensor: Tensor, rows: torch.Size, target: Tensor
) -> None:
    """Raise ValueError unless ``rows``, the shape of ``tensor`` or its beginning, fit target's."""
    passes = settings.passes
    if tensor.size(0) % passes:
        raise ValueError(f"{name} has {tensor.size(0)} rows, which passes={passes} does not divide")
    expected = (passes * target.size(0), *target.shape[1:])
    if rows != expected:
        raise ValueError(
            f"{name} {tuple(tensor.shape)} does not fit target {tuple(target.shape)} and "
            f"passes={passes}: expected {expected} rows"
        )


def _refuse_targets(settings: Settings, target: Tensor, wrong: Tensor, expected: str) -> None:
    ignore_index = settings.ignore_index
    if ignore_index is not None:
        wrong = wrong & target.ne(ignore_index)
    if wrong.any():
        raise ValueError(
            f"target must be in {expected} or ignore_index={ignore_index}, "
            f"got {target[wrong][0].item()}"
        )
