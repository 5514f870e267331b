"""Put a function of ours in the place of one of fairseq's, once."""

import functools
from collections.abc import Callable
from typing import Any


def is_ours(function: Any) -> bool:
    """Whether `in_place_of` has made it, or somebody's wrapper of what it has made."""
    return getattr(function, "_of_rdrop_fairseq", False)


def in_place_of(original: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """functools.wraps for a function that is to stand where ``original`` stood."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function = functools.wraps(original)(function)
        function._of_rdrop_fairseq = True  # type: ignore[attr-defined]
        return function

    return mark
