"""scripts/corpus/clean_corpus.py: what each rule removes, and what bad input gives."""

import json
import re
import sys

import pytest

from ...conftest import ROOT, run

CLEAN = [sys.executable, ROOT / "scripts" / "corpus" / "clean_corpus.py", "--languages", "en", "de"]
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


def write(folder, name: str, pairs) -> None:
    for side, language in enumerate(("en", "de")):
        (folder / f"{name}.{language}").write_text("".join(f"{pair[side]}\n" for pair in pairs))


@pytest.mark.parametrize("workers", [1, 2])
def test_rules(tmp_path, workers) -> None:
    write(tmp_path, "a", PAIRS[:6])
    write(tmp_path, "b", PAIRS[6:])
    command = [*CLEAN, tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out"]
    command += ["--max-words", "6", "--hold-out", "3", "--held-out", tmp_path / "held"]
    run([*command, "--workers", workers])
    kept = [pair for pair in PAIRS if pair[2] == "kept"]
    for side, language in enumerate(("en", "de")):
        train = (tmp_path / f"out.{language}").read_text().split("\n")[:-1]
        held = (tmp_path / f"held.{language}").read_text().split("\n")[:-1]
        assert held == [kept[2][side]]
        assert train == [kept[i][side] for i in (0, 1, 3, 4)]
    counts = json.loads((tmp_path / "out.clean.json").read_text())
    for name, pairs in (("a", PAIRS[:6]), ("b", PAIRS[6:]), ("all", PAIRS)):
        for rule, count in counts[name].items():
            expected = len(pairs) if rule == "pairs" else sum(p[2] == rule for p in pairs)
            assert count == expected, (name, rule)


@pytest.mark.parametrize(
    ("english", "german", "message"),
    [
        (b"a\nb\nc\n", b"a\n", "a.en has 3 lines but .*a.de has 1: they must match line by line"),
        (b"a\n", b"a\nb\nc\n", "a.en has 1 lines but .*a.de has 3"),
        (b"a\nb\n", b"a\n\xffb\n", "a.de, line 2: byte 0xff at position 1 is not UTF-8"),
        (b"", b"a\n", "a.en is empty"),
        (None, b"a\n", "no such file: .*a.en"),
        (b"\n", b"\n", "no pair is left of 1"),
    ],
)
def test_bad_input(tmp_path, english, german, message) -> None:
    for language, content in (("en", english), ("de", german)):
        if content is not None:
            (tmp_path / f"a.{language}").write_bytes(content)
    (tmp_path / "out").mkdir()
    result = run([*CLEAN, tmp_path / "a", "--out", tmp_path / "out" / "x"], check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert re.match(f"clean_corpus: .*{message}", line)
    assert not list((tmp_path / "out").iterdir())
