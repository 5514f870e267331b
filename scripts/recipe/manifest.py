"""Write down what data a training saw: checksum, lines and tokens of every file, as JSON.

    python scripts/recipe/manifest.py --out manifest.json --note pair=en-de --note bpe=moses FILE...

Two people whose manifests agree trained on the same data. Files below the manifest are named
relative to it, others by their name alone. Lines and tokens (what stands between spaces) are
counted in text, not in archives and binaries.
"""

import hashlib
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "corpus"))
from text_files import InputError, argument_parser, command_line, setting, write_json

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


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="files to describe")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--note",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting to record",
    )
    args = parser.parse_args()
    for path in args.files:
        if not path.is_file():
            raise InputError(f"no such file: {path}")
    manifest = {
        "settings": dict(args.note),
        "packages": {package: version_of(package) for package in PACKAGES},
        "files": {name_of(path, args.out.parent): describe(path) for path in sorted(args.files)},
    }
    write_json(args.out, manifest)


if __name__ == "__main__":
    command_line(main)
