"""Download a file, or go on with what an interrupted download left, and check its checksum.

    python scripts/corpus/download.py --to DIR/NAME --checksum sha256:HEX URL

NAME appears only when the download is complete and its checksum right (without one: that of
gzip, if it is a .tgz or .gz); until then the bytes are in NAME.part. A NAME that is there
already is checked, and not downloaded again.
"""

import gzip
import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
import zlib
from pathlib import Path

from text_files import InputError, argument_parser, command_line
from tqdm import tqdm


def checksum_of(path: Path, kind: str) -> str:
    """``kind:hex`` of a file."""
    digest = hashlib.new(kind)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"{kind}:{digest.hexdigest()}"


def is_whole_gzip(path: Path) -> bool:
    """Whether the file can be unpacked to its end, where gzip has a checksum."""
    try:
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return False
    return True


def download(url: str, part: Path) -> None:
    """Append to ``part`` what is missing of ``url``.

    Raises:
        InputError: the server refuses, the connection ends before the file does, or the disk
            is full.
    """
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
            have = have if resumed else 0
            # of what is still to come; None if the server does not say, or it is a file
            length = getattr(answer, "length", None)
            progress = tqdm(
                total=length and have + length,
                initial=have,
                unit="B",
                unit_scale=True,
                desc=part.stem,
                disable=not sys.stderr.isatty(),
            )
            with part.open("ab" if resumed else "wb") as file, progress:
                received = 0
                while block := answer.read(1 << 20):
                    file.write(block)
                    received += len(block)
                    progress.update(len(block))
            if length is not None and received < length:
                raise http.client.IncompleteRead(b"", length - received)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is missing
        raise InputError(f"{url}: the server answers {error.code} {error.reason}") from None
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as e:
        kept = part.stat().st_size if part.exists() else 0
        reason = getattr(e, "reason", e)
        raise InputError(
            f"{url}: the connection broke after {kept} bytes ({reason}): run it again to go on"
        ) from None
    except OSError as error:
        raise InputError(
            f"{url}, to {part}: {error.strerror or error}; what has come so far is kept: when that "
            "is mended (is the disk full?), run it again to go on"
        ) from None


def fetch(url: str, checksum: str, to: Path) -> None:
    """Let ``to`` be the file at ``url``: what the script does.

    Args:
        checksum: sha256:HEX or md5:HEX, or - for not known.

    Raises:
        InputError: it cannot be had, or is another.
    """
    kind = checksum.partition(":")[0]
    if to.exists():
        if checksum != "-" and (found := checksum_of(to, kind)) != checksum:
            raise InputError(
                f"{to} has {found}, expected {checksum}: it is truncated or another version; "
                "remove it, and run this again"
            )
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(to.name + ".part")
    download(url, part)
    if checksum != "-" and (found := checksum_of(part, kind)) != checksum:
        part.unlink()
        raise InputError(
            f"{url} has {found}, expected {checksum}: removed what was downloaded; run this again "
            "or, if the file has changed at its source, give its new checksum"
        )
    if checksum == "-" and to.suffix in (".gz", ".tgz") and not is_whole_gzip(part):
        part.unlink()
        raise InputError(
            f"{url} is truncated or not gzip's: removed what was downloaded; run this again"
        )
    os.replace(part, to)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("url", help="address of the file")
    parser.add_argument("--to", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--checksum", default="-", help="sha256:HEX or md5:HEX; default: - for not known"
    )
    args = parser.parse_args()
    if args.checksum != "-" and not args.checksum.startswith(("sha256:", "md5:")):
        parser.error(f"--checksum must be sha256:HEX, md5:HEX or -, got {args.checksum}")
    fetch(args.url, args.checksum, args.to)


if __name__ == "__main__":
    command_line(main)
