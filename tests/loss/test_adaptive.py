"""The loss of an adaptive softmax against its definition, and that against PyTorch's own."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, kl_divergence
from torch.utils._python_dispatch import TorchDispatchMode

from rdrop_fairseq.loss import adaptive_rdrop_loss, reference_rdrop_loss
from rdrop_fairseq.loss.adaptive import Layers, cluster_log_probs, dense_log_probs

from .. import needs

WIDTH, CUTOFFS, VOCABULARY = 8, [7, 12], 40


def make(
    rows: int = 9, passes: int = 2, dropout: float = 0.0, dtype: torch.dtype = torch.float64
) -> SimpleNamespace:
    """PyTorch's adaptive softmax with a head of 7 symbols and tails of 5 and 28, and a batch."""
    torch.manual_seed(rows + 100 * passes)
    softmax = nn.AdaptiveLogSoftmaxWithLoss(WIDTH, VOCABULARY, CUTOFFS, div_value=2.0)
    for parameter in softmax.parameters():
        nn.init.normal_(parameter, std=0.6)
    if dropout:
        softmax.tail = nn.ModuleList(
            nn.Sequential(tail[0], nn.Dropout(dropout), tail[1]) for tail in softmax.tail
        )
    softmax = softmax.to(dtype)
    features = torch.randn(passes * rows, WIDTH, dtype=torch.float64).to(dtype).requires_grad_()
    # at least one target in the head and in each tail, and the first and last of each
    edges = torch.tensor([39, 0, 6, 7, 11, 12, 20])
    target = torch.cat([edges, torch.randint(VOCABULARY, (max(0, rows - 7),))])[:rows]
    return SimpleNamespace(
        softmax=softmax, features=features, target=target, leaves=[features, *softmax.parameters()]
    )


def loss_of(made: SimpleNamespace, **settings):
    softmax = made.softmax
    settings = {"alpha": 0.7, **settings}
    return adaptive_rdrop_loss(
        *(made.features, made.target, softmax.head, softmax.tail, softmax.cutoffs), **settings
    )


def results(made: SimpleNamespace, **settings) -> list[Tensor]:
    """objective, nll_loss, kl and the gradients of features and parameters."""
    loss = loss_of(made, **settings)
    factor = torch.linspace(0.5, 2.0, loss.objective.numel()).view_as(loss.objective)
    gradients = torch.autograd.grad(
        loss.objective, made.leaves, factor.to(loss.objective), allow_unused=True
    )
    pairs = zip(made.leaves, gradients, strict=True)
    zeros_for_none = [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in pairs]
    return [loss.objective, loss.nll_loss, loss.kl, *zeros_for_none]


def assert_close(ours: list[Tensor], theirs: list[Tensor], tolerance: float = 1e-9) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)


