"""Start Python programs fast: fork them from a process that has imported what is slow.

torch and fairseq take 3 to 4 seconds of CPU time to import, and the tests start several hundred
programs. The server imports them once. Stand-ins for ``python``, ``fairseq-train`` and so on, to
put first on PATH, ask it to fork a process that goes on as the program would: with the stand-in's
arguments, environment, folder, standard streams and limits. Shell scripts profit as well.

A program is started for real wherever a fork could behave otherwise: with settings that Python or
its libraries read as they start (`READ_AT_START`), with options of Python, or with a PYTHONPATH
that hides a module which the server has imported. ``RDROP_TEST_FORK=0`` starts every one for real.

    python tests/fork_server.py FD    serves the listening socket FD until standard input is closed
"""

import atexit
import contextlib
import copy
import gc
import json
import logging
import os
import random
import resource
import runpy
import select
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

PROGRAMS = (
    *("python", "rdrop"),
    *("fairseq-train", "fairseq-hydra-train", "fairseq-preprocess", "fairseq-generate"),
    *("fairseq-interactive", "fairseq-validate", "fairseq-eval-lm", "sacremoses", "torchrun"),
)
# beginnings of variables that a process reads once, and what the server may differ in: what is
# applied in `become` or read later, and how several threads would wait
READ_AT_START = (
    *("PYTHON", "OMP_", "MKL_", "KMP_", "OPENBLAS_", "ATEN_", "TORCH", "CUDA_", "LD_"),
    *("HF_", "TRANSFORMERS_", "ACCELERATE_"),
)
MAY_DIFFER = ("PYTHONPATH", "PYTHONWARNINGS", "TORCHELASTIC_", "TORCH_NCCL_", "OMP_WAIT_POLICY")
IMPORTED = (
    # torch.optim imports _dynamo with the first optimizer
    *(
        "torch",
        "torch._dynamo",
        "torch.distributed.run",
        "numpy",
        "fairseq",
        "fairseq.trainer",
        "fairseq.tasks",
    ),
    *("fairseq.checkpoint_utils", "fairseq.options", "fairseq.sequence_generator", "hydra"),
    *("scipy.stats", "sacrebleu", "sentencepiece", "matplotlib.figure", "tensorboardX"),
    *("sklearn.metrics", "sacremoses", "subword_nmt.apply_bpe", "subword_nmt.learn_bpe"),
    *("nltk", "rouge_score.rouge_scorer", "tokenizers", "tqdm", "multiprocessing.pool"),
    *("transformers.trainer", "transformers.models.vit.modeling_vit"),
)

CLIENT = '''#!{python} -IS
"""Stand-in for a program: see tests/fork_server.py, which wrote it."""
import json, os, resource, signal, socket, struct, sys

def start_for_real():
    os.execv(program, [program, *sys.argv[1:]])

name = os.path.basename(sys.argv[0])
program = os.path.join({bin!r}, name)
first = sys.argv[1] if len(sys.argv) > 1 else "-"
if name == "python" and first.startswith("-") and first != "-c":
    start_for_real()
with open("/proc/self/status") as status:
    ignored = next(int(line.split()[1], 16) for line in status if line.startswith("SigIgn"))
request = {{
    "program": program,
    "arguments": sys.argv[1:],
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "largest_file": resource.getrlimit(resource.RLIMIT_FSIZE),
    "ignores_interrupt": bool(ignored >> (signal.SIGINT - 1) & 1),
}}
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
# the server passes signals on to the process: it is not in the process group of this one
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    if not ignored >> (number - 1) & 1:
        signal.signal(number, lambda number, frame: server.sendall(bytes([number])))
content = json.dumps(request).encode()
try:
    socket.send_fds(server, [struct.pack("!I", len(content))], [0, 1, 2])
    server.sendall(content)
    answer = server.makefile("r").readline()
except ConnectionError:
    answer = ""
if not answer:
    sys.exit("the fork server is gone")
status = json.loads(answer)
if status is None:
    start_for_real()
if status < 0:
    if status != -signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
'''


def write_stand_ins(folder: Path, address: Path) -> None:
    """Write the stand-ins into ``folder``; the server listens at ``address``."""
    programs = Path(sys.executable).parent
    text = CLIENT.format(python=sys.executable, bin=str(programs), address=str(address))
    client = folder / PROGRAMS[0]
    client.write_text(text)
    client.chmod(0o755)
    for name in PROGRAMS[1:]:
        if (programs / name).exists():
            (folder / name).symlink_to(client)


