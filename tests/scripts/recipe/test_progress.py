"""scripts/recipe/progress.py: how far a training has come, told by a clock of the test's."""

import contextlib
import os
import pty
import subprocess
import sys
import termios

import pytest

from ...conftest import ROOT, run

sys.path.insert(0, str(ROOT / "scripts" / "recipe"))
from progress import lines, updates

SCRIPT = ROOT / "scripts" / "recipe" / "progress.py"
# as fairseq's two log formats have it, and its progress bar's description of a validation
LOG = """\
2026-11-25 16:06:01 | INFO | fairseq_cli.train | Start iterating over samples
2026-11-25 16:06:09 | INFO | train_inner | epoch 001: 20 / 358 loss=9.1, num_updates=20, lr=0.0006
2026-11-25 16:06:19 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 8.1 | num_updates 40
2026-11-25 16:06:29 | INFO | fairseq_cli.train | saving; num_updates unknown
"""


def told(numbers: list[int], total: int, times: list[float]) -> list[str]:
    clock = iter(times)
    return list(lines(numbers, total, lambda: next(clock)))


def test_updates_are_found_in_the_log() -> None:
    assert list(updates(LOG.splitlines())) == [20, 40]


def test_a_line_every_30_seconds() -> None:
    # 100 updates in 40 seconds: the other 300 take 120. Then 300 in 80: 100 take 26.7
    assert told([0, 50, 100, 200, 300], 400, [5, 34.9, 45, 74.9, 85]) == [
        "25%: 100 of 400 updates, about 02:00 left",
        "75%: 300 of 400 updates, about 00:26 left",
    ]


def test_slow_updates_have_a_line_each() -> None:
    assert told([1, 2, 3], 3, [0, 400, 4000]) == [
        "67%: 2 of 3 updates, about 06:40 left",
        "100%: 3 of 3 updates, about 00:00 left",
    ]


def test_resumed_training_counts_its_own_speed() -> None:
    """From update 500 on, 10 in 100 seconds; as if it had begun at 0, it would be 510."""
    assert told([500, 510], 600, [0, 100]) == ["85%: 510 of 600 updates, about 15:00 left"]


def test_log_without_updates() -> None:
    assert told([], 10, []) == []


def test_terminal_has_a_bar() -> None:
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 80))
    subprocess.run([sys.executable, SCRIPT, "80"], input=LOG, text=True, stderr=end, check=True)
    os.close(end)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal ends
        while part := os.read(terminal, 1000):
            shown += part
    os.close(terminal)
    assert b"25%" in shown  # the first number is where it starts
    assert b"40/80 [" in shown


@pytest.mark.parametrize("arguments", [[], ["many"]])
def test_wrong_arguments(arguments) -> None:
    result = run([sys.executable, SCRIPT, *arguments], check=False)
    assert result.returncode == 1
    assert "python scripts/recipe/progress.py 1000" in result.stderr
