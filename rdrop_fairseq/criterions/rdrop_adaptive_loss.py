"""--criterion rdrop_adaptive_loss: R-Drop for models with an adaptive softmax."""

import logging
from dataclasses import dataclass, field
from typing import Any

from fairseq import utils
from fairseq.criterions import register_criterion
from fairseq.criterions.adaptive_loss import AdaptiveLoss, AdaptiveLossConfig
from fairseq.dataclass import ChoiceEnum
from fairseq.tasks import FairseqTask
from torch import nn

from ..batch import repeat_batch
from ..errors import UsageError
from ..loss import adaptive_rdrop_loss
from .flags import RDropFlags
from .model import adaptive_softmax_of, unwrapped
from .rdrop import RDropCriterion
from .training import RDropTraining, Result

logger = logging.getLogger(__name__)


@dataclass
class RDropAdaptiveLossConfig(RDropFlags, AdaptiveLossConfig):
    rdrop_adaptive_kl: ChoiceEnum(["exact", "target"]) = field(  # type: ignore[valid-type]
        default="exact",
        metadata={
            "help": "exact: the KL of the whole distribution, for which every tail is computed "
            "for every token; or target, an approximation that costs little more than "
            "adaptive_loss: the KL of the head and, for a token in a tail, that within this tail "
            "(the authors' code does this); default exact"
        },
    )


@register_criterion("rdrop_adaptive_loss", dataclass=RDropAdaptiveLossConfig)
class RDropAdaptiveLoss(RDropTraining, AdaptiveLoss):
    """fairseq's adaptive_loss with ``rdrop_fairseq.loss.adaptive_rdrop_loss`` in training.

    See `RDropTraining`.

    One thing differs from adaptive_loss on purpose: that leaves out the cross-entropy
    within the tail for the second symbol of each tail, whose index in the tail is that of
    padding in the dictionary. Here, in the updates with R-Drop, it is not left out.
    """

    def __init__(
        self,
        task: FairseqTask,
        sentence_avg: bool,
        rdrop_alpha: float = RDropFlags.rdrop_alpha,
        rdrop_passes: int = RDropFlags.rdrop_passes,
        rdrop_interval: int = RDropFlags.rdrop_interval,
        rdrop_impl: str = RDropFlags.rdrop_impl,
        rdrop_adaptive_kl: str = RDropAdaptiveLossConfig.rdrop_adaptive_kl,
    ) -> None:
        if str(rdrop_impl) not in ("auto", "eager"):
            raise UsageError(
                f"--rdrop-impl {rdrop_impl} is for models with one output projection; "
                "--criterion rdrop_adaptive_loss takes auto, or eager for comparison"
            )
        super().__init__(task, sentence_avg)
        self.rdrop_adaptive_kl = str(rdrop_adaptive_kl)
        self.set_up(rdrop_alpha, rdrop_passes, rdrop_interval, rdrop_impl)

    @classmethod
    def build_criterion(
        cls, cfg: RDropAdaptiveLossConfig, task: FairseqTask
    ) -> "RDropAdaptiveLoss":
        """Build the criterion.

        Raises:
            UsageError: --ddp-backend is one that fairseq's adaptive_loss refuses, too.
        """
        if cfg.ddp_backend in ("c10d", "pytorch_ddp"):
            raise UsageError(
                f"--ddp-backend {cfg.ddp_backend} does not work with an adaptive softmax, whose "
                "tails are not part of every update, as fairseq's adaptive_loss says, too: give "
                "--ddp-backend legacy_ddp, also on one device"
            )
        # the arguments of __init__ from cfg; AdaptiveLoss would give it sentence_avg only
        return super(AdaptiveLoss, cls).build_criterion(cfg, task)

    def forward(self, model: nn.Module, sample: dict[str, Any], reduce: bool = True) -> Result:
        if adaptive_softmax_of(model) is None:
            raise UsageError(
                "--criterion rdrop_adaptive_loss needs an adaptive softmax, which this "
                f"{type(unwrapped(model)).__name__} does not have: give --adaptive-softmax-cutoff "
                "to a transformer or lightconv model (fairseq gives one to lstm, lstm_lm and "
                "fconv_lm with --criterion adaptive_loss only), or train with --criterion rdrop"
            )
        loss, sample_size, logging_output = super().forward(model, sample, reduce)
        if model.training:  # between the updates with R-Drop, too
            logging_output.setdefault("nll_loss", logging_output["loss"])
        return loss, sample_size, logging_output

    def forward_passes(self, model: nn.Module, sample: dict[str, Any], reduce: bool) -> Result:
        adaptive_softmax: Any = adaptive_softmax_of(model)
        passes, target = self.rdrop_passes, sample["target"]
        features = model(**repeat_batch(sample["net_input"], passes, target.size(0)))[0]
        result = adaptive_rdrop_loss(
            adaptive_softmax.dropout_module(features.contiguous()),  # masks drawn as in fairseq
            target,
            adaptive_softmax.head,
            adaptive_softmax.tail,
            adaptive_softmax.cutoff,
            alpha=self.rdrop_alpha,
            kl=self.rdrop_adaptive_kl,
            ignore_index=self.padding_idx,
            passes=passes,
            reduction="sum" if reduce else "none",
            impl=self.rdrop_impl,
        )
        ntokens = utils.strip_pad(target, self.padding_idx).numel()
        sample_size = target.size(0) if self.sentence_avg else ntokens
        logging_output = {
            "loss": result.objective.detach() / passes,
            "nll_loss": result.nll_loss / passes,
            "rdrop_kl": result.kl,
            "ntokens": ntokens,
            "nsentences": target.size(0),
            "sample_size": sample_size,
        }
        return result.objective, sample_size, logging_output

    def look_at(self, model: nn.Module) -> None:
        settings = self.described(model)
        logger.info(f"{settings}; KL {self.rdrop_adaptive_kl}, impl {self.rdrop_impl}")

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """Log what --criterion rdrop logs in training, what adaptive_loss logs in validation.

        In training ``nll_loss`` and ``ppl`` leave the KL term out, as adaptive_loss has none.
        """
        training = any("nll_loss" in log for log in logging_outputs)
        (RDropCriterion if training else AdaptiveLoss).reduce_metrics(logging_outputs)
