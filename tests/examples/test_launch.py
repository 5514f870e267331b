"""scripts/recipe/launch.sh through a recipe: one model on all processes, or an error."""

import os
import re

import pytest
import torch

from ..conftest import ROOT, run, train
from .conftest import option
from .fake import TRAINED, as_if_stopped
from .test_wmt14 import last_line, prepared, script  # noqa: F401


def test_one_gpu_of_many_is_one_process(fake, prepared) -> None:  # noqa: F811
    """Without --distributed-world-size fairseq would take every GPU that it sees."""
    script("train", "en-de", env={**fake.env(8), "OUT": str(prepared), "NGPU": "1"})
    (call,) = fake.calls()
    assert call[0] == "fairseq-train"
    assert option(call, "--distributed-world-size") == "1"
    assert not any(part.startswith("--distributed-init") for part in call)


@pytest.mark.parametrize(("machines", "rank"), [(1, 0), (2, 0), (2, 1)])
def test_torchrun_with_the_group_spelled_out(fake, prepared, machines, rank) -> None:  # noqa: F811
    env = {**fake.env(4), "OUT": str(prepared), "NNODES": str(machines), "NODE_RANK": str(rank)}
    script("train", "en-de", env={**env, "MASTER_ADDR": "first", "MASTER_PORT": "4567"})
    (call,) = fake.calls()
    assert call[0] == "torchrun"
    assert option(call, "--nnodes") == str(machines)
    assert option(call, "--nproc-per-node") == "4"
    if machines == 2:
        assert option(call, "--node-rank") == str(rank)
        assert (option(call, "--master-addr"), option(call, "--master-port")) == ("first", "4567")
    assert option(call, "--no-python") == str(fake.programs / "fairseq-train")
    assert option(call, "--distributed-world-size") == str(4 * machines)
    assert option(call, "--distributed-init-method") == "env://"
    assert option(call, "--distributed-rank") == "-1"
    assert "--distributed-no-spawn" in call


def test_precision(fake, prepared) -> None:  # noqa: F811
    env = {"OUT": str(prepared)}
    script("train", "en-de", env={**fake.env(1), **env, "BF16": "1"})
    script("train", "en-de", env={**fake.env(0), **env, "CPU": "1", "NGPU": "2"})
    half, cpu = fake.calls()
    assert "--bf16" in half
    assert "--fp16" not in half
    assert "--cpu" in cpu
    assert not {"--fp16", "--bf16"} & set(cpu)
    assert option(cpu, "--distributed-backend") == "gloo"
    assert option(cpu, "--ddp-backend") == "legacy_ddp"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is set to '2': run this script once on a machine"),
        ({"RANK": "0"}, "RANK is set to '0'"),
        ({"LOCAL_RANK": "1"}, "LOCAL_RANK is set to '1'"),
        ({"OMPI_COMM_WORLD_RANK": "0"}, "OMPI_COMM_WORLD_RANK is set to '0': run this script once"),
        ({"PMI_RANK": "1"}, "PMI_RANK is set to '1': .* without torchrun or mpirun"),
        (
            {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8"},
            "srun started 8 tasks but NNODES is 1: start one task on a machine",
        ),
        ({"TRAIN_ARGS": "--distributed-port 1"}, "TRAIN_ARGS holds a --distributed option"),
        ({"TRAIN_ARGS": "--update-freq 1"}, "TRAIN_ARGS holds --update-freq or --max-tokens"),
        ({"NNODES": "2"}, "NNODES is 2: set MASTER_ADDR to the name of machine 0"),
        ({"NNODES": "2", "NODE_RANK": "2"}, r"NODE_RANK must be below NNODES \(2\), got 2"),
        ({"NGPU": "9"}, r"NGPU is 9 but torch sees 8 GPU\(s\) on this machine"),
        ({"NGPU": "0"}, "NGPU must be a whole number of at least 1, got '0'"),
        ({"GPUS": "0"}, "torch sees no GPU here; to train on the CPU.*set CPU=1"),
        ({"CPU": "1", "BF16": "1"}, "BF16=1 needs a GPU"),
        ({"CPU": "yes"}, "CPU must be 0 or 1, got 'yes'"),
        ({"UPDATE_FREQ": "0"}, "UPDATE_FREQ must be a whole number of at least 1, got '0'"),
    ],
)
def test_refused(fake, prepared, settings, message) -> None:  # noqa: F811
    env = {**fake.env(8), "OUT": str(prepared), **settings}
    result = script("train", "en-de", env=env, check=False)
    assert result.returncode == 1
    assert re.search(message, last_line(result)), result.stderr
    assert fake.calls() == []


def test_without_fairseq(tmp_path) -> None:
    command = ["bash", ROOT / "examples" / "wmt14" / "train.sh", "en-de"]
    result = run(command, env={"PATH": "/usr/bin:/bin", "OUT": str(tmp_path)}, check=False)
    assert "fairseq-train is not on PATH: run '. .venv/bin/activate'" in last_line(result)


def test_a_process_of_torchrun_does_not_train_alone(data, tmp_path) -> None:
    """What fairseq does on one GPU or none if nobody spells out the group."""
    env = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
    result = train(data, tmp_path, "--max-update", "1", env=env, check=False)
    assert result.returncode == 1
    assert "WORLD_SIZE is 2, but this process would train a model on its own" in result.stderr
    assert not list(tmp_path.iterdir())


