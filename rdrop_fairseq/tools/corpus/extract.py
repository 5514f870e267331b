"""Take the two sides of a parallel corpus out of an archive, as plain text, a sentence a line.

    python scripts/corpus/extract_text.py --archive training-parallel-europarl-v7.tgz \\
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
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import BinaryIO

from text_files import InputError, argument_parser, command_line, read_lines, writing

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


def extract(archive: tarfile.TarFile, path: Path, pattern: str, output: BinaryIO) -> int:
    """Write the sentences of all members that match ``pattern``; gives their number.

    Raises:
        InputError: no member matches, one is empty or not UTF-8.
    """
    members = sorted(
        (member for member in archive if fnmatch.fnmatchcase(member.name, pattern)),
        key=lambda member: member.name,
    )
    if not members:
        raise InputError(f"{path} holds no {pattern}: is it the original archive?")
    count = 0
    for member in members:
        name = f"{path}: {member.name}"
        before = count
        file = archive.extractfile(member)
        if file is None:
            raise InputError(f"{name} is not a file")
        with gzip.open(file) if member.name.endswith(".gz") else file as content:
            for sentence in sentences(read_lines(content, name), member.name.removesuffix(".gz")):
                output.write(sentence.encode() + b"\n")
                count += 1
        if count == before:
            raise InputError(f"{name} is empty: no sentence in it")
    return count


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--archive", type=Path, required=True, help="tar, .tgz or .tar.gz")
    parser.add_argument("--member", required=True, help="name in the archive; see above")
    parser.add_argument("--languages", nargs=2, required=True, help="source and target")
    parser.add_argument("--out", type=Path, required=True, help="files to write, without .LANGUAGE")
    args = parser.parse_args()

    args.out.parent.mkdir(parents=True, exist_ok=True)
    patterns = [
        args.member.replace("{language}", language).replace("{role}", role)
        for language, role in zip(args.languages, ("src", "ref"), strict=True)
    ]
    try:
        with (
            tarfile.open(args.archive) as archive,
            writing(*(Path(f"{args.out}.{language}") for language in args.languages)) as outputs,
        ):
            counts = [
                extract(archive, args.archive, pattern, output)
                for pattern, output in zip(patterns, outputs, strict=True)
            ]
            if counts[0] != counts[1]:
                raise InputError(
                    f"{args.archive}: {patterns[0]} has {counts[0]} sentences but {patterns[1]} "
                    f"has {counts[1]}: they must match line by line"
                )
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{args.archive} is truncated or not an archive ({error}): remove it, and "
            "fetch it again"
        ) from None
    print(f"{args.out}: {counts[0]} sentence pairs")


if __name__ == "__main__":
    command_line(main)
