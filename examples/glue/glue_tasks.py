"""The eight tasks of GLUE: where their sentences and labels are, and how they are scored."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """One task, in GLUE's own tsv files and in Hugging Face's copy (nyu-mll/glue)."""

    hf_name: str  #: configuration of nyu-mll/glue
    hf_columns: tuple[str, ...]  #: of its sentences
    columns: tuple[str, ...]  #: of its sentences in the header of GLUE's files
    label: str  #: column of the label
    labels: tuple[str, ...] | None  #: in the order of nyu-mll/glue; None: a rating in [0, 5]
    metric: str  #: a key of metrics.METRICS
    submission: tuple[str, ...]  #: the server's names for the predictions of test, test1


def _task(hf_name: str, hf_columns: str, columns: str, label: str, *rest: Any) -> Task:
    return Task(hf_name, tuple(hf_columns.split()), tuple(columns.split("|")), label, *rest)


_BINARY = ("0", "1")
_NLI = ("entailment", "not_entailment")
TASKS = {
    "MNLI": _task(
        *("mnli", "premise hypothesis", "sentence1|sentence2", "gold_label"),
        *(("entailment", "neutral", "contradiction"), "accuracy", ("MNLI-m.tsv", "MNLI-mm.tsv")),
    ),
    "QNLI": _task(
        *("qnli", "question sentence", "question|sentence", "label"),
        *(_NLI, "accuracy", ("QNLI.tsv",)),
    ),
    "QQP": _task(
        *("qqp", "question1 question2", "question1|question2", "is_duplicate"),
        *(_BINARY, "accuracy and F1", ("QQP.tsv",)),
    ),
    "RTE": _task(
        *("rte", "sentence1 sentence2", "sentence1|sentence2", "label"),
        *(_NLI, "accuracy", ("RTE.tsv",)),
    ),
    "SST-2": _task(
        *("sst2", "sentence", "sentence", "label"),
        *(_BINARY, "accuracy", ("SST-2.tsv",)),
    ),
    "MRPC": _task(
        *("mrpc", "sentence1 sentence2", "#1 String|#2 String", "Quality"),
        *(_BINARY, "accuracy and F1", ("MRPC.tsv",)),
    ),
    "CoLA": _task(
        *("cola", "sentence", "sentence", "label"),
        *(_BINARY, "Matthews correlation", ("CoLA.tsv",)),
    ),
    "STS-B": _task(
        *("stsb", "sentence1 sentence2", "sentence1|sentence2", "score"),
        *(None, "Pearson and Spearman", ("STS-B.tsv",)),
    ),
}
RATING_SCALE = 5.0  # STS-B's ratings are trained on as numbers in [0, 1], as fairseq does
