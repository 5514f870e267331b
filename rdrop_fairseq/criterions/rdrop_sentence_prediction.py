"""--criterion rdrop_sentence_prediction: R-Drop for classifying or rating sentences (GLUE)."""

import logging
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.criterions.sentence_prediction import (
    SentencePredictionConfig,
    SentencePredictionCriterion,
)
from fairseq.data import Dictionary, data_utils
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from ..batch import repeat_batch
from ..errors import UsageError
from ..labels import check_num_classes, label_names
from ..loss import rdrop_loss, rdrop_mse_loss
from .flags import RDropFlags, impl_of_head
from .interval import log_rdrop_updates
from .model import unwrapped
from .training import RDropTraining, Result, criterion_for, task_name

logger = logging.getLogger(__name__)


@dataclass
class RDropSentencePredictionConfig(RDropFlags, SentencePredictionConfig):
    pass


@register_criterion("rdrop_sentence_prediction", dataclass=RDropSentencePredictionConfig)
class RDropSentencePredictionCriterion(RDropTraining, SentencePredictionCriterion):
    """fairseq's sentence_prediction with R-Drop in training; see `RDropTraining`.

    For classes the loss is `rdrop_loss` (paper, equations 2 to 4), for --regression-target
    `rdrop_mse_loss`; a sum, whatever ``reduce``, as in fairseq.
    """

    def __init__(self, cfg: RDropSentencePredictionConfig, task: FairseqTask) -> None:
        impl = impl_of_head(cfg)
        _check_flags(cfg)
        _check_task(task, cfg)
        super().__init__(cfg, task)
        self.set_up(cfg.rdrop_alpha, cfg.rdrop_passes, cfg.rdrop_interval, impl)

    def forward_passes(
        self, model: BaseFairseqModel, sample: dict[str, Any], reduce: bool
    ) -> Result:
        passes, batch_size = self.rdrop_passes, sample["target"].size(0)
        logits, _ = model(
            **repeat_batch(sample["net_input"], passes, batch_size),
            features_only=True,
            classification_head_name=self.classification_head_name,
        )
        target = model.get_targets(sample, [logits]).view(-1)
        sample_size = target.numel()
        if self.regression_target:
            objective, task_loss, disagreement, _ = rdrop_mse_loss(
                logits.view(-1), target, alpha=self.rdrop_alpha, passes=passes
            )
            logged: dict[str, Any] = {"rdrop_mse": disagreement}
        else:
            objective, task_loss, disagreement, n_correct = rdrop_loss(
                logits,
                target,
                alpha=self.rdrop_alpha,
                passes=passes,
                impl=self.rdrop_impl,
                with_accuracy=True,
            )
            logged = {"rdrop_kl": disagreement}
            logged["ncorrect"] = n_correct / passes  # type: ignore[operator]  # it was asked for
        for name, regularizer in _pruning_regularizers(model):
            # once a pass, as the task's loss: what alpha weighs the KL against stays the same
            objective = objective + passes * regularizer
            logged[name] = regularizer.detach()
        logged |= {
            "loss": objective.detach() / passes,
            "nll_loss": task_loss / passes,
            "ntokens": sample["ntokens"],
            "nsentences": sample_size,
            "sample_size": sample_size,
        }
        return objective, sample_size, logged

    def look_at(self, model: nn.Module) -> None:
        if self.classification_head_name not in getattr(model, "classification_heads", {}):
            raise UsageError(
                f"{type(unwrapped(model)).__name__} has no classification head named "
                f"{self.classification_head_name!r}: use --arch roberta_base or another that "
                "has them, and the same --classification-head-name for task and criterion"
            )
        logger.info(self.described(model))

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """Log, beside fairseq's metrics, how far the passes are apart (in training).

        ``rdrop_kl``, in bits per sentence, or ``rdrop_mse``, per target. In fairseq
        ``nll_loss`` is the loss per input token; here it leaves the R-Drop term out.
        """
        log_rdrop_updates(logging_outputs)
        if not any("nll_loss" in log for log in logging_outputs):  # no pass was repeated
            SentencePredictionCriterion.reduce_metrics(logging_outputs)
            return
        # with as many tokens as sentences fairseq logs no nll_loss
        SentencePredictionCriterion.reduce_metrics(
            [{**log, "ntokens": log["sample_size"]} for log in logging_outputs]
        )
        total = {
            key: sum(log.get(key, 0) for log in logging_outputs)
            for key in ("nll_loss", "ntokens", "sample_size", "rdrop_kl", "rdrop_mse")
        }
        sentences, ntokens = total["sample_size"], total["ntokens"]
        metrics.log_scalar("nll_loss", total["nll_loss"] / ntokens / math.log(2), ntokens, round=3)
        if "rdrop_kl" in logging_outputs[0]:
            kl = total["rdrop_kl"] / sentences / math.log(2)
            metrics.log_scalar("rdrop_kl", kl, sentences, round=3)
        else:
            metrics.log_scalar("rdrop_mse", total["rdrop_mse"] / sentences, sentences, round=4)


