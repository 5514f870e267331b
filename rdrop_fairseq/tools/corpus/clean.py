"""Clean parallel corpora and join them into one, with counts of what each rule removed.

    python scripts/corpus/clean_corpus.py --languages en de --out DIR/train CORPUS...

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

import contextlib
import json
import re
from collections.abc import Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path

from text_files import InputError, argument_parser, command_line, parallel_map, read_lines, writing

Pair = tuple[str, str]
RULES = ("empty", "long", "ratio", "script", "duplicate")
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


def judge(pair: Pair, languages: Pair, max_words: int, max_ratio: float) -> tuple[Pair, str | None]:
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


def read_pairs(corpus: Path, languages: Pair) -> Iterator[Pair]:
    """The pairs of a corpus.

    Raises:
        InputError: a side is missing, empty, not UTF-8, or longer than the other.
    """
    paths = [Path(f"{corpus}.{language}") for language in languages]
    with contextlib.ExitStack() as stack:
        try:
            files = [stack.enter_context(path.open("rb")) for path in paths]
        except FileNotFoundError as error:
            raise InputError(f"no such file: {error.filename}") from None
        for path in paths:
            if not path.stat().st_size:
                raise InputError(f"{path} is empty")
        sides = [read_lines(file, str(path)) for file, path in zip(files, paths, strict=True)]
        count = 0
        for source in sides[0]:
            target = next(sides[1], None)
            if target is None:
                break
            count += 1
            yield source, target
        else:
            source = None
        lines = [count + (source is not None), count]
        for side, iterator in enumerate(sides):
            lines[side] += sum(1 for _ in iterator)
        if lines[0] != lines[1]:
            raise InputError(
                f"{paths[0]} has {lines[0]} lines but {paths[1]} has {lines[1]}: they must match "
                "line by line"
            )


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("corpora", type=Path, nargs="+", help="files without .LANGUAGE")
    parser.add_argument("--languages", nargs=2, required=True, choices=SCRIPTS)
    parser.add_argument("--out", type=Path, required=True, help="files to write, without .LANGUAGE")
    parser.add_argument("--max-words", type=int, default=250, help="default: 250")
    parser.add_argument("--max-ratio", type=float, default=2.0, help="default: 2")
    parser.add_argument(
        "--hold-out", type=int, metavar="N", help="put every N-th pair that is kept to --held-out"
    )
    parser.add_argument("--held-out", type=Path, help="files for --hold-out, without .LANGUAGE")
    parser.add_argument("--workers", type=int, default=1, help="processes; default: 1")
    args = parser.parse_args()
    if (args.hold_out is None) != (args.held_out is None):
        parser.error("--hold-out and --held-out go together")

    languages = tuple(args.languages)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    outputs = [args.out] if args.held_out is None else [args.out, args.held_out]
    paths = [Path(f"{output}.{language}") for output in outputs for language in languages]
    rule = partial(judge, languages=languages, max_words=args.max_words, max_ratio=args.max_ratio)
    counts = {}
    seen: set[int] = set()
    kept = 0
    with writing(*paths, Path(f"{args.out}.clean.json")) as (*files, report):
        for corpus in args.corpora:
            count = counts[corpus.name] = dict.fromkeys(("pairs", *RULES, "kept"), 0)
            for pair, broken in parallel_map(rule, read_pairs(corpus, languages), args.workers):
                count["pairs"] += 1
                digest = int.from_bytes(blake2b("\n".join(pair).encode(), digest_size=8).digest())
                if broken is None and digest in seen:
                    broken = "duplicate"
                count[broken or "kept"] += 1
                if broken is not None:
                    continue
                seen.add(digest)
                kept += 1
                held_out = args.hold_out is not None and kept % args.hold_out == 0
                for file, text in zip(files[2:] if held_out else files[:2], pair, strict=True):
                    file.write(text.encode() + b"\n")
        names = ("pairs", *RULES, "kept")
        counts["all"] = {name: sum(count[name] for count in counts.values()) for name in names}
        if not kept:
            raise InputError(f"no pair is left of {counts['all']['pairs']}: {counts['all']}")
        report.write(json.dumps(counts, indent=2).encode() + b"\n")
    print(f"{'':24}" + "".join(f"{name:>11}" for name in counts["all"]))
    for name, count in counts.items():
        print(f"{name:24}" + "".join(f"{number:11}" for number in count.values()))


if __name__ == "__main__":
    command_line(main)
