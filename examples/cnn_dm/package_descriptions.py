"""Make a summarization corpus of Debian's package descriptions: long to short description.

    python examples/cnn_dm/package_descriptions.py --tsv descriptions.tsv.gz --out DIR

The TSV holds package, source package, section, short and long description. DIR gets
{train,val,test}.{source,target}. One package of each source package is taken, so that no source
package is in two splits, and what is in val or test word by word is kept out of train.
Each description has its package's licence: do not publish the text.
"""

import gzip
import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import argument_parser, command_line, existing_file, new_folder, writing_folder

VAL = TEST = 1000  # pairs


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """(long, short) description of each source package's first package, in a fixed random order."""
    pairs: dict[str, tuple[str, str]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            _, source_package, _, short, long = line.rstrip("\n").split("\t")
            pairs.setdefault(source_package, (long, short))
    # by hash: the order does not depend on a random generator's version
    order = sorted(pairs, key=lambda name: hashlib.sha256(name.encode()).digest())
    return [pairs[name] for name in order]


def split(pairs: list[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
    """Train, val and test, no text of which is in two of them."""
    splits: dict[str, list[tuple[str, str]]] = {"test": [], "val": [], "train": []}
    sizes = {"test": TEST, "val": VAL, "train": len(pairs)}
    seen: set[str] = set()
    queue = iter(pairs)
    for name, chosen in splits.items():
        texts: set[str] = set()
        while len(chosen) < sizes[name] and (pair := next(queue, None)) is not None:
            if seen.isdisjoint(pair):
                chosen.append(pair)
                texts.update(pair)
        seen |= texts
    return splits


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--tsv", type=existing_file, required=True, help="gzipped TSV of descriptions"
    )
    parser.add_argument("--out", type=new_folder, required=True, help="folder to write")
    args = parser.parse_args()

    with writing_folder(args.out) as unfinished:
        for name, pairs in split(read_pairs(args.tsv)).items():
            for side, column in (("source", 0), ("target", 1)):
                text = "".join(f"{pair[column]}\n" for pair in pairs)
                (unfinished / f"{name}.{side}").write_text(text, encoding="utf-8")
            print(f"{name}: {len(pairs)} pairs")


if __name__ == "__main__":
    command_line(main)
