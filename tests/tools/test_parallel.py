"""map over several processes: in order, each prepared; ended together."""

import os
import signal
import subprocess
import sys

import pytest

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.parallel import parallel_map

factor = 1
PROGRAM = """
import itertools, os, time
from rdrop_fairseq.tools.command_line import command
from rdrop_fairseq.tools.parallel import parallel_map
def slow(number):
    if number in (0, 500):  # each process has got its first part of the work
        os.write(1, b"ready\\n")
    time.sleep(0.001)
command("rdrop x")(lambda argv=None: [None for _ in parallel_map(slow, itertools.count(), 2)])()
"""


def set_factor(number: int) -> None:
    global factor
    factor = number


def times(number: int) -> int:
    if number == 3000:
        raise UsageError("3000 is wrong")
    return factor * number


@pytest.mark.parametrize("workers", [1, 3])
def test_in_order(monkeypatch, workers) -> None:
    monkeypatch.setattr(sys.modules[__name__], "factor", 1)
    numbers = range(2000)  # more than a process gets at a time
    found = list(parallel_map(times, iter(numbers), workers, set_factor, (5,)))
    assert found == [5 * number for number in numbers]
    with pytest.raises(UsageError, match="3000 is wrong"):
        list(parallel_map(times, range(3001), workers))


def test_ctrl_c(tmp_path) -> None:
    """As a terminal sends it, to all: the tool ends with 130, and nothing more is said."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        for _ in range(2):
            assert process.stdout.readline() == b"ready\n"
        os.killpg(process.pid, signal.SIGINT)
        rest = process.communicate()
    assert rest == (b"", b"")
    assert process.returncode == 130
