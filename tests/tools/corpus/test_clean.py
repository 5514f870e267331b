"""rdrop corpus clean: what each rule removes, and what bad input gives."""

import json
import re
from pathlib import Path

import pytest

from rdrop_fairseq.tools.corpus.clean import main

PAIRS = [
    ("A house .", "Ein Haus .", "kept"),
    ("", "Nichts", "empty"),
    ("Nothing", "\u3000 \t", "empty"),
    ("a b c d e f g", "a b c d e f g", "long"),
    ("one two three four five", "eins zwei", "ratio"),
    ("one two three four", "eins zwei", "kept"),
    ("Athens is fine", "Αθήνα ist schön", "kept"),
    ("Athens", "Αθήνα", "script"),
    ("北京", "Peking", "script"),
    ("2014", "2014", "kept"),
    ("A  house\u2028.", "Ein Haus .", "duplicate"),
    ("A house .", "Das Haus .", "kept"),
]


def write(folder: Path, name: str, pairs: list) -> str:
    folder.mkdir(exist_ok=True)
    for side, language in enumerate(("en", "de")):
        (folder / f"{name}.{language}").write_text("".join(f"{pair[side]}\n" for pair in pairs))
    return str(folder / name)


def flags(out: Path, *more: str) -> list[str]:
    return ["--languages", "en", "de", "--out", str(out), *more]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_rules(tmp_path, workers) -> None:
    corpora = [write(tmp_path, "a", PAIRS[:6]), write(tmp_path, "b", PAIRS[6:])]
    (tmp_path / "a.en").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.en").read_bytes())
    hold_out = ["--hold-out", "3", "--held-out", str(tmp_path / "held")]
    limits = ["--max-words", "6", "--workers", workers]
    main([*corpora, *flags(tmp_path / "new" / "out", *hold_out, *limits)])
    kept = [pair for pair in PAIRS if pair[2] == "kept"]
    for side, language in enumerate(("en", "de")):
        train = (tmp_path / "new" / f"out.{language}").read_text().split("\n")[:-1]
        held = (tmp_path / f"held.{language}").read_text().split("\n")[:-1]
        assert held == [kept[2][side]]
        assert train == [kept[i][side] for i in (0, 1, 3, 4)]
    counts = json.loads((tmp_path / "new" / "out.clean.json").read_text())
    assert counts["corpora"].keys() == {"a", "b"}
    for count, pairs in (
        (counts["corpora"]["a"], PAIRS[:6]),
        (counts["corpora"]["b"], PAIRS[6:]),
        (counts["all"], PAIRS),
    ):
        for rule, number in count.items():
            expected = len(pairs) if rule == "pairs" else sum(p[2] == rule for p in pairs)
            assert number == expected, rule


def test_corpora_of_one_name(tmp_path, capsys) -> None:
    """Their counts are apart, and those of all are of both."""
    pairs = [(f"house {number}", f"Haus {number}") for number in range(5)]
    corpora = [write(tmp_path / "x", "all", pairs[:2]), write(tmp_path / "y", "all", pairs[2:])]
    main([*corpora, *flags(tmp_path / "out")])
    counts = json.loads((tmp_path / "out.clean.json").read_text())
    assert [counts["corpora"][corpus]["kept"] for corpus in corpora] == [2, 3]
    assert counts["all"]["kept"] == 5 == len((tmp_path / "out.en").read_text().splitlines())
    assert capsys.readouterr().out.splitlines()[-1].split() == ["all", "5", *"00000", "5"]


@pytest.mark.parametrize(
    ("english", "german", "message"),
    [
        (b"a\nb\nc\n", b"a\n", "a.en has 3 lines but .*a.de has 1: they must match line by line"),
        (b"a\n", b"a\nb\nc\n", "a.en has 1 lines but .*a.de has 3"),
        (b"a\nb\n", b"a\n\xffb\n", "a.de, line 2: byte 0xff at position 1 is not UTF-8"),
        (b"", b"a\n", "a.en has 0 lines but .*a.de has 1"),
        (b"", b"\xef\xbb\xbf", "a.en and .*a.de are empty"),
        (None, b"a\n", "no such text file: .*a.en"),
        (b"\n", b"\n", "no pair is left of 1"),
    ],
)
def test_bad_text(refused, tmp_path, english, german, message) -> None:
    for language, content in (("en", english), ("de", german)):
        if content is not None:
            (tmp_path / f"a.{language}").write_bytes(content)
    sentence = refused(main, tmp_path / "a", *flags(tmp_path / "out" / "x"))
    assert re.match(f"rdrop corpus clean: .*{message}", sentence)
    assert not list((tmp_path / "out").iterdir())


def test_wrong_arguments(refused, tmp_path) -> None:
    a, out = write(tmp_path, "a", PAIRS), tmp_path / "out"
    held = ["--held-out", tmp_path / "held"]
    before = (tmp_path / "a.en").read_text()
    for arguments, message in (
        ([*flags(out), "--hold-out", "-1", *held], "--hold-out: must be a whole number of at l.*2"),
        ([*flags(out), "--hold-out", "0", *held], "--hold-out: must be a whole number of at l.*2"),
        ([*flags(out), "--hold-out", "9", *held], "5 pairs are too few for --hold-out 9"),
        ([*flags(out), "--hold-out", "2"], "--hold-out and --held-out go together"),
        ([*flags(out), "--hold-out", "2", "--held-out", out], "out.en would be written twice"),
        ([*flags(out), "--workers", "0"], "--workers: must be a whole number of at least 1, got 0"),
        ([*flags(out), "--max-ratio", "nan"], "--max-ratio: must be a number of at least 1, got n"),
        ([*flags(a)], "a is to be read, and cannot be written"),
        ([a, *flags(out)], "a is given twice"),
        (["--languages", "en", "en", "--out", out], "must be two languages, got en twice"),
        (["--languages", "en", "xx", "--out", out], "--languages: invalid choice: 'xx'"),
    ):
        # limits under which five pairs are left
        assert re.search(message, refused(main, a, *arguments, "--max-words", "6"))
        assert {path.name for path in tmp_path.iterdir()} == {"a.en", "a.de"}
    assert (tmp_path / "a.en").read_text() == before


def test_name_of_a_folder(refused, tmp_path) -> None:
    """None of the files is written, nor are those that were there changed."""
    a = write(tmp_path, "a", PAIRS)
    (tmp_path / "out.en").write_text("before\n")
    (tmp_path / "out.clean.json").mkdir()
    message = "out.clean.json is a folder: name a file to write"
    assert message in refused(main, a, *flags(tmp_path / "out"))
    assert (tmp_path / "out.en").read_text() == "before\n"
    assert not (tmp_path / "out.de").exists()
