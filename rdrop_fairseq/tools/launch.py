"""fairseq-train on the devices that there are: GPUs of one or more machines, or a CPU."""

import os
import re
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import rdrop_fairseq

from ..errors import UsageError
from .state import flags_of, is_flag

# Who starts a script several times on a machine would start as many trainings, each on its own and
# over the other's checkpoints
RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "OMPI_COMM_WORLD_RANK")
RANKS_OF_MPI = ("PMI_RANK", "PMIX_RANK")  # srun sets these, too
HALF = {"--fp16", "--bf16", "--memory-efficient-fp16", "--memory-efficient-bf16", "--amp"}


class Devices(NamedTuple):
    """Where a training runs."""

    gpus: int  # processes on this machine, also of a CPU
    nodes: int = 1
    node_rank: int = 0
    master_addr: str = ""
    master_port: int = 29500
    cpu: bool = False

    @property
    def world(self) -> int:
        return self.gpus * self.nodes


def visible_gpus() -> int:
    """How many torch sees. torch takes seconds to import: only where there may be one."""
    if not any(Path(f"/dev/{name}").exists() for name in ("nvidiactl", "kfd", "dxg")):
        return 0
    import torch

    return torch.cuda.device_count()


def check_environment(nodes: int) -> None:
    """Raise UsageError where several processes of a launcher would each start a training."""
    step = os.environ.get("SLURM_STEP_ID")
    for name in RANKS if step else (*RANKS, *RANKS_OF_MPI):
        if value := os.environ.get(name):
            raise UsageError(
                f"{name} is set to '{value}': run this once on a machine, without torchrun or "
                "mpirun (it starts torchrun itself), and set NGPU and NNODES"
            )
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "1")
    if step and tasks != str(nodes):
        raise UsageError(
            f"srun started {tasks} tasks but NNODES is {nodes}: start one task on a machine "
            "(--ntasks-per-node 1) and set NNODES to their number"
        )


def choose_devices(command: Sequence[str], args: Namespace) -> Devices:
    """Those of the settings, or all GPUs of this machine.

    Args:
        args: gpus, or None, nodes, node_rank, master_addr, master_port; small: without a GPU take
            the CPU, and of that ``gpus`` processes; dry_run: no GPU needs to be there.
    """
    group = (args.nodes, args.node_rank, args.master_addr, args.master_port)
    devices = Devices(args.gpus or 1, *group, cpu="--cpu" in command)
    if args.node_rank >= args.nodes:
        raise UsageError(f"NODE_RANK must be below NNODES ({args.nodes}), got {args.node_rank}")
    if args.nodes > 1 and not args.master_addr:
        raise UsageError(f"NNODES is {args.nodes}: set MASTER_ADDR to the name of machine 0")
    if devices.cpu or (args.dry_run and not args.small):
        return devices
    seen = visible_gpus()
    if not seen and args.small:
        return devices._replace(cpu=True)
    if not seen:
        raise UsageError(
            "torch sees no GPU here: --small is a size for a CPU, and --cpu trains this one on the "
            "CPU, which takes very long"
        )
    if args.gpus and args.gpus > seen:
        raise UsageError(f"NGPU is {args.gpus} but torch sees {seen} GPU(s) on this machine")
    return devices._replace(gpus=args.gpus or seen)


def batch_flags(
    command: Sequence[str], devices: Devices, tokens: int | None, sentences: int | None
) -> tuple[list[str], dict[str, str], str]:
    """How many batches make an update of a given size.

    Args:
        tokens: that an update is to have over all processes, at least; the smallest --update-freq
            that gives them is taken, unless the command names one.
        sentences: the same in sentences, exactly.
    Returns: flags to add; what of them is a setting of the run; a sentence for the user.
    """
    flags = flags_of(command)
    name, wanted = ("--max-tokens", tokens) if tokens else ("--batch-size", sentences)
    if not wanted:
        return [], {}, ""
    unit = "tokens" if tokens else "sentences"
    batch = _number(flags, name) * devices.world
    if "--update-freq" in flags:
        chosen, frequency = "as set", _number(flags, "--update-freq")
    else:
        chosen, frequency = "computed", -(-wanted // batch)
        if sentences and sentences % batch:
            raise UsageError(
                f"an update of {sentences} sentences must be a multiple of --batch-size x GPUs "
                f"({flags[name]} x {devices.world} = {batch}): give a smaller --batch-size, or set "
                "another NGPU"
            )
    total = batch * frequency
    said = (
        f"effective batch: {flags[name]} {unit} x {devices.world} process(es) x update-freq "
        f"{frequency} ({chosen}) = {total} {unit}; the recipe's: {wanted}"
    )
    # a number of GPUs may make it a little larger; more is another training
    is_other = not 9 * wanted <= 10 * total <= 11 * wanted
    setting = {f"{unit} in an update": str(total if is_other else wanted)}
    added = [] if chosen == "as set" else ["--update-freq", str(frequency)]
    return added, setting, said


def _number(flags: dict[str, str], name: str) -> int:
    value = flags.get(name, "")
    if not re.fullmatch("[1-9][0-9]*", value):
        raise UsageError(f"{name} must be a whole number of at least 1, got '{value}'")
    return int(value)


def without_repeats(command: Sequence[str]) -> list[str]:
    """Of a flag that comes twice the last, which is what counts: a recipe's, then the user's."""
    groups: dict[str, list[str]] = {"": []}
    name = ""
    for word in command:
        if is_flag(word):
            name = word.partition("=")[0]
            groups[name] = []
        groups[name].append(word)
    return [word for group in groups.values() for word in group]


def launched(command: Sequence[str], devices: Devices) -> list[str]:
    """The command that trains one model on all devices.

    The flags of the process group are given one by one: with others fairseq, if it sees one GPU or
    none on a machine, trains a model of its own in every process, and exits with 0.
    """
    command = without_repeats(command)
    if forbidden := [word for word in command if word.startswith("--distributed-")]:
        raise UsageError(
            f"{forbidden[0]} is for rdrop run to choose: set NGPU, NNODES, NODE_RANK, MASTER_ADDR "
            "and MASTER_PORT instead"
        )
    if devices.cpu:
        command = [word for word in command if word not in HALF and word != "--cpu"] + ["--cpu"]
    elif "--bf16" in command:
        command = [word for word in command if word != "--fp16"]
    for place, word in enumerate(command[:-1]):
        if word == "--user-dir" and command[place + 1] == "rdrop_fairseq":
            command[place + 1] = str(Path(rdrop_fairseq.__file__).parent)  # found from anywhere
    command += ["--distributed-world-size", str(devices.world)]
    if devices.world == 1:
        return command
    rendezvous = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]  # any free port
    if devices.nodes > 1:
        rendezvous = ["--node-rank", str(devices.node_rank), "--master-addr", devices.master_addr]
        rendezvous += ["--master-port", str(devices.master_port)]
    torchrun = ["torchrun", "--nnodes", str(devices.nodes), "--nproc-per-node", str(devices.gpus)]
    on_cpu = ["--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp"]
    return [
        *(*torchrun, *rendezvous, "-m", "fairseq_cli.train", *command[1:]),
        *(on_cpu if devices.cpu else []),
        *("--distributed-init-method", "env://", "--distributed-rank", "-1"),
        "--distributed-no-spawn",
    ]
