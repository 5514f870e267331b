"""How a training ends: where it diverges with a sentence, and never before its loading thread."""

import atexit
import queue
import time
import weakref
from typing import Any

from fairseq.data import iterators
from fairseq.trainer import Trainer

from .errors import UsageError
from .patch import in_place_of, is_ours


def prepare() -> None:
    """Apply both. Calling it again changes nothing."""
    say_that_it_diverges()
    end_loading_first()


def say_that_it_diverges() -> None:
    """Say what fairseq has seen where a gradient is not finite.

    It looks for the module that made the first NaN, and its NaN detector, which cannot hook into
    the encoders of this torch, ends the program with a bare StopIteration. Needed until it can.
    """
    train_step = Trainer.train_step
    if is_ours(train_step):
        return

    @in_place_of(train_step)
    def or_say_that_it_diverges(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        try:
            return train_step(self, *args, **kwargs)
        except (FloatingPointError, StopIteration) as error:
            cause = error if isinstance(error, FloatingPointError) else error.__context__
            if str(cause) != "gradients are Nan/Inf":  # but differ between the processes
                raise
            raise UsageError(
                f"the loss or its gradient is not finite (NaN or Inf) since update "
                f"{self.get_num_updates() + 1}: the training diverges. Lower --lr, or give more "
                "--warmup-updates or a --clip-norm, and begin from the last checkpoint that is good"
            ) from error

    Trainer.train_step = or_say_that_it_diverges


_consumers: weakref.WeakSet = weakref.WeakSet()


def end_loading_first() -> None:
    """Wait for the threads that load batches ahead, before Python ends.

    fairseq leaves them running. One that is inside of torch when Python ends aborts the program:
    "terminate called without an active exception", after "done training" as well, mostly with
    --num-workers 0. Needed until fairseq ends them.
    """
    create = iterators.BufferedIterator._create_consumer
    if is_ours(create):
        return

    @in_place_of(create)
    def _create_consumer(self: iterators.BufferedIterator) -> None:
        create(self)
        _consumers.add(self._consumer)

    iterators.BufferedIterator._create_consumer = _create_consumer
    atexit.register(end_loading)


def end_loading(patience: float = 10) -> None:
    """End the threads after the batch that each is at, for ``patience`` seconds at most."""
    give_up = time.monotonic() + patience
    for consumer in list(_consumers):
        consumer._max_len = 0  # it loads no more
        while consumer.is_alive() and time.monotonic() < give_up:
            try:  # make room for what it has loaded
                consumer._queue.get(timeout=0.05)
            except queue.Empty:
                continue
