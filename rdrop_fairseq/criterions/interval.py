"""k-step R-Drop: only one update of every k pays for the extra passes."""

import functools
from typing import Any

from fairseq.logging import metrics
from fairseq.trainer import Trainer

from ..errors import UsageError


class RDropInterval:
    """Tells a criterion whether the present update is one with R-Drop.

    It is in updates 1, k + 1, 2k + 1 and so on: the first one shows whether R-Drop fits
    into memory. What counts is the update's number, so that all batches of an update
    (--update-freq, several workers) are of one kind and a resumed training goes on where it
    stopped. fairseq's trainer does not give that number to the criterion; see
    `tell_the_update`.
    """

    def __init__(self, every: int) -> None:
        self.every = every  #: k of k-step R-Drop, 1 for R-Drop in every update
        self.update_num: int | None = None  #: updates made before the present one

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes: its update is to be told anew."""
        return {**self.__dict__, "update_num": None}

    def is_due(self) -> bool:
        """Whether the present update is one with R-Drop.

        Raises:
            UsageError: nobody has set ``update_num``.
        """
        if self.every == 1:
            return True
        if self.update_num is None:
            raise UsageError(
                f"--rdrop-interval {self.every} needs the number of the update: train with "
                "fairseq-train, or set the criterion's rdrop_interval.update_num before each update"
            )
        return self.update_num % self.every == 0

    def marked(self, logging_output: dict[str, Any]) -> dict[str, Any]:
        """``logging_output`` with what `log_rdrop_updates` needs, if there is an interval."""
        if self.every == 1:
            return logging_output
        rdrop_sample_size = logging_output["sample_size"] if self.is_due() else 0
        return {**logging_output, "rdrop_sample_size": rdrop_sample_size}


def tell_the_update() -> None:
    """Let fairseq's trainer tell its criterion the number of the update, before each.

    By the class: tasks, criteria and trainers stay as they are, to be copied and pickled.
    """
    train_step = Trainer.train_step

    @functools.wraps(train_step)
    def telling(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        interval = getattr(self.get_criterion(), "rdrop_interval", None)
        if isinstance(interval, RDropInterval):
            interval.update_num = self.get_num_updates()
        return train_step(self, *args, **kwargs)

    Trainer.train_step = telling


def log_rdrop_updates(logging_outputs: list[dict[str, Any]]) -> None:
    """Log ``rdrop_updates``, the share of the updates with R-Drop, in training with k > 1."""
    if any("rdrop_sample_size" in log for log in logging_outputs):
        with_rdrop = sum(log.get("rdrop_sample_size", 0) for log in logging_outputs)
        sample_size = sum(log.get("sample_size", 0) for log in logging_outputs)
        # 0 or 1 for one update; with weight 1 the meter makes it the share of the updates
        metrics.log_scalar("rdrop_updates", with_rdrop / sample_size, weight=1, round=3)
