"""``map`` over several processes."""

import itertools
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    prepare: Callable[..., None] | None = None,
    arguments: tuple = (),
) -> Iterator[Result]:
    """``map`` in order over ``workers`` processes, which holds 200,000 items at a time.

    ``prepare(*arguments)`` runs once in every process, for what cannot be sent to it. Ctrl-C ends
    them in silence.
    """
    if workers == 1:
        if prepare is not None:
            prepare(*arguments)
        yield from map(function, items)
        return
    with multiprocessing.Pool(workers, _begin, (prepare, arguments)) as pool:
        items = iter(items)
        while batch := list(itertools.islice(items, 200_000)):
            yield from pool.imap(function, batch, chunksize=500)


def _begin(prepare: Callable[..., None] | None, arguments: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it, and ends this process
    if prepare is not None:
        prepare(*arguments)
