"""scripts/corpus/encode_corpus.py: the same by one process or two, and back to the text."""

import sys
from pathlib import Path

import pytest
import sentencepiece
from encode_corpus import sample  # scripts/corpus/encode_corpus.py

from ...conftest import ROOT, corpus_lines, run

ENCODE = [
    sys.executable,
    ROOT / "scripts" / "corpus" / "encode_corpus.py",
    "--languages",
    "es",
    "en",
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        for language in ("es", "en"):
            lines = corpus_lines(split, language)[:60]
            (folder / f"{split}.{language}").write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.mark.parametrize("bpe", ["sentencepiece", "moses"])
def test_workers_change_nothing(corpus, tmp_path, bpe) -> None:
    command = [*ENCODE, "--corpus", corpus, "--bpe", bpe, "--vocab-size", "200"]
    made = []
    for workers in (1, 2):
        out = tmp_path / f"by {workers}"
        run([*command, "--workers", workers, "--out", out])
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert made[0] == made[1]
    pieces = made[0]["test.pieces.en"].decode().splitlines()
    text = (corpus / "test.en").read_text().splitlines()
    if bpe == "sentencepiece":
        model = sentencepiece.SentencePieceProcessor(model_proto=made[0]["spm.model"])
        unknown = [model.unk_id() in model.encode(line) for line in text]
        decoded = [model.decode(line.split()) for line in pieces]
        assert [a for a, u in zip(decoded, unknown, strict=True) if not u] == [
            a for a, u in zip(text, unknown, strict=True) if not u
        ]
    else:
        words = [line.replace("@@ ", "").replace(" ", "") for line in pieces]
        plain = [line.replace("\u2019", "&apos;").replace(" ", "") for line in text]
        assert sum(a == b for a, b in zip(words, plain, strict=True)) > 20


@pytest.mark.parametrize(
    ("most", "expected"), [(0, "abcdefg"), (7, "abcdefg"), (6, "aceg"), (3, "adg"), (1, "a")]
)
def test_sample_is_the_same_every_time(tmp_path, most, expected) -> None:
    """Of what is too much, evenly spaced lines of both sides."""
    paths = [tmp_path / "x", tmp_path / "y"]
    paths[0].write_text("a\nb\nc\nd\n")
    paths[1].write_text("e\nf\ng\n")
    assert list(sample(paths, most)) == list(expected)


def test_punctuation_is_normalised_only_if_asked(corpus, tmp_path) -> None:
    """As in the data of WMT's papers, but not in those of IWSLT's."""
    for path in corpus.glob("test.*"):
        path.write_text("\u201eJa\u201c \u2013 nein\u2026\n")
    command = [*ENCODE, "--corpus", corpus, "--bpe", "moses", "--vocab-size", "100"]
    run([*command, "--out", tmp_path / "raw"])
    run([*command, "--normalise", "--out", tmp_path / "normal"])
    joined = {
        name: (tmp_path / name / "test.pieces.en").read_text().replace("@@ ", "")
        for name in ("raw", "normal")
    }
    assert "\u201e" in joined["raw"]
    assert "\u2013" in joined["raw"]
    assert "\u201e" not in joined["normal"]
    assert "\u2013" not in joined["normal"]


def test_flags_that_do_not_go_together(corpus, tmp_path) -> None:
    command = [*ENCODE, "--corpus", corpus, "--vocab-size", "100", "--out", tmp_path / "x"]
    for flag in ("--normalise", "--lowercase"):
        result = run([*command, flag], check=False)
        assert result.returncode == 2
        assert "--lowercase and --normalise go with --bpe moses only" in result.stderr
