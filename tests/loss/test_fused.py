"""The fused losses against their definition."""

import math
import weakref
from typing import NamedTuple

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import linear
from torch.utils._python_dispatch import TorchDispatchMode

from rdrop_fairseq.loss import (
    RDropLoss,
    adaptive_rdrop_loss,
    fused,
    linear_rdrop_loss,
    rdrop_loss,
    reference_rdrop_loss,
)

from .. import needs


def results_and_grads(
    loss: RDropLoss, inputs: list[Tensor], grad_output: Tensor | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    if grad_output is None:
        grad_output = torch.ones_like(loss.objective)
    grads = torch.autograd.grad(loss.objective, inputs, grad_output)
    return [value for value in loss if value is not None], list(grads)


class Rounding(NamedTuple):
    """How far two ways to compute one loss may differ by rounding: see `rounding`."""

    value: Tensor  #: of objective, nll_loss or KL of a target, a scalar
    gradient: Tensor  #: of the logits' gradient for a factor of 1, [m * N, V]
    sums: float  #: of a sum of V terms, relative to the sum of their sizes
    u: float  #: of one operation, relative to its result
    largest: Tensor  #: L, the largest absolute log-probability


def rounding(logits: Tensor, arguments: dict, size_of_sums: Tensor | float = 0.0) -> Rounding:
    """Bounds that follow from the arithmetic, for any CPU and any order of summation.

    With u, half an eps, the error of one rounding, and L, the largest |log-probability|:

    - A sum of V terms is off by at most V u times the sum of their sizes, and by less than
      6 sqrt(V) u of it with all but one chance in 10^7 (Higham and Mary 2019, theorem 2.4:
      the chance to exceed lambda sqrt(V) u is 2 exp(-lambda^2 / 2)). ``sums`` is 6 sqrt(V) u.
    - A log-probability z - max - log(sum) is off by d = 2 u L + sums, and by what the logits
      are off: ``size_of_sums`` u where they are themselves sums, of terms of that size.
    - p = exp(l) is off by p (d + u), a log ratio, which is at most L, by 2 d.
    - Hence (p - q)(log ratio), summed over V, is off by 2 d L + 4 d + 2 sums L, all passes' CE
      by m d, and the objective by at most 4 m (d + sums) (1 + alpha (1 + L)).
    - An entry of the gradient, p (1 + gamma (C - B)) + gamma E - w with gamma |C - B| and gamma
      |E| / p at most alpha L and alpha, is off by 4 p (d + sums) (1 + alpha (1 + L)), with the
      largest p of the passes, and by 4 u, for w is at most 1.

    Both ways are off by that much: twice the sum is allowed.
    """
    u = torch.finfo(logits.dtype).eps / 2
    lprobs = logits.detach().double().log_softmax(-1)
    largest = lprobs.masked_fill(lprobs.isneginf(), 0).abs().max()
    sums = 6 * logits.size(-1) ** 0.5 * u
    relative = 2 * u * largest + 2 * sums + u * size_of_sums
    relative = 8 * relative * (1 + arguments["alpha"] * (1 + largest))
    passes = arguments["passes"]
    probs = lprobs.exp().unflatten(0, (passes, -1)).amax(0).repeat(passes, 1)
    return Rounding(passes * relative, relative * probs + 8 * u, sums, u, largest)


def assert_within(ours: list[Tensor], theirs: list[Tensor], bounds: list[Tensor]) -> None:
    for mine, other, bound in zip(ours, theirs, bounds, strict=True):
        same = mine.isnan() & other.isnan() | mine.eq(other)
        assert (same | ((mine - other).abs().double() <= bound)).all(), (mine, other, bound)


def assert_same_accuracy(
    ours: Tensor, theirs: Tensor, logits: Tensor, target: Tensor, rounding: float | Tensor
) -> None:
    """But for targets that lead or trail the best other symbol by less than ``rounding``."""
    logits = logits.detach().double().unflatten(0, (-1, len(target)))
    index = target.clamp(min=0).expand(logits.shape[:-1]).unsqueeze(-1)
    lead = logits.gather(-1, index).squeeze(-1) - logits.scatter(-1, index, -torch.inf).amax(-1)
    ties = (lead.abs() <= rounding).sum(0)
    difference = (ours - theirs).abs()
    assert (difference <= (ties if difference.dim() else ties.sum())).all()


cases = st.fixed_dictionaries(
    {
        "rows": st.integers(1, 9),
        "vocabulary": st.sampled_from([2, 3, 7, 33, 1000, 50_000]),
        "passes": st.integers(2, 4),
        "alpha": st.sampled_from([0.0, 0.1, 1.0, 5.0]),
        "label_smoothing": st.sampled_from([0.0, 0.1, 0.9]),
        "padding": st.sampled_from(["none", "all", "some", "no index"]),
        "ignore_index": st.sampled_from([1, -100]),
        "reduction": st.sampled_from(["sum", "mean", "none"]),
        "chunk_rows": st.sampled_from([None, 1, 2, 3, 100]),
        "scale": st.sampled_from([0.0, 1.0, 1e4]),
        "masked": st.booleans(),
        "contiguous": st.booleans(),
        "seed": st.integers(0, 2**31),
    }
)


def make(case: dict, dtype: torch.dtype) -> tuple[Tensor, Tensor, dict]:
    """Logits, target and keyword arguments of a generated case."""
    generator = torch.Generator().manual_seed(case["seed"])
    rows, vocabulary, passes = case["rows"], case["vocabulary"], case["passes"]
    logits = torch.randn(vocabulary, passes * rows, dtype=torch.float64, generator=generator)
    logits = (logits * case["scale"]).float().to(dtype).t()  # the same numbers in both dtypes
    if case["contiguous"]:
        logits = logits.contiguous()
    target = torch.randint(vocabulary, (rows,), generator=generator)
    if case["masked"] and vocabulary > 2:
        column = (target[0] + 1) % vocabulary
        logits[:, column] = -torch.inf
        target = torch.where(target == column, target[0], target)
    ignore_index = None if case["padding"] == "no index" else case["ignore_index"]
    if case["padding"] == "all":
        target[:] = ignore_index
    elif case["padding"] == "some":
        target[torch.rand(rows, generator=generator) < 0.5] = ignore_index
    elif case["padding"] == "none":
        target = torch.where(target == ignore_index, 0, target)
        if case["masked"]:
            logits[:, 0] = torch.where(logits[:, 0].isneginf(), 0.0, logits[:, 0])
    arguments = {key: case[key] for key in ("alpha", "label_smoothing", "passes", "reduction")} | {
        "ignore_index": ignore_index
    }
    return logits, target, arguments


def expected(logits: Tensor, target: Tensor, arguments: dict) -> RDropLoss:
    return rdrop_loss(logits, target, impl="eager", with_accuracy=True, **arguments)


ALL_MASKED = {
    "rows": 5,
    "vocabulary": 33,
    "passes": 3,
    "alpha": 5.0,
    "label_smoothing": 0.1,
    "padding": "some",
    "ignore_index": -100,
    "reduction": "none",
    "chunk_rows": 2,
    "scale": 1.0,
    "masked": True,
    "contiguous": False,
    "seed": 0,
}


@given(case=cases)
@example(case=ALL_MASKED)
@example(case={**ALL_MASKED, "padding": "all", "reduction": "sum"})
@example(case={**ALL_MASKED, "vocabulary": 50_000, "scale": 1e4, "alpha": 0.1, "reduction": "sum"})
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_logits_equal_the_definition(case: dict, dtype: torch.dtype) -> None:
    assert_logits_equal_the_definition(case, dtype)


def assert_logits_equal_the_definition(case: dict, dtype: torch.dtype, **how) -> None:
    logits, target, arguments = make(case, dtype)
    logits.requires_grad_()
    ours = rdrop_loss(
        logits, target, with_accuracy=True, chunk_rows=case["chunk_rows"], **arguments, **how
    )
    generator = torch.Generator().manual_seed(1)
    grad_output = torch.randn(ours.objective.shape, generator=generator).to(dtype)
    theirs = expected(logits, target, arguments)
    results, grads = results_and_grads(ours, [logits], grad_output)
    eager, eager_grads = results_and_grads(theirs, [logits], grad_output)
    bound = rounding(logits, arguments)
    of_values = bound.value * (len(target) if arguments["reduction"] == "sum" else 1)
    assert_within(results[:3], eager[:3], [of_values] * 3)
    assert_same_accuracy(results[3], eager[3], logits, target, 8 * bound.u * bound.largest)
    assert_within(grads, eager_grads, [bound.gradient * grad_output.abs().max()])


@given(case=cases, with_bias=st.booleans())
@example(case=ALL_MASKED, with_bias=True)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_linear_equals_the_definition(case: dict, with_bias: bool, dtype: torch.dtype) -> None:
    assert_linear_equals_the_definition(case, with_bias, dtype)


def assert_linear_equals_the_definition(
    case: dict, with_bias: bool, dtype: torch.dtype, **how
) -> None:
    if case["vocabulary"] > 1000:
        case["rows"] = min(case["rows"], 3)
    logits, target, arguments = make({**case, "masked": False}, dtype)
    generator = torch.Generator().manual_seed(case["seed"])
    features = torch.randn(len(logits), 4, generator=generator).to(dtype)
    weight = torch.randn(case["vocabulary"], 4, generator=generator).to(dtype)
    bias = torch.randn(case["vocabulary"], generator=generator).to(dtype)
    inputs = [features.requires_grad_(), weight.requires_grad_()]
    inputs += [bias.requires_grad_()] if with_bias else []
    ours = linear_rdrop_loss(
        features,
        weight,
        target,
        bias=bias if with_bias else None,
        with_accuracy=True,
        chunk_rows=case["chunk_rows"],
        **arguments,
        **how,
    )
    logits = linear(*inputs)
    theirs = expected(logits, target, arguments)
    results, grads = results_and_grads(ours, inputs)
    eager, eager_grads = results_and_grads(theirs, inputs)

    # a logit is a sum of five terms, off by 5 u times the sum of their sizes
    x, w = features.detach().double().abs(), weight.detach().double().abs()
    size_of_logits = (x @ w.t()).max() + bias.abs().max()
    bound = rounding(logits, arguments, 5 * size_of_logits)
    of_values = bound.value * (len(target) if arguments["reduction"] == "sum" else 1)
    assert_within(results[:3], eager[:3], [of_values] * 3)
    assert_same_accuracy(results[3], eager[3], logits, target, 10 * bound.u * size_of_logits)
    # the gradients are sums of the logits' gradient, over V or over the rows
    leaf = logits.detach().double().requires_grad_()
    exact = expected(leaf, target, arguments).objective
    (true,) = torch.autograd.grad(exact, leaf, torch.ones_like(exact))
    error = bound.gradient + 2 * (bound.sums + len(x) * bound.u) * true.abs()
    assert_within(grads, eager_grads, [error @ w, error.t() @ x, error.sum(0)][: len(grads)])


@pytest.mark.parametrize("impl", ["fused", "eager"])
def test_close_passes_do_not_cancel(impl: str) -> None:
    """float32 finds a KL of 1e-9, where log-probabilities are known to 1e-6 only.

    Where the two passes are the same, their log-probabilities are off by d at most (`rounding`):
    a KL is at most the sum of p d^2, which is d^2. As a difference of entropies it would be off
    by d itself.
    """
    torch.manual_seed(0)
    logits, target = torch.randn(8, 1000), torch.randint(1000, (8,))
    loss = rdrop_loss(torch.cat([logits, logits]), target, alpha=1.0, reduction="none", impl=impl)
    u, largest = torch.finfo(torch.float32).eps / 2, logits.log_softmax(-1).abs().max()
    off = 2 * (2 * u * largest + 6 * 1000**0.5 * u)
    assert off**2 < 1e-8
    assert loss.kl.ge(0).all()
    assert loss.kl.le(off**2).all()
    close = torch.cat([logits, logits + 5e-5 * torch.randn(8, 1000)])
    found = rdrop_loss(close, target, alpha=1.0, reduction="none", impl=impl).kl
    truth = reference_rdrop_loss(close.double(), target, alpha=1.0, reduction="none").kl
    assert 1e-10 < truth.mean() < 1e-8
    torch.testing.assert_close(found.double(), truth, rtol=0.1, atol=0)


def test_gradcheck() -> None:
    torch.manual_seed(0)
    target = torch.tensor([0, 1, 4])
    arguments = {"alpha": 3.0, "label_smoothing": 0.1, "ignore_index": 1}
    double = {"dtype": torch.float64, "requires_grad": True}
    for passes in (2, 3):
        logits = torch.randn(3 * passes, 5, **double)
        inputs = (
            torch.randn(3 * passes, 4, **double),
            torch.randn(5, 4, **double),
            torch.randn(5, **double),
        )
        for reduction in ("sum", "mean", "none"):
            arguments |= {"passes": passes, "reduction": reduction}
            assert torch.autograd.gradcheck(
                lambda z, kw=dict(arguments): rdrop_loss(z, target, **kw).objective, logits
            )
            assert torch.autograd.gradcheck(
                lambda x, w, b, kw=dict(arguments): (
                    linear_rdrop_loss(x, w, target, bias=b, **kw).objective
                ),
                inputs,
            )


def linear_loss(logits: Tensor, target: Tensor, **settings) -> RDropLoss:
    return linear_rdrop_loss(logits, torch.eye(logits.size(-1)).to(logits), target, **settings)


def eager_loss(logits: Tensor, target: Tensor, **settings) -> RDropLoss:
    return rdrop_loss(logits, target, impl="eager", **settings)


def adaptive_loss(logits: Tensor, target: Tensor, **settings) -> RDropLoss:
    head, tail = torch.nn.Linear(logits.size(-1), 3), torch.nn.Linear(logits.size(-1), 3)
    layers = (head.to(logits), [tail.to(logits)], [2, 5])
    return adaptive_rdrop_loss(logits, target, *layers, **settings)


def target_loss(logits: Tensor, target: Tensor, **settings) -> RDropLoss:
    return adaptive_loss(logits, target, kl="target", **settings)


def adaptive_eager_loss(logits: Tensor, target: Tensor, **settings) -> RDropLoss:
    return adaptive_loss(logits, target, impl="eager", **settings)


FUSED = [rdrop_loss, linear_loss, adaptive_loss, target_loss]
EAGER = [eager_loss, adaptive_eager_loss]


@pytest.mark.parametrize("loss", FUSED + EAGER)
@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
@pytest.mark.parametrize("size", [0, 3])
def test_no_target_is_left(loss, reduction: str, size: int) -> None:
    """Exactly 0 to loss and gradient, whatever the logits."""
    logits = (1e4 * torch.randn(2 * size, 5)).requires_grad_()
    target = torch.full((size,), 1)
    result = loss(logits, target, alpha=5.0, ignore_index=1, reduction=reduction)
    (gradient,) = torch.autograd.grad(result.objective.sum(), logits)
    assert not gradient.any()
    assert not any(value.any() for value in result[:3])
    if not size and loss not in (rdrop_loss, linear_loss):
        return
    if not size:  # nor is one ignored
        assert loss(logits, target, alpha=5.0, reduction=reduction).objective.sum() == 0


@pytest.mark.parametrize("loss", [rdrop_loss, eager_loss])
@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_alpha_0_where_the_kl_is_infinite(loss, reduction: str, label_smoothing: float) -> None:
    """A symbol that one pass masks: without the KL term two plain cross-entropies are left."""
    logits = torch.randn(6, 5, dtype=torch.float64)
    logits[1, 2] = -torch.inf
    logits.requires_grad_()
    target = torch.tensor([0, 1, 4])
    settings = {"label_smoothing": label_smoothing, "reduction": reduction}
    result = loss(logits, target, alpha=0.0, **settings)
    assert result.kl.sum() == torch.inf
    each = [logits[:3], logits[3:]]
    alone = [loss(torch.cat([z, z]), target, alpha=0.0, **settings).objective / 2 for z in each]
    torch.testing.assert_close(result.objective, sum(alone))
    gradients = [
        torch.autograd.grad(value.sum(), logits) for value in (result.objective, sum(alone))
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("loss", FUSED)
@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_second_derivatives_are_refused(loss, reduction: str, dtype: torch.dtype) -> None:
    """Through whatever way they are asked for: not one is silently missing."""
    if dtype == torch.float16 and loss is not rdrop_loss:
        needs.float16_on_the_cpu()
    torch.manual_seed(0)
    leaf, target = torch.randn(6, 5, dtype=dtype, requires_grad=True), torch.tensor([0, 1, 4])
    logits = leaf * 1
    torch.manual_seed(1)
    objective = loss(logits, target, alpha=1.0, reduction=reduction).objective.sum()
    (expected,) = torch.autograd.grad(objective, logits, retain_graph=True)
    (gradient,) = torch.autograd.grad(objective, logits, create_graph=True)
    assert torch.equal(gradient, expected)  # as long as nobody differentiates it
    penalty = gradient.float().pow(2).sum()
    refused = pytest.raises(RuntimeError, match=r'cannot be differentiated .* impl="eager"')
    with refused:
        torch.autograd.grad(penalty, leaf, retain_graph=True, allow_unused=True)
    with refused:
        (objective + penalty).backward()


def test_logits_are_not_kept_for_backward() -> None:
    """Their gradient takes their place in memory; what refuses second derivatives holds nothing."""
    logits = torch.randn(4, 50, requires_grad=True) * 1
    kept = weakref.ref(logits)
    loss = rdrop_loss(logits, torch.tensor([1, 2]), alpha=1.0)
    del logits
    assert kept() is None
    loss.objective.backward()


@pytest.mark.parametrize("loss", EAGER)
def test_second_derivatives_of_the_definition(loss) -> None:
    logits = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)

    def objective(logits: Tensor) -> Tensor:
        torch.manual_seed(1)
        return loss(logits, torch.tensor([0, 1, 4]), alpha=1.0).objective

    assert torch.autograd.gradgradcheck(objective, logits)


@pytest.mark.parametrize("loss", FUSED)
@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_backward_in_an_autocast_region(loss, reduction: str, dtype: torch.dtype) -> None:
    """Only the matrix products that autograd itself makes in backward are made in bfloat16."""
    if dtype == torch.float16 and loss is not rdrop_loss:
        needs.float16_on_the_cpu()
    torch.manual_seed(0)
    leaf, target = torch.randn(64, 200, dtype=dtype, requires_grad=True), torch.randint(5, (32,))
    gradients = []
    for inside in (False, True):
        torch.manual_seed(1)
        objective = loss(leaf, target, alpha=5.0, reduction=reduction).objective.sum()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=inside):
            gradients += torch.autograd.grad(objective, leaf)
    products = loss in (adaptive_loss, target_loss) and (
        reduction == "none" or dtype == torch.float16
    )
    error = (gradients[1] - gradients[0]).float().norm() / gradients[0].float().norm()
    assert error <= (torch.finfo(torch.bfloat16).eps if products else 0)


