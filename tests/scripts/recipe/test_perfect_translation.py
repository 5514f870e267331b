"""What a perfect model would write scores 100.00 in tokenised BLEU, however the text is prepared.

The text goes through encode_corpus.py, a stand-in for fairseq-generate "translates" into the very
pieces that this made of the test set, and evaluate.sh scores that.
"""
# ruff: noqa: RUF001

import json
import os
import sys
from pathlib import Path

import pytest

from ...conftest import PROGRAMS, ROOT, corpus_lines, run

ENCODE = [sys.executable, ROOT / "scripts" / "corpus" / "encode_corpus.py"]
EVALUATE = ["bash", ROOT / "scripts" / "evaluate.sh"]
# what preparations change: quotation marks, dashes, ellipses, fractions, periods of abbreviations
# and before small letters, apostrophes, spaces that do not break
HARD = {
    "de": [
        "„Das ist, z. B., ein Kraft-Wärme-Kopplungs-Gerät“, sagte er – und ging…",
        "Er wog 1½ Pfund, kostete 3.000 € und hieß ‚Max‘. ja, wirklich.",
        "Am 3. Oktober sprach Dr. Müller über A&B <und> [C].",
    ],
    "fr": [
        "« L’eau-de-vie n’est pas d’aujourd’hui », dit-elle… peut-être.",
        "Qu'est-ce que c’est ? Un porte-avions : 1 234,5 m, c.-à-d. beaucoup !",
        "M. Dupont s’en va. ensuite, il œuvre à 50 % | voire plus.",
    ],
}
GENERATE = """#!/usr/bin/env python
import sys
from fairseq.data.data_utils import post_process
value = sys.argv[sys.argv.index("--post-process") + 1]
for number, line in enumerate(open({pieces!r}, encoding="utf-8").read().split("\\n")[:-1]):
    print(f"D-{{number}}\\t-0.1\\t{{post_process(line, value)}}")
"""


def text_of(language: str) -> list[str]:
    return HARD[language] * 20 if language in HARD else corpus_lines("test", language)[:200]


@pytest.mark.parametrize("languages", [("es", "en"), ("de", "fr")])
@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("bpe", ["moses", "sentencepiece"])
def test_perfect_translation(tmp_path: Path, languages, lowercase: bool, bpe: str) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    corpus.mkdir()
    for language in languages:
        for split in ("train", "valid", "test"):
            text = "".join(f"{line}\n" for line in text_of(language))
            (corpus / f"{split}.{language}").write_text(text)
    command = [*ENCODE, "--corpus", corpus, "--languages", *languages, "--out", tmp_path / "pieces"]
    command += ["--vocab-size", "100", "--bpe", bpe]
    if bpe == "moses":  # as the recipes have it: lower-cased, or punctuation normalised
        command += ["--lowercase" if lowercase else "--normalise"]
    run(command)

    for language in languages:
        pieces = tmp_path / "pieces" / f"test.pieces.{language}"
        data, programs = tmp_path / language / "bin", tmp_path / language / "programs"
        data.mkdir(parents=True)
        programs.mkdir()
        source = next(other for other in languages if other != language)
        for side in (source, language):
            (data / f"test.{source}-{language}.{side}.bin").write_text("x")
            symbols = sorted(set(pieces.read_text().split()))
            (data / f"dict.{side}.txt").write_text("".join(f"{piece} 1\n" for piece in symbols))
        checkpoint = tmp_path / language / "checkpoint.pt"
        checkpoint.touch()
        generate = programs / "fairseq-generate"
        generate.write_text(GENERATE.format(pieces=str(pieces)))
        generate.chmod(0o755)
        env = {"PATH": f"{programs}:{PROGRAMS}:{os.environ['PATH']}", "SCORE_ARGS": ""}
        if bpe == "moses":
            env["DETOKENISE"] = language
        else:
            env["SCORE_ARGS"] = f"--tokenised {language}"
        env["SCORE_ARGS"] += " --lowercase" * lowercase
        arguments = [data, checkpoint, "--out", out, "--pieces", pieces]
        result = run(
            [*EVALUATE, *arguments, "--reference", corpus / f"test.{language}"], env=env
        ).stdout
        assert "\ntokenised BLEU 100.00 (not sacreBLEU)\n" in result
        assert "\ntokenised compound-split BLEU 100.00 (not sacreBLEU)\n" in result
        # sacreBLEU is against the original text: it says what was lost on the way
        scores = json.loads((out / "scores.json").read_text())
        assert scores["perfect"]["BLEU"] == scores["BLEU"]["score"]
        lossless = scores["BLEU"]["score"] > 99.995
        assert ("a perfect translation would have" in result) != lossless
        if language in HARD or bpe == "sentencepiece":
            assert lossless == (language not in HARD)
