"""Lines in, lines out: what the scripts that handle corpora share."""

import argparse
import itertools
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class InputError(Exception):
    """What is wrong with the input, in one sentence for the user."""


def command_line(main: Callable[[], None]) -> None:
    """Run a script's main; bad input and a full disk end it with one sentence, status 1."""
    name = Path(sys.argv[0]).stem
    try:
        main()
    except InputError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"{name}: {where}{error.strerror or error}; nothing was left half-written")
    except KeyboardInterrupt:
        sys.exit(130)


def argument_parser(doc: str | None) -> argparse.ArgumentParser:
    """With a module's docstring as its help, line by line."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def existing_file(text: str) -> Path:
    """The type of an argument that names a file to read."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"no such file: {text}")
    return Path(text)


def new_folder(text: str) -> Path:
    """The type of an argument that names a folder to make."""
    if Path(text).exists():
        raise argparse.ArgumentTypeError(f"{text} is there already: remove it first")
    return Path(text)


def setting(text: str) -> tuple[str, str]:
    """The type of an argument NAME=VALUE."""
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text!r}")
    return name, value


def read_lines(file: BinaryIO, name: str) -> Iterator[str]:
    """The lines of a UTF-8 stream, each with its whitespace reduced to single spaces.

    Only a newline ends a line: a stray carriage return or U+2028 becomes a space, so that no
    later reader can count lines otherwise.

    Raises:
        InputError: a line is not UTF-8; names it by ``name`` and its number from 1.
    """
    for number, line in enumerate(file, 1):
        try:
            yield " ".join(line.decode().split())
        except UnicodeDecodeError as error:
            byte = line[error.start]
            raise InputError(
                f"{name}, line {number}: byte 0x{byte:02x} at position {error.start + 1} is not "
                "UTF-8: convert the file (iconv), or mend the line"
            ) from None


def whole_lines(path: Path, what: str) -> list[str]:
    """The lines of a file as they are: only a newline ends one.

    Raises:
        InputError: the file is not there or not UTF-8; calls it the ``what`` file.
    """
    try:
        text = path.read_bytes().decode()  # as text, a stray carriage return would end a line
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"no such {what} file: {path}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"the {what} file {path} is not UTF-8 at byte {error.start}") from None
    return text.removesuffix("\n").split("\n") if text else []


def texts_to_score(paths: dict[str, Path | None]) -> dict[str, list[str]]:
    """The lines of "reference", "hypothesis" and, if it is given, "baseline".

    Raises:
        InputError: as `whole_lines`; or the reference is empty, or another has not as many lines.
    """
    texts = {what: whole_lines(path, what) for what, path in paths.items() if path is not None}
    expected = len(texts["reference"])
    if not expected:
        raise InputError(f"the reference file {paths['reference']} is empty: nothing to score")
    for what, lines in texts.items():
        if len(lines) != expected:
            raise InputError(
                f"{paths['reference']} has {expected} lines but the {what} {paths[what]} has "
                f"{len(lines)}: they must match line by line"
            )
    return texts


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
    except BaseException:
        for path in unfinished:
            path.unlink(missing_ok=True)
        raise
    for path, final in zip(unfinished, paths, strict=True):
        os.replace(path, final)


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
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    os.rename(unfinished, folder)


def load_from_hub(name: str, configuration: str | None, instead: str) -> Any:
    """A data set of Hugging Face.

    Raises:
        InputError: it cannot be had; tells the user ``instead``.
    """
    from datasets import load_dataset  # takes seconds

    try:
        return load_dataset(name, configuration)
    except Exception as error:  # what it raises depends on what is wrong and on its version
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"cannot load {name} ({reason}): {instead}, or a machine that reaches huggingface.co"
        ) from None


def parallel_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    prepare: Callable[..., None] | None = None,
    arguments: tuple = (),
) -> Iterator[Result]:
    """``map`` in order over ``workers`` processes, which holds 200,000 items at a time.

    ``prepare(*arguments)`` runs once in every process, for what cannot be sent to it.
    """
    if workers == 1:
        if prepare is not None:
            prepare(*arguments)
        yield from map(function, items)
        return
    with multiprocessing.Pool(workers, prepare, arguments) as pool:
        items = iter(items)
        while batch := list(itertools.islice(items, 200_000)):
            yield from pool.map(function, batch, chunksize=2000)