@pytest.mark.parametrize("loss", FUSED)
@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_float64_under_autocast(loss, reduction: str, dtype: torch.dtype) -> None:
    """It stays float64, as in F.linear."""
    if dtype == torch.float16:
        needs.float16_autocast_on_the_cpu()
    torch.manual_seed(0)
    logits, target = torch.randn(8, 5, dtype=torch.float64), torch.randint(5, (4,))
    results = []
    for enabled in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=dtype, enabled=enabled):
            results.append(loss(logits, target, alpha=5.0, reduction=reduction).objective)
    torch.testing.assert_close(*results, rtol=1e-12, atol=0)


@pytest.mark.parametrize("passes", [2, 5])
def test_blocks_of_all_passes_share_one_budget(passes: int, monkeypatch) -> None:
    """What a visit holds at once does not grow with the number of passes."""
    vocabulary, rows = 50, 60
    budget, sizes, visit = 12_000, [], fused._visit_block

    def watched(settings, target, *args):
        sizes.append(len(target) * vocabulary)
        return visit(settings, target, *args)

    monkeypatch.setattr(fused, "_BLOCK_ON_CPU", budget)
    monkeypatch.setattr(fused, "_visit_block", watched)
    logits = torch.randn(passes * rows, vocabulary)
    rdrop_loss(logits, torch.randint(vocabulary, (rows,)), alpha=1.0, passes=passes)
    # two tensors for each pass and two for each pair
    assert max(sizes) * (2 * passes + passes * (passes - 1)) == budget


