"""text_files.py promises whole files or none, and one sentence for bad input."""

import sys
from pathlib import Path

import pytest
import text_files

from ...conftest import FULL_DISK, ROOT, run


def test_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    (tmp_path / "corpus.tmp").mkdir()
    (tmp_path / "corpus.tmp" / "of an earlier run").touch()

    def fill_until_the_disk_is_full() -> None:
        with text_files.writing_folder(folder) as unfinished:
            (unfinished / "a").write_text("half")
            raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        fill_until_the_disk_is_full()
    assert list(tmp_path.iterdir()) == []
    with text_files.writing_folder(folder) as unfinished:
        (unfinished / "a").write_text("whole")
        assert not folder.exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["corpus", "a"]


def test_file_that_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    text_files.write_json(path, {"a": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        text_files.write_json(path, {"a": object()})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_two_processes_may_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    program = "import sys, pathlib, text_files; "
    program += "text_files.write_lines(pathlib.Path(sys.argv[1]), ['theirs'], shared=True)"
    with text_files.writing(path, shared=True) as (file,):
        file.write(b"ours\n")
        run([sys.executable, "-c", program, path], cwd=ROOT / "scripts" / "corpus")
        assert path.read_text() == "theirs\n"
    assert path.read_text() == "ours\n"
    assert list(tmp_path.iterdir()) == [path]


def test_only_newlines_end_a_line(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("a\rb\n\n\u2028c\n".encode())
    assert text_files.whole_lines(path, "input") == ["a\rb", "", "\u2028c"]
    path.write_bytes(b"")
    assert text_files.whole_lines(path, "input") == []


@pytest.mark.parametrize("script", ["learn_bpe", "split_corpus", "gpt2_bpe"])
def test_no_space_left(tmp_path: Path, script: str) -> None:
    """A limit on the size of files stands for a full disk: the system refuses to write on."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("es", "en"):
        source = ROOT / "scripts" / "quickstart_data" / f"train.{name}.gz"
        (raw / f"sent.{name}.gz").symlink_to(source)
    text = tmp_path / "text"
    text.write_text("".join(f"{n} words of some text, and {n * n}\n" for n in range(20000)))
    out = tmp_path / "out"
    arguments = {
        "learn_bpe": ["--size", "2000", "--out", out, text],
        "split_corpus": [
            *("--raw", raw, "--languages", "es", "en", "--out", out),
            *("--train", "9000", "--valid", "500", "--test", "500"),
        ],
        "gpt2_bpe": ["--bpe-dir", tmp_path / "bpe", text, out],
    }[script]
    if script == "gpt2_bpe":
        learn = [sys.executable, ROOT / "scripts" / "corpus" / "learn_bpe.py", "--size", "300"]
        run([*learn, "--out", tmp_path / "bpe", text])
    folder = "examples/low_resource" if script == "split_corpus" else "scripts/corpus"
    before = set(tmp_path.iterdir())
    command = [sys.executable, ROOT / folder / f"{script}.py", *arguments]
    result = run([*FULL_DISK, *command], check=False)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].endswith("nothing was left half-written")
    assert set(tmp_path.iterdir()) == before
