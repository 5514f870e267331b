"""GLUE's metrics, as fairseq computes them, in points."""

from fairseq.criterions.sentence_prediction import (
    acc_and_f1,
    matthews_corrcoef,
    pearson_and_spearman,
    simple_accuracy,
)
from numpy import ndarray


def _accuracy(pred: ndarray, target: ndarray) -> dict[str, float]:
    return {"accuracy": 100 * simple_accuracy(pred, target)}


def _accuracy_and_f1(pred: ndarray, target: ndarray) -> dict[str, float]:
    found = acc_and_f1(pred == "1", target == "1")  # of the two labels 0 and 1
    return {"accuracy": 100 * found["acc"], "F1": 100 * found["f1"]}


def _matthews(pred: ndarray, target: ndarray) -> dict[str, float]:
    return {"Matthews correlation": 100 * matthews_corrcoef(pred, target)}


def _correlations(pred: ndarray, target: ndarray) -> dict[str, float]:
    found = pearson_and_spearman(pred.astype(float), target.astype(float))
    return {"Pearson": 100 * found["pearson"], "Spearman": 100 * found["spearmanr"]}


#: name -> function of predicted and true labels (text) or ratings (numbers), which gives GLUE's
#: metrics in points; the first is the one that R-Drop's and RoBERTa's papers report
METRICS = {
    "accuracy": _accuracy,
    "accuracy and F1": _accuracy_and_f1,
    "Matthews correlation": _matthews,
    "Pearson and Spearman": _correlations,
}
