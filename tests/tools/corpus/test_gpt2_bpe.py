"""rdrop corpus gpt2_bpe: GPT-2's pieces, whatever the text and the number of processes."""

import re
from pathlib import Path
from typing import Any

import pytest
from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

from rdrop_fairseq.tools.corpus import gpt2_bpe

from ...conftest import corpus_lines, full_disk
from ...gpt2_bpe import published_bpe, small_bpe


def main(*arguments: Any) -> None:
    gpt2_bpe.main([str(part) for part in arguments])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bpe(tmp_path_factory.mktemp("bpe"), corpus_lines("valid", "en"))


def test_published_pieces(tmp_path) -> None:
    """The example of fairseq's BART and RoBERTa READMEs, downloaded and checked."""
    served = tmp_path / "served"
    served.mkdir()
    published_bpe(served)
    text, pieces = tmp_path / "text", tmp_path / "pieces"
    text.write_text("Hello world!\n\nHello world!")
    options = ["--bpe-dir", tmp_path / "bpe", "--published", "--download", "--url", served.as_uri()]
    main(*options)  # to have the two files
    assert len(list((tmp_path / "bpe").iterdir())) == 2
    main(*options, text, pieces, text, tmp_path / "again")
    assert pieces.read_text() == "15496 995 0\n\n15496 995 0\n"
    assert (tmp_path / "again").read_text() == pieces.read_text()

    # a download that is not what it should be is not kept
    (served / "vocab.bpe").write_text("#version: 0.2\n")
    (tmp_path / "bpe" / "vocab.bpe").unlink()
    with pytest.raises(
        SystemExit, match=r"vocab\.bpe has sha256:[0-9a-f]{64}, expected sha256:1ce16647.*removed"
    ):
        main(*options, text, tmp_path / "none")
    assert [path.name for path in (tmp_path / "bpe").iterdir()] == ["encoder.json"]
    assert not (tmp_path / "none").exists()


def test_there_and_back_in_order(small, tmp_path) -> None:
    """600 lines by three processes: the pieces of each line are its own, and its text again."""
    lines = corpus_lines("test", "es")[:600]
    lines[3] = lines[599] = ""
    lines[4] = "a \u2028 b \x85 \u00a1\U0001f600!"  # nothing but a newline ends a line
    (tmp_path / "text").write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())
    options = ["--bpe-dir", small, "--workers", "3"]
    main(*options, tmp_path / "text", tmp_path / "pieces")
    encoder = get_encoder(small / "encoder.json", small / "vocab.bpe")
    expected = [" ".join(map(str, encoder.encode(line.strip()))) for line in lines]
    assert (tmp_path / "pieces").read_text().split("\n") == [*expected, ""]

    # in decoding, symbols that are no pieces are left out
    symbols = " <unk> <mask> madeupword0001 99999999\n"
    (tmp_path / "pieces").write_text("".join(line + symbols for line in expected))
    main("--bpe-dir", small, "--decode", tmp_path / "pieces", tmp_path / "back")
    expected = [" ".join(line.split()) for line in lines]
    assert (tmp_path / "back").read_bytes().decode().split("\n") == [*expected, ""]
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no file", "no such file: .*text"),
        ("no bpe", "lacks encoder.json and vocab.bpe: give --download"),
        ("other bpe", "encoder.json is not GPT-2's published one .*remove it and give"),
        ("odd", "expected INPUT OUTPUT pairs, got 3 files"),
        ("none", "expected INPUT OUTPUT pairs, got 0 files"),
        ("broken", "cannot read .*encoder.json .*give --download"),
        ("unreachable", "file:///nowhere/encoder.json: .*or put GPT-2's encoder.json into"),
        ("workers", "--workers: must be a whole number of at least 1, got 0"),
        ("latin-1", "text, line 1: byte 0xe9 at position 4 is not UTF-8"),
        ("same", "text is to be read, and cannot be written"),
        ("full disk", "File too large; nothing was left half-written"),
    ],
)
def test_wrong_input(refused, small, tmp_path, case, message) -> None:
    text, folder, out, options = tmp_path / "text", small, tmp_path / "out", []
    content = b"caf\xe9\n" if case == "latin-1" else b"a text\n" * 3000
    if case != "no file":
        text.write_bytes(content)
    if case in ("no bpe", "unreachable", "broken"):
        folder = tmp_path / "bpe"
        folder.mkdir()
    if case == "broken":
        (folder / "encoder.json").write_bytes((small / "encoder.json").read_bytes()[:100])
        (folder / "vocab.bpe").write_bytes((small / "vocab.bpe").read_bytes())
    elif case == "unreachable":
        options = ["--download", "--url", "file:///nowhere"]
    elif case == "workers":
        options = ["--workers", "0"]
    elif case == "other bpe":
        options = ["--published"]
    elif case == "odd":
        options = [text]
    elif case == "same":
        out = text
    files = [] if case == "none" else [text, out]
    arguments = ["--bpe-dir", folder, *options, *files]
    if case == "full disk":
        with full_disk():
            sentence = refused(gpt2_bpe.main, *arguments)
    else:
        sentence = refused(gpt2_bpe.main, *arguments)
    assert re.search(message, sentence)
    assert text.read_bytes() == content if case == "same" else not out.exists()