def folder_of_stand_ins() -> str:
    """Where the stand-ins are, for this process and those that it starts.

    The folder of the real programs if RDROP_TEST_FORK is 0.
    """
    if os.environ.get("RDROP_TEST_FORK") == "0":
        return str(Path(sys.executable).parent)
    if "RDROP_TEST_STAND_INS" not in os.environ:
        # the address of a socket has at most 107 characters, whatever TMPDIR is
        os.environ["RDROP_TEST_STAND_INS"] = tempfile.mkdtemp(prefix="rdrop-tests-", dir="/tmp")
    return os.environ["RDROP_TEST_STAND_INS"]


def listen(folder: Path) -> Callable[[], None]:
    """Write the stand-ins into ``folder``, and start the server when the first one is used.

    Returns: what ends the server and removes the folder.
    """
    if folder == Path(sys.executable).parent:
        return lambda: None
    address = folder / "socket"
    write_stand_ins(folder, address)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(address))
    listener.listen(64)  # who connects before the imports are done waits
    over, end = os.pipe()
    # one thread: there must be no other where there are forks
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start() -> None:
        used, _, _ = select.select([listener, over], [], [])
        if listener in used:
            command = [sys.executable, __file__, str(listener.fileno())]
            fds = (listener.fileno(),)
            try:
                subprocess.run(command, stdin=over, env=environment, pass_fds=fds, check=True)
            finally:
                listener.close()  # who waits for a server that has failed is told so

    server = threading.Thread(target=start)
    server.start()

    def stop() -> None:
        os.close(end)
        server.join()
        os.close(over)
        listener.close()
        shutil.rmtree(folder)

    return stop


def serve(listener: socket.socket) -> None:
    """Fork a process for each request until standard input is closed."""
    environment = dict(os.environ)
    modules = import_all()
    imported = dict(os.environ)  # some modules add to it: also in the tests that import them
    running: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as events:
        events.register(sys.stdin, selectors.EVENT_READ)
        events.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in events.select():
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is listener:
                    accept(listener.accept()[0], events, running, (environment, imported), modules)
                elif key.data[0] == "ended":
                    report(key.data[1], key.fd, events, running)
                else:
                    pass_on(key.data[1], key.fileobj, events)


def import_all() -> frozenset[str]:
    """Import what is slow. Returns: the names of the modules that a PYTHONPATH must not hide."""
    filters = warnings.filters[:]
    folder = sys.path.pop(0)  # fairseq tries an import of "examples": not the one beside this file
    for name in IMPORTED:
        if name.startswith("transformers"):  # as rdrop_fairseq/trainer.py says
            sys.modules["torchaudio"] = None  # type: ignore[assignment]
        with contextlib.suppress(ImportError):
            import_module(name)
        sys.modules.pop("torchaudio", None)
        # as before: an import of fairseq sets up the root logger, for all that is logged
        logging.root.handlers[:] = []
        logging.root.setLevel(logging.WARNING)
    sys.path.insert(0, folder)
    remember_what_hydra_repeats()
    warnings.filters[:] = filters  # type: ignore[index]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # hydra's parser remembers what it has learnt of its grammar
        options = sys.modules["fairseq.options"]
        command = ["data", "--arch", "transformer"]
        args = options.parse_args_and_arch(options.get_training_parser(), command)
        sys.modules["fairseq.dataclass.utils"].convert_namespace_to_omegaconf(args)
    gc.collect()
    gc.freeze()  # a fork's collections leave these alone, hence their memory shared
    gc.set_threshold(100_000)  # and are few: most forks end after a second
    return frozenset(name.partition(".")[0] for name in sys.modules)


def remember_what_hydra_repeats() -> None:
    """Let hydra parse an override once, and share its store of configurations.

    It parses the 260 that fairseq gives it for each program, nearly all of them alike, and copies
    the whole store, from which it takes only copies anyway. Without both, and with few garbage
    collections, a training of four updates takes 0.9 s of CPU time in place of 1.3.
    """
    from hydra.core.config_store import ConfigStore
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parse, parsed = OverridesParser.parse_rule, {}

    def parse_rule(self: OverridesParser, text: str, rule: str) -> Any:
        if (text, rule) not in parsed:
            parsed[text, rule] = parse(self, text, rule)
        return copy.copy(parsed[text, rule])

    OverridesParser.parse_rule = parse_rule  # type: ignore[method-assign]
    ConfigStore.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]


