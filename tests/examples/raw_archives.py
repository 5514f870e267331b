"""Small archives in the exact layout of the shared tasks' sites, from any parallel text.

    python -m tests.examples.raw_archives wmt14 en-de DIR TEXT.en TEXT.de
    python -m tests.examples.raw_archives iwslt14 de-en DIR TEXT.de TEXT.en

writes to DIR what the recipe's prepare.sh expects in $RAW_DIR, and archives.tsv, the recipe's
table with the checksums of these archives; and to DIR/sacrebleu, for $SACREBLEU, the test set that
sacrebleu would download. Text may be gzipped. The first 60 sentences become
the validation and test sets, the others the training data.
"""

import argparse
import gzip
import hashlib
import io
import tarfile
from pathlib import Path

from ..conftest import ROOT

HELD_OUT = 30  # sentences of each test set


def sgm(lines: list[str], kind: str, name: str) -> str:
    """As statmt.org serves test sets; kind: src or ref."""
    head = f'<{kind}set setid="{name}" srclang="any" trglang="any">\n'
    segments = "".join(f'<seg id="{i}">{line}</seg>\n' for i, line in enumerate(lines, 1))
    document = f'<doc docid="a" genre="news" origlang="en">\n<p>\n{segments}</p>\n</doc>\n'
    return f"{head}{document}</{kind}set>\n"


def ted_xml(lines: list[str], language: str) -> str:
    """As WIT3 serves test sets."""
    segments = "".join(f'<seg id="{i}"> {line} </seg>\n' for i, line in enumerate(lines, 1))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<mteval>\n'
        f'<refset setid="iwslt2014" srclang="x" trglang="{language}">\n'
        '<doc docid="535" genre="lectures">\n<talkid>535</talkid>\n<title>A title</title>\n'
        f"{segments}</doc>\n</refset>\n</mteval>\n"
    )


def ted_tags(lines: list[str]) -> str:
    """As WIT3 serves training data: talks of five lines, each under its tags."""
    text = []
    for start in range(0, len(lines), 5):
        text += [f"<url>http://www.ted.com/talks/{start}</url>", "<keywords>talks</keywords>"]
        text += [f"<speaker>Someone</speaker>\n<talkid>{start}</talkid>"]
        text += ['<reviewer href="http://www.ted.com/profiles/1">Another</reviewer>']
        text += [f"<title>{lines[start]}</title>"]
        text += [f" {line} " for line in lines[start + 1 : start + 5]]
    return plain(text)


