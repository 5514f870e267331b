"""Split the novels of Jane Austen into a small corpus for language models.

    python examples/wikitext103/austen_novels.py --text austen.txt.gz --out DIR

The text is Project Gutenberg's, novel after novel, as the R package janeaustenr holds it. DIR
gets wiki.{train,valid,test}.tokens, a paragraph a line: four novels to train on, Northanger
Abbey for validation, Persuasion as the test set.
"""

import re
from collections.abc import Sequence

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import command, existing_file, new_folder, parser
from rdrop_fairseq.tools.files import write_lines, writing_folder
from rdrop_fairseq.tools.text import whole_lines

# the line with which each novel begins, in the order of the file; the rest is training text.
# Persuasion follows Northanger Abbey without a title
STARTS = {
    "NORTHANGER ABBEY": "valid",
    "Sir Walter Elliot, of Kellynch Hall, in Somersetshire, was a man who,": "test",
    "PRIDE AND PREJUDICE": "train",
}


def split(lines: list[str]) -> dict[str, list[str]]:
    """The paragraphs of each split.

    Raises:
        UsageError: a novel's first line is missing.
    """
    absent = [start for start in STARTS if start not in lines]
    if absent:
        raise UsageError(f"the text has no line {absent[0]!r}: expected all six novels")
    parts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    name = "train"
    for line in lines:
        name = STARTS.get(line, name)
        parts[name].append(line)
    return {
        name: [" ".join(p.split()) for p in re.split(r"\n\s*\n", "\n".join(part)) if p.strip()]
        for name, part in parts.items()
    }


@command("austen_novels")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "austen_novels.py")
    options.add_argument("--text", type=existing_file, required=True, help="all six novels")
    options.add_argument("--out", type=new_folder, required=True, help="folder to write")
    args = options.parse_args(argv)

    parts = split(whole_lines(args.text))
    with writing_folder(args.out) as unfinished:
        for name, paragraphs in parts.items():
            write_lines(unfinished / f"wiki.{name}.tokens", paragraphs)
            print(f"{name}: {sum(len(line.split()) for line in paragraphs)} words")


if __name__ == "__main__":
    main()
