"""Start a training, or go on with it, in a folder that knows what it was made with.

    rdrop run --folder RUN --inputs DATA -- fairseq-train DATA --save-dir RUN --max-update 1000 ...
    rdrop run --once --folder DATA --inputs TEXT -- fairseq-preprocess --destdir DATA ...

Prints the command so that it can be copied into a shell, starts it, and adds what it prints to
RUN/run.log. RUN/run.json keeps its settings, the checksums of its inputs and, for each start,
updates, CPU seconds, versions and host. Once something was made there, other settings or data are
refused; of fairseq-train how long, where and on how many devices it trains may change.

fairseq-train goes on from its last checkpoint, and is not started again after its last update
(--max-update), or once it has ended before as it was told to (--max-epoch, --patience,
--stop-time-hours). Any other command has come to its end when it exits with 0.

With several GPUs it is started by torchrun. The settings of that are environment variables, since
they belong to the machine:
  NGPU         GPUs of this machine to train on      default: all that torch sees
  NNODES       machines                              default: 1
  NODE_RANK    number of this machine, from 0        default: 0; on SLURM: $SLURM_NODEID
  MASTER_ADDR  name of machine 0, needed if NNODES > 1
  MASTER_PORT  free port on machine 0                default: 29500
"""

import contextlib
import os
import platform
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError
from .command_line import command, parser, whole
from .files import lock, write_json
from .launch import batch_flags, check_environment, choose_devices, launched
from .state import State, flags_of, is_flag, settings_of

LOG = "run.log"
# glibc gives large blocks back to the system and gets them anew, page by page, at every update: to
# keep them makes updates on a CPU faster (rdrop_fairseq/loss/README.md, Cost)
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "67108864",
}


def printed(words: Sequence[str]) -> str:
    """A command for a shell, a flag a line."""
    lines: list[list[str]] = [[]]
    for word in words:
        if is_flag(word) and lines != [[]]:
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return " \\\n    ".join(" ".join(line) for line in lines)


def updates_at_end(log: Path) -> int | None:
    """How many updates fairseq-train has had, by its log, if its last start came to its end."""
    updates, ended = 0, False
    with log.open(errors="replace") as lines:
        for line in lines:
            if " | fairseq_cli.train | task: " in line:
                ended = False
            if found := re.search(r" @ (\d+) updates", line):
                updates = int(found[1])
            ended = ended or " | fairseq_cli.train | done training in " in line
    return updates if ended else None


