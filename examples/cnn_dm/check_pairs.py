"""Check a summarization corpus before time is spent on it, and say how large it is.

    python examples/cnn_dm/check_pairs.py DIR

DIR must hold {train,val,test}.{source,target} in UTF-8, as many documents as summaries, and
no empty summary. A document may be empty: there are such, and test sets must stay whole.
"""

import sys
from pathlib import Path


def read(path: Path) -> list[str]:
    """The lines of a file. Exits with one sentence if it is not UTF-8."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        sys.exit(f"check_pairs: {path} is not UTF-8 at byte {error.start}")
    return text.removesuffix("\n").split("\n") if text else []


def check(folder: Path) -> None:
    """Print the size of each split. Exits with one sentence if the corpus is not as it must be."""
    paths = {
        split: [folder / f"{split}.{side}" for side in ("source", "target")]
        for split in ("train", "val", "test")
    }
    missing = [path.name for pair in paths.values() for path in pair if not path.is_file()]
    if missing:
        sys.exit(f"check_pairs: {folder} lacks {', '.join(missing)}: one text a line is expected")
    for split, (source, target) in paths.items():
        documents, summaries = read(source), read(target)
        if len(documents) != len(summaries):
            sys.exit(
                f"check_pairs: {source} has {len(documents)} lines but {target} has "
                f"{len(summaries)}: line n must be the summary of document n"
            )
        if not documents:
            sys.exit(f"check_pairs: {source} is empty: at least one pair is expected")
        empty = [number for number, line in enumerate(summaries, 1) if not line.strip()]
        if empty:
            sys.exit(
                f"check_pairs: {target} has {len(empty)} empty summaries, the first in line "
                f"{empty[0]}: remove these lines from it and from {source.name}"
            )
        without = sum(not line.strip() for line in documents)
        print(f"{split}: {len(documents)} pairs" + (f", {without} empty documents" * bool(without)))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("check_pairs: expected one folder; see the top of the file")
    check(Path(sys.argv[1]))
