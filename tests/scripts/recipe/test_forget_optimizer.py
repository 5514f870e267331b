"""scripts/recipe/forget_optimizer.py, and what stages.sh does with it."""

import sys
from pathlib import Path

import pytest
import torch

from ...conftest import FULL_DISK, ROOT, run

FORGET = [sys.executable, ROOT / "scripts" / "recipe" / "forget_optimizer.py"]


@pytest.fixture
def trained_run(tmp_path) -> Path:
    """A run's folder after its last update."""
    state = {
        "model": {"weight": torch.arange(6000.0)},
        "extra_state": {"epoch": 2},
        "last_optimizer_state": {"state": {0: {"exp_avg": torch.ones(6000)}}},
    }
    for name in ("checkpoint_best.pt", "checkpoint_last.pt"):
        torch.save(state, tmp_path / name)
    (tmp_path / "updates").write_text("100\n")
    return tmp_path


def forget(folder: Path, **settings: str) -> None:
    program = f"set -euo pipefail; source scripts/recipe/stages.sh; forget_optimizer {folder}"
    run(["bash", "-c", program], env=settings)


def test_a_finished_run_keeps_what_is_used(trained_run) -> None:
    best = trained_run / "checkpoint_best.pt"
    before = best.stat().st_size
    forget(trained_run)
    state = torch.load(best)
    assert state["last_optimizer_state"] is None
    assert state["extra_state"] == {"epoch": 2}
    assert torch.equal(state["model"]["weight"], torch.arange(6000.0))
    assert best.stat().st_size < 0.6 * before  # one of two equal tensors
    assert {path.name for path in trained_run.iterdir()} == {"checkpoint_best.pt", "updates"}
    when = best.stat().st_mtime_ns
    forget(trained_run)  # nothing is left to do
    assert best.stat().st_mtime_ns == when


@pytest.mark.parametrize("unfinished", [True, False])
def test_who_does_not(trained_run, unfinished) -> None:
    """A run that has not had its last update; machines other than the first one."""
    if unfinished:
        (trained_run / "updates").unlink()
    forget(trained_run, NODE_RANK="0" if unfinished else "1")
    assert (trained_run / "checkpoint_last.pt").is_file()
    assert torch.load(trained_run / "checkpoint_best.pt")["last_optimizer_state"]


def test_full_disk(trained_run) -> None:
    best = trained_run / "checkpoint_best.pt"
    before = best.read_bytes()
    result = run([*FULL_DISK, *FORGET, best], check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert f"cannot write {best}: is the disk full?" in line
    assert best.read_bytes() == before
    assert not list(trained_run.glob("*.tmp"))
