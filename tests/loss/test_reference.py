"""The definition, against numbers worked out by hand and against PyTorch."""

import math

import pytest
import torch
from torch.nn import functional as F

from rdrop_fairseq.loss import reference_rdrop_loss


def test_hand_computed() -> None:
    # P = (1/2, 1/4, 1/4), Q = (1/4, 1/4, 1/2), target 0:
    #   CE(P) = log 2, CE(Q) = log 4
    #   KL(P||Q) = 1/2 log 2 - 1/4 log 2 = 1/4 log 2 = KL(Q||P)
    logits = torch.tensor([[2.0, 1, 1], [1, 1, 2]], dtype=torch.float64).log()
    result = reference_rdrop_loss(logits, torch.tensor([0]), alpha=5)
    assert result.nll_loss.item() == pytest.approx(3 * math.log(2))
    assert result.kl.item() == pytest.approx(math.log(2) / 4)
    assert result.objective.item() == pytest.approx(3 * math.log(2) + 5 * math.log(2) / 4)
    assert result.n_correct.item() == 1


def test_label_smoothing_by_hand() -> None:
    # eps = 0.2, V = 3: 0.1 on every symbol and 0.7 more on the target
    logits = torch.tensor([[2.0, 1, 1], [2, 1, 1]], dtype=torch.float64).log()
    result = reference_rdrop_loss(logits, torch.tensor([0]), alpha=1, label_smoothing=0.2)
    one_pass = 0.7 * math.log(2) + 0.1 * (math.log(2) + 2 * math.log(4))
    assert result.objective.item() == pytest.approx(2 * one_pass)
    assert result.kl.item() == 0


@pytest.mark.parametrize("passes", [2, 3, 4])
def test_equals_pytorch_losses(passes: int) -> None:
    torch.manual_seed(0)
    vocabulary, alpha, eps = 11, 0.7, 0.1
    logits = torch.randn(passes, 5, vocabulary, dtype=torch.float64)
    target = torch.tensor([3, 1, 0, 1, 10])
    result = reference_rdrop_loss(
        logits.flatten(0, 1),
        target,
        alpha=alpha,
        label_smoothing=eps,
        ignore_index=1,
        passes=passes,
    )

    # PyTorch spreads its eps over V symbols, fairseq over V - 1
    torch_eps = eps * vocabulary / (vocabulary - 1)
    ce = sum(
        F.cross_entropy(z, target, ignore_index=1, label_smoothing=torch_eps, reduction="sum")
        for z in logits
    )
    kept = target != 1
    lprobs = logits[:, kept].log_softmax(-1)
    kls = [
        F.kl_div(lprobs[j], lprobs[i], log_target=True, reduction="sum")  # KL(P_i||P_j)
        for i in range(passes)
        for j in range(passes)
        if i != j
    ]
    kl = sum(kls) / len(kls)
    torch.testing.assert_close(result.kl, kl)
    torch.testing.assert_close(result.objective, ce + alpha * kl)


def test_ignored_rows_add_exactly_nothing() -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 4, requires_grad=True)
    target = torch.tensor([2, -100, -100])
    result = reference_rdrop_loss(logits, target, alpha=5, label_smoothing=0.1, ignore_index=-100)
    result.objective.backward()
    alone = reference_rdrop_loss(logits[[0, 3]], target[:1], alpha=5, label_smoothing=0.1)
    assert result.objective.item() == alone.objective.item()
    assert logits.grad[[1, 2, 4, 5]].count_nonzero() == 0


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_masked_symbols_change_nothing(label_smoothing: float) -> None:
    """A symbol at -inf in both passes adds 0 to nll and KL, and no NaN to the gradient."""
    torch.manual_seed(0)
    logits = torch.randn(4, 6, dtype=torch.float64)
    masked = F.pad(logits, (0, 1), value=-torch.inf).requires_grad_()
    logits.requires_grad_()
    target = torch.tensor([2, 5])
    plain = reference_rdrop_loss(logits, target, alpha=5)
    result = reference_rdrop_loss(masked, target, alpha=5, label_smoothing=label_smoothing)
    torch.testing.assert_close(result.nll_loss, plain.nll_loss)
    torch.testing.assert_close(result.kl, plain.kl)
    result.objective.backward()
    assert masked.grad.isfinite().all()
    assert masked.grad[:, 6].count_nonzero() == 0
    if not label_smoothing:
        plain.objective.backward()
        torch.testing.assert_close(masked.grad[:, :6], logits.grad)


def test_one_pass_masked_is_not_hidden() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, -torch.inf]])
    assert reference_rdrop_loss(logits, torch.tensor([0]), alpha=1).kl.isposinf()


def test_gradcheck() -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 4])

    def objective(z: torch.Tensor) -> torch.Tensor:
        return reference_rdrop_loss(
            z, target, alpha=3, label_smoothing=0.1, passes=3, reduction="none"
        ).objective

    assert torch.autograd.gradcheck(objective, logits)
