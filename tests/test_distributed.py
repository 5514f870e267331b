"""Training on several processes: two with gloo on this machine, in place of two GPUs.

Two processes with a batch each must train as one process with both batches (--update-freq 2)
does. What differs between them otherwise is the dropout masks: tests/masks_of_batch makes
them depend on the batch alone.
"""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from .conftest import ARCHS, BIN, PAIR, ROOT, run

UPDATES = 10
MAX_TOKENS = 2200
MASKS_OF_BATCH = [
    *("--user-dir", ROOT / "tests" / "masks_of_batch", "--criterion", "rdrop_masks_of_batch"),
    *("--rdrop-alpha", "5", "--label-smoothing", "0.1", "--dropout", "0.3"),
]
LAUNCH = """
set -euo pipefail
die() { echo "test: $*" >&2; exit 1; }
source scripts/launch.sh
check_launch
launch_training "$@"
"""


def training(data: Path, save_dir: Path) -> list:
    """What a recipe's train.sh gives to launch_training."""
    return [
        *(data / "bin", *PAIR, *MASKS_OF_BATCH, "--save-dir", save_dir),
        *("--arch", "transformer", *ARCHS["transformer"].split(), "--seed", "1"),
        *("--optimizer", "adam", "--lr", "0.005", "--max-update", UPDATES),
        *("--save-interval-updates", "4", "--no-epoch-checkpoints"),
        *("--num-workers", "0", "--log-format", "json", "--log-interval", "1"),
    ]


def launch(processes: int, *arguments, check: bool = True, **settings):
    """scripts/launch.sh on the CPU; two batches an update, whatever the number of processes."""
    env = {"CPU": "1", "NGPU": str(processes), "UPDATE_FREQ": str(2 // processes)}
    env |= {"MAX_TOKENS": str(MAX_TOKENS), "PYTHONPATH": str(ROOT), **settings}
    return run(["bash", "-c", LAUNCH, "train", *arguments], env=env, check=check)


def finished(result, save_dir: Path) -> SimpleNamespace:
    """The parameters, the optimizer's state and the logged training of a run that ended well."""
    state = torch.load(save_dir / "checkpoint_last.pt", weights_only=True)
    logged = re.findall(r"\| train_inner \| (\{.*\})$", result.stdout + result.stderr, re.M)
    return SimpleNamespace(
        output=result.stdout + result.stderr,
        parameters=state["model"],
        moments=state["last_optimizer_state"]["state"],
        updates=state["optimizer_history"][-1]["num_updates"],
        logged=[json.loads(line) for line in logged],
    )


def assert_same_training(ours: SimpleNamespace, theirs: SimpleNamespace) -> None:
    """Parameters to 1e-5 of the largest of each tensor, and what was logged."""
    assert ours.updates == theirs.updates == UPDATES
    assert ours.parameters.keys() == theirs.parameters.keys()
    for name, expected in theirs.parameters.items():
        error = (ours.parameters[name] - expected).abs().max()
        assert error <= 1e-5 * expected.abs().max(), name
    for line, expected in zip(ours.logged, theirs.logged[-len(ours.logged) :], strict=True):
        for name in ("num_updates", "loss", "nll_loss", "rdrop_kl"):
            assert float(line[name]) == pytest.approx(float(expected[name]), rel=1e-3), name


@pytest.fixture(scope="module")
def one_process(data, tmp_path_factory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("one")
    return finished(launch(1, *training(data, folder)), folder)


@pytest.fixture(scope="module")
def two_processes(data, tmp_path_factory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("two")
    return finished(launch(2, *training(data, folder)), folder)


def test_shards_are_uneven(build) -> None:
    """With an odd number of batches, rank 1 ends each epoch with fairseq's dummy batch."""
    task = build("transformer").task
    task.load_dataset("train")
    batches = task.get_batch_iterator(
        task.dataset("train"),
        max_tokens=MAX_TOKENS,
        required_batch_size_multiple=8,
        disable_iterator_cache=True,
    ).frozen_batches
    assert len(batches) % 2 == 1
    assert len(batches) < 2 * UPDATES  # so that the training meets one


def test_legacy_ddp(one_process, two_processes) -> None:
    assert "initialized host" in two_processes.output
    assert all(float(line["rdrop_kl"]) > 0 for line in one_process.logged)
    assert_same_training(two_processes, one_process)


def test_no_c10d(data, one_process, tmp_path) -> None:
    command = ["torchrun", "--nproc_per_node", "2", "--rdzv-backend", "c10d"]
    command += ["--rdzv-endpoint", "localhost:0", "--no-python", BIN / "fairseq-train"]
    command += [*training(data, tmp_path), "--max-tokens", MAX_TOKENS, "--update-freq", "1"]
    command += ["--cpu", "--distributed-backend", "gloo", "--ddp-backend", "no_c10d"]
    command += ["--distributed-world-size", "2", "--distributed-init-method", "env://"]
    command += ["--distributed-rank", "-1", "--distributed-no-spawn"]
    result = run(command, env={"PYTHONPATH": str(ROOT)})
    assert_same_training(finished(result, tmp_path), one_process)


def test_killed_and_resumed(data, two_processes, tmp_path) -> None:
    """Rank 1 dies in update 7: the launch fails; started again, it ends as if undisturbed."""
    arguments = training(data, tmp_path)
    killed = launch(2, *arguments, check=False, KILL_RANK_1_AT="7")
    assert killed.returncode != 0
    assert "Signal 9 (SIGKILL)" in killed.stderr
    last = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)
    assert 4 <= last["optimizer_history"][-1]["num_updates"] < 7
    resumed = finished(launch(2, *arguments), tmp_path)
    assert "Loaded checkpoint" in resumed.output
    assert len(resumed.logged) < UPDATES
    assert_same_training(resumed, two_processes)
    for name, parameter in two_processes.parameters.items():
        assert torch.equal(resumed.parameters[name], parameter)  # one thread: to the last bit
