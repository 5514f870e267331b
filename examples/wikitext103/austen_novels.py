"""Split the novels of Jane Austen into a small corpus for language models.

    python examples/wikitext103/austen_novels.py --text austen.txt.gz --out DIR

The text is Project Gutenberg's, novel after novel, as the R package janeaustenr holds it. DIR
gets wiki.{train,valid,test}.tokens, a paragraph a line: four novels to train on, Northanger
Abbey for validation, Persuasion as the test set.
"""

import gzip
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import argument_parser, command_line, existing_file, new_folder, writing_folder

# the line with which each novel begins, in the order of the file; the rest is training text.
# Persuasion follows Northanger Abbey without a title
STARTS = {
    "NORTHANGER ABBEY": "valid",
    "Sir Walter Elliot, of Kellynch Hall, in Somersetshire, was a man who,": "test",
    "PRIDE AND PREJUDICE": "train",
}


def split(text: str) -> dict[str, list[str]]:
    """The paragraphs of each split. Exits with one sentence if a novel's first line is missing."""
    lines = text.splitlines()
    absent = [start for start in STARTS if start not in lines]
    if absent:
        sys.exit(f"austen_novels: the text has no line {absent[0]!r}: expected all six novels")
    parts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    name = "train"
    for line in lines:
        name = STARTS.get(line, name)
        parts[name].append(line)
    return {
        name: [" ".join(p.split()) for p in re.split(r"\n\s*\n", "\n".join(part)) if p.strip()]
        for name, part in parts.items()
    }


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--text", type=existing_file, required=True, help="the novels, gzipped")
    parser.add_argument("--out", type=new_folder, required=True, help="folder to write")
    args = parser.parse_args()

    with gzip.open(args.text, "rt", encoding="utf-8") as text:
        parts = split(text.read())
    with writing_folder(args.out) as unfinished:
        for name, paragraphs in parts.items():
            path = unfinished / f"wiki.{name}.tokens"
            path.write_text("".join(f"{line}\n" for line in paragraphs), encoding="utf-8")
            print(f"{name}: {sum(len(line.split()) for line in paragraphs)} words")


if __name__ == "__main__":
    command_line(main)
