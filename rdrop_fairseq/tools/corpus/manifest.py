"""Write down what data a training saw: checksum, lines and tokens of every file, as JSON.

    rdrop corpus manifest --out manifest.json --note pair=en-de --note bpe=moses PATH...

A folder stands for all its files but run.json and logs, which say where and when they were made.
Two people whose manifests agree trained on the same data. Files below the manifest are named
relative to it, others by their name alone. Lines and tokens (what stands between spaces) are
counted in text, not in archives and binaries. A manifest that is younger than all the files, and
names them and the notes, stays.
"""

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ..command_line import command, parser, setting
from ..files import write_json
from ..state import files_of

BINARY = (".bin", ".idx", ".model", ".tgz", ".tar", ".gz", ".zip")
PACKAGES = (
    *("fairseq", "fairseq-fixed", "ve-fairseq"),  # one of them, or a clone
    *("mtdata", "sacremoses", "sentencepiece", "subword-nmt"),
)


def version_of(package: str) -> str | None:
    """None if the package is not installed, or not under this name (a fairseq of one's own)."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe(path: Path) -> dict[str, int | str]:
    """Size, checksum and, of text, lines and tokens of a file."""
    digest = hashlib.sha256()
    lines = tokens = 0
    with path.open("rb") as file:
        for line in file:
            digest.update(line)
            lines += 1
            tokens += len(line.split())
    entry: dict[str, int | str] = {"sha256": digest.hexdigest(), "bytes": path.stat().st_size}
    if path.suffix not in BINARY:
        entry |= {"lines": lines, "tokens": tokens}
    return entry


def name_of(path: Path, folder: Path) -> str:
    """The path relative to the folder, or only the name of what lies elsewhere."""
    path, folder = path.resolve(), folder.resolve()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name


def is_current(manifest: Path, settings: dict[str, str], files: dict[str, Path]) -> bool:
    """Whether a manifest is of these files as they are, and of these settings."""
    try:
        content: dict[str, Any] = json.loads(manifest.read_text())
    except (FileNotFoundError, ValueError):
        return False
    written = manifest.stat().st_mtime_ns
    return (
        content.get("settings") == settings
        and content.get("files", {}).keys() == files.keys()
        and all(path.stat().st_mtime_ns < written for path in files.values())
    )


@command("rdrop corpus manifest")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "rdrop corpus manifest")
    options.add_argument("paths", type=Path, nargs="+", help="files and folders to describe")
    options.add_argument("--out", type=Path, required=True, help="file to write")
    options.add_argument(
        "--note",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting to record",
    )
    args = options.parse_args(argv)
    settings = dict(args.note)
    files: dict[str, Path] = {}
    if missing := [path for path in args.paths if not path.exists()]:
        raise UsageError(f"no such file or folder: {missing[0]}")
    for path in sorted(file for given in args.paths for file in files_of(given)):
        name = name_of(path, args.out.parent)
        files[str(path) if name in files else name] = path
    if is_current(args.out, settings, files):
        print(f"{args.out}: done already")
        return
    manifest = {
        "settings": settings,
        "packages": {package: version_of(package) for package in PACKAGES},
        "files": {name: describe(path) for name, path in files.items()},
    }
    write_json(args.out, manifest)


if __name__ == "__main__":
    main()
