"""Clean parallel corpora and join them into one, with counts of what each rule removed.

    rdrop corpus clean --languages en de --out DIR/train CORPUS...

CORPUS.en and CORPUS.de are read line by line together; DIR/train.en, DIR/train.de and
DIR/train.clean.json (the counts) are written. A pair is removed by the first rule that it
breaks, in this order:

  empty      a side has no text
  long       a side has more than --max-words words
  ratio      one side has more than --max-ratio times the words of the other
  script     of the letters of a side, fewer than half are of its language's script
  duplicate  the same pair came before

A word is what stands between spaces; in Chinese, every character counts as one. The script
rule goes by Unicode ranges: it finds Greek or Chinese in German text, but cannot tell German
from English. Duplicates are recognised by 64-bit hashes, some 80 bytes of memory a pair.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path

from ...errors import UsageError
from ..command_line import add_languages, command, number, parser, whole
from ..files import writing
from ..parallel import parallel_map
from ..text import read_pairs

Pair = tuple[str, str]
COUNTS = ("pairs", "empty", "long", "ratio", "script", "duplicate", "kept")
LATIN = re.compile("[A-Za-z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff]")
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
SCRIPTS = {"zh": HAN, **dict.fromkeys(("de", "en", "es", "fr"), LATIN)}


def count_words(text: str) -> int:
    """Words between spaces; a Han character is a word of its own."""
    return len(HAN.sub(" x ", text).split())


def in_script(text: str, language: str) -> bool:
    """Whether at least half of the letters are of the language's script."""
    letters = sum(map(str.isalpha, text))
    return 2 * len(SCRIPTS[language].findall(text)) >= letters


def judge(
    pair: Pair, languages: Sequence[str], max_words: int, max_ratio: float
) -> tuple[Pair, str | None]:
    """The pair, and the first rule that it breaks, duplicates aside; None if it keeps them all."""
    shorter, longer = sorted(map(count_words, pair))
    if not shorter:
        return pair, "empty"
    if longer > max_words:
        return pair, "long"
    if longer > max_ratio * shorter:
        return pair, "ratio"
    if not all(map(in_script, pair, languages)):
        return pair, "script"
    return pair, None


def labels(corpora: list[Path]) -> list[str]:
    """A name for each corpus: its own or, if two have the same, its path."""
    names = [corpus.name for corpus in corpora]
    return [str(c) if names.count(c.name) > 1 else c.name for c in corpora]


def clean(
    corpora: Mapping[str, Iterable[Pair]],
    rule: Callable[[Pair], tuple[Pair, str | None]],
    workers: int,
    write: Callable[[int, Pair], None],
) -> dict[str, dict[str, int]]:
    """The counts of each corpus. Gives each pair that is kept to ``write``, with its number from 1.

    Args:
        rule: `judge`, for a pair alone.
    """
    counts = {}
    seen: set[int] = set()
    for label, pairs in corpora.items():
        count = counts[label] = dict.fromkeys(COUNTS, 0)
        for pair, broken in parallel_map(rule, pairs, workers):
            digest = blake2b("\n".join(pair).encode(), digest_size=8).digest()
            number_of_pair = int.from_bytes(digest, "big")
            if broken is None and number_of_pair in seen:
                broken = "duplicate"
            count["pairs"] += 1
            count[broken or "kept"] += 1
            if broken is None:
                seen.add(number_of_pair)
                write(len(seen), pair)
    return counts


@command("rdrop corpus clean")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "rdrop corpus clean")
    options.add_argument("corpora", type=Path, nargs="+", help="files without .LANGUAGE")
    add_languages(options, SCRIPTS)
    options.add_argument(
        "--out", type=Path, required=True, help="files to write, without .LANGUAGE"
    )
    options.add_argument("--max-words", type=whole(1), default=250, help="default: 250")
    options.add_argument("--max-ratio", type=number(1), default=2.0, help="default: 2")
    options.add_argument(
        "--hold-out",
        type=whole(2),
        metavar="N",
        help="put every N-th pair that is kept to --held-out",
    )
    options.add_argument("--held-out", type=Path, help="files for --hold-out, without .LANGUAGE")
    options.add_argument("--workers", type=whole(1), default=1, help="processes; default: 1")
    args = options.parse_args(argv)
    if (args.hold_out is None) != (args.held_out is None):
        options.error("--hold-out and --held-out go together")
    for corpus in args.corpora:
        if corpus in (args.out, args.held_out):
            raise UsageError(f"{corpus} is to be read, and cannot be written: give another name")
        if args.corpora.count(corpus) > 1:
            raise UsageError(f"{corpus} is given twice")

    def sides(corpus: Path) -> list[Path]:
        return [Path(f"{corpus}.{language}") for language in args.languages]

    paths = sides(args.out) + (sides(args.held_out) if args.held_out else [])
    pairs = map(read_pairs, map(sides, args.corpora))
    corpora = dict(zip(labels(args.corpora), pairs, strict=True))
    rule = partial(
        judge, languages=args.languages, max_words=args.max_words, max_ratio=args.max_ratio
    )
    with writing(*paths, Path(f"{args.out}.clean.json")) as (*files, report):

        def write(number: int, pair: Pair) -> None:
            held_out = args.hold_out is not None and number % args.hold_out == 0
            for file, text in zip(files[2:] if held_out else files[:2], pair, strict=True):
                file.write(text.encode() + b"\n")

        counts = clean(corpora, rule, args.workers, write)
        total = {name: sum(count[name] for count in counts.values()) for name in COUNTS}
        if not total["kept"]:
            raise UsageError(f"no pair is left of {total['pairs']}: {total}")
        if total["kept"] < (args.hold_out or 0):
            raise UsageError(f"{total['kept']} pairs are too few for --hold-out {args.hold_out}")
        content = json.dumps({"corpora": counts, "all": total}, indent=2)
        report.write(content.encode() + b"\n")
    print(f"{'':24}" + "".join(f"{name:>11}" for name in COUNTS))
    for name, count in [*counts.items(), ("all", total)]:
        print(f"{name:24}" + "".join(f"{number:11}" for number in count.values()))


if __name__ == "__main__":
    main()
