"""Wrong arguments give a ValueError that names the values."""

import subprocess
import sys

import pytest
import torch

from rdrop_fairseq.loss import linear_rdrop_loss, rdrop_loss

Z, Y = torch.zeros(4, 5), torch.tensor([0, 4])


@pytest.mark.parametrize(
    ("logits", "target", "settings", "message"),
    [
        (Z, Y, {"alpha": -1.0}, r"alpha .*>= 0, got -1\.0"),
        (Z, Y, {"alpha": float("nan")}, "alpha .*got nan"),
        (Z, Y, {"alpha": 1e300}, r"alpha .*finite .*got 1e\+300, in float32"),
        (Z, Y, {"alpha": torch.ones((), requires_grad=True)}, "alpha .*a gradient: give a number"),
        (Z, Y, {"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1\.0"),
        (Z, Y, {"passes": 1}, "passes must be at least 2, got 1"),
        (Z, Y, {"passes": 3}, "logits has 4 rows, which passes=3 does not divide"),
        (Z, Y[:1], {}, r"logits \(4, 5\) does not fit target \(1,\) and passes=2"),
        (Z[None], Y, {}, r"one dimension more than target, got \(1, 4, 5\) and \(2,\)"),
        (Z, torch.tensor([0, 5]), {}, r"target must be in \[0, 5\) .*got 5"),
        (Z, torch.tensor([-100, 0]), {}, "ignore_index=None, got -100"),
        (Z, Y.int(), {}, "target must be int64, got torch.int32"),
        (Z, Y, {"reduction": "average"}, "reduction must be .*got 'average'"),
        (Z, Y, {"impl": "fast"}, "impl must be .*got 'fast'"),
        (Z, Y, {"chunk_rows": 0}, "chunk_rows must be at least 1, got 0"),
        (Z[:, :1], Y * 0, {}, "at least 2 symbols, got 1"),
    ],
)
def test_wrong_arguments(logits, target, settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        rdrop_loss(logits, target, **{"alpha": 1.0, **settings})


@pytest.mark.parametrize(
    ("features", "weight", "bias", "message"),
    [
        (Z, torch.zeros(7, 6), None, r"weight must be \[V, 5\] .*got \(7, 6\)"),
        (Z, torch.zeros(7, 5), torch.zeros(6), r"bias must be \[7\], got \(6,\)"),
        (Z[:3], torch.zeros(7, 5), None, "features has 3 rows, which passes=2 does not divide"),
        (Z, torch.zeros(4, 5), None, r"target must be in \[0, 4\) .*got 4"),
        (Z[None], torch.zeros(7, 5), None, r"one dimension more than target, got \(1, 4, 5\)"),
    ],
)
def test_wrong_linear_arguments(features, weight, bias, message) -> None:
    with pytest.raises(ValueError, match=message):
        linear_rdrop_loss(features, weight, Y, alpha=1.0, bias=bias)


def test_torch_func() -> None:
    """Its transforms take the definition, and the fused loss says so."""
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(1), requires_grad=True)

    def objective(logits: torch.Tensor, impl: str) -> torch.Tensor:
        return rdrop_loss(logits, Y, alpha=1.0, impl=impl).objective

    found = torch.func.grad(objective)(logits.detach(), "eager")
    (expected,) = torch.autograd.grad(objective(logits, "fused"), logits)
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match=r'torch.func .* with impl="eager"'):
        torch.func.grad(objective)(logits.detach(), "auto")
    with pytest.raises(ValueError, match=r'torch.func .* with impl="eager"'):
        torch.func.grad(lambda w: linear_rdrop_loss(Z, w, Y, alpha=1.0).objective)(torch.ones(7, 5))


def test_accuracy_only_when_asked() -> None:
    for impl in ("fused", "eager"):
        assert rdrop_loss(Z, Y, alpha=1.0, impl=impl).n_correct is None
        assert rdrop_loss(Z, Y, alpha=1.0, impl=impl, with_accuracy=True).n_correct == 2


def test_loss_without_fairseq() -> None:
    """`from rdrop_fairseq.loss import rdrop_loss` works where fairseq is not installed."""
    code = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'fairseq' else find(name, *a)\n"
        "from rdrop_fairseq.loss import rdrop_loss; import torch\n"
        "assert 'fairseq' not in sys.modules\n"
        "print(rdrop_loss(torch.zeros(2, 4), torch.tensor([1]), alpha=1.0).objective.item())"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.startswith("2.77258"), output.stderr
