"""--criterion sequence_tagging: cross-entropy of the words' labels, and the F1 of entities."""

import logging
import math
import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from fairseq.logging.meters import safe_round
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import Tensor

from ..errors import UsageError
from ..tasks.sequence_tagging import SequenceTaggingTask
from .training import Result, task_name

logger = logging.getLogger(__name__)

#: entities of the labels, of the predictions, and those that are in both
COUNTS = ("entities", "entities_predicted", "entities_correct")


@dataclass
class SequenceTaggingCriterionConfig(FairseqDataclass):
    classification_head_name: str = II("task.classification_head_name")


@register_criterion("sequence_tagging", dataclass=SequenceTaggingCriterionConfig)
class SequenceTaggingCriterion(FairseqCriterion):
    """Cross-entropy over the labelled positions, a sum, whatever ``reduce``.

    The sample size is the number of words. In validation, if the labels are BIO, also the
    micro-averaged precision, recall and F1 of entities, by seqeval: of all sentences,
    whatever the batches and the number of processes, since the counts are added up.
    """

    def __init__(self, cfg: SequenceTaggingCriterionConfig, task: FairseqTask) -> None:
        if not isinstance(task, SequenceTaggingTask):
            raise UsageError(
                f"--criterion sequence_tagging and rdrop_sequence_tagging need --task "
                f"sequence_tagging, got {task_name(task)}"
            )
        super().__init__(task)
        self.classification_head_name = cfg.classification_head_name
        self.ignore_index = task.ignore_index
        self.names = task.class_names()
        self.has_entities = are_bio(self.names)
        if self.has_entities and find_spec("seqeval") is None:
            raise UsageError("the F1 of entities needs seqeval: pip install seqeval")
        if not self.has_entities:
            logger.info("the labels are not BIO tags: there is accuracy, but no F1 of entities")

    def logits(self, model: BaseFairseqModel, net_input: dict[str, Any]) -> Tensor:
        """[B, T, classes]"""
        logits, _ = model(
            **net_input,
            features_only=True,
            classification_head_name=self.classification_head_name,
        )
        return logits

    def forward(
        self, model: BaseFairseqModel, sample: dict[str, Any], reduce: bool = True
    ) -> Result:
        logits, target = self.logits(model, sample["net_input"]), sample["target"]
        loss = F.cross_entropy(
            logits.float().flatten(0, 1),
            target.flatten(),
            ignore_index=self.ignore_index,
            reduction="sum",
        )
        is_word = target.ne(self.ignore_index)
        predicted = logits.argmax(-1)
        sample_size = sample["nwords"]
        logged = {
            "loss": loss.detach(),
            "ncorrect": (predicted.eq(target) & is_word).sum(),
            "ntokens": sample["ntokens"],
            "nsentences": target.size(0),
            "sample_size": sample_size,
        }
        if self.has_entities and not model.training:
            words = is_word.cpu()
            tags = [self.tags(classes.cpu(), words) for classes in (target, predicted)]
            logged |= zip(COUNTS, count_entities(*tags), strict=True)
        return loss, sample_size, logged

    def tags(self, classes: Tensor, is_word: Tensor) -> list[list[str]]:
        """The labels of each sentence's words. Both on the CPU: a GPU would be asked for each."""
        return [
            [self.names[index] for index in row[words].tolist()]
            for row, words in zip(classes, is_word, strict=True)
        ]

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """Log ``loss`` (bits a word), ``accuracy`` (of words) and the scores of entities, in %."""
        words = sum(log.get("sample_size", 0) for log in logging_outputs)
        loss = sum(log.get("loss", 0) for log in logging_outputs)
        ncorrect = sum(log.get("ncorrect", 0) for log in logging_outputs)
        metrics.log_scalar("loss", loss / words / math.log(2), words, round=3)
        metrics.log_scalar("accuracy", 100.0 * ncorrect / words, words, round=2)
        if any(COUNTS[0] in log for log in logging_outputs):
            for name in COUNTS:
                metrics.log_scalar_sum(f"_{name}", sum(log.get(name, 0) for log in logging_outputs))
            metrics.log_derived("precision", lambda meters: scores(*_counts(meters))[0])
            metrics.log_derived("recall", lambda meters: scores(*_counts(meters))[1])
            metrics.log_derived("f1", lambda meters: scores(*_counts(meters))[2])

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True


def _counts(meters: Any) -> list[int]:
    return [meters[f"_{name}"].sum for name in COUNTS]


def are_bio(names: list[str]) -> bool:
    """Whether labels are BIO tags: O, B-TYPE, I-TYPE.

    Raises:
        UsageError: some are and some are not.
    """
    if not any(re.match("[BI]-.", name) for name in names):
        return False
    for name in names:
        if not re.fullmatch("O|[BI]-.+", name):
            raise UsageError(
                f"the label {name!r} is not a BIO tag (O, B-TYPE or I-TYPE), but others are: "
                f"{', '.join(names)}. Prepare the data again with labels of one kind (BIOES and "
                "the like have to be converted to BIO)"
            )
    return True


def count_entities(true: list[list[str]], predicted: list[list[str]]) -> tuple[int, int, int]:
    """Entities in ``true``, in ``predicted``, and in both with the same type and borders.

    What an entity is, seqeval says (as CoNLL's script: an I- after O or after another type
    begins one, too). None goes beyond its sentence.
    """
    from seqeval.metrics.sequence_labeling import get_entities  # scikit-learn takes a second

    first, second = set(get_entities(true)), set(get_entities(predicted))
    return len(first), len(second), len(first & second)


def scores(true: int, predicted: int, correct: int) -> tuple[float, float, float]:
    """Precision, recall and F1 in percent, each 0 where there is nothing to divide by."""
    precision = 100 * correct / predicted if predicted else 0.0
    recall = 100 * correct / true if true else 0.0
    f1 = 200 * correct / (true + predicted) if true + predicted else 0.0
    return safe_round(precision, 2), safe_round(recall, 2), safe_round(f1, 2)
