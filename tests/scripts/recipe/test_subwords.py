"""scripts/recipe/subwords.py, on dictionaries of each kind."""

import re
import sys
from pathlib import Path

import pytest

from ...conftest import ROOT, run

SUBWORDS = [sys.executable, ROOT / "scripts" / "recipe" / "subwords.py"]
KINDS = {
    "pieces": "▁the 900\ns 400\n▁ 30\n,@@ 1\n",
    "codes": "the 900\nth@@ 400\n, 300\n▁ 1\n",
    "characters": "▁ 700\nt 500\nh 400\n",
    "words": "the 9000\n, 8000\n▁ 3\n@@ 4\na_b 1\nO'Neil|Smith 1\n",
    "numbers": "13 900\n262 400\n50256 3\nmadeupword0000 0\n",
    "letters": "t 900\n| 400\nh 300\n",
}


@pytest.fixture
def dictionaries(tmp_path) -> dict[str, Path]:
    paths = {kind: tmp_path / f"dict.{kind}.txt" for kind in KINDS}
    for kind, path in paths.items():
        path.write_text(KINDS[kind])
    return paths


def test_what_the_symbols_show(dictionaries, data) -> None:
    for kind, expected in (
        ("pieces", "sentencepiece"),
        ("characters", "sentencepiece"),
        ("codes", "subword_nmt"),
        ("words", "none"),  # though some look like marks, once in a thousand and less
        ("letters", "none"),
    ):
        assert run([*SUBWORDS, dictionaries[kind]]).stdout == f"{expected}\n", kind
    assert run([*SUBWORDS, data / "bin" / "dict.en.txt"]).stdout == "sentencepiece\n"


@pytest.mark.parametrize(
    ("kind", "chosen", "expected"),
    [
        ("pieces", "sentencepiece", "sentencepiece"),
        ("codes", "@@ ", "subword_nmt"),
        ("words", "", "none"),
        ("words", "none", "none"),
        ("words", "subword_nmt", "subword_nmt"),  # changes nothing
        ("words", "silence", "silence"),
        ("letters", "letter", "letter"),
        ("numbers", "none", "none"),
        ("pieces", "none", "have the mark of a word's beginning, U\\+2581: .*=sentencepiece, or"),
        ("pieces", "subword_nmt", "set POST_PROCESS=sentencepiece, or leave it unset"),
        ("codes", "sentencepiece", "have @@ at their end: set POST_PROCESS=subword_nmt, or leave"),
        ("codes", "", "'none', but the symbols of .*dict.codes.txt have @@ at their end"),
        ("letters", "sentencepiece", "no symbol of .* U\\+2581, so .* would join all words: set"),
        ("letters", "wordpiece", "no symbol of .*dict.letters.txt has an underscore, so"),
        ("numbers", None, "are numbers, as of GPT-2's .*--bpe gpt2 .*set POST_PROCESS=none"),
        ("words", "moses", "must be one of none, sentencepiece, .*, got 'moses'"),
        ("empty", None, "the dictionary .*dict.empty.txt is empty"),
        ("missing", None, "no such dictionary file: "),
    ],
)
def test_choice(dictionaries, tmp_path, kind, chosen, expected) -> None:
    (tmp_path / "dict.empty.txt").touch()
    option = [] if chosen is None else [f"--set={chosen}"]
    path = dictionaries.get(kind, tmp_path / f"dict.{kind}.txt")
    result = run([*SUBWORDS, path, *option], check=False)
    if result.returncode:
        (line,) = result.stderr.splitlines()
        assert re.search(expected, line), line
    else:
        assert result.stdout == f"{expected}\n"
