"""Skip a test that needs what an older torch or fairseq lacks; constraints.txt's lack nothing.

Each looks for the feature itself, not for a version; see scripts/test_stack.sh.
"""

import importlib
from collections.abc import Callable

import pytest
import torch
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.criterions.sentence_prediction import SentencePredictionConfig
from fairseq.tasks import TASK_REGISTRY


def _works(function: Callable[[], object]) -> bool:
    try:
        function()
    except RuntimeError:
        return False
    return True


def float16_on_the_cpu() -> None:
    """Products and dropout."""
    ones = torch.ones(2, 2, dtype=torch.float16)
    if not _works(lambda: torch.dropout(ones @ ones, 0.5, train=True)):
        pytest.skip("torch has no float16 products and dropout on the CPU")


def float16_autocast_on_the_cpu() -> None:
    def enter() -> None:
        with torch.autocast("cpu", dtype=torch.float16):
            pass

    if not _works(enter):
        pytest.skip("torch has no float16 autocast on the CPU")


def bfloat16_products_summed_in_float32() -> None:
    """1024 ones: in bfloat16, 256 + 1 is 256."""
    for matrix in (torch.ones(2, 1024), torch.ones(1024, 2).t()):
        for other in (torch.ones(1024, 2), torch.ones(2, 1024).t()):
            if (matrix.bfloat16() @ other.bfloat16()).ne(1024).any():
                pytest.skip("torch adds up some bfloat16 products in bfloat16 on the CPU")


def gradients_multiplied_in_place() -> None:
    """For that, the loss asks torch whether backward may come again."""
    if not hasattr(torch._C._autograd, "_get_current_graph_task_keep_graph"):
        pytest.skip("torch does not tell whether backward may come again")


def compilation_for_any_number_of_rows() -> None:
    if not hasattr(importlib.import_module("torch._dynamo"), "maybe_mark_dynamic"):
        pytest.skip("torch.compile cannot be told that a dimension varies")


def fairseqs_task(name: str) -> None:
    if name not in TASK_REGISTRY:
        pytest.skip(f"fairseq has no task {name}")


def fairseqs_rdrop() -> None:
    if "label_smoothed_cross_entropy_with_rdrop" not in CRITERION_REGISTRY:
        pytest.skip("fairseq has no label_smoothed_cross_entropy_with_rdrop")


def fairseqs_glue_reports() -> None:
    if not hasattr(SentencePredictionConfig, "report_mcc"):
        pytest.skip("fairseq's sentence_prediction has no --report-mcc and the like")
