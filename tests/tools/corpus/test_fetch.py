"""rdrop corpus fetch: corpora of a table, from archives, a server and sacrebleu."""

import hashlib
import re
from pathlib import Path

import pytest
from sacrebleu import DATASETS

from rdrop_fairseq.tools.corpus.fetch import main

from ...examples.raw_archives import HELD_OUT, write, write_archive, write_sacrebleu_set

IWSLT17 = DATASETS["iwslt17"]


@pytest.fixture
def table(server) -> Path:
    """Two archives on the server, one of which holds two corpora, and one that is nowhere."""
    folder = server.folder
    write_archive(
        folder / "a.tgz",
        {
            "train.de": "eins\nzwei\n",
            "train.en": "one\ntwo\n",
            "test.de": "drei\n",
            "test.en": "3\n",
        },
    )
    write_archive(folder / "b.tar", {"x.de": "vier\n", "x.en": "four\n"})
    rows = []
    for name, archive, member in (
        ("train", "a.tgz", "train.{language}"),
        ("test", "a.tgz", "test.{language}"),
        ("more", "b.tar", "x.{language}"),
    ):
        checksum = hashlib.sha256((folder / archive).read_bytes()).hexdigest()
        rows.append(
            f"de-en,en-de\ttrain\t{name}\t{archive}\t{member}\tsha256:{checksum}\t"
            f"{server.address}/{archive}"
        )
    rows += ["es-en\ttrain\ttrain\tc.tgz\t{other}.{language}\t-\t-"]
    rows += ["es-en\tvalid\tvalid\td.tgz\t{other}.{language}\t-\thttp://d"]
    path = folder / "archives.tsv"
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


def flags(table: Path, tmp_path: Path, *more: str, languages: str = "de en") -> list[str]:
    raw, out = tmp_path / "raw", tmp_path / "corpora"
    words = f"--table {table} --languages {languages} --raw {raw} --out {out}".split()
    return [*words, *more]


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_all_of_a_pair(table, tmp_path, capsys) -> None:
    main(flags(table, tmp_path))
    expected = {"train.de": "eins\nzwei\n", "train.en": "one\ntwo\n", "test.de": "drei\n"}
    expected |= {"test.en": "3\n", "more.de": "vier\n", "more.en": "four\n"}
    assert content(tmp_path / "corpora") == expected
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["a.tgz", "b.tar"]
    capsys.readouterr()
    # archives may go; a side that is not there is made again, from an archive that is there
    (tmp_path / "raw" / "a.tgz").unlink()
    (tmp_path / "corpora" / "more.en").unlink()
    main(flags(table, tmp_path, "--offline"))
    assert content(tmp_path / "corpora") == expected
    out = tmp_path / "corpora"
    assert capsys.readouterr().out.splitlines() == [
        f"{out}/train: done already",
        f"{out}/test: done already",
        f"{out}/more: 1 sentence pairs",
    ]


def test_goes_on_after_a_fault(refused, server, table, tmp_path) -> None:
    server.faults["b.tar"] = "dropped"
    assert "b.tar: the connection broke" in refused(main, *flags(table, tmp_path))
    assert not (tmp_path / "corpora").exists()  # rdrop run --once would remove it
    server.faults.clear()
    main(flags(table, tmp_path))
    assert len(content(tmp_path / "corpora")) == 6
    assert len(server.ranges) == 1


def test_wrong_input(refused, table, tmp_path) -> None:
    for arguments, message in (
        (
            flags(table, tmp_path, "--offline"),
            "raw lacks these archives.*:\n  a.tgz  http://.*\n  b",
        ),
        (flags(table, tmp_path, languages="es en"), r"c.tgz  \(not to be had at a fixed address\)"),
        (flags(table, tmp_path, "valid", "--offline", languages="es en"), "d.tgz  http://d$"),
        (flags(table, tmp_path, "x", "train"), "lists no x for de-en, but train, test, more"),
        (flags(table, tmp_path, languages="fr en"), "nothing for fr-en, but for de-en, en-de, es"),
        (flags(tmp_path / "none", tmp_path), "--table: no such file"),
    ):
        sentence = refused(main, *arguments)
        assert re.search(message, sentence), sentence
    text = table.read_text()
    for wrong, message in (
        ("de-en train x", "archives.tsv, line 6: must be seven fields with tabs between"),
        (
            "de-en\ttrain\tx\ta\tb\tsha1:0\tc",
            "line 6: must be sha256:HEX, md5:HEX or -, got sha1:0",
        ),
    ):
        table.write_text(f"{text}{wrong}\n")
        assert message in refused(main, *flags(table, tmp_path))
    assert not (tmp_path / "corpora").exists()


@pytest.mark.parametrize(
    ("recipe", "pair"),
    [
        *(("wmt14", pair) for pair in ("en-de", "en-fr")),
        *(("iwslt14", f"{other}-en") for other in ("de", "es", "fr", "zh")),
        ("iwslt14", "en-es"),
    ],
)
def test_tables_of_the_recipes(tmp_path, monkeypatch, recipe, pair) -> None:
    """With archives in the exact layout of the sites; a test set that sacrebleu has is its own."""
    languages = pair.split("-")
    text = {language: [f"{language} {n}" for n in range(100)] for language in languages}
    write(recipe, pair, tmp_path / "raw", text)
    # sacrebleu reads $SACREBLEU as it is imported
    monkeypatch.setattr(IWSLT17, "_outdir", str(tmp_path / "raw" / "sacrebleu" / "iwslt17"))
    main(flags(tmp_path / "raw" / "archives.tsv", tmp_path, languages=pair.replace("-", " ")))
    found: dict[str, list[str]] = {language: [] for language in languages}
    for path in (tmp_path / "corpora").iterdir():
        found[path.suffix[1:]] += path.read_text().splitlines()
    for language in languages:
        expected = text[language]
        if pair == "en-de":  # two of the five training corpora are for en-fr alone
            train = expected[2 * HELD_OUT :]
            expected = expected[: 2 * HELD_OUT] + train[0::5] + train[1::5] + train[2::5]
        assert sorted(found[language]) == sorted(expected)


def test_sacrebleu_does_not_have_it(refused, table, tmp_path, monkeypatch) -> None:
    write_sacrebleu_set(tmp_path / "s", "iwslt17", "en-fr", dict.fromkeys(("en", "fr"), ["x"] * 60))
    monkeypatch.setattr(IWSLT17, "_outdir", str(tmp_path / "s" / "iwslt17"))
    for name, message in (
        ("iwslt17", ""),
        ("none", "sacrebleu cannot get none for en-fr: No such"),
    ):
        table.write_text(f"en-fr\ttest\ttest\tsacrebleu\t{name}\t-\t-\n")
        arguments = flags(table, tmp_path / name, languages="en fr")
        if message:
            assert message in refused(main, *arguments)
        else:
            main(arguments)
            text = (tmp_path / name / "corpora" / "test.fr").read_text()
            assert text == "x\n" * HELD_OUT
