"""What a perfect model would write scores 100.00 in tokenised BLEU, however the text is prepared.

The text goes through rdrop corpus encode; what rdrop evaluate makes of the very pieces is scored.
"""
# ruff: noqa: RUF001

from pathlib import Path

import pytest
from fairseq.data import data_utils

from rdrop_fairseq.tools.corpus import encode
from rdrop_fairseq.tools.evaluate import arguments, scored
from rdrop_fairseq.tools.score import lines_of

from ..conftest import corpus_lines

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


def text_of(language: str) -> list[str]:
    return HARD[language] * 20 if language in HARD else corpus_lines("test", language)[:200]


@pytest.mark.parametrize("languages", [("es", "en"), ("de", "fr")])
@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("bpe", ["moses", "sentencepiece"])
def test_perfect_translation(tmp_path: Path, languages, lowercase: bool, bpe: str) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for language in languages:
        for split in ("train", "valid", "test"):
            text = "".join(f"{line}\n" for line in text_of(language))
            (corpus / f"{split}.{language}").write_text(text)
    command = ["--corpus", str(corpus), "--languages", *languages, "--vocab-size", "100"]
    command += ["--bpe", bpe, "--out", f"{tmp_path}/out"]
    if bpe == "moses":  # as the recipes have it: lower-cased, or punctuation normalised
        command += ["--lowercase" if lowercase else "--normalise"]
    encode.main(command)

    (tmp_path / "checkpoint.pt").touch()
    for language in languages:
        pieces = (tmp_path / "out" / f"test.pieces.{language}").read_text().split("\n")[:-1]
        option = "--detokenise" if bpe == "moses" else "--tokenised"
        command = [str(tmp_path), f"{tmp_path}/checkpoint.pt", option, language]
        args = arguments([*command, *["--lowercase"] * lowercase])
        value = {"moses": "subword_nmt"}.get(bpe, bpe)
        # as fairseq-generate prints what the model writes
        translations = [data_utils.post_process(line, value) for line in pieces]
        texts = {"pieces": pieces, "reference": text_of(language)}
        _, report = scored(args, translations, texts, value)
        for name in ("tokenised BLEU", "tokenised compound-split BLEU"):
            assert report[name]["score"] == pytest.approx(100, abs=1e-9)
        # sacreBLEU is against the original text: it says what was lost on the way
        assert report["perfect"]["BLEU"] == report["BLEU"]["score"]
        lossless = report["BLEU"]["score"] > 99.995
        said = "\n".join(lines_of(report))
        assert ("a perfect translation would have" in said) != lossless
        if language in HARD or bpe == "sentencepiece":
            assert lossless == (language not in HARD)
