"""Show how far a training has come and how long it will still take.

    fairseq-train ... --log-format simple --log-interval 1 | python scripts/recipe/progress.py 1000

Reads fairseq-train's log from standard input; 1000 is the update that ends the training. On a
terminal it draws a bar, else it prints a line every 30 seconds, both to standard error.
"""

import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from tqdm import tqdm

SECONDS = 30  # between two lines
LINE = "{percentage:.0f}%: {n_fmt} of {total_fmt} updates, about {remaining} left"


def updates(log: Iterable[str]) -> Iterator[int]:
    """The number of updates in every line of the log that tells it."""
    for line in log:
        if match := re.search(r"\bnum_updates[= ](\d+)", line):
            yield int(match[1])


def lines(
    numbers: Iterable[int], total: int, clock: Callable[[], float] = time.monotonic
) -> Iterator[str]:
    """A line whenever 30 seconds have passed since the last, by the seconds that ``clock`` tells.

    The time left is what the rest takes at the speed since the first number, which after a
    resumed training's start is not 1.
    """
    first = begin = last = None
    for number in numbers:
        now = clock()
        if begin is None:
            first, begin, last = number, now, now
        elif now - last >= SECONDS:
            last = now
            yield tqdm.format_meter(number, total, now - begin, initial=first, bar_format=LINE)


def main() -> None:
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit(__doc__)
    total = int(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at Ctrl-C, the log ends
    if not sys.stderr.isatty():
        for line in lines(updates(sys.stdin), total):
            print(line, file=sys.stderr, flush=True)
        return
    numbers = updates(sys.stdin)
    first = next(numbers, 0)
    with tqdm(total=total, initial=first, unit=" updates", dynamic_ncols=True) as bar:
        for number in numbers:
            bar.update(number - bar.n)


if __name__ == "__main__":
    main()
