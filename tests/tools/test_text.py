"""Every tool's lines: what ends one, what is no text, what is wrong."""

import bz2
import gzip
import io
import lzma
from pathlib import Path

import pytest

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.text import lines_of, read_lines, read_pairs, whole_lines

PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("suffix", PACK)
def test_only_newlines_end_a_line(tmp_path: Path, suffix: str) -> None:
    """A byte order mark is no text, whatever is packed."""
    path = tmp_path / f"text{suffix}"
    text = "\ufeff a\rb\n\n\u2028c  \ufeffd"
    path.write_bytes(PACK[suffix](text.encode()))
    assert whole_lines(path) == [" a\rb", "", "\u2028c  \ufeffd"]
    assert list(lines_of(path)) == ["a b", "", "c \ufeffd"]
    assert list(read_lines(io.BytesIO(text.encode()), "x")) == ["a b", "", "c \ufeffd"]
    for content, lines in ((b"", []), (b"\n", [""]), (b"\xef\xbb\xbf", []), (b"a\n", ["a"])):
        path.write_bytes(PACK[suffix](content))
        assert whole_lines(path) == lines


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none", None, "no such input file: .*none"),
        ("", None, "no such input file: "),
        (
            "x",
            b"a\n\xc3\xa9\xff\n",
            "the input file .*x, line 2: byte 0xff at position 3 is not UTF",
        ),
        (
            "x.gz",
            gzip.compress(b"a" * 999, mtime=0)[:-4],
            r"the input file .*x.gz is cut off or no \.gz f",
        ),
        ("x.gz", b"a\n", "x.gz is cut off or no .gz file"),
        ("x.bz2", bz2.compress(b"a" * 999)[:-4], "x.bz2 is cut off or no .bz2 file"),
        ("x.bz2", b"a\n", "x.bz2 is cut off or no .bz2 file"),
        ("x.xz", lzma.compress(b"a" * 999)[:-4], "x.xz is cut off or no .xz file"),
        ("x.xz", b"a\n", "x.xz is cut off or no .xz file"),
    ],
)
def test_bad_files(tmp_path: Path, name, content, message) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        whole_lines(tmp_path / name, "input")


def test_pairs(tmp_path: Path) -> None:
    paths = tmp_path / "a", tmp_path / "b.gz"
    for first, second, message in (
        ("1\n 2\n", "one\ntwo", ""),
        ("1\n2\n3\n", "one\n", "a has 3 lines but .*b.gz has 1: they must match line by line"),
        ("1\n", "one\ntwo\n\n", "a has 1 lines but .*b.gz has 3"),
        ("", "", "a and .*b.gz are empty"),
    ):
        paths[0].write_text(first)
        paths[1].write_bytes(gzip.compress(second.encode()))
        if message:
            with pytest.raises(UsageError, match=message):
                list(read_pairs(paths))
        else:
            assert list(read_pairs(paths)) == [("1", "one"), ("2", "two")]