def accept(
    client: socket.socket,
    events: selectors.BaseSelector,
    running: dict[int, socket.socket],
    environments: tuple[Mapping[str, str], ...],
    modules: frozenset[str],
) -> None:
    """Read a request and fork its process, or answer that it must be started for real."""
    header, streams, _, _ = socket.recv_fds(client, 4, 3)
    content = b""
    while len(content) < int.from_bytes(header, "big"):
        content += client.recv(1 << 20)
    request = json.loads(content)
    if differs(request["environment"], environments, modules):
        client.sendall(b"null\n")
        for stream in streams:
            os.close(stream)
        client.close()
        return
    process = os.fork()
    if process == 0:
        events.close()
        become(request, streams)
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(process)
    running[process] = client
    events.register(ended, selectors.EVENT_READ, ("ended", process))
    events.register(client, selectors.EVENT_READ, ("signal", process))


def differs(
    asked: Mapping[str, str], own: tuple[Mapping[str, str], ...], modules: frozenset[str]
) -> bool:
    """Whether a process with the environment ``asked`` could behave otherwise than a fork.

    Args:
        own: the server's environment as it started, and as the imports left it.
    """
    for name in set().union(asked, *own):
        read_at_start = name.startswith(READ_AT_START) and not name.startswith(MAY_DIFFER)
        if read_at_start and asked.get(name) not in [environment.get(name) for environment in own]:
            return True
    folders = filter(None, asked.get("PYTHONPATH", "").split(os.pathsep))
    found = {path.stem for folder in folders for path in Path(folder).glob("*")}
    return bool(found & modules)


def report(
    process: int, ended: int, events: selectors.BaseSelector, running: dict[int, socket.socket]
) -> None:
    """Tell the client how its process ended."""
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    events.unregister(ended)
    os.close(ended)
    client = running.pop(process)
    with contextlib.suppress(KeyError):
        events.unregister(client)
    with contextlib.suppress(OSError):
        client.sendall(f"{status}\n".encode())
    client.close()


def pass_on(process: int, client: Any, events: selectors.BaseSelector) -> None:
    """Send the process what its client was sent; if the client is gone, SIGKILL."""
    try:
        numbers = client.recv(16)
    except OSError:
        numbers = b""
    if not numbers:
        events.unregister(client)
    for number in numbers or [signal.SIGKILL]:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, number)


def become(request: dict[str, Any], streams: list[int]) -> None:
    """Be the program that was asked for, to its end."""
    os.setsid()
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
    os.closerange(3, 1 << 12)
    interrupt = signal.SIG_IGN if request["ignores_interrupt"] else signal.default_int_handler
    signal.signal(signal.SIGINT, interrupt)
    resource.setrlimit(resource.RLIMIT_FSIZE, request["largest_file"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    stream = partial(open, encoding="utf-8", closefd=False)
    sys.stdin = sys.__stdin__ = stream(0)
    sys.stdout = sys.__stdout__ = stream(1, "w")
    sys.stderr = sys.__stderr__ = stream(2, "w", errors="backslashreplace", buffering=1)
    for option in filter(None, os.environ.get("PYTHONWARNINGS", "").split(",")):
        warnings.simplefilter(option.split(":")[0])  # type: ignore[arg-type]
    random.seed()
    sys.modules["numpy"].random.seed()
    path = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    status = 1
    try:
        status = execute(request["program"], request["arguments"], path)
    except KeyboardInterrupt:
        traceback.print_exc()
        status = -signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        end(status)


def execute(program: str, arguments: list[str], path: list[str]) -> int:
    """Run a program as its interpreter would. Returns: its exit status."""
    try:
        if Path(program).name != "python":
            sys.argv = [program, *arguments]
            sys.path[:1] = [str(Path(program).parent), *path]
            runpy.run_path(program, run_name="__main__")
        elif arguments[0] == "-c":
            sys.argv = ["-c", *arguments[2:]]
            sys.path[:1] = ["", *path]
            main = sys.modules["__main__"] = ModuleType("__main__")
            exec(compile(arguments[1], "<string>", "exec"), main.__dict__)
        else:
            sys.argv = arguments
            sys.path[:1] = [str(Path(arguments[0]).resolve().parent), *path]
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as exit:
        if exit.code is None:
            return 0
        if isinstance(exit.code, int):
            return exit.code & 0xFF
        print(exit.code, file=sys.stderr)
        return 1
    return 0


def end(status: int) -> None:
    """Leave as an interpreter does: threads, exit functions, buffers."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BaseException:
        traceback.print_exc()
        status = status or 120
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
