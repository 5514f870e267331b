"""Programs that the tests start are forked wherever a fork behaves as the program would."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sklearn.metrics  # noqa: F401  (sets KMP_INIT_AT_FORK, as some tests' imports do)

from . import fork_server
from .conftest import ROOT, STAND_INS, run

pytestmark = pytest.mark.skipif(
    os.environ.get("RDROP_TEST_FORK") == "0", reason="every program is started for real"
)


def is_forked(**env: str) -> bool:
    """Whether a program begins with the server's imports."""
    code = "import sys; print('torch' in sys.modules)"
    return run([sys.executable, "-c", code], env=env).stdout == "True\n"


def test_whatever_was_imported_here() -> None:
    assert "KMP_INIT_AT_FORK" in os.environ
    assert is_forked()


@pytest.mark.parametrize(
    ("name", "value"),
    [("OMP_NUM_THREADS", "2"), ("ATEN_CPU_CAPABILITY", "other"), ("KMP_INIT_AT_FORK", "TRUE")],
)
def test_settings_that_are_read_at_start(name, value) -> None:
    assert not is_forked(**{name: value})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_that_fails(tmp_path, monkeypatch) -> None:
    """Who waits for it is told so, and does not wait for ever."""
    (tmp_path / "fails.py").write_text("raise SystemExit(1)")
    monkeypatch.setattr(fork_server, "__file__", str(tmp_path / "fails.py"))
    monkeypatch.delenv("RDROP_TEST_STAND_INS")
    folder = Path(fork_server.folder_of_stand_ins())
    stop = fork_server.listen(folder)
    result = subprocess.run([folder / "python", "-c", "pass"], capture_output=True, text=True)
    stop()
    assert (result.returncode, result.stderr) == (1, "the fork server is gone\n")


def test_hidden_modules(tmp_path) -> None:
    (tmp_path / "numpy.py").write_text("")
    assert not is_forked(PYTHONPATH=str(tmp_path))
    (tmp_path / "numpy.py").rename(tmp_path / "rdrop_other.py")
    assert is_forked(PYTHONPATH=str(tmp_path))
    assert is_forked(PYTHONPATH=str(ROOT))


def test_arguments_streams_folder_and_status(tmp_path) -> None:
    code = "import os, sys; print(sys.argv, input(), os.getcwd()); sys.exit('three')"
    command = [sys.executable, "-c", code, "a b", "c"]
    result = run(command, check=False, input="typed\n", cwd=tmp_path)
    assert result.stdout == f"['-c', 'a b', 'c'] typed {tmp_path}\n"
    assert (result.returncode, result.stderr) == (1, "three\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_program(number) -> None:
    command = [f"{STAND_INS}/python", "-c", "print('ready', flush=True); input()"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait() == -number


def test_killed() -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
