"""Read the index files of a Debian mirror: Packages and Translation-LANGUAGE.

Their descriptions are text with its packages' licences: make corpora of them, do not publish them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import UsageError
from ..text import whole_lines

ITEM = re.compile(r"(?:[*+o•·-]|\d+[.)]) (.*)")


def stanzas(path: Path) -> Iterator[dict[str, list[str]]]:
    """The fields of each stanza of a file, packed or not; a field is its lines.

    Raises:
        UsageError: the file is damaged or not UTF-8.
    """
    text = "\n".join(whole_lines(path, "index"))
    for stanza in re.split(r"\n{2,}", text):
        fields: dict[str, list[str]] = {}
        name = ""
        for line in stanza.split("\n"):
            if line.startswith(" ") and name:
                fields[name].append(line)
            elif ": " in line:
                name, _, value = line.partition(": ")
                fields[name] = [value]
        yield fields


def descriptions(path: Path, language: str) -> dict[tuple[str, str], list[str]]:
    """The descriptions of a Translation file, by package and checksum of the original.

    The first line is the title, without the space around it; the others are as they are there.

    Raises:
        UsageError: the file is damaged, not UTF-8, or of another language.
    """
    found = {}
    for fields in stanzas(path):
        lines = fields.get(f"Description-{language}")
        if lines and "Package" in fields and "Description-md5" in fields:
            key = fields["Package"][0], fields["Description-md5"][0]
            found[key] = [" ".join(lines[0].split()), *lines[1:]]
    if not found:
        raise UsageError(
            f"{path} holds no package with a Description-{language}: is it Debian's Translation-"
            f"{language}?"
        )
    return found
