"""Files in CoNLL's columns: a word a line, its tag last, a blank line between sentences.

Tags are BIO (also called IOB2): every entity begins with B-, and goes on with I- of its type. In
IOB1, the form of the original CoNLL-2003 files, B- stands only between two entities of one
type that touch: `read` converts it if asked to.
"""

import gzip
import re
import sys
import zlib
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import InputError


class Word(NamedTuple):
    text: str
    tag: str
    line: int  #: in its file, from 1


def read(path: Path, iob1: bool = False) -> list[list[Word]]:
    """The sentences of a file, which may be packed (.gz); ``-DOCSTART-`` lines are left out.

    Columns are separated by tabs if the first line has one, else by spaces.

    Raises:
        InputError: names file and line of what is not such a file.
    """
    sentences: list[list[Word]] = [[]]
    columns_expected = separator = None
    before = "O"  # the tag of the word before, in this sentence
    for number, line in enumerate(_lines(path), 1):
        line = line.strip(" \t\r")
        separator = separator or (line and (" *\t[\t ]*" if "\t" in line else " +"))
        columns = re.split(separator, line) if line else []
        if not columns or columns[0].startswith("-DOCSTART-"):
            before = "O"
            if sentences[-1]:
                sentences.append([])
            continue
        where = f"{path}, line {number}"
        if " " in columns[0]:
            raise InputError(
                f"{where}: {columns[0]!r} has a space in it: give each word a line and a tag of "
                "its own"
            )
        if len(columns) < 2:
            raise InputError(f"{where}: expected a word and its tag, got only {line!r}")
        columns_expected = columns_expected or len(columns)
        if len(columns) != columns_expected:
            raise InputError(
                f"{where}: {len(columns)} columns where the lines before have {columns_expected}: "
                f"{line!r}"
            )
        tag = _checked(columns[-1], before, iob1, where)
        sentences[-1].append(Word(columns[0], tag, number))
        before = tag
    if not sentences[-1]:
        sentences.pop()
    if not sentences:
        raise InputError(f"{path} has no sentences: expected a word and its tag on each line")
    return sentences


def write(sentences: list[list[tuple[str, ...]]]) -> list[str]:
    """The lines of a file with these columns."""
    return [line for rows in sentences for line in [*map(" ".join, rows), ""]]


def _lines(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
        return (
            (gzip.decompress(content) if path.suffix == ".gz" else content)
            .decode("utf-8-sig")
            .split("\n")
        )
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not text in UTF-8, or not a whole .gz file ({error})") from None


def _checked(tag: str, before: str, iob1: bool, where: str) -> str:
    """``tag`` in BIO."""
    if not re.fullmatch("O|[BI]-.+", tag):
        raise InputError(f"{where}: {tag!r} is not a BIO tag: expected O, B-TYPE or I-TYPE")
    if tag[0] != "I" or before[1:] == tag[1:]:
        return tag
    if iob1:
        return f"B{tag[1:]}"
    raise InputError(
        f"{where}: {tag} after {before}, but in BIO (IOB2) every entity begins with B-. If the "
        "files are IOB1, as the original ones of CoNLL-2003, set TAGS=iob1; else mend the line"
    )
