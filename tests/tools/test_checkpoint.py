"""What rdrop run changes in a checkpoint."""

from pathlib import Path

import pytest
import torch

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.checkpoint import begin_epoch, forget_optimizer

from ..conftest import full_disk, train


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    state = {
        "model": {"weight": torch.arange(6000.0)},
        "extra_state": {"train_iterator": {"epoch": 2, "iterations_in_epoch": 7}},
        "last_optimizer_state": {"state": {0: {"exp_avg": torch.ones(6000)}}},
    }
    torch.save(state, tmp_path / "checkpoint.pt")
    return tmp_path / "checkpoint.pt"


def test_forget_optimizer(checkpoint) -> None:
    before = checkpoint.stat().st_size
    forget_optimizer(checkpoint)
    state = torch.load(checkpoint)
    assert state["last_optimizer_state"] is None
    assert state["extra_state"]["train_iterator"] == {"epoch": 2, "iterations_in_epoch": 7}
    assert torch.equal(state["model"]["weight"], torch.arange(6000.0))
    assert checkpoint.stat().st_size < 0.6 * before  # one of two equal tensors


def test_a_training_goes_on_with_other_batches(data, tmp_path) -> None:
    """At the beginning of its epoch, whose number stays, and so do the newest checkpoints."""
    flags = ["--train-subset", "valid", "--disable-validation", "--keep-last-epochs", "2"]
    train(data, tmp_path, *flags, "--max-tokens", "300", "--max-epoch", "3")
    last = tmp_path / "checkpoint_last.pt"
    updates = torch.load(last)["optimizer_history"][-1]["num_updates"]
    train(data, tmp_path, *flags, "--max-tokens", "300", "--max-update", str(updates + 1))
    place = torch.load(last)["extra_state"]["train_iterator"]
    assert (place["epoch"], place["iterations_in_epoch"]) == (4, 1)
    begin_epoch(last)
    assert torch.load(last)["extra_state"]["train_iterator"] == {**place, "iterations_in_epoch": 0}
    train(data, tmp_path, *flags, "--max-tokens", "150", "--max-epoch", "5")
    assert {path.name for path in tmp_path.glob("checkpoint[0-9]*")} == {
        "checkpoint4.pt",
        "checkpoint5.pt",
    }
    assert torch.load(last)["optimizer_history"][-1]["num_updates"] > updates + 1 + updates // 3


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_cut_off(checkpoint, size) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:size])
    with pytest.raises(UsageError, match="is no checkpoint of fairseq, or is cut off"):
        begin_epoch(checkpoint)
    assert checkpoint.stat().st_size == size


@pytest.mark.parametrize("change", [forget_optimizer, begin_epoch])
def test_full_disk(checkpoint, change) -> None:
    """A limit on the size of files stands for it."""
    before = checkpoint.read_bytes()
    refused = pytest.raises((UsageError, OSError), match=r"is the disk full|File too large")
    with full_disk(), refused:
        change(checkpoint)
    assert checkpoint.read_bytes() == before
    assert not list(checkpoint.parent.glob("*.tmp"))
