"""rdrop average, on checkpoints whose mean is known."""

import argparse
import re
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from rdrop_fairseq.tools.average import main

from ..conftest import full_disk


def average(*arguments: object) -> None:
    main(["--output", *map(str, arguments)])


def save(path: Path, value: float, shape: tuple = (2, 3), name: str = "weight") -> Path:
    """A checkpoint as fairseq loads it, with one parameter and one counter."""
    state = {
        "model": {name: torch.full(shape, float(value)), "count": torch.tensor([int(value)])},
        "args": argparse.Namespace(arch="transformer", task="translation"),
        "optimizer_history": [{"optimizer_name": "Adam", "lr_scheduler_state": {}}],
        "extra_state": {"epoch": 1, "train_iterator": {"epoch": 1}},
        "last_optimizer_state": {"state": {}},
    }
    torch.save(state, path)
    return path


def test_mean_in_float64(tmp_path) -> None:
    values = [1.0, 2**-20, 2**-20]  # float32 sums would lose the small ones' half
    inputs = [save(tmp_path / f"{i}.pt", value) for i, value in enumerate(values)]
    average(tmp_path / "avg.pt", *inputs)
    state = torch.load(tmp_path / "avg.pt")
    expected = torch.tensor(sum(values) / 3, dtype=torch.float64).float()
    assert torch.equal(state["model"]["weight"], expected.expand(2, 3))
    assert state["model"]["count"].tolist() == [0]  # not a float: the last one's
    assert state["last_optimizer_state"] is None
    assert not list(tmp_path.glob("*.tmp"))


def test_tied_parameters_are_written_once(data, trained, tmp_path) -> None:
    """Embeddings and output projection of a real model, which share their memory in its file."""
    inputs = sorted(trained[0].glob("checkpoint_*_*.pt"))
    average(tmp_path / "avg.pt", *inputs)
    models = [torch.load(path)["model"] for path in (*inputs, tmp_path / "avg.pt")]
    tied = [
        name for name in models[0] if name.endswith(("embed_tokens.weight", "projection.weight"))
    ]
    assert len(tied) == 3
    for model in models:
        assert len({model[name].data_ptr() for name in tied}) == 1
    *parts, mean = models
    assert len({tensor.data_ptr() for tensor in mean.values()}) == len(mean) - 2
    for name, tensor in mean.items():
        expected = sum(part[name].double() for part in parts) / len(parts)
        assert torch.equal(tensor, expected.to(tensor.dtype)), name


def test_last_by_epoch_or_by_update(tmp_path, capsys) -> None:
    for epoch in (1, 2, 9, 10):
        save(tmp_path / f"checkpoint{epoch}.pt", epoch)
    for update in (100, 200):
        save(tmp_path / f"checkpoint_1_{update}.pt", update)
    save(tmp_path / "checkpoint_last.pt", 0)
    command = [tmp_path / "avg.pt", tmp_path, "--last", "2"]
    average(*command)
    assert "checkpoint9.pt checkpoint10.pt" in capsys.readouterr().out
    assert torch.load(tmp_path / "avg.pt")["model"]["weight"][0, 0] == 9.5
    for epoch in (1, 2, 9):
        (tmp_path / f"checkpoint{epoch}.pt").unlink()
    average(*command)
    assert "checkpoint_1_100.pt checkpoint_1_200.pt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("shape", r"weight is (100, 100) in .*a.pt but (2, 4) in .*b.pt"),
        ("name", r"other is missing in .*a.pt but (100, 100) in .*b.pt"),
        ("truncated", r"cannot read .*b.pt .*truncated or not a fairseq checkpoint"),
        ("missing", r"no such checkpoint: .*b.pt"),
        ("few", r"holds 0 checkpoints by epoch .*, fewer than 3: ask for fewer or for a single"),
        ("full", r"cannot write .*avg.pt: is the disk full\?"),
        ("folder", r"is a folder: give --last N"),
        ("output", r"no such folder to write to: .*out"),
        ("zero", r"--last: must be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_input(tmp_path, capsys, case, message) -> None:
    first, second = save(tmp_path / "a.pt", 1.0, (100, 100)), tmp_path / "b.pt"
    inputs = [first, second]
    if case == "shape":
        save(second, 1.0, (2, 4))
    elif case == "name":
        save(second, 1.0, (100, 100), name="other")
    elif case == "truncated":
        second.write_bytes(first.read_bytes()[:500])
    elif case == "folder":
        inputs = [tmp_path]
    elif case == "output":
        inputs = [first]
    elif case in ("few", "zero"):
        inputs = ["--last", "3" if case == "few" else "0", tmp_path]
    elif case == "full":
        save(second, 1.0, (100, 100))
    if case != "output":
        (tmp_path / "out").mkdir()
    with pytest.raises(SystemExit) as stopped, full_disk() if case == "full" else nullcontext():
        average(tmp_path / "out" / "avg.pt", *inputs)
    said = stopped.value.code
    if said == 2:
        said = capsys.readouterr().err.splitlines()[-1]
    assert re.search(message.replace("(", r"\(").replace(")", r"\)"), said)
    assert "\n" not in said
    assert not list(tmp_path.glob("out/*"))
