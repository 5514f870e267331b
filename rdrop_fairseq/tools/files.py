"""Files and folders that are written whole or not at all."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from ..errors import UsageError

#: what `lock` says of a file that tools write
WRITTEN = "another process is writing {} now: wait for its end"


@contextmanager
def writing(*paths: Path) -> Iterator[list[BinaryIO]]:
    """Files to write under other names, which get their own when all are complete.

    On any error, a full disk among them, nothing is left and what was there before stays. Of
    several processes that write the same file, one's is there in the end, whole.

    Raises:
        UsageError: one is a folder, or two are the same.
    """
    for path in paths:
        if path.is_dir():
            raise UsageError(f"{path} is a folder: name a file to write")
        if [other.absolute() for other in paths].count(path.absolute()) > 1:
            raise UsageError(f"{path} would be written twice: give another name")
        path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = [path.with_name(f"{path.name}.{os.getpid()}.tmp") for path in paths]
    try:
        files: list[BinaryIO] = [path.open("wb") for path in unfinished]
        try:
            yield files
        finally:
            for file in files:
                file.close()
        for path, final in zip(unfinished, paths, strict=True):
            os.replace(path, final)
    except BaseException:
        for path in unfinished:
            path.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_lines(path, [json.dumps(content, indent=2)])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file, whole or not at all."""
    with writing(path) as (file,):
        file.writelines(f"{line}\n".encode() for line in lines)


@contextmanager
def writing_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill under another name, which gets its own when it is complete.

    On any error, a full disk among them, nothing is left; what a process that was killed has
    left is removed by the next one.

    Raises:
        UsageError: another process is writing it.
    """
    unfinished = folder.with_name(folder.name + ".tmp")
    unfinished.mkdir(parents=True, exist_ok=True)
    with (unfinished / "lock").open("w") as file:
        lock(file, WRITTEN.format(folder))
        content = unfinished / "content"
        shutil.rmtree(content, ignore_errors=True)
        try:
            content.mkdir()
            yield content
            os.rename(content, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def lock(file: IO[Any], held: str) -> None:
    """Hold ``file`` until it is closed, here and by whoever has inherited it.

    Raises:
        UsageError: another process holds it; with the sentence ``held``.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(held) from None
    except OSError:
        pass  # a file system without locks


def checksum_of(path: Path, kind: str = "sha256") -> str:
    """``kind:hex`` of a file."""
    digest = hashlib.new(kind)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"{kind}:{digest.hexdigest()}"
