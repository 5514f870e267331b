"""How far a training has come and how long it will still take, told by its log."""

import re
import sys
import time
from collections.abc import Callable

from tqdm import tqdm

SECONDS = 30  # between two lines
LINE = "{percentage:.0f}%: {n_fmt} of {total_fmt} updates, about {remaining} left"


class Progress:
    """What `write` gets of fairseq-train's log becomes a bar on a terminal, else a line every 30
    seconds, both on standard error.

    The time left is what the rest takes at the speed since the first update that is told, which
    after a resumed training's start is not 1.

    Args:
        total: the update that ends the training.
        clock: gives seconds.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.clock = total, clock
        self.rest = ""  # of a line that is not whole yet
        self.bar: tqdm | None = None
        self.first: int | None = None
        self.begin = self.last = 0.0

    def write(self, text: str) -> None:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            if match := re.search(r"\bnum_updates\W+(\d+)", line):
                self._reach(int(match[1]))

    def _reach(self, number: int) -> None:
        now = self.clock()
        if self.first is None:
            self.first, self.begin, self.last = number, now, now
            if sys.stderr.isatty():
                self.bar = tqdm(
                    total=self.total, initial=number, unit=" updates", dynamic_ncols=True
                )
        elif self.bar is not None:
            self.bar.update(number - self.bar.n)
        elif now - self.last >= SECONDS:
            self.last = now
            seconds = now - self.begin
            line = tqdm.format_meter(
                number, self.total, seconds, initial=self.first, bar_format=LINE
            )
            print(line, file=sys.stderr, flush=True)
