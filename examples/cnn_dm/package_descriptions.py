"""Make a summarization corpus of Debian's package descriptions: long to short description.

    python examples/cnn_dm/package_descriptions.py --out DIR Packages.xz Translation-en.bz2

The two files are those of a Debian mirror, dists/bookworm/main/binary-amd64/ and
dists/bookworm/main/i18n/, as they are there or unpacked. DIR gets {train,val,test}.{source,target}.
A description's paragraphs and items of lists become one line. Taken are those of 20 words or more
that no package before has, with a short one of 3 words or more; one package of each source package,
so that no source package is in two splits. What is in val or test word by word is kept out of
train. Each description has its package's licence: do not publish the text.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import command, existing_file, new_folder, parser
from rdrop_fairseq.tools.corpus.debian import ITEM, descriptions, stanzas
from rdrop_fairseq.tools.files import write_lines, writing_folder

HELD_OUT = 1000  # pairs in val, and in test
LONG, SHORT = 20, 3  # words at least


def document(lines: list[str]) -> str:
    """The lines of a long description as one, with a dash before each item of a list."""
    texts = (" ".join(line.split()) for line in lines)
    parts = (f"- {item[1]}" if (item := ITEM.fullmatch(text)) else text for text in texts)
    return " ".join(part for part in parts if part != ".")


def read_pairs(packages: Path, translation: Path) -> list[tuple[str, str]]:
    """(long, short) description of each source package's first package, in a fixed random order.

    Raises:
        UsageError: a file is damaged, or not what its name says.
    """
    sources = {
        fields["Package"][0]: fields["Source"][0].split()[0]
        for fields in stanzas(packages)
        if {"Package", "Source"} <= fields.keys()
    }
    if not sources:
        raise UsageError(f"{packages} holds no package with a Source: is it Debian's Packages?")
    pairs: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    for (package, _), (short, *lines) in descriptions(translation, "en").items():
        long = document(lines)
        if len(long.split()) >= LONG and len(short.split()) >= SHORT and long not in seen:
            seen.add(long)
            # Packages has no Source where the source package has the same name
            pairs.setdefault(sources.get(package, package), (long, short))
    # by hash: the order does not depend on a random generator's version
    order = sorted(pairs, key=lambda name: hashlib.sha256(name.encode()).digest())
    return [pairs[name] for name in order]


def split(
    pairs: list[tuple[str, str]], held_out: int = HELD_OUT
) -> dict[str, list[tuple[str, str]]]:
    """Train, val and test, no text of which is in two of them."""
    splits: dict[str, list[tuple[str, str]]] = {"test": [], "val": [], "train": []}
    sizes = {"test": held_out, "val": held_out, "train": len(pairs)}
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


@command("package_descriptions")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "package_descriptions.py")
    options.add_argument("packages", type=existing_file, help="Debian's Packages")
    options.add_argument("translation", type=existing_file, help="Debian's Translation-en")
    options.add_argument("--out", type=new_folder, required=True, help="folder to write")
    args = options.parse_args(argv)
    splits = split(read_pairs(args.packages, args.translation))
    with writing_folder(args.out) as unfinished:
        for name, pairs in splits.items():
            for side, column in (("source", 0), ("target", 1)):
                write_lines(unfinished / f"{name}.{side}", (pair[column] for pair in pairs))
            print(f"{name}: {len(pairs)} pairs")


if __name__ == "__main__":
    main()
