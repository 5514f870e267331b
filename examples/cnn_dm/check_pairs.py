"""Check a summarization corpus before time is spent on it, and say how large it is.

    python examples/cnn_dm/check_pairs.py DIR

DIR must hold {train,val,test}.{source,target} in UTF-8, as many documents as summaries, and
no empty summary. A document may be empty: there are such, and test sets must stay whole.
A test.sentences, if there is one, must be test.target with a tab between sentences.
"""

import sys
from pathlib import Path

from sentences import kept_sentences

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import InputError, argument_parser, command_line, whole_lines


def check(folder: Path) -> None:
    """Print the size of each split.

    Raises:
        InputError: the corpus is not as it must be.
    """
    paths = {
        split: [folder / f"{split}.{side}" for side in ("source", "target")]
        for split in ("train", "val", "test")
    }
    missing = [path.name for pair in paths.values() for path in pair if not path.is_file()]
    if missing:
        raise InputError(f"{folder} lacks {', '.join(missing)}: one text a line is expected")
    for split, (source, target) in paths.items():
        documents, summaries = whole_lines(source, "source"), whole_lines(target, "target")
        if len(documents) != len(summaries):
            raise InputError(
                f"{source} has {len(documents)} lines but {target} has "
                f"{len(summaries)}: line n must be the summary of document n"
            )
        if not documents:
            raise InputError(f"{source} is empty: at least one pair is expected")
        empty = [number for number, line in enumerate(summaries, 1) if not line.strip()]
        if empty:
            raise InputError(
                f"{target} has {len(empty)} empty summaries, the first in line "
                f"{empty[0]}: remove these lines from it and from {source.name}"
            )
        if split == "test" and (folder / "test.sentences").exists():
            kept_sentences(folder / "test.sentences", summaries)
        without = sum(not line.strip() for line in documents)
        print(f"{split}: {len(documents)} pairs" + (f", {without} empty documents" * bool(without)))


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the corpus")
    check(parser.parse_args().folder)


if __name__ == "__main__":
    command_line(main)
