"""``map`` over several processes."""

import itertools
import multiprocessing
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

    ``prepare(*arguments)`` runs once in every process, for what cannot be sent to it.
    """
    if workers == 1:
        if prepare is not None:
            prepare(*arguments)
        yield from map(function, items)
        return
    with multiprocessing.Pool(workers, prepare, arguments) as pool:
        items = iter(items)
        while batch := list(itertools.islice(items, 200_000)):
            yield from pool.imap(function, batch, chunksize=500)
