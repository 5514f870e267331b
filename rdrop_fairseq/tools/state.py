"""run.json: what the folder of a run was made with, and how far it has come."""

import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .files import checksum_of, write_json

NAME = "run.json"
# flags of fairseq-train that may be others when a run goes on: how long, where, how it is watched,
# and on how many devices; what an update then has is compared by itself
FREE = re.compile(
    r"--(save-dir|destdir|out|max-update|max-epoch|stop-time-hours|patience|log-\w+|tensorboard-logdir"
    r"|num-workers|max-tokens|batch-size|update-freq|fp16|bf16|cpu|user-dir|restore-file|reset-.*"
    r"|distributed-.*|keep-.*|save-interval.*|no-epoch-checkpoints|no-progress-bar|workers)"
)


def is_flag(word: str) -> bool:
    """Two dashes, or one and a letter: -1 is a value."""
    return re.match(r"--?[A-Za-z]", word) is not None


def flags_of(command: Sequence[str]) -> dict[str, str]:
    """The flags of a command, each with its values; of one that comes twice the last, as argparse.

    The key "" has the program and what stands before the first flag.
    """
    found: dict[str, list[str]] = {"": []}
    name = ""
    for word in command:
        if is_flag(word):
            name, equals, value = word.partition("=")
            found.pop(name, None)
            found[name] = [value] if equals else []
        else:
            found[name].append(word)
    return {name: shlex.join(values) for name, values in found.items()}


def settings_of(command: Sequence[str]) -> dict[str, str]:
    """Those of a command's flags that a run keeps to its end, and the program, as "program".

    Without paths: what counts of a file is its content (--inputs), not where it is.
    """
    flags = flags_of([word for word in command if "/" not in word or is_flag(word)])
    program = flags.pop("")
    return {"program": program, **{k: v for k, v in flags.items() if not FREE.fullmatch(k)}}


class State:
    """The content of a folder's run.json."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.content: dict[str, Any] = {}
        try:
            self.content = json.loads(self.path.read_text())
        except FileNotFoundError:
            pass
        except ValueError as error:
            raise UsageError(f"{self.path} is damaged ({error}): remove {folder}") from None

    @property
    def updates(self) -> int:
        """How many updates the run had when it last came to an end; 0 if it has not."""
        return self.content.get("updates", 0)

    @property
    def starts(self) -> list[dict[str, Any]]:
        """One entry a start of the command, the last one last."""
        return self.content.setdefault("starts", [])

    def is_complete(self, updates: int) -> bool:
        """Whether there is nothing left to do up to that update."""
        ended_early = self.content.get("ended_early", False)
        return "updates" in self.content and (ended_early or self.updates >= updates)

    def cpu_seconds(self) -> float:
        """What its training took, of a run that went on later with its continuations.

        Raises:
            UsageError: it was interrupted, so that its time is also that of updates made twice.
        """
        if not self.starts or any(start.get("status") != 0 for start in self.starts):
            raise UsageError(
                f"the time of {self.path.parent} is not known, since it was interrupted: remove "
                "it, and run this again"
            )
        return sum(start["cpu_seconds"] for start in self.starts)

    def save(self) -> None:
        write_json(self.path, self.content)

    def check_input(self, path: Path) -> None:
        """Compare one of the inputs with what the run has read.

        Raises:
            UsageError: it has changed since.
        """
        was = self.content.get("inputs", {}).get(path.name)
        if was and was["sha256"] != _checksum(path, was)["sha256"]:
            raise UsageError(
                f"{self.path.parent} was made with other data than {path} holds now: make that "
                "again as it was, or remove the run"
            )

    def check(self, settings: dict[str, str], inputs: Iterable[Path]) -> None:
        """Compare with how the run was made, and note it.

        Raises:
            UsageError: other settings or other data; says which, then and now.
        """
        then = self.content.get("settings", settings)
        changes = [
            f"{name} {then.get(name, 'not given')} then, {settings.get(name, 'not given')} now"
            for name in sorted(then.keys() | settings.keys())
            if then.get(name) != settings.get(name)
        ]
        before = self.content.get("inputs", {})
        now: dict[str, Any] = {}
        for path in inputs:
            name = path.name if path.name not in now else str(path.resolve())
            now[name] = _checksum(path, before.get(name, {}))
        changes += [
            f"{name} is not what {'it' if name == old else old} was (checksum "
            f"{was['sha256'][:8]} then, {entry['sha256'][:8]} now)"
            for (old, was), (name, entry) in zip(before.items(), now.items(), strict=False)
            if was["sha256"] != entry["sha256"]
        ]
        if before and len(before) != len(now):
            changes.append(f"read {', '.join(before)} then, {', '.join(now)} now")
        if changes:
            raise UsageError(
                f"{self.path.parent} was made with other settings or data: {'; '.join(changes)}. "
                "Name another folder, or remove that one and what was made from it"
            )
        self.content |= {"settings": settings, "inputs": now}


def files_of(path: Path) -> list[Path]:
    """The file, or those of a folder but run.json and logs, which tell when it was made."""
    if not path.is_dir():
        return [path]
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return [file for file in files if file.name != NAME and file.suffix != ".log"]


def _checksum(path: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Of `files_of`; read anew only if size or time differ from what is ``known``."""
    if not path.exists():
        raise UsageError(f"{path} is not there: make it first (prepare.sh, with the same OUT)")
    files = files_of(path)
    stats = [file.stat() for file in files]
    entry = {"bytes": sum(stat.st_size for stat in stats)}
    entry["changed"] = max((stat.st_mtime_ns for stat in stats), default=0)
    if entry.items() <= known.items():
        return known
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(path)}\0{checksum_of(file)}\0".encode())
    return {**entry, "sha256": digest.hexdigest()}