def test_sequences() -> None:
    """[m * B, T, V] and [B, T]."""
    torch.manual_seed(0)
    logits, target = torch.randn(6, 4, 9, dtype=torch.float64), torch.randint(9, (3, 4))
    loss = rdrop_loss(logits, target, alpha=1, reduction="none")
    flat = torch.cat([logits[:3].flatten(0, 1), logits[3:].flatten(0, 1)])
    expected = reference_rdrop_loss(flat, target.flatten(), alpha=1, reduction="none")
    assert loss.objective.shape == loss.kl.shape == (3, 4)
    torch.testing.assert_close(loss.objective.flatten(), expected.objective)
    weight = torch.randn(9, 5, dtype=torch.float64)
    features = torch.randn(6, 4, 5, dtype=torch.float64)
    loss = linear_rdrop_loss(features, weight, target, alpha=1, reduction="none", ignore_index=0)
    expected = reference_rdrop_loss(
        linear(features, weight), target, alpha=1, reduction="none", ignore_index=0
    )
    torch.testing.assert_close(loss.objective, expected.objective)


def relative_error(value: Tensor, truth: Tensor) -> float:
    return ((value.double() - truth.double()).norm() / truth.double().norm()).item()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("vocabulary", [100, 5003])
def test_half_precision_is_as_good_as_eager(dtype: torch.dtype, vocabulary: int) -> None:
    assert_half_precision_is_as_good_as_eager(dtype, vocabulary)