def _pruning_regularizers(model: BaseFairseqModel) -> Iterator[tuple[str, Tensor]]:
    """What fairseq adds to the loss with --mha-reg-scale-factor and --ffn-reg-scale-factor."""
    args = getattr(model, "args", None)
    if getattr(args, "mha_reg_scale_factor", 0):
        yield "mha_reg_loss", model._get_adaptive_head_loss()
    if getattr(args, "ffn_reg_scale_factor", 0):
        yield "ffn_reg_loss", model._get_adaptive_ffn_loss()


def _reports(cfg: RDropSentencePredictionConfig) -> list[str]:
    """Those of fairseq's flags for GLUE's metrics that are given; fairseq 0.12.2 has none."""
    names = ("report_acc_and_f1", "report_mcc", "report_pearson_and_spearman")
    return [f"--{name.replace('_', '-')}" for name in names if getattr(cfg, name, False)]


def _check_flags(cfg: RDropSentencePredictionConfig) -> None:
    """Raise UsageError for flags that contradict each other."""
    for flag in _reports(cfg):
        if cfg.regression_target and flag != "--report-pearson-and-spearman":
            raise UsageError(
                f"{flag} needs classes, but with --regression-target the model predicts a "
                "number: use --report-pearson-and-spearman"
            )


def _check_task(task: FairseqTask, cfg: RDropSentencePredictionConfig) -> None:
    """Raise UsageError unless ``task`` and its labels on disk fit the criterion."""
    labels = getattr(task, "label_dictionary", None)
    if labels is None or not hasattr(task.cfg, "regression_target"):
        raise UsageError(
            "--criterion rdrop_sentence_prediction needs --task sentence_prediction; "
            f"for {task_name(task)} use --criterion {criterion_for(task)}"
        )
    if cfg.regression_target:
        return
    check_num_classes(task.cfg.num_classes, labels, task.cfg.data)
    names = label_names(labels)
    wordy = [name for name in names if not name.lstrip("-").isdigit()]
    if _reports(cfg) and wordy:
        raise UsageError(
            f"--report-mcc, --report-acc-and-f1 and --report-pearson-and-spearman need labels that "
            f"are whole numbers, such as 0 and 1; {task.cfg.data}/label/dict.txt has {wordy[0]!r}"
        )
    _check_labels_on_disk(os.path.join(task.cfg.data, "label"), labels)


def _check_labels_on_disk(folder: str, labels: Dictionary) -> None:
    """Raise UsageError for a label that dict.txt lacks, before fairseq trains on it as -1.

    A test set may have none: it is not looked at.
    """
    names = sorted(name[:-4] for name in os.listdir(folder) if name.endswith(".idx"))
    splits = [name for name in names if not name.startswith("test")]
    for split in splits:
        dataset = data_utils.load_indexed_dataset(os.path.join(folder, split), labels)
        for row, label in enumerate(dataset):
            if len(label) != 2 or label[0] < labels.nspecial:
                found = labels.string(label) or "nothing"
                raise UsageError(
                    f"{folder}/{split}: row {row + 1} has {found} where one of the labels "
                    f"{', '.join(label_names(labels))} of dict.txt was expected (<unk>: a label "
                    "that the training data do not have): prepare the data again without that row"
                )
