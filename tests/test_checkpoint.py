"""Checkpoints load with weights_only kept on, and nothing else does."""

import argparse
import collections
import pickle
import shutil
import sys
import typing
from pathlib import Path

import numpy as np
import omegaconf
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from fairseq.distributed.utils import _TensorPlaceholder
from fairseq.file_io import PathManager
from fairseq.logging import meters

from rdrop_fairseq.errors import UsageError

from .conftest import train


def reload(tmp_path: Path, obj: typing.Any) -> typing.Any:
    torch.save(obj, tmp_path / "x.pt")
    return torch.load(tmp_path / "x.pt")


def test_what_checkpoints_hold(tmp_path: Path) -> None:
    average = meters.AverageMeter()
    average.update(3.0)
    state = {
        "args": argparse.Namespace(arch="roberta_large", lr=[1e-5]),
        "cfg": omegaconf.OmegaConf.create({"a": {"b": [1, "c"]}}),
        "extra_state": {"meters": [average, meters.TimeMeter(), meters.StopwatchMeter()]},
        "counts": np.array([1, 2]),
        "metrics": [np.float32(1.5), np.float64(2.5), np.int64(3), np.bool_(True)],
        "half": np.array([1.0], dtype=np.float16),
        "order": collections.OrderedDict(a=torch.ones(2)),
        "placeholder": _TensorPlaceholder(0),
        "dictionary": Dictionary(),
    }
    loaded = reload(tmp_path, state)
    assert loaded["args"].lr == [1e-5]
    assert loaded["cfg"].a.b[1] == "c"
    assert loaded["extra_state"]["meters"][0].avg == 3.0
    assert loaded["counts"].tolist() == [1, 2]
    assert loaded["metrics"] == state["metrics"]
    assert len(loaded["dictionary"]) == 4


@pytest.mark.parametrize(
    ("obj", "module", "name"),
    [
        (meters.AverageMeter(), b"fairseq.meters", b"AverageMeter"),
        (np.array([1.5]), b"numpy.core.multiarray", b"_reconstruct"),
        (np.float64(1.5), b"numpy.core.multiarray", b"scalar"),
        (np.array([1.5]), b"numpy._core.multiarray", b"_reconstruct"),
        (np.float64(1.5), b"numpy._core.multiarray", b"scalar"),
    ],
)
def test_names_of_2019_and_of_both_numpys(tmp_path, obj, module, name) -> None:
    """Old checkpoints spell some classes otherwise: rewrite a pickle as they have it."""
    pickled = pickle.dumps(obj, protocol=2)
    for now in (b"fairseq.logging.meters", b"numpy._core.multiarray", b"numpy.core.multiarray"):
        pickled = pickled.replace(b"c" + now + b"\n", b"c" + module + b"\n")
    assert b"c" + module + b"\n" + name in pickled

    class Saved(pickle.Pickler):  # torch.save's pickler writes this text instead of its own
        def dump(self, _):
            self._file.write(pickled)

        def __init__(self, file, protocol=None):
            super().__init__(file, protocol)
            self._file = file

    old = type(sys)("old_pickle")
    old.Pickler = Saved
    torch.save(obj, tmp_path / "x.pt", pickle_module=old)
    loaded = torch.load(tmp_path / "x.pt")
    assert type(loaded) is type(obj)
    if isinstance(obj, np.ndarray | np.float64):
        assert loaded == obj


def old_checkpoint(model: torch.nn.Module) -> dict:
    """The layout of the published roberta.large and bart.large (2019)."""
    return {
        "args": argparse.Namespace(arch="bart_large", task="denoising", criterion="cross_entropy"),
        "model": {name: tensor.half() for name, tensor in model.state_dict().items()},
        "optimizer_history": [
            {
                "criterion_name": "CrossEntropyCriterion",
                "optimizer_name": "FairseqAdam",
                "lr_scheduler_state": {"best": None},
                "num_updates": 500000,
            }
        ],
        "extra_state": {"epoch": 1, "train_iterator": {"epoch": 1}, "val_loss": 1.5},
        "last_optimizer_state": None,
    }


def test_published_layout(build, tmp_path: Path) -> None:
    torch.save(old_checkpoint(build("bart_base").model), tmp_path / "model.pt")
    state = checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "model.pt"))
    assert state["cfg"].task._name == "denoising"  # fairseq has made it of the Namespace


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


class Echo:
    def __reduce__(self) -> tuple:
        import os

        return os.system, ("echo broken into",)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", ["touch", "system"])
def test_malicious_pickle_is_refused(tmp_path: Path, kind: str, legacy: bool) -> None:
    path, victim = tmp_path / "model.pt", tmp_path / "victim"
    evil = Malicious(victim) if kind == "touch" else Echo()
    torch.save({"model": {}, "args": evil}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UsageError) as error:
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
    assert not victim.exists()
    message = str(error.value)
    assert message.startswith(f"refused to load {path}")
    assert ("GLOBAL getattr" if kind == "touch" else "GLOBAL posix.system") in message
    with pytest.raises(pickle.UnpicklingError):  # torch.load itself refuses as well
        torch.load(path)


