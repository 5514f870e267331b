"""Files and folders are whole or not there."""

import json
import multiprocessing
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.files import write_json, write_lines, writing, writing_folder

FILL = """
import pathlib, sys
from rdrop_fairseq.tools.files import writing_folder
with writing_folder(pathlib.Path(sys.argv[1])) as folder:
    (folder / "half").touch()
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"

    def fill_until_the_disk_is_full() -> None:
        with writing_folder(folder) as unfinished:
            (unfinished / "a").write_text("half")
            raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        fill_until_the_disk_is_full()
    assert list(tmp_path.iterdir()) == []
    with writing_folder(folder) as unfinished:
        (unfinished / "a").write_text("whole")
        assert not folder.exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["corpus", "a"]


def test_folder_that_another_process_fills(tmp_path: Path) -> None:
    """It is left alone; what a process that was killed has left is not."""
    folder = tmp_path / "corpus"
    command, pipe = [sys.executable, "-c", FILL, folder], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as other:
        assert other.stdout.readline() == b"ready\n"
        with pytest.raises(UsageError, match=r"another process is writing .*corpus now: wait"):
            writing_folder(folder).__enter__()
        other.kill()
    assert other.returncode == -signal.SIGKILL
    assert list(tmp_path.rglob("half"))
    with writing_folder(folder) as unfinished:
        (unfinished / "a").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["corpus", "a"]


def test_file_that_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(path, {"a": object()})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_two_processes_may_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    with writing(path) as (file,):
        file.write(b"ours\n")
        other = multiprocessing.get_context("fork").Process(
            target=write_lines, args=(path, ["theirs"])
        )
        other.start()
        other.join()
        assert path.read_text() == "theirs\n"
    assert path.read_text() == "ours\n"
    assert list(tmp_path.iterdir()) == [path]


def test_names_that_cannot_be_written(tmp_path: Path) -> None:
    """Nothing is begun, neither of those that can."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "there").write_text("before")
    for names, message in (
        (("there", "folder"), "folder is a folder: name a file to write"),
        (("there", "new/a", "new/a"), "a would be written twice: give another name"),
    ):
        with pytest.raises(UsageError, match=message):
            writing(*(tmp_path / name for name in names)).__enter__()
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"there"}
    write_json(tmp_path / "a" / "new" / "folder" / "x.json", 1)
    assert json.loads((tmp_path / "a" / "new" / "folder" / "x.json").read_text()) == 1
