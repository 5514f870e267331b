"""scripts/setup.sh on machines with one Python or another: stand-ins for Python, pip and uv."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ..conftest import ROOT

TOOLS = ("basename", "bash", "cat", "cksum", "cp", "dirname", "head", "mkdir", "sed")
# writes down what it is asked to do
PYTHON = """#!/bin/sh
echo "$*" >>"$LOG"
case "$*" in
  -c*version_info*) echo "{minor}" ;;
  -c*Python.h*) exit {no_headers} ;;
  --version) echo "Python {minor}.1" ;;
  "-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip install"*) ;;
  *) exit 1 ;;
esac
"""
UV = """#!/bin/sh
echo "uv $*" >>"$LOG"
for venv; do :; done
mkdir -p "$venv/bin" && cp "$UV_PYTHON_STAND_IN" "$venv/bin/python"
"""


class Machine:
    """A PATH with the programs that are put there, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.venv, self.log = folder / "bin", folder / "venv", folder / "log"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))

    def add(self, name: str, text: str = "#!/bin/sh\n") -> Path:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)
        return self.bin / name

    def add_python(self, minor: str, name: str | None = None, no_headers: int = 0) -> Path:
        text = PYTHON.format(minor=minor, no_headers=no_headers)
        return self.add(name or f"python{minor}", text)

    def set_up(self, **settings: str) -> tuple[int, str, list[str]]:
        """Exit status, errors, and what Python and uv were asked to do."""
        result = subprocess.run(
            ["bash", ROOT / "scripts" / "setup.sh"],
            env={"PATH": str(self.bin), "VENV": str(self.venv), "LOG": str(self.log), **settings},
            capture_output=True,
            text=True,
        )
        asked = self.log.read_text().splitlines() if self.log.exists() else []
        return result.returncode, result.stderr, [line for line in asked if "-c import" not in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("wheel", ["3.11", "3.12"])
def test_a_python_with_wheels_comes_first(machine, wheel) -> None:
    machine.add_python("3.13")
    machine.add_python("3.10", "python3")
    machine.add_python(wheel)
    machine.add("g++")
    machine.add("uv", "#!/bin/sh\nexit 1\n")
    status, errors, asked = machine.set_up()
    assert status == 0, errors
    assert f"Python {wheel}.1" in errors
    assert not [line for line in asked if "fairseq-fixed" in line]
    assert asked[-2].endswith(f"--editable {ROOT}[recipes,test]")
    assert asked[-1] == f"-m compileall -q -j 0 {machine.venv}/lib"
    assert machine.set_up()[2] == asked  # once only


def test_only_python_3_13(machine) -> None:
    """fairseq is compiled, against the torch and numpy that are pinned."""
    machine.add_python("3.13", "python3")
    machine.add("g++")
    status, errors, asked = machine.set_up()
    assert status == 0, errors
    assert "Python 3.13.1: fairseq is compiled, which takes about two minutes" in errors
    pip = [line for line in asked if "-m pip install" in line]
    assert all(f"--constraint {ROOT / 'constraints.txt'} " in line for line in pip)
    all_else, fairseq = pip
    assert f" --editable {ROOT}[recipes,test] " in all_else
    assert {"torch", "numpy", "Cython", "setuptools", "hydra-core"} <= set(all_else.split())
    assert fairseq.endswith(" --no-build-isolation --no-deps fairseq-fixed==0.12.3.1")


@pytest.mark.parametrize(
    ("missing", "message"), [("g++", r"a C\+\+ compiler \(g\+\+\)"), ("headers", "the headers of")]
)
def test_python_3_13_without_what_compiles(machine, missing, message) -> None:
    """One line with the alternatives, before anything is downloaded."""
    machine.add_python("3.13", no_headers=int(missing == "headers"))
    if missing != "g++":
        machine.add("g++")
    status, errors, asked = machine.set_up()
    assert status == 1
    (line,) = errors.splitlines()
    assert re.search(rf"^setup: .*{message}.* is missing: install that, .*3\.11 .*uv", line)
    assert not [line for line in asked if "pip" in line]
    assert not machine.venv.exists()


def test_uv_brings_a_python(machine) -> None:
    """Rather than to compile."""
    machine.add_python("3.13")
    machine.add("g++")
    machine.add("uv", UV)
    stand_in = machine.add_python("3.12", "of-uv")
    status, errors, asked = machine.set_up(UV_PYTHON_STAND_IN=str(stand_in))
    assert status == 0, errors
    assert "Python 3.12.1" in errors
    (uv,) = [line for line in asked if line.startswith("uv ")]
    assert re.match(rf"uv venv .*--python 3\.12 .*--seed {machine.venv}$", uv)
    assert not [line for line in asked if "fairseq-fixed" in line]


def test_uv_that_has_no_network(machine) -> None:
    machine.add_python("3.13")
    machine.add("g++")
    machine.add("uv", "#!/bin/sh\necho 'error: no network' >&2\nexit 2\n")
    status, errors, asked = machine.set_up()
    assert status == 0, errors
    assert "fairseq is compiled" in errors
    assert [line for line in asked if "fairseq-fixed" in line]


def test_the_python_that_was_asked_for(machine) -> None:
    machine.add_python("3.11")
    machine.add("g++")
    other = machine.add_python("3.13", "other")
    status, errors, _ = machine.set_up(PYTHON=str(other))
    assert status == 0, errors
    assert "Python 3.13.1" in errors


@pytest.mark.parametrize("asked_for", [False, True])
def test_unsupported_python(machine, asked_for) -> None:
    """One clear line, from the scripts as from pip."""
    python = machine.add_python("3.10", "python3")
    settings = {"PYTHON": str(python)} if asked_for else {}
    status, errors, _ = machine.set_up(**settings)
    assert status == 1
    (line,) = errors.splitlines()
    assert "needs Python 3.11, 3.12 or 3.13, found Python 3.10.1: set PYTHON=" in line
    assert "rdrop_fairseq/README.md" in line
    assert not machine.venv.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected 3.10 or 3.13, got ''; see --help"),
        (["3.11"], "expected 3.10 or 3.13, got '3.11'; see --help"),
        (["3.10"], "/nowhere/python is not a Python 3.10: set PYTHON=/path/to/python3.10"),
    ],
)
def test_stack_with_wrong_arguments(tmp_path, arguments, message) -> None:
    result = subprocess.run(
        ["bash", ROOT / "scripts" / "test_stack.sh", *arguments],
        env={**os.environ, "PYTHON": "/nowhere/python", "OUT": str(tmp_path / "out")},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (1, f"test_stack: {message}\n")
    assert not (tmp_path / "out").exists()
