"""Take the two sides of a parallel corpus out of an archive, as plain text, a sentence a line.

    rdrop corpus extract --archive training-parallel-europarl-v7.tgz \\
        --member 'training/europarl-v7.de-en.{language}' --languages en de --out DIR/europarl-v7

writes DIR/europarl-v7.en and DIR/europarl-v7.de. In --member, {language} stands for each
language, {role} for src in the first one and ref in the second, and * for anything: of several
members that match, the sentences follow one another in the order of the names.

A member is plain text (also .gz), or in the formats of the shared tasks: .sgm and .xml, whose
<seg> lines are taken as sacrebleu does, without resolving entities; train.tags.*, of which
titles, descriptions and lines that are not within a tag are kept.
"""

import fnmatch
import gzip
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from ...errors import UsageError
from ..command_line import add_languages, command, existing_file, parser
from ..files import writing
from ..text import read_lines

SEGMENT = re.compile(r"<seg[^>]*>(.*?)</seg>")
TITLE = re.compile(r"<(title|description)>(.*)</\1>")
# a whole line that is an element or a tag; a sentence may begin with "<", too
METADATA = re.compile(r'<([a-z]+)( [a-z]+="[^"]*")*>(.*</\1>)?|</[a-z]+>')


def sentences(lines: Iterator[str], member: str) -> Iterator[str]:
    """The sentences among the lines of a member, by the format that its name says."""
    name = PurePath(member).name
    for line in lines:
        if name.endswith((".sgm", ".xml")):
            if match := SEGMENT.match(line):
                yield match[1].strip()
        elif name.startswith("train.tags."):
            if match := TITLE.fullmatch(line):
                yield match[2].strip()
            elif not METADATA.fullmatch(line):
                yield line
        else:
            yield line


def sentences_of(archive: tarfile.TarFile, path: Path, pattern: str) -> Iterator[str]:
    """The sentences of all members that match ``pattern``.

    Raises:
        UsageError: no member matches, one is empty or not UTF-8.
    """
    members = sorted(
        (member for member in archive if fnmatch.fnmatchcase(member.name, pattern)),
        key=lambda member: member.name,
    )
    if not members:
        raise UsageError(f"{path} holds no {pattern}: is it the original archive?")
    for member in members:
        name = f"{path}: {member.name}"
        file = archive.extractfile(member)
        if file is None:
            raise UsageError(f"{name} is not a file")
        found = False
        with gzip.open(file) if member.name.endswith(".gz") else file as content:
            for sentence in sentences(read_lines(content, name), member.name.removesuffix(".gz")):
                found = True
                yield sentence
        if not found:
            raise UsageError(f"{name} is empty: no sentence in it")


def sides_of(corpus: Path, languages: Sequence[str]) -> list[Path]:
    """The two texts of a corpus."""
    return [Path(f"{corpus}.{language}") for language in languages]


def write_sides(out: Path, languages: Sequence[str], sides: Mapping[str, Iterable[str]]) -> None:
    """Write the texts of a corpus.

    Args:
        sides: the sentences of each language, by what to call them in an error.

    Raises:
        UsageError: one side is longer than the other.
    """
    counts = []
    with writing(*sides_of(out, languages)) as files:
        for file, lines in zip(files, sides.values(), strict=True):
            counts.append(0)
            for line in lines:
                file.write(line.encode() + b"\n")
                counts[-1] += 1
        if counts[0] != counts[1]:
            first, second = sides
            raise UsageError(
                f"{first} has {counts[0]} sentences but {second} has {counts[1]}: they must match "
                "line by line"
            )
    print(f"{out}: {counts[0]:,} sentence pairs")


def extract(archive: Path, member: str, languages: Sequence[str], out: Path) -> None:
    """What the command does.

    Raises:
        UsageError: the archive is damaged, or does not hold two sides that match.
    """
    source, target = (
        member.replace("{language}", language).replace("{role}", role)
        for language, role in zip(languages, ("src", "ref"), strict=True)
    )
    if source == target:
        raise UsageError(f"{member} is the same for both sides: it needs {{language}} or {{role}}")
    try:
        with tarfile.open(archive) as opened:
            sides = {
                f"{archive}: {pattern}": sentences_of(opened, archive, pattern)
                for pattern in (source, target)
            }
            write_sides(out, languages, sides)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(
            f"{archive} is truncated or not an archive ({error}): remove it, and fetch it again"
        ) from None


@command("rdrop corpus extract")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "rdrop corpus extract")
    options.add_argument(
        "--archive", type=existing_file, required=True, help="tar, .tgz or .tar.gz"
    )
    options.add_argument("--member", required=True, help="name in the archive; see above")
    add_languages(options)
    options.add_argument(
        "--out", type=Path, required=True, help="files to write, without .LANGUAGE"
    )
    args = options.parse_args(argv)
    extract(args.archive, args.member, args.languages, args.out)


if __name__ == "__main__":
    main()