def plain(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def write_archive(path: Path, members: dict[str, str]) -> None:
    """A tar, gzipped unless it ends in .tar; members that end in .gz are gzipped themselves."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in members.items():
            content = text.encode()
            if name.endswith(".gz"):
                content = gzip.compress(content, mtime=0)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    content = packed.getvalue()
    path.write_bytes(content if path.suffix == ".tar" else gzip.compress(content, mtime=0))


def wmt14_members(pair: str, text: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    """Archives of WMT14 and what is in them, for en-de or en-fr."""
    other = pair.removeprefix("en-")
    train = {language: lines[2 * HELD_OUT :] for language, lines in text.items()}
    europarl, crawl, news, un, giga = (
        {language: plain(lines[part::5]) for language, lines in train.items()} for part in range(5)
    )
    archives: dict[str, dict[str, str]] = {
        "training-parallel-europarl-v7.tgz": {
            f"training/europarl-v7.{other}-en.{language}": europarl[language] for language in text
        },
        "training-parallel-commoncrawl.tgz": {
            f"commoncrawl.{other}-en.{language}": crawl[language] for language in text
        },
        "training-parallel-nc-v9.tgz": {
            f"training/news-commentary-v9.{other}-en.{language}": news[language]
            for language in text
        },
        "test.tgz": {
            f"test/newstest2013-src.{language}.sgm": sgm(lines[:HELD_OUT], "src", "newstest2013")
            for language, lines in text.items()
        },
        "test-full.tgz": {
            f"test-full/newstest2014-{other}en-{kind}.{language}.sgm": sgm(
                text[language][HELD_OUT : 2 * HELD_OUT], kind, f"newstest2014-{other}en"
            )
            for language in text
            for kind in ("src", "ref")
        },
    }
    if other == "fr":
        archives["training-parallel-un.tgz"] = {
            f"un/undoc.2000.fr-en.{language}": un[language] for language in text
        }
        archives["training-giga-fren.tar"] = {
            f"giga-fren.release2.fixed.{language}.gz": giga[language] for language in text
        }
    return archives


def iwslt14_members(pair: str, text: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    """The archives of IWSLT14 or IWSLT17 (WIT3) and what is in them, for X-en."""
    other = next(language for language in pair.split("-") if language != "en")
    release = "IWSLT17" if other in ("fr", "zh") else "IWSLT14"
    name, archive, sets = f"en-{other}", f"{release.lower()}.en-{other}.tgz", ["tst2013", "tst2014"]
    if other == "de":
        name, archive, sets = "de-en", "de-en.tgz", ["dev2010", "tst2010", "tst2011"]
    elif other == "es":
        sets = ["tst2010", "tst2012"]
    train, held_out = {}, {}
    for language, lines in text.items():
        train[f"{name}/train.tags.{name}.{language}"] = ted_tags(lines[2 * HELD_OUT :])
        # of 60 lines the first half, if the other half is a test set elsewhere
        size = (2 if other == "de" else 1) * HELD_OUT // len(sets)
        for start, year in enumerate(sets):
            part = ted_xml(lines[start * size : (start + 1) * size], language)
            train[f"{name}/{release}.TED.{year}.{name}.{language}.xml"] = part
        if other != "de":  # an older set, which is not for this recipe
            train[f"{name}/{release}.TED.dev2010.{name}.{language}.xml"] = ted_xml(lines, language)
        part = ted_xml(lines[HELD_OUT : 2 * HELD_OUT], language)
        held_out[f"{name}/IWSLT14.TED.tst2014.{name}.{language}.xml"] = part
    archives = {archive: train}
    if other == "es":
        archives["iwslt14-test.en-es.tgz"] = held_out
    return archives


def write_sacrebleu_set(folder: Path, name: str, pair: str, text: dict[str, list[str]]) -> None:
    """The test set as sacrebleu keeps it once it has downloaded and unpacked it."""
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    source, target = pair.split("-")
    for field in ("src", "ref", "docid", "genre", "origlang"):
        lines = text[target if field == "ref" else source][HELD_OUT : 2 * HELD_OUT]
        (folder / f"{name}.{pair}.{field}").write_text(plain(lines))


MEMBERS = {"wmt14": wmt14_members, "iwslt14": iwslt14_members}


def write(
    recipe: str, pair: str, folder: Path, text: dict[str, list[str]], address: str = ""
) -> None:
    """Write the archives and archives.tsv; ``address``, if given, of the server that has them."""
    folder.mkdir(parents=True, exist_ok=True)
    if recipe == "iwslt14" and ("fr" in text or "zh" in text):
        write_sacrebleu_set(folder / "sacrebleu", "iwslt17", pair, text)
    for name, members in MEMBERS[recipe](pair, text).items():
        write_archive(folder / name, members)
    lines = []
    for line in (ROOT / "examples" / recipe / "archives.tsv").read_text().splitlines():
        *fields, name, member, _, url = line.split("\t")
        checksum = "-"
        if (folder / name).is_file():
            checksum = "sha256:" + hashlib.sha256((folder / name).read_bytes()).hexdigest()
        url = f"{address}/{name}" if address else url
        lines.append("\t".join([*fields, name, member, checksum, url]))
    (folder / "archives.tsv").write_text(plain(lines))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", choices=MEMBERS)
    parser.add_argument("pair", help="as en-de")
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("text", type=Path, nargs=2, help="the two sides, in the pair's order")
    args = parser.parse_args()
    text = {}
    for language, path in zip(args.pair.split("-"), args.text, strict=True):
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            text[language] = file.read().decode().removesuffix("\n").split("\n")
    write(args.recipe, args.pair, args.folder, text)


if __name__ == "__main__":
    main()
