"""Lines of UTF-8 text: where every tool reads them."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import UsageError


def read_lines(file: BinaryIO, name: str) -> Iterator[str]:
    """The lines of a UTF-8 stream, each with its whitespace reduced to single spaces.

    Only a newline ends a line: a stray carriage return or U+2028 becomes a space, so that no
    later reader can count lines otherwise. A byte order mark is no text.

    Raises:
        UsageError: a line is not UTF-8; names it by ``name`` and its number from 1.
    """
    for number, line in enumerate(file, 1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        yield " ".join(_decoded(line, f"{name}, line {number}").split())


def whole_lines(path: Path, what: str = "text") -> list[str]:
    """The lines of a file, of a gzip file if its name ends in .gz, as they are.

    Only a newline ends one. A byte order mark is no text.

    Raises:
        UsageError: the file is not there, cut off or not UTF-8; calls it the ``what`` file.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(f"no such {what} file: {path}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UsageError(f"the {what} file {path} is not a complete gzip file: {error}") from None
    text = _decoded(content.removeprefix(codecs.BOM_UTF8), f"the {what} file {path}")
    return text.removesuffix("\n").split("\n") if text else []


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start)
        line_of = f", line {line + 1}" if b"\n" in content[:-1] else ""
        byte = content[error.start]
        start = error.start - (content.rfind(b"\n", 0, error.start) + 1)
        raise UsageError(
            f"{where}{line_of}: byte 0x{byte:02x} at position {start + 1} is not UTF-8: convert "
            "the file (iconv), or mend the line"
        ) from None
