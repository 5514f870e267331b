"""--criterion rdrop: R-Drop for translation, summarization and language modelling."""

import logging
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.dataclass import ChoiceEnum
from fairseq.logging import metrics
from fairseq.models.nat import FairseqNATModel
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from ..batch import repeat_batch, tiled
from ..errors import UsageError
from ..loss import linear_rdrop_loss, rdrop_loss
from ..loss.compiled import missing_compiler
from .encoder_once import encoder_once, repeat_target_side, require_repeatable_encoder
from .flags import RDropFlags
from .interval import log_rdrop_updates
from .model import (
    adaptive_softmax_of,
    choose_impl,
    logits_of,
    may_overwrite,
    needs_sorted_lengths,
    require_one_distribution_a_token,
    unwrapped,
)
from .training import RDropTraining, Result, criterion_for, task_name

logger = logging.getLogger(__name__)

ENCODER = ChoiceEnum(["twice", "once"])


@dataclass
class RDropCriterionConfig(RDropFlags, LabelSmoothedCrossEntropyCriterionConfig):
    rdrop_compile: bool = field(
        default=False,
        metadata={
            "help": "compile the loss with torch.compile, which needs a C++ compiler on a CPU, "
            "triton on a GPU, and some seconds in the first update; default off"
        },
    )
    rdrop_encoder: ENCODER = field(  # type: ignore[valid-type]
        default="twice",
        metadata={
            "help": "twice: every pass goes through encoder and decoder, as in the paper; once: "
            "the encoder runs once, and the passes go through the decoder only, whose dropout "
            "alone then makes them differ. Costs less, most where sources are long; default twice"
        },
    )


