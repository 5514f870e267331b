"""How rdrop run starts fairseq-train: one model on all processes, or an error."""

from argparse import Namespace

import pytest

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools import launch
from rdrop_fairseq.tools.launch import Devices, batch_flags, choose_devices, launched

TRAIN = ["fairseq-train", "data", "--fp16"]


def settings(**changes) -> Namespace:
    group = {"nodes": 1, "node_rank": 0, "master_addr": "", "master_port": 29500}
    return Namespace(**{"gpus": None, "small": False, "dry_run": False, **group, **changes})


def value(command: list[str], flag: str) -> str:
    return command[command.index(flag) + 1]


@pytest.fixture
def gpus(monkeypatch):
    """gpus(8): so many are seen."""
    return lambda number: monkeypatch.setattr(launch, "visible_gpus", lambda: number)


def test_one_gpu_of_many_is_one_process(gpus) -> None:
    """Without --distributed-world-size fairseq would take every GPU that it sees."""
    gpus(8)
    command = launched(TRAIN, choose_devices(TRAIN, settings(gpus=1)))
    assert command == [*TRAIN, "--distributed-world-size", "1"]


@pytest.mark.parametrize(("machines", "rank"), [(1, 0), (2, 1)])
def test_torchrun_with_the_group_spelled_out(gpus, machines, rank) -> None:
    gpus(4)
    group = {"nodes": machines, "node_rank": rank, "master_addr": "first", "master_port": 4567}
    command = launched(TRAIN, choose_devices(TRAIN, settings(**group)))
    assert command[0] == "torchrun"
    assert value(command, "--nnodes") == str(machines)
    assert value(command, "--nproc-per-node") == "4"
    if machines == 2:
        assert value(command, "--node-rank") == "1"
        assert (value(command, "--master-addr"), value(command, "--master-port")) == (
            "first",
            "4567",
        )
    assert command[command.index("-m") :][:3] == ["-m", "fairseq_cli.train", "data"]
    assert value(command, "--distributed-world-size") == str(4 * machines)
    assert value(command, "--distributed-init-method") == "env://"
    assert value(command, "--distributed-rank") == "-1"
    assert "--distributed-no-spawn" in command
    assert "--cpu" not in command


def test_precision(gpus) -> None:
    gpus(1)
    half = launched([*TRAIN, "--bf16"], choose_devices(TRAIN, settings()))
    assert "--bf16" in half
    assert "--fp16" not in half
    gpus(0)
    cpu = launched(TRAIN, choose_devices(TRAIN, settings(small=True, gpus=2)))
    assert "--fp16" not in cpu
    assert "--cpu" in cpu
    assert value(cpu, "--distributed-backend") == "gloo"
    assert value(cpu, "--ddp-backend") == "legacy_ddp"
    by_hand = [*TRAIN, "--cpu"]
    alone = launched(by_hand, choose_devices(by_hand, settings()))
    assert alone == ["fairseq-train", "data", "--cpu", "--distributed-world-size", "1"]


def test_the_users_flag_takes_the_place_of_the_recipes() -> None:
    command = ["fairseq-train", "data", "--lr", "1", "2", "--cpu", "--clip-norm", "-1", "--lr", "3"]
    assert launched(command, Devices(1, cpu=True))[2:] == [
        *("--lr", "3", "--clip-norm", "-1", "--cpu", "--distributed-world-size", "1")
    ]


def test_user_dir_is_found_from_anywhere() -> None:
    command = launched([*TRAIN, "--user-dir", "rdrop_fairseq"], Devices(1))
    assert value(command, "--user-dir").endswith("/rdrop_fairseq")
    assert value(launched([*TRAIN, "--user-dir", "mine"], Devices(1)), "--user-dir") == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes": 2}, "NNODES is 2: set MASTER_ADDR to the name of machine 0"),
        ({"nodes": 2, "node_rank": 2}, r"NODE_RANK must be below NNODES \(2\), got 2"),
        ({"gpus": 9}, r"NGPU is 9 but torch sees 8 GPU\(s\) on this machine"),
    ],
)
def test_devices_that_are_refused(gpus, changes, message) -> None:
    gpus(8)
    with pytest.raises(UsageError, match=message):
        choose_devices(TRAIN, settings(**changes))


def test_no_gpu(gpus) -> None:
    gpus(0)
    with pytest.raises(UsageError, match="torch sees no GPU here: --small is a size for a CPU"):
        choose_devices(TRAIN, settings())
    assert choose_devices(TRAIN, settings(dry_run=True)) == Devices(1)


def test_who_chooses_the_group() -> None:
    with pytest.raises(UsageError, match="--distributed-port is for rdrop run to choose: set NGPU"):
        launched([*TRAIN, "--distributed-port", "1"], Devices(1))


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is set to '2': run this once on a machine"),
        ({"LOCAL_RANK": "1"}, "LOCAL_RANK is set to '1'"),
        ({"OMPI_COMM_WORLD_RANK": "0"}, "OMPI_COMM_WORLD_RANK is set to '0'"),
        ({"PMI_RANK": "1"}, "PMI_RANK is set to '1': .* without torchrun or mpirun"),
        (
            {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8", "PMI_RANK": "0"},
            "srun started 8 tasks but NNODES is 1: start one task on a machine",
        ),
    ],
)
def test_launchers_that_would_train_several_models(monkeypatch, environment, message) -> None:
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(UsageError, match=message):
        launch.check_environment(nodes=1)


def test_srun_may_start_it(monkeypatch) -> None:
    """It sets PMI_RANK, as MPI's launchers do."""
    for name, text in {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "PMI_RANK": "1"}.items():
        monkeypatch.setenv(name, text)
    launch.check_environment(nodes=2)


@pytest.mark.parametrize(
    ("flags", "gpus", "frequency", "setting"),
    [
        ("--max-tokens 4096", 1, 1, 4096),
        ("--max-tokens 1366", 3, 1, 4096),  # 4,098 tokens are no other training
        ("--max-tokens 500", 2, 5, 5000),
        ("--max-tokens 4096 --update-freq 2", 1, 2, 8192),
        ("--max-tokens 16384", 1, 1, 16384),
    ],
)
def test_tokens_in_an_update(flags, gpus, frequency, setting) -> None:
    added, kept, said = batch_flags(["x", *flags.split()], Devices(gpus), 4096, None)
    assert added == ([] if "--update-freq" in flags else ["--update-freq", str(frequency)])
    assert kept == {"tokens in an update": str(setting)}
    assert f"update-freq {frequency} (" in said


def test_sentences_in_an_update() -> None:
    command = ["x", "--batch-size", "8"]
    added, kept, _ = batch_flags(command, Devices(2), None, 32)
    assert (added, kept) == (["--update-freq", "2"], {"sentences in an update": "32"})
    with pytest.raises(UsageError, match=r"--batch-size x GPUs \(8 x 3 = 24\)"):
        batch_flags(command, Devices(3), None, 32)
    with pytest.raises(UsageError, match=r"--batch-size must be a whole number .*, got '0'"):
        batch_flags(["x", "--batch-size", "0"], Devices(1), None, 32)
    assert batch_flags(["x"], Devices(1), None, None) == ([], {}, "")
