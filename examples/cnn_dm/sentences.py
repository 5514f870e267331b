"""The rule that parts a summary or document into sentences, and the lead baseline.

    python examples/cnn_dm/sentences.py --lead 3 INPUT OUTPUT

writes the first three sentences of each line: a baseline that needs no model.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import InputError, argument_parser, command_line, whole_lines, writing

RULE = "a sentence ends at white space after . ! or ?"


def split_sentences(text: str) -> list[str]:
    """The sentences of ``text`` by RULE; abbreviations end one too."""
    return re.split(r"(?<=[.!?])\s+", text.strip())


def kept_sentences(path: Path, references: list[str]) -> list[list[str]]:
    """The sentences of each reference, from a file that has a tab between them.

    Raises:
        InputError: the file does not hold the text of ``references``.
    """
    lines = whole_lines(path, "sentences")
    if len(lines) != len(references):
        raise InputError(f"{path} has {len(lines)} lines for {len(references)} references")
    for number, (line, reference) in enumerate(zip(lines, references, strict=True), 1):
        if line.replace("\t", " ") != reference:
            raise InputError(
                f"{path}, line {number} must be the reference with a tab between its sentences: "
                "export the data set again, or remove the file"
            )
    return [line.split("\t") for line in lines]


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("input", type=Path, help="documents, one a line")
    parser.add_argument("output", type=Path, help="where to write their first sentences")
    parser.add_argument("--lead", type=int, required=True, metavar="N", help="how many sentences")
    args = parser.parse_args()
    if args.lead < 1:
        parser.error(f"--lead must be at least 1, got {args.lead}")

    documents = whole_lines(args.input, "input")
    with writing(args.output) as (leads,):
        for text in documents:
            lead = " ".join(" ".join(split_sentences(text)[: args.lead]).split())
            leads.write(f"{lead}\n".encode())


if __name__ == "__main__":
    command_line(main)
