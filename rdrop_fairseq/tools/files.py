"""Files and folders that are written whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def writing(*paths: Path, shared: bool = False) -> Iterator[list[BinaryIO]]:
    """Files to write under other names, which get their own when all are complete.

    On any error, a full disk among them, nothing is left and what was there before stays.

    Args:
        shared: other processes may write the same files at the same time.
    """
    suffix = f".{os.getpid()}.tmp" if shared else ".tmp"
    unfinished = [path.with_name(path.name + suffix) for path in paths]
    try:
        files = [path.open("wb") for path in unfinished]
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


def write_json(path: Path, content: Any, shared: bool = False) -> None:
    """Write a JSON file, whole or not at all; ``shared`` as for `writing`."""
    write_lines(path, [json.dumps(content, indent=2)], shared)


def write_lines(path: Path, lines: Iterable[str], shared: bool = False) -> None:
    """Write a text file, whole or not at all; ``shared`` as for `writing`."""
    with writing(path, shared=shared) as (file,):
        file.writelines(f"{line}\n".encode() for line in lines)


@contextmanager
def writing_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill under another name, which gets its own when it is complete.

    On any error, a full disk among them, nothing is left.
    """
    unfinished = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        os.rename(unfinished, folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