def test_object_arrays_stay_refused(tmp_path: Path) -> None:
    """Arrays of Python objects could hold anything."""
    torch.save({"model": np.array([None, {}], dtype=object)}, tmp_path / "x.pt")
    with pytest.raises(UsageError, match=r"refused .*numpy\.dtype\('O8'\)"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "x.pt"))


@pytest.mark.parametrize("kind", ["empty", "text", "abc", "truncated", "another"])
def test_unreadable_files(build, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.pt"
    torch.save(old_checkpoint(build("transformer").model), path)
    whole = path.read_bytes()
    if kind == "another":
        torch.save(torch.zeros(3), path)
    else:
        content = {"empty": b"", "text": b"not a checkpoint", "abc": b"abc"}
        path.write_bytes(content.get(kind, whole[: len(whole) // 2]))
    message = r"cannot read .*model\.pt .*truncated or not a fairseq checkpoint"
    with pytest.raises(UsageError, match=message):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))


@pytest.mark.parametrize("what", ["task", "criterion"])
def test_settings_of_somebody_elses(build, tmp_path: Path, what: str) -> None:
    """A whole file is not called broken because of what its settings name."""
    state = old_checkpoint(build("transformer").model)
    setattr(state["args"], what, f"rdrop_{what}")  # as R-Drop's authors have called theirs
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(UsageError, match=rf"model\.pt was read, but .* --user-dir.*rdrop_{what}"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "model.pt"))


def test_override_of_a_setting_that_is_not_there(trained) -> None:
    path = str(trained[0] / "checkpoint_last.pt")
    with pytest.raises(UsageError, match=r"was read, but .*check their names.*nothere"):
        checkpoint_utils.load_checkpoint_to_cpu(path, {"generation": {"nothere": {"a": 1}}})


def test_average_that_begins_with_a_plain_checkpoint(data, trained, tmp_path: Path) -> None:
    plain = trained[0] / "checkpoint_last.pt"
    flags = ["--store-ema", "--ema-decay", "1", "--finetune-from-model", plain]
    train(data, tmp_path, *flags, "--max-update", "1")
    average = torch.load(tmp_path / "checkpoint_last.pt")["extra_state"]["ema"]
    for name, parameter in torch.load(plain)["model"].items():
        if not name.endswith(("_float_tensor", "version")):
            assert torch.equal(average[name], parameter), name


def test_other_errors_are_not_blamed_on_the_file(build, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "model.pt"
    torch.save(old_checkpoint(build("transformer").model), path)

    def no_memory(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "load", no_memory)
    with pytest.raises(RuntimeError, match=r"^DefaultCPUAllocator"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
    with pytest.raises(FileNotFoundError):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "none.pt"))


def test_the_weak_ways_are_not_used() -> None:
    """Nothing in the project switches torch's protection off."""
    root = Path(__file__).parent.parent
    for folder in ("rdrop_fairseq", "scripts", "examples"):
        paths = [path for path in (root / folder).rglob("*") if path.suffix in (".py", ".sh")]
        assert paths
        for path in paths:
            text = path.read_text()
            assert "FORCE_NO_WEIGHTS_ONLY" not in text
            assert "weights_only=False" not in text


@pytest.mark.parametrize("outcome", [KeyboardInterrupt(), OSError(28, "No space left"), False])
def test_a_copy_that_fails_leaves_the_checkpoint_before(tmp_path, monkeypatch, outcome) -> None:
    """By Ctrl-C, a full disk, or for a reason that iopath logs."""
    new, last = tmp_path / "checkpoint_1_20.pt", tmp_path / "checkpoint_last.pt"
    new.write_text("update 20")
    last.write_text("update 10")

    def fails(source: str, target: str) -> bool:
        Path(target).write_text("upd")
        if outcome:
            raise outcome
        return False

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", fails)
        if outcome:
            with pytest.raises(type(outcome)):
                PathManager.copy(str(new), str(last), overwrite=True)
        else:
            assert not PathManager.copy(str(new), str(last), overwrite=True)
    assert last.read_text() == "update 10"
    assert sorted(tmp_path.iterdir()) == [new, last]

    assert PathManager.copy(str(new), str(last), overwrite=True)
    assert last.read_text() == new.read_text() == "update 20"
    assert sorted(tmp_path.iterdir()) == [new, last]


def test_a_copy_follows_links(tmp_path: Path) -> None:
    """As fairseq's copy does: the last checkpoint may be kept on another disk."""
    new, last, kept = (
        tmp_path / "new.pt",
        tmp_path / "checkpoint_last.pt",
        tmp_path / "disk" / "a.pt",
    )
    kept.parent.mkdir()
    kept.write_text("update 10")
    last.symlink_to(kept)
    new.write_text("update 20")
    assert PathManager.copy(str(new), str(last), overwrite=True)
    assert last.is_symlink()
    assert kept.read_text() == "update 20"