def assert_half_precision_is_as_good_as_eager(dtype: torch.dtype, vocabulary: int, **how) -> None:
    """Against a float32 truth, the error is at most the eager path's in this dtype, and a rounding.

    The loss is a sum in float32 of what logits in this dtype give: other than the eager path's only
    by those few whose product, in chunks summed in another order, is rounded to their neighbour;
    eps / 16 is what a sixteenth of all would give. Gradients may be rounded once more, by at most
    eps / 2 of each number: the weight's for each chunk, and where the loss scale is no power of
    two, the logits'.
    """
    if dtype == torch.float16:
        needs.float16_on_the_cpu()
    else:
        needs.bfloat16_products_summed_in_float32()
    torch.manual_seed(0)
    rows, width = 96, 32
    features = (torch.randn(2 * rows, width)).to(dtype)
    weight = (torch.randn(vocabulary, width) / width**0.5).to(dtype)
    target = torch.randint(vocabulary, (rows,))
    arguments = {"alpha": 5.0, "label_smoothing": 0.1, "ignore_index": 3}
    scale = 2.0**10 / rows  # a loss scale, so that float16 gradients are not subnormal

    def run(loss, as_dtype: torch.dtype) -> list[Tensor]:
        x = features.to(as_dtype, copy=True).requires_grad_()
        w = weight.to(as_dtype, copy=True).requires_grad_()
        result = loss(x, w)
        (result.objective * scale).backward()
        return [result.objective.detach(), result.nll_loss, result.kl, x.grad, w.grad]

    def eager(x: Tensor, w: Tensor) -> RDropLoss:
        return rdrop_loss(linear(x, w), target, impl="eager", **arguments)

    def logits(x: Tensor, w: Tensor) -> RDropLoss:
        return rdrop_loss(linear(x, w), target, **arguments, **how)

    def fused_linear(x: Tensor, w: Tensor) -> RDropLoss:
        return linear_rdrop_loss(x, w, target, chunk_rows=40, **arguments, **how)

    truth = run(eager, torch.float32)
    allowed = [relative_error(value, t) for value, t in zip(run(eager, dtype), truth, strict=True)]
    for loss in (logits, fused_linear):
        eps = torch.finfo(dtype).eps
        more = [*[eps / 16] * 3, *[eps / 2] * 2]
        for value, t, limit, rounding in zip(run(loss, dtype), truth, allowed, more, strict=True):
            assert relative_error(value, t) <= limit + rounding


