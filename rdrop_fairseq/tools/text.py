"""Lines of UTF-8 text: where every tool reads them."""

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..errors import UsageError

OPEN: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def read_lines(file: Iterable[bytes], name: str) -> Iterator[str]:
    """The lines of a UTF-8 stream, each with its whitespace reduced to single spaces.

    Only a newline ends a line: a stray carriage return or U+2028 becomes a space, so that no
    later reader can count lines otherwise. A byte order mark is no text.

    Raises:
        UsageError: a line is not UTF-8; names it by ``name`` and its number from 1.
    """
    return (" ".join(line.split()) for line in _decoded(file, name))


def raw_lines(path: Path, what: str = "text") -> Iterator[str]:
    """The lines of a file as they are; it is unpacked if its name ends in .gz, .bz2 or .xz.

    Only a newline ends one. A byte order mark is no text.

    Raises:
        UsageError: the file is not there, damaged or not UTF-8; calls it the ``what`` file.
    """
    try:
        with OPEN.get(path.suffix, open)(path, "rb") as file:
            yield from _decoded(file, f"the {what} file {path}")
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(f"no such {what} file: {path}") from None
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's, not of what is packed
        raise UsageError(
            f"the {what} file {path} is cut off or no {path.suffix} file ({error}): make or fetch "
            "it again"
        ) from None


def whole_lines(path: Path, what: str = "text") -> list[str]:
    """All of `raw_lines`."""
    return list(raw_lines(path, what))


def lines_of(path: Path) -> Iterator[str]:
    """`raw_lines`, each with its whitespace reduced to single spaces."""
    return (" ".join(line.split()) for line in raw_lines(path))


def read_pairs(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """The lines of two files together, as `lines_of` gives them.

    Raises:
        UsageError: as `raw_lines`; or both are empty, or one is longer than the other.
    """
    counts = [0, 0]
    for source, target in zip_longest(*map(lines_of, paths)):
        counts[0] += source is not None
        counts[1] += target is not None
        if counts[0] == counts[1]:
            yield source, target
    if counts[0] != counts[1]:
        raise UsageError(
            f"{paths[0]} has {counts[0]} lines but {paths[1]} has {counts[1]}: they must match "
            "line by line"
        )
    if not counts[0]:
        raise UsageError(f"{paths[0]} and {paths[1]} are empty")


def _decoded(lines: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if number == 1 and not (line := line.removeprefix(codecs.BOM_UTF8)):
            return
        try:
            text = line.removesuffix(b"\n").decode()
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{name}, line {number}: byte 0x{line[error.start]:02x} at position "
                f"{error.start + 1} is not UTF-8: convert the file (iconv), or mend the line"
            ) from None
        yield text
