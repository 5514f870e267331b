"""Get the corpora that a table lists: download, check and extract them.

    rdrop corpus fetch --table archives.tsv --languages en de --raw RAW --out DIR [CORPUS...]

The table has a line for every corpus, with tabs between

  pairs     languages that it is for, such as en-de,de-en
  split     train, valid or test
  corpus    a name: DIR gets CORPUS.en, CORPUS.de and, what they are from, CORPUS.made.json
  archive   a file, that is looked for in RAW and otherwise downloaded into it; or sacrebleu, which
            downloads its test sets itself
  member    names in the archive, as rdrop corpus extract --member takes them, in which {other} is
            the language beside English; or sacrebleu's name of a test set
  checksum  sha256:HEX, md5:HEX or - where none is known
  address   where the archive is, - where it must be fetched by hand

Without a CORPUS, it gets all that are for the two languages. Those that are there stay; one that
is there from something else than the table says now is an error.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import UsageError
from ..command_line import add_languages, command, existing_file, parser
from ..made import is_made
from ..text import lines_of, whole_lines
from . import download
from .extract import extract, made_of, sides_of, write_sides

BY_HAND = "(not to be had at a fixed address)"


class Corpus(NamedTuple):
    """A line of the table."""

    pairs: str
    split: str
    name: str
    archive: str
    member: str
    checksum: str
    address: str


def read_table(path: Path, languages: Sequence[str], names: Sequence[str]) -> list[Corpus]:
    """The corpora of that pair of languages, those of the names if there are any.

    Raises:
        UsageError: a line is not as it must be, or there are no such corpora.
    """
    pair = "-".join(languages)
    source, target = languages
    other = target if source == "en" else source
    found, pairs = [], set()
    for number, line in enumerate(whole_lines(path, "table"), 1):
        try:
            corpus = Corpus(*line.split("\t"))
            download.checksum(corpus.checksum)
        except (TypeError, argparse.ArgumentTypeError) as error:
            reason = "must be seven fields with tabs between" if type(error) is TypeError else error
            raise UsageError(f"{path}, line {number}: {reason}") from None
        pairs.update(corpus.pairs.split(","))
        if pair in corpus.pairs.split(","):
            found.append(corpus._replace(member=corpus.member.replace("{other}", other)))
    if not found:
        raise UsageError(f"{path} lists nothing for {pair}, but for {', '.join(sorted(pairs))}")
    if unknown := set(names) - {corpus.name for corpus in found}:
        raise UsageError(
            f"{path} lists no {', '.join(sorted(unknown))} for {pair}, but "
            f"{', '.join(corpus.name for corpus in found)}"
        )
    return [corpus for corpus in found if not names or corpus.name in names]


def is_there(corpus: Corpus, args: argparse.Namespace) -> bool:
    """Whether the text of a corpus is there; raises `UsageError` if it is from something else."""
    texts, record = sides_of(args.out / corpus.name, args.languages)
    return is_made(made_from(corpus, args.raw), record, *texts)


def made_from(corpus: Corpus, raw: Path) -> dict[str, str | None]:
    if corpus.archive == "sacrebleu":
        return {"archive": "sacrebleu", "member": corpus.member}
    known = None if corpus.checksum == "-" else corpus.checksum
    return made_of(raw / corpus.archive, corpus.member, known)


def check_archives(corpora: Sequence[Corpus], raw: Path, offline: bool) -> None:
    """Raises `UsageError`, with addresses, if some are not in ``raw`` and cannot be downloaded."""
    missing = {
        f"  {corpus.archive}  {BY_HAND if corpus.address == '-' else corpus.address}"
        for corpus in corpora
        if corpus.archive != "sacrebleu"
        and not (raw / corpus.archive).is_file()
        and (offline or corpus.address == "-")
    }
    if missing:
        raise UsageError(
            f"{raw} lacks these archives, which you must put there:\n" + "\n".join(sorted(missing))
        )


def get_test_set(corpus: Corpus, languages: Sequence[str], out: Path) -> None:
    """Write a test set that sacrebleu has."""
    from sacrebleu.utils import get_reference_files, get_source_file

    pair = "-".join(languages)
    try:
        source = get_source_file(corpus.member, pair)
        target = get_reference_files(corpus.member, pair)[0]
    except (
        Exception
    ) as error:  # it raises nothing else for a wrong name, and what its download does
        raise UsageError(f"sacrebleu cannot get {corpus.member} for {pair}: {error}") from None
    sides = {path: lines_of(Path(path)) for path in (source, target)}
    write_sides(out / corpus.name, languages, sides, made_from(corpus, out))


@command("rdrop corpus fetch")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "rdrop corpus fetch")
    options.add_argument("corpora", nargs="*", metavar="CORPUS", help="names in the table")
    options.add_argument("--table", type=existing_file, required=True, help="see above")
    add_languages(options)
    options.add_argument("--raw", type=Path, required=True, help="folder of the archives")
    options.add_argument("--out", type=Path, required=True, help="folder of the text")
    options.add_argument(
        "--offline", action="store_true", help="download no archive: RAW must have all"
    )
    args = options.parse_args(argv)

    listed = read_table(args.table, args.languages, args.corpora)
    wanted = [corpus for corpus in listed if not is_there(corpus, args)]
    check_archives(wanted, args.raw, args.offline)
    checked = set()
    for corpus in wanted:
        if corpus.archive == "sacrebleu":
            get_test_set(corpus, args.languages, args.out)
            continue
        archive = args.raw / corpus.archive
        if archive not in checked:
            download.fetch(corpus.address, corpus.checksum, archive)
            checked.add(archive)
        extract(
            *(archive, corpus.member, args.languages, args.out / corpus.name),
            made_from(corpus, args.raw),
        )


if __name__ == "__main__":
    main()
