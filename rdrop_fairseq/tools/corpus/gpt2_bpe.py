"""Encode text with GPT-2's byte-pair encoding, as BART, RoBERTa and GPT-2 take it.

    rdrop corpus gpt2_bpe --bpe-dir DIR [--download] --workers 4 INPUT OUTPUT [...]
    rdrop corpus gpt2_bpe --bpe-dir DIR --decode INPUT OUTPUT
    rdrop corpus gpt2_bpe --bpe-dir DIR --download

INPUT holds one text a line; OUTPUT gets its pieces, as many lines in the same order, empty ones
included; more INPUT OUTPUT pairs may follow. DIR holds encoder.json and vocab.bpe; --download
fetches what it lacks of GPT-2's published ones, and needs no INPUT. With --decode, pieces become
text again. OUTPUT is written under another name and renamed.
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from ...errors import UsageError
from ..command_line import command, parser, whole
from ..files import checksum_of, write_lines
from ..parallel import parallel_map
from ..text import raw_lines
from .download import fetch

if TYPE_CHECKING:
    from fairseq.data.encoders.gpt2_bpe import GPT2BPE

# where fairseq itself takes the two files from
PUBLISHED_AT = "https://dl.fbaipublicfiles.com/fairseq/gpt2_bpe"
# of the published files; the same as in OpenAI's tiktoken (tiktoken_ext/openai_public.py)
SHA256 = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


def find_bpe(folder: Path, published: bool = False) -> tuple[Path, Path]:
    """encoder.json and vocab.bpe in ``folder``.

    Files other than GPT-2's published ones are for models trained from scratch: a note on stderr
    says so.

    Raises:
        UsageError: one is missing, or is not GPT-2's and ``published``.
    """
    paths = folder / "encoder.json", folder / "vocab.bpe"
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise UsageError(
            f"{folder} lacks {' and '.join(missing)}: give --download, or put there those of "
            f"{PUBLISHED_AT}/"
        )
    other = [path for path in paths if checksum_of(path) != f"sha256:{SHA256[path.name]}"]
    if other and published:
        raise UsageError(
            f"{other[0]} is not GPT-2's published one (its SHA-256 differs), which "
            "published weights need: remove it and give --download"
        )
    if other:
        print(f"gpt2_bpe: {folder} holds a BPE of its own, not GPT-2's", file=sys.stderr)
    return paths


def download_bpe(folder: Path, url: str = PUBLISHED_AT) -> None:
    """Fetch what ``folder`` lacks of GPT-2's two files, their SHA-256 checked.

    Raises:
        UsageError: that fails.
    """
    for name, expected in SHA256.items():
        if (folder / name).is_file():
            continue
        try:
            fetch(f"{url}/{name}", f"sha256:{expected}", folder / name)
        except UsageError as error:
            raise UsageError(f"{error}; or put GPT-2's {name} into {folder}") from None


@functools.cache  # one a process
def _encoder(encoder_json: Path, vocab_bpe: Path) -> "GPT2BPE":
    # here, for fairseq takes seconds to import: a wrong argument is told before that
    from fairseq.data.encoders.gpt2_bpe import GPT2BPE, GPT2BPEConfig

    config = GPT2BPEConfig(gpt2_encoder_json=str(encoder_json), gpt2_vocab_bpe=str(vocab_bpe))
    try:
        return GPT2BPE(config)
    except (ValueError, OSError) as error:
        raise UsageError(
            f"cannot read {encoder_json} or {vocab_bpe} ({error}): remove the broken one and give "
            "--download"
        ) from None


def encode(line: str, paths: tuple[Path, Path]) -> str:
    """The pieces of ``line``, separated by spaces; outer white space is not encoded."""
    return _encoder(*paths).encode(line.strip())


def decode(pieces: str, paths: tuple[Path, Path]) -> str:
    """The text of ``pieces`` on one line.

    Symbols that are no pieces (<unk>, <mask>, the made-up words that fill up fairseq's
    dictionaries) have no text and are left out.
    """
    bpe = _encoder(*paths).bpe
    numbers = [int(piece) for piece in pieces.split() if piece.isdecimal()]
    return " ".join(bpe.decode([n for n in numbers if n in bpe.decoder]).split())


def convert_file(source: Path, output: Path, function: functools.partial, workers: int) -> None:
    """Write ``function`` of each line of ``source`` to ``output``, by ``workers`` processes."""
    lines = parallel_map(function, raw_lines(source), workers)
    write_lines(output, tqdm(lines, desc=source.name, unit=" lines", disable=None))


@command("rdrop corpus gpt2_bpe")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "rdrop corpus gpt2_bpe")
    options.add_argument(
        "files", type=Path, nargs="*", help="INPUT OUTPUT pairs: text, one a line, UTF-8; pieces"
    )
    options.add_argument(
        "--bpe-dir", type=Path, required=True, help="folder of encoder.json and vocab.bpe"
    )
    options.add_argument(
        "--download", action="store_true", help="fetch GPT-2's files where the folder lacks them"
    )
    options.add_argument(
        "--published",
        action="store_true",
        help="refuse another BPE than GPT-2's: for use with BART's or RoBERTa's published weights",
    )
    options.add_argument(
        "--url", default=PUBLISHED_AT, help="where --download finds them; default: %(default)s"
    )
    options.add_argument("--workers", type=whole(1), default=1, help="processes; default: 1")
    options.add_argument("--decode", action="store_true", help="from pieces to text")
    args = options.parse_args(argv)

    if len(args.files) % 2 or not (args.files or args.download):
        options.error(f"expected INPUT OUTPUT pairs, got {len(args.files)} files")
    pairs = list(zip(args.files[::2], args.files[1::2], strict=True))
    for source, output in pairs:
        if not source.is_file():
            raise UsageError(f"no such file: {source}")
        if source == output:
            raise UsageError(f"{source} is to be read, and cannot be written: give another name")
    if args.download:
        download_bpe(args.bpe_dir, args.url)
    paths = find_bpe(args.bpe_dir, args.published)
    _encoder(*paths)  # a broken file is found here; processes that are forked share it
    function = functools.partial(decode if args.decode else encode, paths=paths)
    for source, output in pairs:
        convert_file(source, output, function, args.workers)


if __name__ == "__main__":
    main()
