"""When a criterion is R-Drop: in training, in the updates of its interval."""

from typing import Any

from fairseq.criterions import FairseqCriterion
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from ..dropout import require_active_dropout
from .flags import RDropFlags, check_flags
from .interval import RDropInterval

Result = tuple[Tensor, int, dict[str, Any]]


def task_name(task: FairseqTask) -> str:
    """What --task calls ``task``."""
    return getattr(getattr(task, "cfg", None), "_name", None) or type(task).__name__


def criterion_for(task: FairseqTask) -> str:
    """Which of the criteria for labels ``task`` needs, or rdrop."""
    if hasattr(task, "ignore_index"):
        return "rdrop_sequence_tagging"
    return "rdrop_sentence_prediction" if hasattr(task, "label_dictionary") else "rdrop"


class RDropTraining(FairseqCriterion):
    """Stands before the criterion that it extends: ``class RDropX(RDropTraining, X)``.

    In training the batch goes through the model, or a part of it, ``rdrop_passes`` times in one
    forward. In validation, and in the updates between those of ``rdrop_interval``, it *is* the
    criterion that it extends, with a single pass, so that its numbers compare with a baseline's.
    What is logged in training is the mean over the passes.
    """

    def set_up(
        self,
        rdrop_alpha: float = RDropFlags.rdrop_alpha,
        rdrop_passes: int = RDropFlags.rdrop_passes,
        rdrop_interval: int = RDropFlags.rdrop_interval,
        rdrop_impl: str = RDropFlags.rdrop_impl,
    ) -> None:
        """Take the shared flags: the last thing in ``__init__``.

        Raises:
            UsageError: one of them makes no sense.
        """
        check_flags(rdrop_alpha, rdrop_passes, rdrop_interval)
        self.rdrop_alpha = rdrop_alpha
        self.rdrop_passes = rdrop_passes
        self.rdrop_interval = RDropInterval(rdrop_interval)
        self.rdrop_impl = str(rdrop_impl)
        self._first_step = True

    def forward(self, model: nn.Module, sample: dict[str, Any], reduce: bool = True) -> Result:
        """Compute the loss of ``sample``, which is left unchanged.

        Returns: the loss (in nats, summed over what the sample size counts; one value a token
            if not ``reduce``, where the criterion has it), the sample size and what to log, as
            every fairseq criterion does.
        """
        if not model.training:
            return super().forward(model, sample, reduce)
        if self._first_step:
            self.look_at(model)
            self._first_step = False
        if self.rdrop_interval.is_due():
            loss, sample_size, logging_output = self.forward_passes(model, sample, reduce)
        else:
            loss, sample_size, logging_output = super().forward(model, sample, reduce)
        return loss, sample_size, self.rdrop_interval.marked(logging_output)

    def forward_passes(self, model: nn.Module, sample: dict[str, Any], reduce: bool) -> Result:
        """The same for an update with R-Drop."""
        raise NotImplementedError

    def look_at(self, model: nn.Module) -> None:
        """Before the first training step: can R-Drop do anything for this model?"""
        raise NotImplementedError

    def described(self, model: nn.Module, part: str = "") -> str:
        """What R-Drop is about to do with ``model``, for the log.

        Args:
            part: the name of the submodule that all passes go through, of all if empty.

        Raises:
            UsageError: there is a KL term but no active dropout in ``part``.
        """
        through = f" through the {part}" if part else ""
        message = f"R-Drop: {self.rdrop_passes} passes{through}, alpha {self.rdrop_alpha:g}"
        if self.rdrop_interval.every > 1:
            message += f", in one update of every {self.rdrop_interval.every}"
        if self.rdrop_alpha > 0:
            message += f", {require_active_dropout(model, part)}"
        return message
