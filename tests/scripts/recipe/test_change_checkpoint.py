"""scripts/recipe/change_checkpoint.py, and what stages.sh does with it."""

import sys
from pathlib import Path

import pytest
import torch

from ...conftest import FULL_DISK, ROOT, run, train

CHANGE = [sys.executable, ROOT / "scripts" / "recipe" / "change_checkpoint.py"]


@pytest.fixture
def trained_run(tmp_path) -> Path:
    """A run's folder after its last update."""
    state = {
        "model": {"weight": torch.arange(6000.0)},
        "extra_state": {"train_iterator": {"epoch": 2, "iterations_in_epoch": 7}},
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
    assert state["extra_state"]["train_iterator"] == {"epoch": 2, "iterations_in_epoch": 7}
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


def test_a_training_goes_on_with_other_batches(data, tmp_path) -> None:
    """At the beginning of its epoch, whose number stays, and so do the newest checkpoints."""
    flags = ["--train-subset", "valid", "--disable-validation", "--keep-last-epochs", "2"]
    train(data, tmp_path, *flags, "--max-tokens", "300", "--max-epoch", "3")
    last = tmp_path / "checkpoint_last.pt"
    updates = torch.load(last)["optimizer_history"][-1]["num_updates"]
    train(data, tmp_path, *flags, "--max-tokens", "300", "--max-update", str(updates + 1))
    place = torch.load(last)["extra_state"]["train_iterator"]
    assert (place["epoch"], place["iterations_in_epoch"]) == (4, 1)
    run([*CHANGE, "--begin-epoch", last])
    assert torch.load(last)["extra_state"]["train_iterator"] == {**place, "iterations_in_epoch": 0}
    train(data, tmp_path, *flags, "--max-tokens", "150", "--max-epoch", "5")
    assert {path.name for path in tmp_path.glob("checkpoint[0-9]*")} == {
        "checkpoint4.pt",
        "checkpoint5.pt",
    }
    assert torch.load(last)["optimizer_history"][-1]["num_updates"] > updates + 1 + updates // 3


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_cut_off(trained_run, size) -> None:
    last = trained_run / "checkpoint_last.pt"
    last.write_bytes(last.read_bytes()[:size])
    result = run([*CHANGE, "--begin-epoch", last], check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(
        f"change_checkpoint: {last} cannot be read, is no checkpoint of fairseq, or is cut off ("
    )
    assert last.stat().st_size == size


@pytest.mark.parametrize("change", ["--forget-optimizer", "--begin-epoch"])
def test_full_disk(trained_run, change) -> None:
    best = trained_run / "checkpoint_best.pt"
    before = best.read_bytes()
    result = run([*FULL_DISK, *CHANGE, change, best], check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert f"cannot write {best}: is the disk full?" in line
    assert best.read_bytes() == before
    assert not list(trained_run.glob("*.tmp"))
