"""Turn the four IDX files of Fashion-MNIST, or MNIST, into folders of images, one a class.

    python examples/vit/fashion_mnist.py --data-dir DATA_DIR --train 5000 --valid 2000 --out images

OUT gets train/, valid/ and test/, each with a folder for each label: the first TRAIN and the last
VALID images of the training file, and all of the test file. DATA_DIR holds
train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
t10k-labels-idx1-ubyte, as they are or with .gz.
"""

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy
from PIL import Image

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import command, new_folder, parser, whole
from rdrop_fairseq.tools.files import writing_folder

UNSIGNED_BYTE = 8  # the code of the format's first type


def read_idx(folder: Path, name: str, dimensions: int) -> numpy.ndarray:
    """The array of bytes in an IDX file.

    The format: two zero bytes, the code of the type, the number of dimensions, each dimension as
    a big-endian 32-bit number, then the values.

    Raises:
        UsageError: the file is not there, not complete or of another format.
    """
    path = folder / name
    try:
        packed = not path.is_file()
        content = Path(f"{path}.gz").read_bytes() if packed else path.read_bytes()
        content = gzip.decompress(content) if packed else content
    except FileNotFoundError:
        raise UsageError(
            f"neither {name} nor {name}.gz is in {folder}: the Debian package "
            "dataset-fashion-mnist has the four files, and torchvision's FashionMNIST fetches them"
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise UsageError(f"{path}.gz is not a complete gzip file: fetch it again") from None
    start = 4 * (1 + dimensions)
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if content[:4] != magic:
        raise UsageError(
            f"{path} is not an IDX file of bytes in {dimensions} dimension(s): it begins with "
            f"0x{content[:4].hex()}, expected 0x{magic.hex()}"
        )
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    if len(content) != start + math.prod(shape):
        raise UsageError(
            f"{path} is cut off or has too much: its first {start} bytes announce "
            f"{' x '.join(map(str, shape))} more, and it has {len(content) - start:,} more"
        )
    return numpy.frombuffer(content, numpy.uint8, offset=start).reshape(shape)


def read_split(folder: Path, prefix: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Images [N, height, width] and labels [N], both bytes."""
    images = read_idx(folder, f"{prefix}-images-idx3-ubyte", 3)
    labels = read_idx(folder, f"{prefix}-labels-idx1-ubyte", 1)
    if len(images) != len(labels):
        raise UsageError(
            f"{folder} has {len(images):,} images but {len(labels):,} labels of {prefix}: "
            "the files do not belong together"
        )
    return images, labels


@command("fashion_mnist")
def main(argv: Sequence[str] | None = None) -> None:
    cli = parser(__doc__, "fashion_mnist.py")
    cli.add_argument("--data-dir", type=Path, required=True, help="the folder of the files")
    cli.add_argument("--train", type=whole(1), required=True, help="images to train on")
    cli.add_argument("--valid", type=whole(1), required=True, help="images of the validation set")
    cli.add_argument("--out", type=new_folder, required=True, help="the folder to make")
    args = cli.parse_args(argv)
    images, labels = read_split(args.data_dir, "train")
    if args.train + args.valid > len(images):
        raise UsageError(
            f"{args.train:,} images to train on and {args.valid:,} for validation: expected "
            f"together at most the {len(images):,} of the training file"
        )
    splits = {
        "train": (images[: args.train], labels[: args.train]),
        "valid": (images[-args.valid :], labels[-args.valid :]),
        "test": read_split(args.data_dir, "t10k"),
    }
    with writing_folder(args.out) as folder:
        for split, (images, labels) in splits.items():
            for number, (image, label) in enumerate(zip(images, labels, strict=True)):
                path = folder / split / str(label) / f"{number:05}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)


if __name__ == "__main__":
    main()