def test_slurm_job(fake, prepared) -> None:  # noqa: F811
    """train.sbatch, with an srun that runs the command once and a scontrol that names hosts."""
    (fake.programs / "srun").write_text(
        '#!/usr/bin/env bash\n[[ $1 == --cpus-per-task=32 ]] || exit 9\nshift 2\nexec "$@"\n'
    )
    (fake.programs / "scontrol").write_text("#!/usr/bin/env bash\nprintf 'n1\\nn2\\n'\n")
    for name in ("srun", "scontrol"):
        os.chmod(fake.programs / name, 0o755)
    env = {**fake.env(8), "OUT": str(prepared), "SLURM_NNODES": "2", "SLURM_JOB_ID": "7"}
    env |= {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NODEID": "1", "SLURM_CPUS_PER_TASK": "32"}
    env |= {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    run(["bash", ROOT / "examples" / "wmt14" / "train.sbatch", "en-de"], env=env)
    (call,) = fake.calls()
    assert option(call, "--node-rank") == "1"
    assert option(call, "--nproc-per-node") == "8"
    assert option(call, "--distributed-world-size") == "16"
    assert option(call, "--update-freq") == "8"
    assert (option(call, "--master-addr"), option(call, "--master-port")) == ("n1", "20007")


def test_srun_may_start_the_script(fake, prepared) -> None:  # noqa: F811
    """It sets PMI_RANK, as MPI's launchers do."""
    env = {**fake.env(1), "OUT": str(prepared), "PMI_RANK": "0", "SLURM_STEP_ID": "0"}
    script("train", "en-de", env=env)
    assert len(fake.calls()) == 1


def test_other_batches_begin_the_epoch_anew(fake, prepared) -> None:  # noqa: F811
    """fairseq knows its place in an epoch as a number of batches, of this size, on each GPU."""
    # on CPUs, where nothing asks the stand-in of torch for its GPUs
    env = {**fake.env(0), "PYTHONPATH": "", "CPU": "1", "OUT": str(prepared), "NGPU": "1"}
    last = prepared / "rdrop" / "checkpoint_last.pt"

    def trained_again(batches: int, **settings: str) -> tuple[int, str]:
        """Where in its epoch the checkpoint is, from ``batches``, and what train.sh said."""
        torch.save({"extra_state": {"train_iterator": {"iterations_in_epoch": batches}}}, last)
        as_if_stopped(prepared / "rdrop")
        said = script("train", "en-de", env={**env, **settings}).stdout
        assert "--reset-dataloader" not in fake.calls()[-1]  # which begins with epoch 1
        return torch.load(last)["extra_state"]["train_iterator"]["iterations_in_epoch"], said

    script("train", "en-de", env=env)
    for number, settings in enumerate(({}, {"NGPU": "2"}, {"NGPU": "2"}, {"MAX_TOKENS": "64"})):
        place, said = trained_again(7, **settings)
        assert place == (0 if number in (1, 3) else 7)
        assert ("note: its epoch begins anew" in said) == (number in (1, 3))
    # killed before the checkpoint was changed: still other batches than its own
    started = prepared / "rdrop" / "batches"
    started.write_text("0 9999 tokens on 1 GPU(s)\n99999999999 64 tokens on 1 GPU(s)\n")
    assert trained_again(7, MAX_TOKENS="64")[0] == 0
    # the first machine does it, which alone reads checkpoints
    started.write_text("0 9999 tokens on 1 GPU(s)\n")
    machines = {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "first"}
    assert trained_again(7, **machines)[0] == 7


def test_training_that_does_not_come_to_its_end_is_not_done(fake, prepared) -> None:  # noqa: F811
    env = {**fake.env(1), "OUT": str(prepared)}
    assert "stopped before the last update" in script("train", "en-de", env=env).stdout
    (fake.programs / "fairseq-train").write_text(
        (fake.programs / "fairseq-train").read_text() + TRAINED
    )
    script("train", "en-de", env=env)
    again = script("train", "en-de", env=env)
    assert "rdrop is trained already, 300000 updates" in again.stdout
    assert len(fake.calls()) == 2


def test_settings_bind_once_there_is_a_checkpoint(fake, prepared) -> None:  # noqa: F811
    env = {**fake.env(1), "OUT": str(prepared)}
    script("train", "en-de", env={**env, "DROPOUT": "O.1"})  # which fairseq would refuse
    script("train", "en-de", env=env)
    (prepared / "rdrop" / "checkpoint_last.pt").touch()
    result = script("train", "en-de", env={**env, "DROPOUT": "0.2"}, check=False)
    assert "< --dropout 0.1 > --dropout 0.2; set RUN to another name" in last_line(result)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"NGPU": 1, "MAX_TOKENS": 4096}, ""),
        ({"NGPU": 3, "MAX_TOKENS": 1366}, ""),  # 4,098 tokens
        ({"NGPU": 1, "MAX_TOKENS": 4096, "UPDATE_FREQ": 1}, ""),  # what it would be anyway
        ({"NGPU": 1, "MAX_TOKENS": 4096, "UPDATE_FREQ": 2}, " --tokens-in-update 8192"),
        ({"NGPU": 1, "MAX_TOKENS": 16384}, " --tokens-in-update 16384"),
        ({"NGPU": 1, "MAX_TOKENS": 3000}, " --tokens-in-update 6000"),
    ],
)
def test_size_of_an_update_is_a_setting_where_it_is_not_the_recipes(settings, kept) -> None:
    program = "source scripts/recipe/stages.sh; source scripts/recipe/launch.sh; "
    program += "NNODES=1 TRAIN_ARGS=; "
    program += 'choose_update_freq 4096 >&2; echo "$launch_settings"'
    env = {name: str(value) for name, value in settings.items()}
    assert run(["bash", "-c", program], env=env).stdout == f"{kept}\n"
