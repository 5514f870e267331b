"""Split parallel lines into training, validation and test set, by document.

    python examples/low_resource/split_corpus.py --raw RAW --languages en de --out OUT \
        --train 10000 --valid 800 --test 1500

RAW holds sent.LANGUAGE.gz for both languages, one sentence a line, UTF-8, and, if the lines
belong to documents (packages, books), sent.pkg.gz with the document's name on each line: no
document is then in two of the sets. OUT gets {train,valid,test}.LANGUAGE.gz and counts.tsv,
what was kept and what each rule dropped. OUT is complete if it exists.

The split depends on the documents' names only (their order is that of the names' SHA-256),
not on a random generator, so that everyone gets the same one.
"""

import gzip
import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import argument_parser, command_line, new_folder, writing_folder

SPLITS = ("test", "valid", "train")  # in the order in which they choose their documents
MAX_WORDS = 80
MAX_RATIO = 3  # of the longer to the shorter side in words, with 5 words' grace


class Pair(NamedTuple):
    source: str
    target: str
    document: str


def read(path: Path) -> list[str]:
    """The lines of a gzip file. Exits with one sentence if it is not gzip or not UTF-8."""
    try:
        text = gzip.decompress(path.read_bytes()).decode()
    except (OSError, EOFError) as error:
        sys.exit(f"split_corpus: {path} is not a complete gzip file: {error}")
    except UnicodeDecodeError as error:
        sys.exit(f"split_corpus: {path} is not UTF-8 at byte {error.start} of its text")
    return text.removesuffix("\n").split("\n") if text else []


def read_pairs(raw: Path, languages: list[str]) -> list[Pair]:
    """The pairs of RAW. Exits with one sentence if its files are missing or do not match."""
    paths = [raw / f"sent.{language}.gz" for language in languages]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        sys.exit(f"split_corpus: no such file: {', '.join(missing)}")
    documents = raw / "sent.pkg.gz"
    if documents.is_file():
        paths.append(documents)
    columns = [read(path) for path in paths]
    counts = ", ".join(f"{path.name} {len(c):,}" for path, c in zip(paths, columns, strict=True))
    if len({len(column) for column in columns}) > 1:
        sys.exit(f"split_corpus: the files of {raw} differ in their number of lines: {counts}")
    if not columns[0]:
        sys.exit(f"split_corpus: the files of {raw} are empty")
    if len(columns) == 2:  # each pair is a document of its own
        columns.append([f"{source}\t{target}" for source, target in zip(*columns, strict=True)])
    return [
        Pair(" ".join(source.split()), " ".join(target.split()), document)
        for source, target, document in zip(*columns, strict=True)
    ]


def cleaned(pairs: list[Pair], dropped: dict[str, int]) -> list[Pair]:
    """The usable pairs, each once; ``dropped`` gets the count of each rule."""
    seen = set()
    kept = []
    for pair in pairs:
        words = sorted((len(pair.source.split()), len(pair.target.split())))
        if words[0] == 0:
            rule = "empty"
        elif words[1] > MAX_WORDS:
            rule = f"over {MAX_WORDS} words"
        elif words[1] > MAX_RATIO * words[0] + 5:
            rule = "length ratio"
        elif pair.source == pair.target:
            rule = "source equals target"
        elif pair[:2] in seen:
            rule = "duplicate"
        else:
            seen.add(pair[:2])
            kept.append(pair)
            continue
        dropped[rule] = dropped.get(rule, 0) + 1
    return kept


def split(
    pairs: list[Pair], sizes: dict[str, int], dropped: dict[str, int]
) -> dict[str, list[Pair]]:
    """Documents to test, then valid, then train, until each has its number of pairs.

    Pairs of test or valid with a side that is also in training, letter case aside, are left
    out, so that the two end up somewhat smaller than asked for.
    """
    of_document: dict[str, list[Pair]] = {}
    for pair in pairs:
        of_document.setdefault(pair.document, []).append(pair)
    order = iter(sorted(of_document, key=lambda name: hashlib.sha256(name.encode()).digest()))
    sets: dict[str, list[Pair]] = {}
    for name in SPLITS:
        sets[name] = []
        while len(sets[name]) < sizes[name] and (document := next(order, None)) is not None:
            sets[name] += of_document[document]
        sets[name] = sets[name][: sizes[name]]
    if len(sets["train"]) < sizes["train"]:
        sys.exit(
            f"split_corpus: of {len(pairs):,} usable pairs {len(sets['train']):,} are left for "
            f"training, not {sizes['train']:,}: ask for fewer"
        )
    in_training = {side.casefold() for pair in sets["train"] for side in pair[:2]}
    for name in ("test", "valid"):
        kept = [p for p in sets[name] if in_training.isdisjoint(s.casefold() for s in p[:2])]
        dropped[f"{name}: a side is in training"] = len(sets[name]) - len(kept)
        sets[name] = kept
    return sets


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--raw", type=Path, required=True, help="folder of the parallel lines")
    parser.add_argument("--languages", nargs=2, required=True, help="source and target")
    for name in reversed(SPLITS):
        parser.add_argument(f"--{name}", type=int, required=True, help=f"pairs of the {name} set")
    parser.add_argument("--out", type=new_folder, required=True, help="folder to write")
    args = parser.parse_args()

    sizes = {name: getattr(args, name) for name in SPLITS}
    for name, size in sizes.items():
        if size < 1:
            parser.error(f"--{name} must be at least 1, got {size}")
    dropped: dict[str, int] = {}
    raw = read_pairs(args.raw, args.languages)
    sets = split(cleaned(raw, dropped), sizes, dropped)

    with writing_folder(args.out) as unfinished:
        for name, pairs in sets.items():
            for side, language in enumerate(args.languages):
                text = "".join(f"{pair[side]}\n" for pair in pairs)
                (unfinished / f"{name}.{language}.gz").write_bytes(
                    gzip.compress(text.encode(), mtime=0)
                )
        rows = [("raw", len(raw)), *((f"dropped: {rule}", n) for rule, n in dropped.items())]
        rows += [(name, len(sets[name])) for name in reversed(SPLITS)]
        table = "".join(f"{name}\t{count}\n" for name, count in rows)
        (unfinished / "counts.tsv").write_text(table)
    print(table, end="")


if __name__ == "__main__":
    command_line(main)