def test_dense_distribution_is_pytorchs() -> None:
    made = make()
    softmax = made.softmax
    layers = Layers(softmax.head, softmax.tail, softmax.cutoffs)
    dense = dense_log_probs(cluster_log_probs(made.features, layers))
    torch.testing.assert_close(dense, softmax.log_prob(made.features), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("impl", ["fused", "eager"])
@pytest.mark.parametrize("passes", [2, 3])
def test_exact_is_the_loss_of_the_dense_distribution(impl, passes) -> None:
    made = make(passes=passes)
    ours = results(made, passes=passes, impl=impl)
    log_probs = made.softmax.log_prob(made.features)
    expected = reference_rdrop_loss(log_probs, made.target, alpha=0.7, passes=passes)
    gradients = torch.autograd.grad(expected.objective, made.leaves, torch.tensor(0.5))
    assert_close(ours, [expected.objective, expected.nll_loss, expected.kl, *gradients])


def test_kl_is_that_of_torch_distributions() -> None:
    """The numbers of the docstring's derivation, each from PyTorch's own KL."""
    made = make()

    def both(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        p, q = Categorical(logits=first), Categorical(logits=second)
        return kl_divergence(p, q), kl_divergence(q, p)

    dense = made.softmax.log_prob(made.features).chunk(2)
    exact = sum(both(*dense)) / 2
    torch.testing.assert_close(
        loss_of(made, reduction="none").kl, exact, rtol=1e-9, atol=1e-12, check_dtype=False
    )
    # J(head) + 1/2 sum_c [P(c) KL(P(.|c)||Q(.|c)) + Q(c) KL(Q(.|c)||P(.|c))]
    head = made.softmax.head(made.features).chunk(2)
    by_clusters = sum(both(*head)) / 2
    of_target = by_clusters.clone()
    priors = [logits.softmax(-1)[:, CUTOFFS[0] :] for logits in head]
    for index, tail in enumerate(made.softmax.tail):
        forward, backward = both(*tail(made.features).chunk(2))
        by_clusters = by_clusters + priors[0][:, index] * forward / 2
        by_clusters = by_clusters + priors[1][:, index] * backward / 2
        inside = (made.target >= CUTOFFS[index]) & (made.target < [*CUTOFFS, VOCABULARY][index + 1])
        of_target = of_target + inside * (forward + backward) / 2
    torch.testing.assert_close(by_clusters, exact, rtol=1e-9, atol=1e-12)
    for impl in ("fused", "eager"):
        ours = loss_of(made, kl="target", reduction="none", impl=impl).kl
        torch.testing.assert_close(ours, of_target, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(of_target, exact, rtol=0.1)


@pytest.mark.parametrize("kl", ["exact", "target"])
@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
@pytest.mark.parametrize(("passes", "chunk_rows"), itertools.product([2, 3], [None, 1, 2, 4]))
def test_fused_is_the_definition(kl, reduction, passes, chunk_rows) -> None:
    made = make(rows=11, passes=passes)
    made.target[torch.tensor([2, 3, 9])] = -100
    settings = {"kl": kl, "reduction": reduction, "passes": passes, "ignore_index": -100}
    ours = results(made, chunk_rows=chunk_rows, **settings)
    assert_close(ours, results(made, impl="eager", **settings))
    if reduction == "none":
        assert not any(value[made.target.eq(-100)].any() for value in ours[:3])
    features = ours[3].unflatten(0, (passes, -1))
    assert not features[:, made.target.eq(-100)].any()


@pytest.mark.parametrize("kl", ["exact", "target"])
@pytest.mark.parametrize("symbols", [(0, 7), (7, 12), (12, 40)])
def test_all_targets_in_one_cluster(kl, symbols) -> None:
    made = make()
    made.target = torch.randint(*symbols, made.target.shape)
    assert_close(
        results(made, kl=kl, chunk_rows=2), results(made, kl=kl, chunk_rows=2, impl="eager")
    )


def test_no_tail_and_batch_by_time() -> None:
    """With a cutoff at V it is rdrop_loss; [B, T] targets keep their shape."""
    torch.manual_seed(0)
    features, weight = torch.randn(4, 3, 8).double(), nn.Linear(8, 5).double()
    target = torch.randint(5, (2, 3))
    ours = adaptive_rdrop_loss(features, target, weight, [], [5], alpha=2.0, reduction="none")
    expected = reference_rdrop_loss(weight(features), target, alpha=2.0, reduction="none")
    for mine, other in zip(ours[:3], expected[:3], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kl", ["exact", "target"])
def test_nothing_but_ignored(kl) -> None:
    made = make()
    made.target[:] = 1
    for reduction in ("sum", "mean", "none"):
        loss = loss_of(made, kl=kl, ignore_index=1, reduction=reduction)
        assert loss.objective.shape == (made.target.shape if reduction == "none" else ())
        assert not any(value.any() for value in loss[:3])
        (gradient,) = torch.autograd.grad(loss.objective.sum(), made.features)
        assert not gradient.any()


@pytest.mark.parametrize("kl", ["exact", "target"])
@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_gradcheck_with_dropout_in_the_tails(kl, reduction) -> None:
    """The gradient is that of the value returned: one mask for CE and KL, in every chunk."""
    made = make(rows=3, dropout=0.5)  # one target in each cluster
    made.target = torch.tensor([39, 0, 9])

    def objective(*_: Tensor) -> Tensor:
        torch.manual_seed(3)
        return loss_of(made, kl=kl, reduction=reduction, chunk_rows=2).objective

    first_layers = [tail[0].weight for tail in made.softmax.tail]
    assert torch.autograd.gradcheck(objective, [made.features, *first_layers])


@pytest.mark.parametrize("kl", ["exact", "target"])
def test_dropout_in_the_tails_as_in_the_definition(kl) -> None:
    """In one chunk the masks are drawn as by one call of each tail."""
    made = make(dropout=0.5)
    if kl == "target":  # all rows go through one tail
        made.target = torch.randint(12, 40, made.target.shape)
    torch.manual_seed(3)
    ours = results(made, kl=kl)
    torch.manual_seed(3)
    if kl == "target":
        made.softmax.tail[0][1].p = 0  # which the definition visits, without using it
    assert_close(ours, results(made, kl=kl, impl="eager"))


@pytest.mark.parametrize("kl", ["exact", "target"])
def test_passes_that_are_the_same(kl) -> None:
    """Their log-probabilities differ by rounding at most, by some 64 ulp; the KL by its square."""
    made = make()
    made.features = torch.cat([made.features[:9], made.features[:9]])
    ulp = torch.finfo(torch.float64).eps
    assert 0 <= loss_of(made, kl=kl).kl <= 9 * (64 * ulp) ** 2


def test_close_passes_do_not_cancel() -> None:
    """float32 finds a KL of 1e-9, where log-probabilities are known to 1e-7 only."""
    made = make(dtype=torch.float32)
    with torch.no_grad():
        made.features[9:] = made.features[:9] + 3e-5 * torch.randn(9, WIDTH)
    exact = loss_of(made, reduction="none").kl
    made.softmax.double()
    made.features = made.features.detach().double()
    truth = loss_of(made, reduction="none").kl
    assert truth.mean() < 1e-8
    torch.testing.assert_close(exact.double(), truth, rtol=0.1, atol=0)


@pytest.mark.parametrize("kl", ["exact", "target"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision(kl, dtype) -> None:
    """As close to the float64 truth as autograd is, though made chunk by chunk.

    What 20 chunks add to the error is one rounding of each chunk's gradient, by at most eps / 2 of
    each number; in float16, which autograd adds up, also one of the sum each time.
    """
    if dtype == torch.float16:
        needs.float16_on_the_cpu()
    else:
        needs.bfloat16_products_summed_in_float32()
    more = {torch.bfloat16: 0.5, torch.float16: 1.0}[dtype] * torch.finfo(dtype).eps
    made = make(rows=40, dtype=dtype)
    ours = results(made, kl=kl, chunk_rows=2)
    eager = results(made, kl=kl, impl="eager")
    assert ours[0].dtype == torch.float32
    assert [grad.dtype for grad in ours[3:]] == [dtype] * len(made.leaves)
    made.softmax.double()
    made.features = made.features.detach().double().requires_grad_()
    made.leaves = [made.features, *made.softmax.parameters()]
    truth = results(made, kl=kl, impl="eager")
    for mine, other, true in zip(ours, eager, truth, strict=True):
        error, allowed = (mine - true).norm(), (other - true).norm()
        assert error <= allowed + more * true.norm()


@pytest.mark.parametrize("kl", ["exact", "target"])
def test_fp16_gradients_are_not_lost_before_the_loss_scale(kl) -> None:
    """A probability of exp(-20) = 2e-9 is 0 in float16, but not when multiplied by 2**15."""
    needs.float16_on_the_cpu()
    made = make(rows=4, dtype=torch.float16)
    made.target[:] = 0
    with torch.no_grad():
        made.features.fill_(1)
        made.softmax.head.weight.zero_()[0] = 20 / WIDTH
    loss = loss_of(made, kl=kl, chunk_rows=2)
    (gradient,) = torch.autograd.grad(loss.objective * 2**15, made.softmax.head.weight)
    expected = torch.full_like(gradient[1:], 8 * math.exp(-20) * 2**15)  # 2 passes of 4 rows
    torch.testing.assert_close(gradient[1:], expected, rtol=2e-3, atol=0)


@pytest.mark.parametrize("kl", ["exact", "target"])
def test_autocast(kl) -> None:
    made = make(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        ours = results(made, kl=kl, chunk_rows=2)
        eager = results(made, kl=kl, impl="eager")
    for mine, other in zip(ours, eager, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - other).norm() <= 0.02 * other.norm()


def test_memory_is_bounded() -> None:
    """No tensor has more elements than a chunk's logits, but for gradients of the inputs."""
    made = make(rows=60)

    class Largest(TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                self.numel = max(self.numel, result.numel())
            return result

    with Largest() as whole:
        loss_of(made, chunk_rows=60).objective.backward()
    with Largest() as chunked:
        loss_of(made, chunk_rows=5).objective.backward()
    assert whole.numel == 2 * 60 * 28
    assert chunked.numel == made.features.numel() == 2 * 60 * WIDTH


def test_parameters_that_are_not_trained() -> None:
    made = make()
    made.softmax.head.requires_grad_(False)
    made.target[:] = 8  # in the first tail
    loss_of(made, kl="target").objective.backward()
    assert made.softmax.head.weight.grad is None
    assert made.softmax.tail[0][0].weight.grad.any()
    # never visited, as fairseq's adaptive_loss leaves it
    assert made.softmax.tail[1][0].weight.grad is None
    loss_of(made).objective.backward()
    assert made.softmax.tail[1][0].weight.grad.any()


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("trained", ["head", "tail"])
def test_only_one_cluster_is_trained(trained, reduction) -> None:
    """The rest of the model frozen, the features too."""
    gradients = []
    for impl in ("fused", "eager"):
        made = make()
        made.softmax.requires_grad_(False)
        module = made.softmax.head if trained == "head" else made.softmax.tail[1]
        module.requires_grad_(True)
        made.features = made.features.detach()
        loss_of(made, impl=impl, reduction=reduction).objective.sum().backward()
        gradients.append([parameter.grad for parameter in module.parameters()])
    assert_close(*gradients)


class Masked(nn.Module):
    """A projection in which one symbol is impossible."""

    def __init__(self, projection: nn.Module, symbol: int) -> None:
        super().__init__()
        self.projection, self.symbol = projection, symbol

    def forward(self, features: Tensor) -> Tensor:
        logits = self.projection(features)
        masked = torch.zeros(logits.size(-1), dtype=torch.bool)
        masked[self.symbol] = True
        return logits.masked_fill(masked, -torch.inf)


class MaskedInOnePass(Masked):
    def forward(self, features: Tensor) -> Tensor:
        logits = self.projection(features).clone()
        logits[: len(logits) // 2, self.symbol] = -torch.inf
        return logits


@pytest.mark.parametrize("impl", ["fused", "eager"])
@pytest.mark.parametrize("kl", ["exact", "target"])
@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_alpha_0_where_the_kl_is_infinite(kl, impl, reduction) -> None:
    """A symbol that one pass masks: cross-entropy and its gradient are those of PyTorch."""
    made = make()
    made.softmax.head = MaskedInOnePass(made.softmax.head, 2)
    made.target[made.target == 2] = 3
    settings = {"kl": kl, "impl": impl, "reduction": reduction}
    objective, _, divergence, *gradients = results(made, alpha=0.0, **settings)
    assert divergence.sum() == torch.inf
    lprobs = made.softmax.log_prob(made.features)
    rows = torch.arange(18), made.target.repeat(2)
    expected = -lprobs[rows].view(2, -1).sum(0)
    factor = torch.linspace(0.5, 2.0, 9).double() if reduction == "none" else 0.5
    plain = torch.autograd.grad((expected * factor).sum(), made.leaves)
    assert_close([objective.sum(), *gradients], [expected.sum(), *plain])


@pytest.mark.parametrize("kl", ["exact", "target"])
@pytest.mark.parametrize("where", ["head", "tail", "whole tail"])
def test_impossible_symbols_add_nothing(where, kl) -> None:
    made = make()
    softmax = made.softmax
    if where == "tail":
        made.target[made.target == 12 + 3] = 12
        softmax.tail[1] = Masked(softmax.tail[1], 3)
    else:
        made.target.clamp_(max=11)  # not in the second tail
        made.target[made.target == 2] = 3
        softmax.head = Masked(softmax.head, 2 if where == "head" else 8)
    fused = results(made, kl=kl, impl="fused")
    assert all(tensor.isfinite().all() for tensor in fused)
    if kl == "exact":
        cluster = cluster_log_probs(made.features, Layers(softmax.head, softmax.tail, [7, 12, 40]))
        expected = reference_rdrop_loss(dense_log_probs(cluster), made.target, alpha=0.7)
        assert_close(fused[:3], [expected.objective, expected.nll_loss, expected.kl])
        gradients = torch.autograd.grad(expected.objective, made.leaves, torch.tensor(0.5))
        assert_close(fused[3:], list(gradients))
    else:
        assert_close(fused, results(made, kl=kl, impl="eager"))


def test_no_grad() -> None:
    made = make()
    expected = loss_of(made).objective
    with torch.no_grad():
        ours = loss_of(made, chunk_rows=2).objective
    assert not ours.requires_grad
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=0)


def test_backward_twice() -> None:
    made = make()
    loss = loss_of(made)
    first = torch.autograd.grad(loss.objective, made.leaves, retain_graph=True)
    second = torch.autograd.grad(3 * loss.objective, made.leaves)
    assert_close([3 * gradient for gradient in first], list(second))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -1.0}, r"alpha .*>= 0, got -1\.0"),
        ({"kl": "approximate"}, "kl must be 'exact' or 'target', got 'approximate'"),
        ({"impl": "linear"}, "impl must be .*got 'linear'"),
        ({"cutoffs": [7, 40]}, r"cutoffs must be 3 numbers .* for 2 tails.* got \[7, 40\]"),
        ({"cutoffs": [12, 7, 40]}, r"ascending order .* got \[12, 7, 40\]"),
        ({"cutoffs": [7, 12, 39]}, r"target must be in \[0, 39\) .*got 39"),
        ({"cutoffs": [7, 12, 41]}, r"tails\[1\] gives 28 logits, cutoffs \[7, 12, 41\] say 29"),
        ({"cutoffs": [8, 12, 40]}, r"head gives 9 logits, cutoffs \[8, 12, 40\] say 10"),
        ({"cutoffs": [8, 12, 40], "impl": "eager"}, "head gives 9 logits"),
        ({"passes": 4}, "features has 18 rows, which passes=4 does not divide"),
        ({"passes": 3}, r"features \(18, 8\) does not fit target \(9,\) and passes=3"),
        ({"target": torch.zeros(3, 3).long()}, "one dimension more than target"),
        ({"reduction": "average"}, "reduction must be .*got 'average'"),
        ({"chunk_rows": 0}, "chunk_rows must be at least 1, got 0"),
    ],
)
def test_wrong_arguments(settings, message) -> None:
    made = make()
    arguments = {
        "features": made.features,
        "target": made.target,
        "head": made.softmax.head,
        "tails": made.softmax.tail,
        "cutoffs": made.softmax.cutoffs,
        "alpha": 1.0,
    }
    with pytest.raises(ValueError, match=message):
        adaptive_rdrop_loss(**{**arguments, **settings})


def test_modules_that_change_when_they_are_called() -> None:
    """As with quantization noise, a hook that draws weights anew: each is called once."""
    made, calls = make(rows=20), []
    made.softmax.head.register_forward_pre_hook(lambda *_: calls.append(None))
    loss_of(made, chunk_rows=4)
    assert len(calls) == 1
    with pytest.raises(ValueError, match="forward pre-hooks: give impl='auto' or 'eager'"):
        loss_of(made, impl="fused")
