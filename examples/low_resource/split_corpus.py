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
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import add_languages, command, new_folder, parser, whole
from rdrop_fairseq.tools.files import writing_folder
from rdrop_fairseq.tools.text import whole_lines

SPLITS = ("test", "valid", "train")  # in the order in which they choose their documents
MAX_WORDS = 80
MAX_RATIO = 3  # of the longer to the shorter side in words, with 5 words' grace


class Pair(NamedTuple):
    source: str
    target: str
    document: str


def read_pairs(raw: Path, languages: list[str]) -> list[Pair]:
    """The pairs of RAW.

    Raises:
        UsageError: its files are missing, damaged, empty or of different length.
    """
    paths = [raw / f"sent.{language}.gz" for language in languages]
    if (raw / "sent.pkg.gz").is_file():
        paths.append(raw / "sent.pkg.gz")
    columns = [whole_lines(path, "raw") for path in paths]
    if len({len(column) for column in columns}) > 1 or not columns[0]:
        found = [f"{path.name} {len(c):,}" for path, c in zip(paths, columns, strict=True)]
        raise UsageError(
            f"the files of {raw} must have the same number of lines, of at least 1, got "
            f"{', '.join(found)}"
        )
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
        raise UsageError(
            f"of {len(pairs):,} usable pairs {len(sets['train']):,} are left for "
            f"training, not {sizes['train']:,}: ask for fewer"
        )
    in_training = {side.casefold() for pair in sets["train"] for side in pair[:2]}
    for name in ("test", "valid"):
        kept = [p for p in sets[name] if in_training.isdisjoint(s.casefold() for s in p[:2])]
        dropped[f"{name}: a side is in training"] = len(sets[name]) - len(kept)
        sets[name] = kept
    return sets


@command("split_corpus")
def main(argv: Sequence[str] | None = None) -> None:
    cli = parser(__doc__, "split_corpus.py")
    cli.add_argument("--raw", type=Path, required=True, help="folder of the parallel lines")
    add_languages(cli)
    for name in reversed(SPLITS):
        cli.add_argument(f"--{name}", type=whole(1), required=True, help=f"pairs of the {name} set")
    cli.add_argument("--out", type=new_folder, required=True, help="folder to write")
    args = cli.parse_args(argv)

    dropped: dict[str, int] = {}
    raw = read_pairs(args.raw, args.languages)
    sizes = {name: getattr(args, name) for name in SPLITS}
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
    main()
