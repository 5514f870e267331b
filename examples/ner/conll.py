"""Read files in CoNLL's columns, check them, and write them in one form.

    python examples/ner/conll.py FOLDER [--tags iob1] --out OUT

A word a line, its tag last, a blank line between sentences. FOLDER holds train, valid and perhaps
test, also .txt, as CoNLL-2003 or WNUT-17 name them, and .gz. OUT, which must be new, gets
SPLIT.conll, words and tags, and labels.txt, fairseq's dictionary of all tags.

Tags are BIO (also called IOB2): every entity begins with B-, and goes on with I- of its type. In
IOB1, the form of the original CoNLL-2003 files, B- stands only between two entities of one type
that touch: --tags iob1 converts it.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import command, existing_folder, new_folder, parser
from rdrop_fairseq.tools.files import write_lines, writing_folder
from rdrop_fairseq.tools.text import whole_lines

#: what the files of a split are called, without .gz
NAMES = {
    "train": ("train.txt", "train", "eng.train", "wnut17train.conll"),
    "valid": ("valid.txt", "valid", "dev.txt", "dev", "eng.testa", "emerging.dev.conll"),
    "test": ("test.txt", "test", "eng.testb", "emerging.test.annotated"),
}


class Word(NamedTuple):
    text: str
    tag: str
    line: int  #: in its file, from 1


@command("conll.py")
def main(argv: Sequence[str] | None = None) -> None:
    of = parser(__doc__, "conll.py")
    of.add_argument("folder", type=existing_folder, metavar="FOLDER")
    of.add_argument("--tags", choices=["bio", "iob1"], default="bio", help="default: bio")
    of.add_argument("--out", type=new_folder, required=True, metavar="OUT")
    args = of.parse_args(argv)
    files = find(args.folder)
    sentences = {split: read(path, args.tags == "iob1") for split, path in files.items()}
    words = {split: [word for row in rows for word in row] for split, rows in sentences.items()}
    trained = {word.tag for word in words["train"]}
    if trained == {"O"}:
        raise UsageError(
            f"{files['train']} has no entities: all tags are O. Is the tag the last column?"
        )
    for split, path in files.items():
        others = [word for word in words[split] if word.tag not in trained]
        for tag in sorted({word.tag for word in others}):
            lines = [str(word.line) for word in others if word.tag == tag]
            print(
                f"note: {path} has the tag {tag} (line {', '.join(lines[:5])}), which the training "
                f"set lacks: no model can learn it; {len(lines)} such word(s) count as wrong"
            )
    with writing_folder(args.out) as folder:
        for split, rows in sentences.items():
            write_lines(folder / f"{split}.conll", write([[w[:2] for w in row] for row in rows]))
            print(f"{split}: {len(rows):,} sentences, {len(words[split]):,} words")
        tags = {word.tag for words_of_split in words.values() for word in words_of_split}
        write_lines(folder / "labels.txt", [f"{tag} 1" for tag in sorted(tags)])


def find(folder: Path) -> dict[str, Path]:
    """The file of each split; there may be no test set."""
    files = {}
    for split, names in NAMES.items():
        paths = [folder / f"{name}{packed}" for name in names for packed in ("", ".gz")]
        found = next((path for path in paths if path.is_file()), None)
        if found is not None:
            files[split] = found
        elif split != "test":
            raise UsageError(
                f"{folder} has no {split} set: expected a file {', '.join(names[:-1])} or "
                f"{names[-1]}, or one of these and .gz"
            )
    return files


def read(path: Path, iob1: bool = False) -> list[list[Word]]:
    """The sentences of a file, which may be packed (.gz); ``-DOCSTART-`` lines are left out.

    Columns are separated by tabs if the first line of a sentence has one, else by spaces.

    Raises:
        UsageError: names file and line of what is not such a file.
    """
    sentences: list[list[Word]] = [[]]
    columns_expected = separator = None
    before = "O"  # the tag of the word before, in this sentence
    for number, line in enumerate(whole_lines(path), 1):
        line = line.strip(" \t\r")
        if not line or line.startswith("-DOCSTART-"):
            before = "O"
            if sentences[-1]:
                sentences.append([])
            continue
        separator = separator or (" *\t[\t ]*" if "\t" in line else " +")
        columns = re.split(separator, line)
        where = f"{path}, line {number}"
        if " " in columns[0]:
            raise UsageError(
                f"{where}: {columns[0]!r} has a space in it: give each word a line and a tag of "
                "its own"
            )
        if len(columns) < 2:
            raise UsageError(f"{where}: expected a word and its tag, got only {line!r}")
        columns_expected = columns_expected or len(columns)
        if len(columns) != columns_expected:
            raise UsageError(
                f"{where}: {len(columns)} columns where the lines before have {columns_expected}: "
                f"{line!r}"
            )
        tag = _checked(columns[-1], before, iob1, where)
        sentences[-1].append(Word(columns[0], tag, number))
        before = tag
    if not sentences[-1]:
        sentences.pop()
    if not sentences:
        raise UsageError(f"{path} has no sentences: expected a word and its tag on each line")
    if all(re.fullmatch(r"\d+([-.]\d+)?", word.text) for row in sentences for word in row):
        raise UsageError(
            f"{path}: the first column has numbers only, as in CoNLL-U, and the word was expected "
            f"there: remove that column (cut -f2- {path.name})"
        )
    return sentences


def write(sentences: Sequence[Sequence[tuple[str, ...]]]) -> list[str]:
    """The lines of a file with these columns."""
    return [line for rows in sentences for line in [*map(" ".join, rows), ""]]


def _checked(tag: str, before: str, iob1: bool, where: str) -> str:
    """``tag`` in BIO."""
    if not re.fullmatch("O|[BI]-.+", tag):
        raise UsageError(f"{where}: {tag!r} is not a BIO tag: expected O, B-TYPE or I-TYPE")
    if tag[0] != "I" or before[1:] == tag[1:]:
        return tag
    if iob1:
        return f"B{tag[1:]}"
    raise UsageError(
        f"{where}: {tag} after {before}, but in BIO (IOB2) every entity begins with B-. If the "
        "files are IOB1, as the original ones of CoNLL-2003, set TAGS=iob1; else mend the line"
    )


if __name__ == "__main__":
    main()
