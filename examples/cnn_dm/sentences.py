"""The rule that parts a summary or document into sentences, and sentences that are known."""

import re
from pathlib import Path

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.text import whole_lines

RULE = "a sentence ends at white space after . ! or ?"


def split_sentences(text: str) -> list[str]:
    """The sentences of ``text`` by RULE; abbreviations end one too."""
    return re.split(r"(?<=[.!?])\s+", text.strip())


def kept_sentences(path: Path, references: list[str]) -> list[list[str]]:
    """The sentences of each reference, from a file that has a tab between them.

    Raises:
        UsageError: the file does not hold the text of ``references``.
    """
    lines = whole_lines(path, "sentences")
    if len(lines) != len(references):
        raise UsageError(f"{path} has {len(lines)} lines for {len(references)} references")
    for number, (line, reference) in enumerate(zip(lines, references, strict=True), 1):
        if line.replace("\t", " ") != reference:
            raise UsageError(
                f"{path}, line {number} must be the reference with a tab between its sentences: "
                "export the data set again, or remove the file"
            )
    return [line.split("\t") for line in lines]
