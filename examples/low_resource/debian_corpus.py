"""Make parallel lines of Debian's package descriptions, from its published translations.

    python examples/low_resource/debian_corpus.py --languages en de --out RAW \\
        Translation-en.bz2 Translation-de.bz2

The two files are those of a Debian mirror, dists/bookworm/main/i18n/, as they are there or
unpacked. RAW gets sent.LANGUAGE.gz, a sentence a line, and sent.pkg.gz, the package of each: what
prepare.sh takes. RAW is complete if it exists.

Descriptions belong together by package and checksum. The title, each paragraph and each item of
a list are aligned by their order, where both sides have as many; sentences of a paragraph
likewise, else it stays whole. A pair with equal sides, and one that was there before, is left out.
"""

import gzip
import re
from collections.abc import Iterator, Sequence

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import (
    add_languages,
    command,
    existing_file,
    new_folder,
    parser,
)
from rdrop_fairseq.tools.corpus.debian import ITEM, descriptions
from rdrop_fairseq.tools.files import writing_folder

# after a full stop that is not an abbreviation's, before a capital letter
ABBREVIATIONS = ("etc.", "e.g.", "i.e.", "vs.", "z.B.", "bzw.")
SENTENCE_END = re.compile(
    "".join(rf"(?<!\b{re.escape(word)})" for word in ABBREVIATIONS) + r"(?<=[.!?]) (?=[A-ZÄÖÜ])"
)

Description = tuple[str, list[str]]  # title, and paragraphs and items


def parts(lines: list[str]) -> list[str]:
    """Paragraphs, which a line with a dot ends, and items of lists, each on one line."""
    found: list[str] = [""]
    for line in lines:
        text = " ".join(line.split())
        item = ITEM.fullmatch(text)
        if text == ".":
            found.append("")
        elif item:
            found.append(item[1])
        else:
            found[-1] += f" {text}"
    return [part.strip() for part in found if part.strip()]


def aligned(source: Description, target: Description) -> Iterator[tuple[str, str]]:
    """The pairs of sentences of a description and its translation."""
    yield source[0], target[0]
    if len(source[1]) != len(target[1]):
        return
    for pair in zip(source[1], target[1], strict=True):
        sentences = [SENTENCE_END.split(part) for part in pair]
        if len(sentences[0]) == len(sentences[1]):
            yield from zip(*sentences, strict=True)
        else:
            yield pair


@command("debian_corpus")
def main(argv: Sequence[str] | None = None) -> None:
    cli = parser(__doc__, "debian_corpus.py")
    cli.add_argument("files", type=existing_file, nargs=2, help="Translation files, in that order")
    add_languages(cli)
    cli.add_argument("--out", type=new_folder, required=True, help="folder to write")
    args = cli.parse_args(argv)
    sides = [
        {key: (title, parts(lines)) for key, (title, *lines) in descriptions(*side).items()}
        for side in zip(args.files, args.languages, strict=True)
    ]
    package_of: dict[tuple[str, str], str] = {}
    for key, source in sides[0].items():
        if key in sides[1]:
            for pair in aligned(source, sides[1][key]):
                if pair[0] != pair[1] and all(pair):
                    package_of.setdefault(pair, key[0])
    if not package_of:
        raise UsageError(
            f"no description of {args.files[0]} is translated in {args.files[1]}: are they of the "
            "same release?"
        )
    names = (*args.languages, "pkg")
    columns = zip(*((*pair, package) for pair, package in package_of.items()), strict=True)
    with writing_folder(args.out) as folder:
        for name, lines in zip(names, columns, strict=True):
            text = "".join(f"{line}\n" for line in lines)
            (folder / f"sent.{name}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{args.out}: {len(package_of):,} pairs of {len(set(package_of.values())):,} packages")


if __name__ == "__main__":
    main()
