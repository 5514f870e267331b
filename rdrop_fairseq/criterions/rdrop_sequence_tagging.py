"""--criterion rdrop_sequence_tagging: R-Drop for labelling words (entities, parts of speech)."""

import logging
import math
from dataclasses import dataclass
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import nn

from ..batch import repeat_batch
from ..loss import rdrop_loss
from .flags import RDropFlags, impl_of_head
from .interval import log_rdrop_updates
from .sequence_tagging import SequenceTaggingCriterion, SequenceTaggingCriterionConfig
from .training import RDropTraining, Result

logger = logging.getLogger(__name__)


@dataclass
class RDropSequenceTaggingConfig(RDropFlags, SequenceTaggingCriterionConfig):
    pass


@register_criterion("rdrop_sequence_tagging", dataclass=RDropSequenceTaggingConfig)
class RDropSequenceTaggingCriterion(RDropTraining, SequenceTaggingCriterion):
    """sequence_tagging with R-Drop in training; see `RDropTraining`.

    The loss of ``rdrop_fairseq.loss`` (paper, equations 2 to 4) over the words; a sum, whatever
    ``reduce``.
    """

    def __init__(self, cfg: RDropSequenceTaggingConfig, task: FairseqTask) -> None:
        impl = impl_of_head(cfg)
        super().__init__(cfg, task)
        self.set_up(cfg.rdrop_alpha, cfg.rdrop_passes, cfg.rdrop_interval, impl)

    def forward_passes(
        self, model: BaseFairseqModel, sample: dict[str, Any], reduce: bool
    ) -> Result:
        passes, target = self.rdrop_passes, sample["target"]
        logits = self.logits(model, repeat_batch(sample["net_input"], passes, target.size(0)))
        objective, nll_loss, kl, n_correct = rdrop_loss(
            logits,
            target,
            alpha=self.rdrop_alpha,
            ignore_index=self.ignore_index,
            passes=passes,
            impl=self.rdrop_impl,
            with_accuracy=True,
        )
        sample_size = sample["nwords"]
        logged = {
            "loss": objective.detach() / passes,
            "nll_loss": nll_loss / passes,
            "rdrop_kl": kl,
            "ncorrect": n_correct / passes,  # type: ignore[operator]  # it was asked for
            "ntokens": sample["ntokens"],
            "nsentences": target.size(0),
            "sample_size": sample_size,
        }
        return objective, sample_size, logged

    def look_at(self, model: nn.Module) -> None:
        logger.info(self.described(model))

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """Log also ``nll_loss``, without the KL, and ``rdrop_kl``, in bits a word (in training)."""
        SequenceTaggingCriterion.reduce_metrics(logging_outputs)
        log_rdrop_updates(logging_outputs)
        with_rdrop = [log for log in logging_outputs if "rdrop_kl" in log]
        if with_rdrop:
            words = sum(log["sample_size"] for log in with_rdrop)
            for name in ("nll_loss", "rdrop_kl"):
                total = sum(log[name] for log in with_rdrop)
                metrics.log_scalar(name, total / words / math.log(2), words, round=3)
