"""rdrop corpus learn_bpe: two files of GPT-2's form, that fairseq reads."""

import gzip
from pathlib import Path

import pytest
from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

from rdrop_fairseq.tools.corpus.learn_bpe import main

from ...conftest import corpus_lines, full_disk
from ...gpt2_bpe import small_bpe


@pytest.fixture
def text(tmp_path: Path) -> list[str]:
    """Two files, the second one packed; both begin with a mark."""
    lines = corpus_lines("valid", "en")
    content = [
        "\ufeff" + "".join(f"{line}\n" for line in part) for part in (lines[:99], lines[99:])
    ]
    (tmp_path / "a").write_text(content[0])
    (tmp_path / "b.gz").write_bytes(gzip.compress(content[1].encode()))
    return [str(tmp_path / "a"), str(tmp_path / "b.gz")]


def test_as_the_library_learns_it(text, tmp_path) -> None:
    main(["--size", "400", "--out", str(tmp_path / "out"), *text])
    expected = small_bpe(tmp_path / "expected", corpus_lines("valid", "en"), 400)
    names = {"encoder.json", "vocab.bpe"}
    for folder in (tmp_path / "out", expected):
        assert {path.name for path in folder.iterdir()} == names
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (expected / name).read_bytes()
    encoder = get_encoder(*(tmp_path / "out" / name for name in sorted(names)))
    assert len(encoder.encoder) == 400
    assert encoder.decode(encoder.encode("¡Sí!")) == "¡Sí!"


def test_wrong_input(refused, text, tmp_path) -> None:
    flags = ["--size", "2000", "--out", tmp_path / "out", *text]
    message = "--size: must be a whole number of at least 256, got 255"
    assert message in refused(main, *flags, "--size", "255")
    assert "no such file: " in refused(main, *flags, tmp_path / "none")
    assert "a is there already: remove it first" in refused(main, *flags, "--out", text[0])
    with full_disk():
        assert refused(main, *flags).endswith("; nothing was left half-written")
    Path(text[0]).write_bytes(b"a\ncaf\xe9\n")
    assert "a, line 2: byte 0xe9 at position 4 is not UTF-8" in refused(main, *flags)
    Path(text[0]).write_bytes(b"a\n")
    Path(text[1]).write_bytes(Path(text[1]).read_bytes()[:100])
    assert "b.gz is cut off or no .gz file" in refused(main, *flags)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b.gz"}
