"""What the tools' command lines share: parser, types of arguments, errors in one sentence."""

import argparse
import functools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ..errors import UsageError


class Main(Protocol):
    """The main function of a tool; the command line's arguments are the default."""

    def __call__(self, argv: Sequence[str] | None = None) -> None: ...


def command(name: str) -> Callable[[Main], Main]:
    """For a tool's ``main(argv)``: what a user got wrong, and a full disk, end it with one
    sentence that ``name`` begins."""

    def decorate(main: Main) -> Main:
        @functools.wraps(main)
        def run(argv: Sequence[str] | None = None) -> None:
            try:
                main(argv)
            except UsageError as error:
                raise UsageError(f"{name}: {error}") from error
            except OSError as error:
                path = error.filename2 or error.filename  # of a renaming, what it was to be
                where = f"{path}: " if path else ""
                reason = f"{where}{error.strerror or error}; nothing was left half-written"
                raise UsageError(f"{name}: {reason}") from error
            except KeyboardInterrupt:
                sys.exit(130)

        return run

    return decorate


@contextmanager
def explained(message: str) -> Iterator[None]:
    """Any error becomes a UsageError with this message, and what it said itself in brackets."""
    try:
        yield
    except Exception as error:  # fairseq's models and tasks may ask for anything
        reason = " ".join(str(error).split())[:300]
        raise UsageError(f"{message} [{type(error).__name__}: {reason}]") from error


def parser(doc: str | None, name: str, usage: str | None = None) -> argparse.ArgumentParser:
    """With a module's docstring as its help, line by line; ``name`` is the command's."""
    return argparse.ArgumentParser(
        prog=name,
        usage=usage,
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def existing_file(text: str) -> Path:
    """The type of an argument that names a file to read."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"no such file: {text}")
    return Path(text)


def existing_folder(text: str) -> Path:
    """The type of an argument that names a folder to read."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"no such folder: {text}")
    return Path(text)


def output_file(text: str) -> Path:
    """The type of an argument that names a file to write."""
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"no such folder to write to: {path.parent}")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder: name a file to write")
    return path


def output_png(text: str) -> Path:
    """The type of an argument that names a picture to write."""
    path = output_file(text)
    if path.suffix.lower() != ".png":
        raise argparse.ArgumentTypeError(f"a PNG is written: name it {path.stem}.png, got {text}")
    return path


def new_folder(text: str) -> Path:
    """The type of an argument that names a folder to make."""
    if Path(text).exists():
        raise argparse.ArgumentTypeError(f"{text} is there already: remove it first")
    return Path(text)


def whole(least: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number of at least ``least``."""

    def convert(text: str) -> int:
        try:
            if (number := int(text)) >= least:
                return number
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, got {text}")

    return convert


def number(least: float, most: float = math.inf) -> Callable[[str], float]:
    """The type of an argument that is a finite number from ``least`` to ``most``."""

    def convert(text: str) -> float:
        try:
            if least <= (value := float(text)) <= most and math.isfinite(value):
                return value
        except ValueError:
            pass
        above = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise argparse.ArgumentTypeError(f"must be a number {above}, got {text}")

    return convert


class _TwoLanguages(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if values[0] == values[1]:
            parser.error(f"{option_string} must be two languages, got {values[0]} twice")
        setattr(namespace, self.dest, values)


def add_languages(parser: argparse.ArgumentParser, choices: Iterable[str] | None = None) -> None:
    """Let a parser take --languages SOURCE TARGET."""
    parser.add_argument(
        "--languages",
        nargs=2,
        required=True,
        action=_TwoLanguages,
        choices=choices,
        metavar=("SOURCE", "TARGET"),
        help=f"source and target, of {', '.join(choices)}" if choices else "source and target",
    )


def moses_language(text: str) -> str:
    """The type of an argument that names a language which sacremoses can tokenise.

    Of others it says nothing, and takes English rules.
    """
    from sacremoses.corpus import NonbreakingPrefixes  # of the extra "recipes"; takes a second

    known = set(NonbreakingPrefixes().available_langs.values()) - {"zh", "yue"}
    if text not in known:
        raise argparse.ArgumentTypeError(
            f"Moses' tokenisation has no rules for {text}, but for {', '.join(sorted(known))}"
        )
    return text


def setting(text: str) -> tuple[str, str]:
    """The type of an argument NAME=VALUE."""
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text!r}")
    return name, value
