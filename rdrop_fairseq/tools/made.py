"""What a product was made with, kept beside it: it is made once, and never taken for another."""

import argparse
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .files import checksum_of, write_json, writing_folder

#: arguments that change nothing
INDIFFERENT = ("out", "workers")
RECORD = "made.json"


def made_with(args: argparse.Namespace, inputs: Iterable[Path]) -> dict[str, Any]:
    """The settings of a command line, and of each file that it reads the name and a checksum.

    Of ``args`` that are paths, there is nothing but the contents.

    Raises:
        UsageError: an input is not there.
    """
    now = {
        f"--{name.replace('_', '-')}": value
        for name, value in vars(args).items()
        if name not in INDIFFERENT
        and value is not None
        and not any(isinstance(v, Path) for v in (value if isinstance(value, list) else [value]))
    }
    for path in inputs:
        if not path.is_file():
            raise UsageError(f"no such text file: {path}")
        name = path.name if path.name not in now else str(path)
        now[name] = checksum_of(path)[:19]
    return now


@contextmanager
def making_folder(folder: Path, now: dict[str, Any]) -> Iterator[Path]:
    """`writing_folder`, which keeps in made.json that it was made with ``now``."""
    with writing_folder(folder) as unfinished:
        write_json(unfinished / RECORD, {"made_with": now})
        yield unfinished


def is_made(now: dict[str, Any], record: Path, *products: Path) -> bool:
    """Whether all ``products`` are there, made with ``now``.

    Args:
        now: as `made_with`; what is None is not known, and not compared.
        record: a JSON file whose field "made_with" says with what the products were made.

    Raises:
        UsageError: one of them is there, but was made with something else.
    """
    product = next((path for path in products if path.exists()), None)
    if product is None:
        return False
    try:
        then = json.loads(record.read_text())["made_with"]
    except (FileNotFoundError, NotADirectoryError, KeyError):
        raise UsageError(
            f"{product} is there already, and nothing says what it was made with: remove it, or "
            "write elsewhere"
        ) from None
    changes = [
        f"{name} {then.get(name)!r}, now {now.get(name)!r}"
        for name in {**then, **now}
        if now.get(name, ...) is not None and then.get(name) != now.get(name)
    ]
    if changes:
        raise UsageError(
            f"{product} was made with {'; '.join(changes)}: remove it and what follows from it, or "
            "write elsewhere"
        )
    if not all(path.exists() for path in products):
        return False
    print(f"{product}: done already")
    return True
