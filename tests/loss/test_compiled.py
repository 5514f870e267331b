"""The compiled visit of a block, and the branches of an accelerator, on a CPU.

Most settings go through dynamo alone, which traces the same graph, cuts it where it must, and
compiles anew for what it takes for constant; PyTorch then runs the graph. Inductor makes C++ of
it, which takes seconds for each setting: two are tried.
"""

import importlib

import pytest
import torch
from torch.nn.functional import linear

from rdrop_fairseq.loss import compiled, functions, fused, linear_rdrop_loss, rdrop_loss

from .. import needs
from .test_fused import (
    ALL_MASKED,
    assert_half_precision_is_as_good_as_eager,
    assert_linear_equals_the_definition,
    assert_logits_equal_the_definition,
)

CASE = {**ALL_MASKED, "passes": 2, "chunk_rows": None, "reduction": "sum", "contiguous": True}
CASES = {
    "masked": CASE,
    "not masked": {**CASE, "masked": False, "padding": "no index"},
    "three passes, a factor, strides": {**ALL_MASKED, "chunk_rows": 3},
    "no label smoothing": {**CASE, "label_smoothing": 0.0, "padding": "no index"},
    "no label smoothing, a factor": {
        **CASE,
        "label_smoothing": 0.0,
        "reduction": "none",
        "ignore_index": 1,
    },
    "three passes, no label smoothing": {**CASE, "passes": 3, "label_smoothing": 0.0},
    "alpha 0": {**CASE, "alpha": 0.0, "reduction": "mean"},
    "one row": {**CASE, "rows": 1, "padding": "none"},
    "all ignored": {**CASE, "padding": "all"},
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def needs_inductor() -> None:
    """Skip where it does not work: there is no g++, for example."""
    missing = compiled.missing_compiler(torch.device("cpu"))
    if missing is not None:
        pytest.skip(missing)


class Graphs:
    """A backend of torch.compile that runs a graph as it is, and counts how many it is given."""

    def __init__(self) -> None:
        self.count = 0
        self.tensors = 0  #: that the last one takes

    def __call__(self, graph: torch.fx.GraphModule, inputs: list) -> torch.fx.GraphModule:
        self.count += 1
        self.tensors = sum(isinstance(value, torch.Tensor) for value in inputs)
        return graph


@pytest.fixture
def graphs(monkeypatch) -> Graphs:
    needs.compilation_for_any_number_of_rows()
    torch._dynamo.reset()
    backend = Graphs()
    monkeypatch.setattr(compiled, "BACKEND", backend)
    assert compiled.missing_compiler(torch.device("cpu")) is None
    backend.count = 0
    return backend


@pytest.fixture
def accelerator(monkeypatch) -> None:
    """The CPU takes the branches of one."""
    for module in (compiled, fused, functions):
        monkeypatch.setattr(module, "on_cpu", lambda tensor: False)


@each_case
def test_logits(graphs: Graphs, case: dict) -> None:
    assert_logits_equal_the_definition(case, torch.float32, compile=True)
    assert graphs.count >= 1


@each_case
def test_linear(graphs: Graphs, case: dict) -> None:
    assert_linear_equals_the_definition(case, True, torch.float32, compile=True)
    assert bool(graphs.count) == (case["padding"] != "all")  # those are dropped, none is left


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(graphs: Graphs, dtype: torch.dtype) -> None:
    assert_half_precision_is_as_good_as_eager(dtype, 100, compile=True)
    assert graphs.count


@pytest.mark.parametrize("where", ["CPU", "accelerator"])
def test_inplace(graphs: Graphs, request, where: str) -> None:
    """An accelerator's graph writes over the logits itself: it takes no other tensors."""
    if where == "accelerator":
        request.getfixturevalue("accelerator")
    torch.manual_seed(0)
    base, target = torch.randn(8, 50, requires_grad=True), torch.randint(50, (4,))
    (expected,) = torch.autograd.grad(rdrop_loss(base, target, alpha=5).objective, base)
    logits = base * 1
    loss = rdrop_loss(logits, target, alpha=5, inplace=True, compile=True)
    (gradient,) = torch.autograd.grad(loss.objective, base)
    torch.testing.assert_close(gradient, expected)
    assert logits.eq(gradient).all()  # they have been written over
    assert graphs.count == 1
    assert graphs.tensors == (3 if where == "accelerator" else 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("loss", ["logits", "linear"])
def test_no_recompilation_for_another_number_of_rows(
    graphs: Graphs, monkeypatch, loss: str, dtype: torch.dtype
) -> None:
    """One graph, without a break, for all of them; float16 has another one in backward."""
    monkeypatch.setattr(fused, "_BLOCK_ON_CPU", 6 * 8 * 50)  # eight rows
    weight = torch.randn(50, 4, dtype=dtype)
    expected = 2 if dtype == torch.float16 else 1

    def step(rows: int) -> None:
        features = torch.randn(2 * rows, 4, dtype=dtype, requires_grad=True)
        target = torch.randint(2, 50, (rows,))
        arguments = {"alpha": 5.0, "label_smoothing": 0.1, "ignore_index": 1, "compile": True}
        if loss == "linear":
            objective = linear_rdrop_loss(features, weight, target, **arguments).objective
        else:
            objective = rdrop_loss(linear(features, weight), target, **arguments).objective
        objective.backward()

    for rows in (5, 7, 2, 4, 8, 16, 26, 3, 0):
        step(rows)
    assert graphs.count == expected
    for rows in (1, 17, 6):  # a single row has its own
        step(rows)
    assert graphs.count == 2 * expected


def test_linear_on_an_accelerator(graphs: Graphs, accelerator: None) -> None:
    assert_linear_equals_the_definition(CASE, True, torch.float32, compile=True)
    assert graphs.count == 1


def test_inductor_logits() -> None:
    needs_inductor()
    needs.compilation_for_any_number_of_rows()
    torch._dynamo.reset()
    case = CASES["three passes, a factor, strides"]
    assert_logits_equal_the_definition(case, torch.float32, compile=True)


def test_inductor_linear() -> None:
    """The gradient takes the place of the logits, and is rounded to bfloat16 there."""
    needs_inductor()
    needs.compilation_for_any_number_of_rows()
    torch._dynamo.reset()
    assert_half_precision_is_as_good_as_eager(torch.bfloat16, 100, compile=True)


@each_case
def test_branches_of_an_accelerator(accelerator: None, case: dict) -> None:
    """Where no value is asked for: masks are always made, ignored rows are not dropped."""
    assert_logits_equal_the_definition(case, torch.float32)
    assert_linear_equals_the_definition(case, True, torch.float32)


def test_no_compiler() -> None:
    needs.compilation_for_any_number_of_rows()
    logits, target = torch.randn(4, 5), torch.tensor([0, 1])
    compiled._missing_compiler.cache_clear()
    torch._dynamo.reset()
    with torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        expected = (
            r"compile=True: .*a C\+\+ compiler \(g\+\+\).*no-such-compiler.*leave compile=True"
        )
        for _ in range(2):
            with pytest.raises(ValueError, match=expected) as error:
                rdrop_loss(logits, target, alpha=1.0, compile=True)
        assert len(str(error.value).splitlines()) == 1
        with pytest.raises(ValueError, match=expected):
            linear_rdrop_loss(logits, torch.randn(7, 5), target, alpha=1.0, compile=True)
    compiled._missing_compiler.cache_clear()


def test_pytorch_that_cannot(monkeypatch) -> None:
    monkeypatch.delattr(
        importlib.import_module("torch._dynamo"), "maybe_mark_dynamic", raising=False
    )
    compiled._missing_compiler.cache_clear()
    with pytest.raises(ValueError, match=r"needs PyTorch 2\.1 .* leave compile=True out"):
        rdrop_loss(torch.randn(4, 5), torch.tensor([0, 1]), alpha=1.0, compile=True)
    compiled._missing_compiler.cache_clear()


def test_the_definition_is_not_compiled() -> None:
    with pytest.raises(ValueError, match=r"compile=True is for the fused loss"):
        rdrop_loss(torch.randn(4, 5), torch.tensor([0, 1]), alpha=1.0, impl="eager", compile=True)


def test_in_a_function_that_is_compiled_itself() -> None:
    """compile=True is left to it."""
    needs_inductor()
    target = torch.tensor([0, 4, 2])
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(1), requires_grad=True)

    def objective(logits: torch.Tensor, compile: bool) -> torch.Tensor:
        return rdrop_loss(2 * logits, target, alpha=1.0, compile=compile).objective

    (expected,) = torch.autograd.grad(objective(logits, False), logits)
    within = torch.compile(objective, backend="aot_eager")
    (found,) = torch.autograd.grad(within(logits, True), logits)
    torch.testing.assert_close(found, expected)