def begin_epoch_if_other(state: State, batches: str, checkpoint: Path) -> None:
    """Let a training that goes on with other batches do so at the beginning of its epoch.

    fairseq knows its place in an epoch as a number of batches. A checkpoint is of the last start
    before it.
    """
    if not checkpoint.is_file():
        return
    written = checkpoint.stat().st_mtime
    before = [start["batches"] for start in state.starts if start["time"] <= written]
    if before and before[-1] != batches:
        print(f"note: its epoch begins anew: the checkpoint has {before[-1]}, now {batches}")
        from .checkpoint import begin_epoch

        begin_epoch(checkpoint)


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("rdrop-fairseq", "ve-fairseq", "fairseq", "fairseq-fixed", "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def to_terminal(text: str) -> None:
    print(text, end="", flush=True)


def start(
    words: Sequence[str], log: Path, show: Callable[[str], None] = to_terminal
) -> tuple[int, float]:
    """Run a command to its end; what it prints goes to the end of ``log``, and to ``show``.

    Ctrl-C and SIGTERM end the command, which may save what it has, not this function.

    Returns: its exit status, and its seconds of CPU time, user and system.
    Raises:
        UsageError: a command that was started before still writes ``log``.
    """
    environment = KEEP_MEMORY | os.environ if {"--cpu", "--use_cpu"} & set(words) else None
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process: subprocess.Popen | None = None

    def pass_on(number: int, _: Any) -> None:
        if process and number == signal.SIGTERM:  # a terminal sends SIGINT to both
            process.send_signal(number)

    handlers = {
        number: signal.signal(number, pass_on)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        with log.open("ab") as output, log.open("rb") as news:
            # held by the command, too, for as long as it runs
            lock(output, f"a command that was started before still writes {log}")
            news.seek(0, os.SEEK_END)
            process = subprocess.Popen(words, stdout=output, stderr=output, env=environment)
            ended = False
            while not ended:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    ended = process.wait(0.1) is not None
                show(news.read().decode(errors="replace"))
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return exit_status(process.returncode), round(seconds, 3)


class Plan(NamedTuple):
    """A command as it is started, and what of it is to be kept."""

    words: list[str]
    settings: dict[str, str]
    updates: int = 0
    batches: str = ""  # a word for their size, for fairseq's place in an epoch
    restored: Path | None = None  # fairseq-train's checkpoint to go on from
    note: str = ""


def plan(args: Namespace, words: list[str]) -> Plan:
    """What becomes of the command ``words``, for fairseq-train on the devices that there are."""
    settings = settings_of(words)
    if Path(words[0]).name != "fairseq-train":
        return Plan(words, settings, args.updates or 0)
    if not args.dry_run:
        check_environment(args.nodes)
    flags, devices = flags_of(words), choose_devices(words, args)
    added, size, note = batch_flags(words, devices, args.update_tokens, args.update_sentences)
    sizes = [flags[name] for name in ("--max-tokens", "--batch-size") if name in flags]
    return Plan(
        launched([*words, *added], devices),
        settings | size,
        args.updates or int(flags.get("--max-update") or 0),
        f"batches of {' or '.join(sizes)} on {devices.world} process(es)",
        Path(flags.get("--restore-file") or args.folder / "checkpoint_last.pt"),
        note,
    )


def train(args: Namespace, words: list[str]) -> None:
    """``rdrop run`` of a training, which may be interrupted and go on."""
    folder, now = args.folder, plan(args, words)
    if now.note:
        print(f"# {now.note}")
    if args.dry_run:
        print(printed(now.words))
        return
    need_program(words[0])
    if args.node_rank:  # the first machine keeps the books
        folder.mkdir(parents=True, exist_ok=True)
        status, _ = start(now.words, folder / f"run.node{args.node_rank}.log")
        raise SystemExit(status)
    state, log = State(folder), folder / LOG
    made = [path.name for path in folder.glob("*") if not path.name.startswith("run.")]
    if made and not state.content:
        raise UsageError(
            f"{folder} holds {made[0]}, but no run.json that says how it was made: name another "
            "folder"
        )
    if not made:
        state.content = {}  # nothing came of it: the settings may be others
    state.check(now.settings, args.inputs)
    note_end(state, log, now)  # of a training that outlived who started it
    if state.is_complete(now.updates):
        print(f"{folder} is trained already, {state.updates} updates (to train anew, remove it)")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        if now.restored and folder in now.restored.parents:
            begin_epoch_if_other(state, now.batches, now.restored)
        for data in args.inputs if now.restored else []:
            for dictionary in data.glob("dict*.txt"):  # to compare with those of other data
                shutil.copy(dictionary, folder)
        print(f"{printed(now.words)}\n# its log: {log}", flush=True)
        record(state, log, now, args.progress)
    if args.keep_best and (folder / "checkpoint_last.pt").is_file():
        from .checkpoint import forget_optimizer

        forget_optimizer(folder / "checkpoint_best.pt")
        (folder / "checkpoint_last.pt").unlink()


def record(state: State, log: Path, now: Plan, progress: bool) -> None:
    """Start a command, with an entry of it in ``state``. Exits with its status if that is not 0."""
    show = to_terminal
    if progress:
        from .progress import Progress

        show = Progress(now.updates).write
    date = datetime.now(timezone.utc)
    entry = {"time": date.timestamp(), "date": date.isoformat(timespec="seconds")}
    entry |= {"batches": now.batches, "host": socket.gethostname(), "versions": versions()}
    state.content.pop("updates", None)
    state.content["command"] = shlex.join(now.words)
    state.starts.append(entry)
    state.save()
    began = time.monotonic()
    status, entry["cpu_seconds"] = start(now.words, log, show)
    if status and progress:
        print(*log.read_text(errors="replace").splitlines()[-10:], sep="\n", file=sys.stderr)
    entry |= {"status": status, "seconds": round(time.monotonic() - began, 3)}
    if status == 0 and not now.restored:
        state.content["updates"] = now.updates
    note_end(state, log, now)
    state.save()
    if status:
        raise SystemExit(status)


def note_end(state: State, log: Path, now: Plan) -> None:
    """Note in ``state`` whether fairseq-train has come to its end, as its log has it."""
    if not now.restored or not log.is_file() or "updates" in state.content:
        return
    had = updates_at_end(log)
    if had is None:
        print("note: fairseq-train has stopped before the last update; running this again goes on")
        return
    state.content |= {"updates": had, "ended_early": had < now.updates}
    if had < now.updates:
        print(f"note: fairseq-train has ended after {had} updates of {now.updates}, as it was told")


def make(args: Namespace, words: list[str]) -> None:
    """``rdrop run --once``: a folder that a command makes in one go, whole or not at all.

    The command is given another name for it, which is renamed at its end.
    """
    print(printed(words), flush=True)
    if args.dry_run:
        return
    need_program(words[0])
    folder = args.folder
    unfinished = folder.with_name(folder.name + ".tmp")
    with locked(folder.with_name(folder.name + ".lock")) as held:
        state = State(folder)
        state.check(settings_of(words), args.inputs)
        if state.is_complete(0):
            print(f"# {folder} is made already")
            return
        if folder.exists():
            raise UsageError(
                f"{folder} is there, but no run.json that says how it was made: remove it"
            )
        shutil.rmtree(unfinished, ignore_errors=True)  # of a command that was killed
        path = re.compile(f"{re.escape(str(folder))}(?=/|$)")
        command = [path.sub(str(unfinished), word) if path.match(word) else word for word in words]
        try:
            if status := subprocess.run(command, pass_fds=[held]).returncode:
                raise SystemExit(exit_status(status))
            state.content |= {"command": shlex.join(words), "updates": 0, "versions": versions()}
            write_json(unfinished / state.path.name, state.content)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold a lock, for as long as a process has the descriptor that this gives.

    Raises:
        UsageError: another one has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        lock(file, f"a command that was started before still makes {path.stem}")
        try:
            yield file.fileno()
        finally:
            path.unlink()


def need_program(name: str) -> None:
    if shutil.which(name) is None:
        raise UsageError(
            f"{name} is not on PATH: run '. .venv/bin/activate' (scripts/setup.sh makes it)"
        )


def exit_status(returncode: int) -> int:
    """A shell's, also of a program that a signal has ended."""
    return 128 - returncode if returncode < 0 else returncode


def of_environment(name: str, default: str, least: int) -> int:
    """A whole number that is a setting of this machine."""
    text = os.environ.get(name) or default
    if not text.isdecimal() or int(text) < least:
        raise UsageError(f"{name} must be a whole number of at least {least}, got '{text}'")
    return int(text)


@command("rdrop run")
def main(argv: Sequence[str] | None = None) -> None:
    own = list(sys.argv[1:] if argv is None else argv)
    words: list[str] = []
    if "--" in own:
        own, words = own[: own.index("--")], own[own.index("--") + 1 :]
    of = parser(__doc__, "rdrop run", "%(prog)s --folder RUN [options] -- COMMAND...")
    of.add_argument("--folder", type=Path, required=True, help="what COMMAND writes to")
    of.add_argument(
        "--inputs",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="files and folders that COMMAND reads: their checksums are kept",
    )
    of.add_argument(
        "--updates", type=whole(1), metavar="N", help="the last one; default: --max-update"
    )
    size = of.add_mutually_exclusive_group()
    size.add_argument(
        "--update-tokens",
        type=whole(1),
        metavar="N",
        help="choose --update-freq so that an update has N tokens or little more, of all GPUs",
    )
    size.add_argument(
        "--update-sentences", type=whole(1), metavar="N", help="the same with sentences, exactly"
    )
    of.add_argument("--small", action="store_true", help="without a GPU, train on the CPU")
    of.add_argument(
        "--keep-best",
        action="store_true",
        help="at the end keep checkpoint_best.pt, without the optimizer's state, and not the last",
    )
    of.add_argument(
        "--progress",
        action="store_true",
        help="in place of fairseq-train's log show the time that is left, and its end if it fails",
    )
    of.add_argument("--once", action="store_true", help="COMMAND makes the folder in one go")
    of.add_argument("--dry-run", action="store_true", help="print the command, do nothing")
    args = of.parse_args(own)
    if not words:
        raise UsageError("name a command after --, such as -- fairseq-train DATA ...")
    args.gpus = of_environment("NGPU", "1", 1) if os.environ.get("NGPU") else None
    args.nodes = of_environment("NNODES", "1", 1)
    args.node_rank = of_environment("NODE_RANK", os.environ.get("SLURM_NODEID", "0"), 0)
    args.master_addr = os.environ.get("MASTER_ADDR", "")
    args.master_port = of_environment("MASTER_PORT", "29500", 1)
    (make if args.once else train)(args, words)


if __name__ == "__main__":
    main()
