"""The losses of several labels an example and of numbers, against definitions in float64."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, kl_divergence
from torch.nn import functional as F

from rdrop_fairseq.loss import rdrop_binary_loss, rdrop_loss, rdrop_mse_loss

LOSSES = {"binary": rdrop_binary_loss, "mse": rdrop_mse_loss}


def example(passes: int = 2, ignored: bool = False) -> tuple[Tensor, Tensor]:
    """Outputs [passes * 5, 3] and targets [5, 3] in [0, 1]."""
    torch.manual_seed(passes)
    outputs = 2 * torch.randn(passes * 5, 3, dtype=torch.float64)
    target = torch.rand(5, 3, dtype=torch.float64)
    target[0] = torch.tensor([0.0, 1.0, 1.0])
    if ignored:
        target[1, 2] = target[4] = -100
    return outputs.requires_grad_(), target


def test_binary_worked_out_by_hand() -> None:
    # p = 1/2 and q = 3/4, label 1: BCE is log 2 and log 4/3;
    #   KL(p||q) + KL(q||p) = (3/4 - 1/2) (log 3 - log 1)
    logits = torch.tensor([0.0, math.log(3)], dtype=torch.float64)
    found = rdrop_binary_loss(logits, torch.tensor([1.0]), alpha=5)
    assert found.nll_loss.item() == pytest.approx(math.log(2) + math.log(4 / 3))
    assert found.kl.item() == pytest.approx(math.log(3) / 8)
    assert found.objective.item() == pytest.approx(math.log(8 / 3) + 5 * math.log(3) / 8)
    assert found.n_correct is None


def test_mse_worked_out_by_hand() -> None:
    predictions = torch.tensor([1.0, 2.0, 1.5, 2.5])  # passes [1, 2] and [1.5, 2.5]
    found = rdrop_mse_loss(predictions, torch.tensor([1.0, 1.0]), alpha=2.0)
    # (0 + 1) + (0.25 + 2.25) and 0.25 + 0.25
    assert [value.item() for value in found[:3]] == [3.5 + 2 * 0.5, 3.5, 0.5]


@pytest.mark.parametrize("passes", [2, 3])
def test_binary_equals_pytorchs_losses(passes) -> None:
    logits, target = example(passes, ignored=True)
    found = rdrop_binary_loss(logits, target, alpha=0.7, ignore_index=-100, passes=passes)
    kept = target != -100
    of_pass = [z[kept] for z in logits.chunk(passes)]
    bce = sum(F.binary_cross_entropy_with_logits(z, target[kept], reduction="sum") for z in of_pass)
    both = [
        kl_divergence(Bernoulli(logits=p), Bernoulli(logits=q)) for p in of_pass for q in of_pass
    ]
    kl = sum(both).sum() / (passes * (passes - 1))  # of p and itself 0
    torch.testing.assert_close(found.nll_loss, bce.detach())
    torch.testing.assert_close(found.kl, kl.detach())
    torch.testing.assert_close(found.objective, bce + 0.7 * kl)


def test_binary_is_the_loss_of_two_classes() -> None:
    """One label is a distribution over no and yes; loss and gradient are rdrop_loss's."""
    logits, _ = example()
    target = torch.tensor([0, 1, 1, 0, 1])
    two = torch.stack([torch.zeros_like(logits[:, 0]), logits[:, 0]], dim=-1)
    expected = rdrop_loss(two, target, alpha=2.0, reduction="none", impl="eager")
    found = rdrop_binary_loss(logits[:, 0], target.double(), alpha=2.0, reduction="none")
    torch.testing.assert_close(found[:3], expected[:3])
    gradients = [torch.autograd.grad(loss.objective.sum(), logits) for loss in (expected, found)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("passes", [2, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_gradient(name, passes) -> None:
    outputs, target = example(passes, ignored=True)

    def objective(outputs: Tensor) -> Tensor:
        settings = {"alpha": 0.3, "ignore_index": -100, "passes": passes}
        return LOSSES[name](outputs, target, **settings).objective

    assert torch.autograd.gradcheck(objective, outputs)
    (gradient,) = torch.autograd.grad(objective(outputs), outputs)
    ignored = target.eq(-100).repeat(passes, 1)
    assert gradient[ignored].eq(0).all()
    assert gradient[~ignored].ne(0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_reductions(name) -> None:
    outputs, target = example(ignored=True)

    def loss(reduction: str):
        return LOSSES[name](outputs, target, alpha=1.5, ignore_index=-100, reduction=reduction)

    each, total, mean = map(loss, ("none", "sum", "mean"))
    kept = target.ne(-100)
    for values, value, average in zip(each[:3], total[:3], mean[:3], strict=True):
        assert values.shape == target.shape
        assert values[~kept].eq(0).all()
        torch.testing.assert_close(values.sum(), value)
        torch.testing.assert_close(average, value / 11)  # of 15, 4 are ignored
    assert [value.requires_grad for value in total[:3]] == [True, False, False]
    nothing = LOSSES[name](outputs, 0 * target, alpha=1.0, ignore_index=0, reduction="mean")
    assert nothing.objective.item() == 0


@pytest.mark.parametrize("name", LOSSES)
def test_alpha_0_is_twice_the_plain_loss(name) -> None:
    outputs, target = example()
    plain = {"binary": F.binary_cross_entropy_with_logits, "mse": F.mse_loss}[name]
    same = outputs[:5].repeat(2, 1)
    found = LOSSES[name](same, target, alpha=0.0, reduction="mean")
    torch.testing.assert_close(found.objective, 2 * plain(outputs[:5], target))
    assert found.kl.item() == 0


def test_float16_is_computed_in_float32() -> None:
    predictions = torch.tensor([300.0, 0.0], dtype=torch.float16)  # 300^2 overflows float16
    objective = rdrop_mse_loss(predictions, torch.zeros(1), alpha=1.0).objective
    assert objective.dtype == torch.float32
    assert objective.item() == 2 * 300.0**2
    # exp(-20) is below float16's least number, 2^-24
    logits = torch.tensor([20.0, 20.0], dtype=torch.float16)
    objective = rdrop_binary_loss(logits, torch.ones(1), alpha=1.0).objective
    assert objective.item() == pytest.approx(2 * math.exp(-20))


Z, Y = torch.zeros(4, 5), torch.zeros(2, 5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("outputs", "target", "settings", "message"),
    [
        (Z, Y, {"alpha": -1.0}, r"alpha must be a finite number >= 0, got -1\.0"),
        (Z, Y, {"passes": 1}, "passes must be at least 2, got 1"),
        (Z, Y, {"passes": 3}, "has 4 rows, which passes=3 does not divide"),
        (Z, Y, {"reduction": "average"}, "reduction must be .*got 'average'"),
        (Z, Y[:1], {}, r"\(4, 5\) does not fit target \(1, 5\) and passes=2: expected \(2, 5\)"),
        (Z, Y[:, 0], {}, r"as many dimensions as target, .* got \(4, 5\) and \(2,\)"),
        (Z[0, 0], Y[0, 0], {}, r"one at least, got \(\) and \(\)"),
    ],
)
def test_wrong_arguments(name, outputs, target, settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        LOSSES[name](outputs, target, **{"alpha": 1.0, **settings})


def test_wrong_labels() -> None:
    for wrong in (1.5, -100.0, float("nan")):
        target = torch.tensor([0.0, wrong])
        with pytest.raises(ValueError, match=r"target must be in \[0, 1\] or .*=None, got "):
            rdrop_binary_loss(Z[:, 0], target, alpha=1.0)
    with pytest.raises(ValueError, match=r"target must be floating point, got torch\.int64"):
        rdrop_binary_loss(Z, Y.long(), alpha=1.0)