@pytest.mark.parametrize("fused", ["logits", "linear"])
def test_float16_gradients_below_its_smallest_number(fused: str) -> None:
    """A gradient of 1e-10 in float16 is there once the loss scale has multiplied it."""
    needs.float16_on_the_cpu()
    vocabulary, scale = 1000, 2.0**15
    x = torch.zeros(2, 1, dtype=torch.float16)
    x[:] = 1
    w = torch.full((vocabulary, 1), -16.0, dtype=torch.float16)
    w[0] = 0  # symbol 0 has nearly all the probability, the others e^-16 = 1.1e-7 each
    w.requires_grad_()
    target = torch.tensor([0])
    if fused == "logits":
        loss = rdrop_loss(linear(x, w), target, alpha=1.0)
    else:
        loss = linear_rdrop_loss(x, w, target, alpha=1.0)
    (loss.objective * (1e-3 * scale)).backward()
    assert w.grad[1:].ne(0).all()
    torch.testing.assert_close(
        w.grad[1:].double() / scale,
        torch.full((vocabulary - 1, 1), 2e-3 * math.exp(-16), dtype=torch.float64),
        rtol=2e-2,
        atol=0,
    )


def test_inplace_reuses_the_logits_storage() -> None:
    needs.gradients_multiplied_in_place()
    torch.manual_seed(0)
    base = torch.randn(8, 50, requires_grad=True)
    target = torch.randint(50, (4,))
    expected = torch.autograd.grad(rdrop_loss(base, target, alpha=5).objective, base)[0]
    logits = base * 1
    gradients = []
    logits.register_hook(lambda g: gradients.append(g.data_ptr()))
    address = logits.data_ptr()
    rdrop_loss(logits, target, alpha=5, inplace=True).objective.backward()
    torch.testing.assert_close(base.grad, expected)
    assert gradients == [address]


