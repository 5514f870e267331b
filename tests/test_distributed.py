"""Training on several processes: two with gloo on this machine, in place of two GPUs.

Two processes with a batch each must train as one process with both batches (--update-freq 2)
does. What differs between them otherwise is the dropout masks: tests/masks_of_batch makes
them depend on the batch alone.
"""

import copy
import json
import multiprocessing
import os
import pickle
import re
from collections.abc import Callable
from datetime import timedelta
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import pytest
import torch
import torch._dynamo  # DDP imports it: here once, for all processes that are forked
import torch.distributed as dist
from fairseq.distributed import ModuleProxyWrapper
from torch.multiprocessing import start_processes
from torch.nn.parallel import DistributedDataParallel

import rdrop_fairseq  # noqa: F401  (registers the criterion)

from .conftest import ARCHS, PAIR, ROBERTA, ROOT, run

# what the ranks of test_torch_ddp are forked from has imported all that they need
multiprocessing.set_forkserver_preload([__name__])

UPDATES = 10
MAX_TOKENS = 2200
MASKS_OF_BATCH = [
    *("--user-dir", ROOT / "tests" / "masks_of_batch", "--criterion", "rdrop_masks_of_batch"),
    *("--rdrop-alpha", "5", "--label-smoothing", "0.1", "--dropout", "0.3"),
]


def training(data: Path, arch: str, impl: str, encoder: str = "twice") -> list:
    """What a recipe's train.sh gives to fairseq-train."""
    return [
        *(data / "bin", *PAIR, *MASKS_OF_BATCH, "--max-tokens", MAX_TOKENS),
        *("--arch", "transformer", *ARCHS[arch].split(), "--rdrop-impl", impl, "--seed", "1"),
        *("--rdrop-encoder", encoder),
        *("--optimizer", "adam", "--lr", "0.005", "--max-update", UPDATES),
        *("--save-interval-updates", "4", "--no-epoch-checkpoints"),
        *("--num-workers", "0", "--log-format", "json", "--log-interval", "1"),
    ]