@register_criterion("rdrop", dataclass=RDropCriterionConfig)
class RDropCriterion(RDropTraining, LabelSmoothedCrossEntropyCriterion):
    """fairseq's label-smoothed cross-entropy with the loss of ``rdrop_fairseq.loss`` in training.

    See `RDropTraining`.
    """

    def __init__(
        self,
        task: FairseqTask,
        sentence_avg: bool,
        label_smoothing: float,
        ignore_prefix_size: int = 0,
        report_accuracy: bool = False,
        rdrop_alpha: float = RDropFlags.rdrop_alpha,
        rdrop_passes: int = RDropFlags.rdrop_passes,
        rdrop_interval: int = RDropFlags.rdrop_interval,
        rdrop_impl: str = RDropFlags.rdrop_impl,
        rdrop_compile: bool = RDropCriterionConfig.rdrop_compile,
        rdrop_encoder: str = RDropCriterionConfig.rdrop_encoder,
    ) -> None:
        _check_task(task)
        if not 0 <= label_smoothing < 1:
            raise UsageError(
                f"--label-smoothing must be in [0, 1), got {label_smoothing} (0.1 is usual)"
            )
        if ignore_prefix_size < 0:
            raise UsageError(
                f"--ignore-prefix-size must be 0 or more tokens, got {ignore_prefix_size}"
            )
        if rdrop_compile and str(rdrop_impl) == "eager":
            raise UsageError(
                "--rdrop-compile compiles the fused loss, which --rdrop-impl eager does not take: "
                "leave one of them out"
            )
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        self.set_up(rdrop_alpha, rdrop_passes, rdrop_interval, rdrop_impl)
        self.rdrop_compile = rdrop_compile
        self.rdrop_encoder = str(rdrop_encoder)

    def forward_passes(self, model: nn.Module, sample: dict[str, Any], reduce: bool) -> Result:
        _check_batch(sample, self.task)
        passes, target = self.rdrop_passes, sample["target"]
        net_input, batch_size = sample["net_input"], target.size(0)
        runs: AbstractContextManager[None]
        if self.rdrop_encoder == "once":
            interleave = True
            net_input = repeat_target_side(net_input, passes, batch_size)
            runs = encoder_once(model, passes, batch_size)
        else:
            interleave = needs_sorted_lengths(model)
            net_input = repeat_batch(net_input, passes, batch_size, interleave=interleave)
            runs = nullcontext()
        impl, _ = choose_impl(model, self.rdrop_impl)
        with runs:
            if impl == "linear":
                output = model(**net_input, features_only=True)[0]
            else:
                output = logits_of(model, model(**net_input))
                require_one_distribution_a_token(output, target, passes, model)
        if interleave:
            output = tiled(output, passes)

        if self.ignore_prefix_size:
            output = output[:, self.ignore_prefix_size :]
            target = target[:, self.ignore_prefix_size :]
        settings = {
            "alpha": self.rdrop_alpha,
            "label_smoothing": self.eps,
            "ignore_index": self.padding_idx,
            "passes": passes,
            "reduction": "sum" if reduce else "none",
            "with_accuracy": self.report_accuracy,
        }
        if impl == "linear":
            projection = unwrapped(model).decoder.output_projection
            result = linear_rdrop_loss(
                output,
                projection.weight,
                target,
                bias=projection.bias,
                compile=self.rdrop_compile,
                **settings,
            )
        elif impl == "logits":
            overwrite = may_overwrite(output, model)
            result = rdrop_loss(
                output,
                target,
                impl="fused",
                inplace=overwrite,
                compile=self.rdrop_compile,
                **settings,
            )
        else:
            result = rdrop_loss(output, target, impl="eager", **settings)
        sample_size = sample["target"].size(0) if self.sentence_avg else sample["ntokens"]
        logging_output = {
            "loss": result.objective.detach() / passes,
            "nll_loss": result.nll_loss / passes,
            "rdrop_kl": result.kl,
            "ntokens": sample["ntokens"],
            "nsentences": sample["target"].size(0),
            "sample_size": sample_size,
        }
        if result.n_correct is not None:
            logging_output["n_correct"] = result.n_correct / passes
            logging_output["total"] = target.ne(self.padding_idx).sum()
        return result.objective, sample_size, logging_output

    def look_at(self, model: nn.Module) -> None:
        if isinstance(unwrapped(model), FairseqNATModel):
            raise UsageError(
                f"--criterion rdrop cannot train {type(unwrapped(model)).__name__}, which is not "
                "autoregressive: its loss is one of edits and lengths, take --criterion nat_loss"
            )
        if adaptive_softmax_of(model) is not None:
            raise UsageError(
                "--criterion rdrop needs a distribution over all symbols at once, and this model "
                "has an adaptive softmax (--adaptive-softmax-cutoff): use --criterion "
                "rdrop_adaptive_loss with --ddp-backend legacy_ddp"
            )
        part = ""
        if self.rdrop_encoder == "once":
            require_repeatable_encoder(model)
            part = "decoder"
        impl, reason = choose_impl(model, self.rdrop_impl)
        compiled = ""
        if self.rdrop_compile:
            missing = missing_compiler(next(model.parameters()).device)
            if missing is not None:
                raise UsageError(
                    f"--rdrop-compile: {missing}. Mend that, or leave --rdrop-compile out"
                )
            compiled = ", compiled"
        logger.info(f"{self.described(unwrapped(model), part)}; impl {impl}{compiled} ({reason})")
        if self.rdrop_impl == "linear":
            # it can be had. When fairseq looks for a NaN, it hooks into every module, and the
            # loss must not refuse that step
            self.rdrop_impl = "auto"

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log, beside fairseq's metrics, ``rdrop_kl`` in bits per token (in training).

        With --rdrop-interval > 1 it is that of the updates with R-Drop, and
        ``rdrop_updates`` says which share of the updates they are.
        """
        super().reduce_metrics(logging_outputs)
        log_rdrop_updates(logging_outputs)
        if any("rdrop_kl" in log for log in logging_outputs):
            kl = sum(log.get("rdrop_kl", 0) for log in logging_outputs)
            ntokens = sum(log.get("ntokens", 0) for log in logging_outputs)
            metrics.log_scalar("rdrop_kl", kl / ntokens / math.log(2), ntokens, round=3)


def _check_task(task: FairseqTask) -> None:
    """Raise UsageError if ``task`` has no target tokens, or targets of other tasks beside them."""
    if criterion_for(task) != "rdrop":
        instead = f"--criterion {criterion_for(task)}"
    elif getattr(task, "target_dictionary", None) is None:
        instead = "the criterion made for this task"
    elif getattr(task, "multitask_tasks", None):
        raise UsageError(
            "--criterion rdrop has no loss for the tasks of --multitask-config-yaml "
            f"({', '.join(task.multitask_tasks)}): leave it out, or train with the criterion made "
            "for them, such as speech_to_unit (with --rdrop-alpha, fairseq's own R-Drop)"
        )
    else:
        return
    raise UsageError(
        "--criterion rdrop needs a task whose target is a sequence of tokens, such as translation "
        f"or language_modeling; {task_name(task)} has none: use {instead}"
    )


def _check_batch(sample: dict[str, Any], task: FairseqTask) -> None:
    """Raise UsageError unless ``sample`` has one input and one sequence of target tokens."""
    if not (
        isinstance(sample.get("net_input"), Mapping) and isinstance(sample.get("target"), Tensor)
    ):
        raise UsageError(
            "--criterion rdrop needs batches with one net_input and one tensor of target tokens; "
            f"those of {task_name(task)} have {', '.join(sample)}: use the criterion made for this "
            "task"
        )