@pytest.mark.parametrize("kind", ["expanded", "overlapping", "rows of a wider matrix"])
def test_inplace_with_strides(kind: str) -> None:
    """Logits whose elements share memory are not written to; others are, whatever their strides."""
    numbers = torch.randn(60, generator=torch.Generator().manual_seed(1))
    size, stride = {
        "expanded": ((4, 5), (0, 1)),
        "overlapping": ((4, 5), (3, 1)),
        "rows of a wider matrix": ((4, 5), (8, 1)),
    }[kind]
    before, target = numbers.clone(), torch.tensor([1, 2])
    logits = numbers.as_strided(size, stride)
    separate = logits.clone().requires_grad_()
    expected = rdrop_loss(separate, target, alpha=5).objective
    expected.backward()
    leaf = logits.detach().requires_grad_()
    found = rdrop_loss(leaf, target, alpha=5, inplace=True).objective
    assert torch.equal(found, expected)
    found.backward()
    assert torch.equal(leaf.grad, separate.grad)
    assert torch.equal(numbers, before) == (kind != "rows of a wider matrix")


def test_inplace_is_refused_where_the_logits_are_needed() -> None:
    base = torch.randn(4, 5, requires_grad=True)
    loss = rdrop_loss(base.exp(), torch.tensor([1, 2]), alpha=5, inplace=True).objective
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_logits_are_left_alone_by_default() -> None:
    logits = torch.randn(4, 5, requires_grad=True)
    before = logits.detach().clone()
    rdrop_loss(logits, torch.tensor([1, 2]), alpha=5).objective.backward()
    assert torch.equal(logits, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_backward_again(dtype: torch.dtype) -> None:
    """With retain_graph the gradients add up as they should; without, PyTorch complains."""
    torch.manual_seed(0)
    logits, target = torch.randn(4, 5, dtype=dtype, requires_grad=True), torch.tensor([1, 2])
    (once,) = torch.autograd.grad(rdrop_loss(logits, target, alpha=5).objective, logits)
    loss = rdrop_loss(logits, target, alpha=5).objective
    for times in (1, 2, 3):
        loss.backward(retain_graph=True)
        torch.testing.assert_close(logits.grad, times * once)
    loss.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


def test_frozen_inputs_and_no_grad() -> None:
    torch.manual_seed(0)
    x, w = torch.randn(4, 3, requires_grad=True), torch.randn(7, 3)
    target = torch.tensor([1, 2])
    linear_rdrop_loss(x, w, target, alpha=1).objective.backward()
    assert x.grad is not None
    with torch.no_grad():
        loss = linear_rdrop_loss(x, w, target, alpha=1)
    assert not loss.objective.requires_grad
    torch.testing.assert_close(
        loss.objective, reference_rdrop_loss(linear(x, w), target, alpha=1).objective.detach()
    )


def test_autocast() -> None:
    torch.manual_seed(0)
    x, w = torch.randn(8, 16, requires_grad=True), torch.randn(50, 16, requires_grad=True)
    target = torch.randint(50, (4,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = linear_rdrop_loss(x, w, target, alpha=1.0).objective
        theirs = rdrop_loss(linear(x, w), target, alpha=1.0, impl="eager").objective
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=0)
    ours.backward()
    assert x.grad.dtype == w.grad.dtype == torch.float32


@pytest.mark.parametrize("impl", ["fused", "eager"])
def test_float32_under_autocast(impl: str) -> None:
    """Autocast would do the KL's products in bfloat16."""
    torch.manual_seed(0)
    logits, target = torch.randn(8, 500), torch.randint(500, (4,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = rdrop_loss(logits, target, alpha=1.0, impl=impl)
    expected = reference_rdrop_loss(logits, target, alpha=1.0)
    assert ours.kl.dtype == torch.float32
    torch.testing.assert_close(ours.kl, expected.kl, rtol=1e-5, atol=0)


def test_no_gradient_is_made_where_none_is_wanted() -> None:
    logits = torch.randn(4, 5, requires_grad=True)
    before = logits.detach().clone()
    with torch.no_grad():
        rdrop_loss(logits, torch.tensor([1, 2]), alpha=5, inplace=True)
    assert torch.equal(logits, before)


class Largest(TorchDispatchMode):
    """``numel`` of the largest tensor made."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.numel = max(self.numel, tensor.untyped_storage().nbytes() // 4)
        return result


def test_memory_does_not_grow_with_the_logits() -> None:
    """No tensor of linear_rdrop_loss is as large as the logits, forward and backward."""
    rows, vocabulary, width = 400, 3000, 8
    x = torch.randn(2 * rows, width, requires_grad=True)
    w = torch.randn(vocabulary, width, requires_grad=True)
    with Largest() as largest:
        linear_rdrop_loss(
            x, w, torch.randint(vocabulary, (rows,)), alpha=5, chunk_rows=10
        ).objective.backward()
    assert 2 * 10 * vocabulary <= largest.numel < 2 * rows * vocabulary / 10