def launch(processes: int, folder: Path, *arguments, check: bool = True, **settings):
    """By rdrop run on the CPU; two batches an update, whatever the number of processes."""
    command = ["rdrop", "run", "--folder", folder, "--", "fairseq-train", *arguments]
    command += ["--save-dir", folder, "--cpu", "--update-freq", 2 // processes]
    env = {"NGPU": str(processes), "PYTHONPATH": str(ROOT), **settings}
    return run(command, env=env, check=check)


def finished(result, save_dir: Path) -> SimpleNamespace:
    """The parameters and the logged training of a run that ended well."""
    state = torch.load(save_dir / "checkpoint_last.pt", weights_only=True)
    logged = re.findall(r"\| train_inner \| (\{.*\})$", result.stdout + result.stderr, re.M)
    return SimpleNamespace(
        output=result.stdout + result.stderr,
        parameters=state["model"],
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


@pytest.fixture
def one_process(data, tmp_path_factory) -> Callable[..., SimpleNamespace]:
    """The training by one process, given model, --rdrop-impl and --rdrop-encoder."""

    def train(*model: str) -> SimpleNamespace:
        folder = tmp_path_factory.mktemp("one")
        return finished(launch(1, folder, *training(data, *model)), folder)

    return train


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


@pytest.mark.parametrize("encoder", ["twice", "once"])
def test_no_c10d(data, one_process, tmp_path, encoder) -> None:
    command = ["torchrun", "--nproc_per_node", "2", "--rdzv-backend", "c10d"]
    command += ["--rdzv-endpoint", "localhost:0", "--no-python", "fairseq-train"]
    model = ("transformer", "auto", encoder)  # tied, hence linear
    command += [*training(data, *model), "--save-dir", tmp_path, "--update-freq", "1"]
    command += ["--cpu", "--distributed-backend", "gloo", "--ddp-backend", "no_c10d"]
    command += ["--distributed-world-size", "2", "--distributed-init-method", "env://"]
    command += ["--distributed-rank", "-1", "--distributed-no-spawn"]
    result = run(command, env={"PYTHONPATH": str(ROOT)})
    two_processes = finished(result, tmp_path)
    assert len(two_processes.logged) == UPDATES
    assert all(float(line["rdrop_kl"]) > 0 for line in two_processes.logged)
    assert "impl linear" in two_processes.output
    assert_same_training(two_processes, one_process(*model))


def test_legacy_ddp_killed_and_resumed(data, one_process, tmp_path) -> None:
    """Rank 1 dies in update 7: the launch fails; started again, it ends as if undisturbed.

    Both launches are of rdrop run, which takes legacy_ddp on the CPU. Together they train as one
    process does that nobody kills.
    """
    model = ("transformer-untied", "logits")
    arguments = training(data, *model)
    killed = launch(2, tmp_path, *arguments, check=False, KILL_RANK_1_AT="7")
    assert killed.returncode != 0
    assert "Signal 9 (SIGKILL)" in killed.stdout
    last = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)
    updates = last["optimizer_history"][-1]["num_updates"]
    assert 4 <= updates < 7
    resumed = finished(launch(2, tmp_path, *arguments), tmp_path)
    assert f"Loaded checkpoint {tmp_path / 'checkpoint_last.pt'}" in resumed.output
    assert [int(line["num_updates"]) for line in resumed.logged] == [*range(updates + 1, 11)]
    assert "impl logits" in resumed.output
    assert_same_training(resumed, one_process(*model))


def test_classifier_is_validated_on_all_shards(pairs, tmp_path) -> None:
    """--report-...: each process predicts a part, and the correlation is that of all of them.

    Learning rate 0, so that one process and two validate the same model.
    """
    arguments = [pairs / "ratings", "--task", "sentence_prediction", *ROBERTA.split()]
    arguments += ["--criterion", "rdrop_sentence_prediction", "--regression-target"]
    arguments += ["--report-pearson-and-spearman", "--num-classes", "1"]
    arguments += ["--user-dir", ROOT / "tests" / "gather_on_cpu", "--optimizer", "adam"]
    arguments += ["--lr", "0", "--max-update", "1", "--num-workers", "0"]
    arguments += ["--log-format", "json", "--no-save", "--max-tokens", MAX_TOKENS]
    found = []
    for processes in (1, 2):
        result = launch(processes, tmp_path / str(processes), *arguments)
        (line,) = re.findall(r"\| valid \| (\{.*\})$", result.stdout + result.stderr, re.M)
        valid = json.loads(line)
        assert valid["valid_pearson"] not in ("nan", "0")
        found.append({name: valid[name] for name in valid if "loss" in name or "ear" in name})
    assert found[0] == found[1]
    assert found[0].keys() >= {"valid_loss", "valid_pearson", "valid_spearman"}


def test_entities_are_counted_on_all_shards(tagged, tmp_path) -> None:
    """The F1 of two processes is that of all sentences, not a mean of theirs."""
    arguments = [tagged, "--task", "sequence_tagging", *ROBERTA.split(), "--init-token", "0"]
    arguments += ["--user-dir", ROOT / "rdrop_fairseq", "--criterion", "rdrop_sequence_tagging"]
    arguments += ["--optimizer", "adam", "--lr", "0", "--max-update", "1", "--num-workers", "0"]
    arguments += ["--log-format", "json", "--no-save", "--required-batch-size-multiple", "1"]
    found = []
    for processes in (1, 2):
        # a tagger that has learnt nothing finds entities at random
        result = launch(processes, tmp_path / str(processes), *arguments, "--max-tokens", "300")
        (line,) = re.findall(r"\| valid \| (\{.*\})$", result.stdout + result.stderr, re.M)
        valid = json.loads(line)
        assert float(valid["valid_f1"]) > 0
        names = ("loss", "accuracy", "precision", "recall", "f1")
        found.append({name: valid[f"valid_{name}"] for name in names})
    assert found[0] == found[1]


# of each update, of each rank: the seeds of the dropout masks of two batches
UPDATE_RANK_SEEDS = (((1, 2), (3, 4)), ((5, 6), (7, 8)))


@pytest.fixture(scope="module")
def batches(build) -> list[dict]:
    """The four batches that the two ranks have in each of two updates."""
    task = build("transformer").task
    iterator = task.get_batch_iterator(
        task.dataset("valid"), max_tokens=350, disable_iterator_cache=True
    )
    found = list(iterator.next_epoch_itr(shuffle=False))
    assert len(found) >= 4
    return found[:4]


def descend(model: torch.nn.Module, scale: float) -> dict[str, torch.Tensor]:
    """One step of plain gradient descent. Returns the gradients, times ``scale``."""
    gradients = {name: p.grad * scale for name, p in model.named_parameters()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter -= 1e-3 * gradients[name]
    model.zero_grad()
    return gradients


def train_alone(model, criterion, batches) -> list[dict[str, torch.Tensor]]:
    """The gradients of each update, summed over all batches in one process."""
    model.train()
    updates = []
    for seeds_of_ranks in UPDATE_RANK_SEEDS:
        for seed in (seed for seeds in seeds_of_ranks for seed in seeds):
            torch.manual_seed(seed)
            criterion(model, batches[seed % 4])[0].backward()
        updates.append(descend(model, scale=1.0))
    return updates


def train_on_rank(rank, folder, pickled, find_unused) -> None:
    """One of two processes that do the same: leaves its gradients, or its error, in a file.

    Neither is forked from the test: torch's builds for GPUs refuse a backward in what is forked
    after one. It ends without the destructors of torch's process group, which can wait for ever:
    they join a thread that waits for the GIL, which they hold.
    """
    torch.set_num_threads(1)
    try:
        model, criterion, batches = pickle.loads(pickled)
        dist.init_process_group(
            "gloo", f"file://{folder}/meeting", timedelta(seconds=60), world_size=2, rank=rank
        )
        found = train_wrapped(rank, model, criterion, batches, find_unused)
        dist.barrier()  # neither leaves while the other waits for what it sends
    except BaseException as error:
        found = f"{type(error).__name__}: {error}"
    torch.save(found, folder / f"rank{rank}.pt")
    os._exit(0)


def train_wrapped(rank, model, criterion, batches, find_unused) -> list[dict[str, torch.Tensor]]:
    """The gradients of each update of one rank, wrapped as fairseq does for c10d."""
    ddp = DistributedDataParallel(model, find_unused_parameters=find_unused)
    wrapped = ModuleProxyWrapper(ddp)
    wrapped.train()
    updates = []
    for seeds_of_ranks in UPDATE_RANK_SEEDS:
        first, second = seeds_of_ranks[rank]
        with ddp.no_sync():  # as in all but the last batch with --update-freq
            torch.manual_seed(first)
            criterion(wrapped, batches[first % 4])[0].backward()
        torch.manual_seed(second)
        criterion(wrapped, batches[second % 4])[0].backward()
        updates.append(descend(model, scale=2.0))  # DDP gives the mean over the ranks
    return updates


@pytest.mark.parametrize("find_unused", [False, True], ids=["", "find_unused_parameters"])
@pytest.mark.parametrize(
    ("arch", "impl", "encoder"),
    [
        *product(
            ["transformer", "transformer-untied", "bart_base"],
            ["linear", "logits", "eager"],
            ["twice"],
        ),
        ("transformer", "linear", "once"),
        ("transformer-untied", "logits", "once"),
    ],
)
def test_torch_ddp(build, batches, tmp_path, arch, impl, encoder, find_unused) -> None:
    """What --ddp-backend c10d, the default on GPUs, is: torch's DistributedDataParallel.

    Two ranks with other masks each and two batches an update, the first without
    synchronisation; the second update shows whether DDP has finished the first.
    """
    built = build(arch, "--dropout 0.3")
    settings = {"rdrop_alpha": 5, "rdrop_encoder": encoder}
    criterion = built.criterion("rdrop", rdrop_impl=impl, **settings)
    alone = train_alone(copy.deepcopy(built.model), criterion, batches)
    # a criterion looks at the first model that it trains, wrapped or not
    criterion = built.criterion("rdrop", rdrop_impl=impl, **settings)

    def train_on_two(criterion) -> list:
        # not by pickle: fairseq's configurations hold enums that have no name to be found by;
        # without the task, whose data are being read
        criterion.task = None
        pickled = cloudpickle.dumps((built.model, criterion, batches))
        start = (tmp_path, pickled, find_unused)
        start_processes(train_on_rank, start, nprocs=2, start_method="forkserver")
        (tmp_path / "meeting").unlink()
        return [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]

    if (arch, impl, find_unused) == ("transformer-untied", "linear", True):
        for refused in train_on_two(criterion):
            assert re.match("UsageError.*--find-unused-parameters would take the output", refused)
        criterion = built.criterion("rdrop", rdrop_impl="auto", **settings)
    ranks = train_on_two(criterion)
    assert [type(found) for found in ranks] == [list, list], ranks
    for rank0, rank1, expected in zip(*ranks, alone, strict=True):
        assert rank0.keys() == expected.keys()
        # some gradients are 0 but for rounding (a bias of attention's keys): the largest counts
        scale = max(gradient.abs().max().item() for gradient in expected.values())
        for name, gradient in expected.items():
            assert torch.equal(rank0[name], rank1[name]), name
            torch.testing.assert_close(rank0[name], gradient, rtol=1e-5, atol=1e-6 * scale)
