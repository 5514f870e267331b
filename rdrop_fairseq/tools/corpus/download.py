"""Download a file, or go on with what an interrupted download left, and check its checksum.

    rdrop corpus download --to DIR/NAME --checksum sha256:HEX URL

NAME appears only when the download is complete and its checksum right (without one: that of
gzip, if it is a .tgz or .gz); until then the bytes are in NAME.part. A NAME that is there
already is checked, and not downloaded again.
"""

import argparse
import gzip
import http.client
import os
import re
import ssl
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from ...errors import UsageError
from ..command_line import command, parser
from ..files import WRITTEN, checksum_of, lock

# what a connection can end with; another OSError is one of the disk
BROKEN = (
    *(urllib.error.URLError, http.client.HTTPException),
    *(ConnectionError, TimeoutError, ssl.SSLError),
)


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
        UsageError: there is no such address, the server refuses, the connection ends before the
            file does, another process downloads it now, or the disk is full.
    """
    have = part.stat().st_size if part.exists() else 0
    try:
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
        with urllib.request.urlopen(request, timeout=60) as answer, part.open("ab") as file:
            lock(file, WRITTEN.format(part))
            if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
                have = 0
                file.truncate(0)
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
            received = 0
            with progress:
                while block := answer.read(1 << 20):
                    file.write(block)
                    received += len(block)
                    progress.update(len(block))
            if length is not None and received < length:
                raise http.client.IncompleteRead(b"", length - received)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is missing
        raise UsageError(f"{url}: the server answers {error.code} {error.reason}") from None
    except BROKEN as error:
        kept = part.stat().st_size if part.exists() else 0
        raise UsageError(
            f"{url}: the connection broke after {kept} bytes ({getattr(error, 'reason', error)}): "
            "run it again to go on"
        ) from None
    except ValueError:
        raise UsageError(f"{url} is no address such as https://host/file") from None
    except OSError as error:
        raise UsageError(
            f"{url}, to {part}: {error.strerror or error}; what has come so far is kept: when that "
            "is mended (is the disk full?), run it again to go on"
        ) from None


def fetch(url: str, checksum: str, to: Path) -> None:
    """Let ``to`` be the file at ``url``: what the command does.

    Args:
        checksum: as the function `checksum` gives it.

    Raises:
        UsageError: it cannot be had, or is another.
    """
    kind = checksum.partition(":")[0]
    if to.is_dir():
        raise UsageError(f"{to} is a folder: name a file to write")
    if to.exists():
        if checksum != "-" and (found := checksum_of(to, kind)) != checksum:
            raise UsageError(
                f"{to} has {found}, expected {checksum}: it is truncated or another version; "
                "remove it, and run this again"
            )
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(to.name + ".part")
    download(url, part)
    if checksum != "-" and (found := checksum_of(part, kind)) != checksum:
        part.unlink()
        raise UsageError(
            f"{url} has {found}, expected {checksum}: removed what was downloaded; run this again "
            "or, if the file has changed at its source, give its new checksum"
        )
    if checksum == "-" and to.suffix in (".gz", ".tgz") and not is_whole_gzip(part):
        part.unlink()
        raise UsageError(
            f"{url} is truncated or not gzip's: removed what was downloaded; run this again"
        )
    os.replace(part, to)


def checksum(text: str) -> str:
    """The type of an argument that is a file's checksum, - for not known."""
    if text != "-" and not re.fullmatch("sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", text.lower()):
        raise argparse.ArgumentTypeError(f"must be sha256:HEX, md5:HEX or -, got {text}")
    return text.lower()


@command("rdrop corpus download")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "rdrop corpus download")
    options.add_argument("url", help="address of the file")
    options.add_argument("--to", type=Path, required=True, help="file to write")
    options.add_argument(
        "--checksum", type=checksum, default="-", help="sha256:HEX or md5:HEX; default: not known"
    )
    args = options.parse_args(argv)
    fetch(args.url, args.checksum, args.to)


if __name__ == "__main__":
    main()
