"""rdrop corpus extract: the formats of the shared tasks, and damaged archives."""

import gzip
from pathlib import Path

import pytest

from rdrop_fairseq.tools.corpus.extract import main

from ...examples.raw_archives import ted_tags, write_archive

MARK = "\ufeff"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive.tgz"
    members = {
        "plain.en": f"{MARK}one\ntwo  words\n",
        "plain.de": "eins\nzwei \u2028 Wörter\n",
        "packed.en.gz": f"{MARK}one\n",
        "packed.de.gz": "eins\n",
        "set-src.de.sgm": '<doc>\n<seg id="1"> eins </seg>\n</doc>\n',
        "set-ref.en.sgm": '<doc>\n<seg id="1">one</seg>\n</doc>\n',
        "train.tags.en": ted_tags(["a", "<b> c", "d"]),
        "train.tags.de": ted_tags(["x", "y", "z"]),
        "year2.en": "two\n",
        "year1.en": "one\n",
        "year1.de": "eins\n",
        "year2.de": "zwei\n",
        "short.en": "one\n",
        "short.de": "eins\nzwei\n",
        "empty.en": "",
        "empty.de": "eins\n",
    }
    write_archive(path, members)
    return path


def flags(archive: Path, member: str, languages: str = "en de") -> list[str]:
    out = str(archive.parent / "new" / "out")
    return f"--archive {archive} --member {member} --languages {languages} --out {out}".split()


@pytest.mark.parametrize(
    ("member", "languages", "expected"),
    [
        ("plain.{language}", "en de", ["one|two words|", "eins|zwei Wörter|"]),
        ("packed.{language}.gz", "en de", ["one|", "eins|"]),
        ("set-{role}.{language}.sgm", "de en", ["eins|", "one|"]),
        ("train.tags.{language}", "en de", ["a|<b> c|d|", "x|y|z|"]),
        ("year?.{language}", "en de", ["one|two|", "eins|zwei|"]),
    ],
)
def test_formats(archive, member, languages, expected) -> None:
    main(flags(archive, member, languages))
    for language, lines in zip(languages.split(), expected, strict=True):
        text = (archive.parent / "new" / f"out.{language}").read_text()
        assert text == lines.replace("|", "\n")


def test_wrong_input(refused, archive, tmp_path) -> None:
    for member, message in (
        ("none.{language}", "archive.tgz holds no none.en: is it the original archive?"),
        ("short.{language}", "short.en has 1 sentences but {}: short.de has 2: they must match"),
        ("empty.{language}", "archive.tgz: empty.en is empty: no sentence in it"),
        ("plain.en", "plain.en is the same for both sides: it needs {{language}} or {{role}}"),
    ):
        assert message.format(archive) in refused(main, *flags(archive, member))
    arguments = flags(archive, "plain.{language}", "en en")
    assert "--languages must be two languages, got en twice" in refused(main, *arguments)
    arguments = flags(tmp_path / "none.tgz", "plain.{language}")
    assert "argument --archive: no such file: " in refused(main, *arguments)
    whole = archive.read_bytes()
    latin = gzip.compress(gzip.decompress(whole).replace("ö".encode(), b"\xf6 "))
    for content, message in (
        (whole[: len(whole) // 2], "archive.tgz is truncated or not an archive"),
        (b"<html>not found</html>", "archive.tgz is truncated or not an archive"),
        (latin, "plain.de, line 2: byte 0xf6 at position 11 is not UTF-8"),
    ):
        archive.write_bytes(content)
        assert message in refused(main, *flags(archive, "plain.{language}"))
    assert not list((tmp_path / "new").iterdir())
