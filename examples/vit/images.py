"""Images to classify, from a folder with a folder a class, or from a data set of Hugging Face.

    python examples/vit/images.py --data DATA --out data.json [--test-split NAME] [--label NAME]

Checks the images and writes what train.py and evaluate.py need to know of them. A local DATA holds
train/ and test/ (or val/ or validation/), in each a folder for each class. If there is also valid/,
training is followed on it, else on the test set.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import command, parser
from rdrop_fairseq.tools.corpus.hub import load_from_hub
from rdrop_fairseq.tools.files import write_json

TEST_SPLITS = ("test", "val", "validation")  # the first that there is
LABELS = ("label", "labels", "fine_label")  # columns; the last is CIFAR-100's


class FolderImages(Sequence):
    """The images of a split of a local folder: (image, label) each."""

    def __init__(self, folder: Path, classes: list[str]) -> None:
        self.paths = [path for name in classes for path in _visible(folder / name)]
        number = {name: i for i, name in enumerate(classes)}
        self.labels = [number[path.parent.name] for path in self.paths]
        self.names = [str(path.relative_to(folder)) for path in self.paths]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        with Image.open(self.paths[index]) as image:
            return image.convert("RGB"), self.labels[index]


class HubImages(Sequence):
    """The images of a split of a data set of Hugging Face: (image, label) each."""

    def __init__(self, rows: Any, image_column: str, label_column: str) -> None:
        self.rows, self.image_column = rows, image_column
        self.labels = list(rows[label_column])
        self.names = [str(number) for number in range(len(self.labels))]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index][self.image_column].convert("RGB"), self.labels[index]


def _visible(folder: Path) -> list[Path]:
    """What a folder holds, sorted by name; nothing if it is not there."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def read_data(path: Path) -> dict[str, Any]:
    """What data.json says.

    Raises:
        UsageError: there is none.
    """
    if not path.is_file():
        raise UsageError(f"no such file: {path}: run prepare.sh first")
    return json.loads(path.read_text(encoding="utf-8"))


def open_split(data: dict[str, Any], split: str) -> FolderImages | HubImages:
    """A split of the data that data.json describes."""
    if "image_column" not in data:
        return FolderImages(Path(data["data"]) / split, data["classes"])
    return HubImages(load(data["data"])[split], data["image_column"], data["label_column"])


def load(name: str) -> Any:
    return load_from_hub(name, None, f"give DATA as a folder that holds train/ ({name} is none)")


class Images(Dataset):
    """What Trainer takes: {"pixel_values": [3, size, size], "labels": int} for each image.

    Args:
        transform: makes the pixel values of an image.
        keep: hold them in memory; ``transform`` must then give the same each time.
    """

    def __init__(
        self, examples: Sequence, transform: Callable[[Image.Image], Tensor], keep: bool = False
    ) -> None:
        self.examples, self.transform = examples, transform
        self.kept: dict[int, dict[str, Any]] | None = {} if keep else None

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if self.kept is not None and index in self.kept:
            return self.kept[index]
        image, label = self.examples[index]
        item = {"pixel_values": self.transform(image), "labels": label}
        if self.kept is not None:
            self.kept[index] = item
        return item


def random_crop(image: Image.Image, size: int) -> Image.Image:
    """A part of the image, 5 to 100 % of its area, 3:4 to 4:3, made ``size`` x ``size``.

    As the authors' (torchvision's RandomResizedCrop with scale=(0.05, 1)); where ten drawn parts
    do not fit into the image, all of it.
    """
    box = (0, 0, image.width, image.height)
    for _ in range(10):
        share, ratio, left, top = torch.rand(4).tolist()
        area = (0.05 + 0.95 * share) * image.width * image.height
        shape = math.exp((2 * ratio - 1) * math.log(4 / 3))
        width, height = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < width <= image.width and 0 < height <= image.height:
            x, y = round(left * (image.width - width)), round(top * (image.height - height))
            box = (x, y, x + width, y + height)
            break
    return image.resize((size, size), Image.Resampling.BILINEAR, box)


def check_image(file: Path) -> None:
    """Fail if an image is damaged or cut off, as cheaply as its format allows.

    Raises:
        OSError, SyntaxError, or PIL's own: it is.
    """
    with Image.open(file) as image:
        if image.format == "PNG":
            image.verify()  # its checksums
            return
        if image.format == "JPEG":
            with file.open("rb") as content:
                content.seek(-2, 2)
                if content.read() == b"\xff\xd9":  # the mark of its end
                    return
        image.load()


def describe_folder(folder: Path, test_split: str | None) -> dict[str, Any]:
    """The contents of data.json for a local folder.

    Raises:
        UsageError: a split or a class is missing, or a file is no image.
    """
    splits = {"train": folder / "train"}
    names = [test_split] if test_split else TEST_SPLITS
    found = [name for name in names if (folder / name).is_dir()]
    if not splits["train"].is_dir() or not found:
        raise UsageError(
            f"{folder} must hold the folders train and {' or '.join(names)}, with a folder for "
            f"each class in them; it holds {', '.join(p.name for p in _visible(folder)) or 'none'}"
        )
    splits[found[0]] = folder / found[0]
    if (folder / "valid").is_dir():
        splits["valid"] = folder / "valid"
    classes = [path.name for path in _visible(splits["train"]) if path.is_dir()]
    counts = {}
    for split, path in splits.items():
        for item in _visible(path):
            if not item.is_dir():
                raise UsageError(
                    f"{item} is not in the folder of a class: {path} must hold a folder for each "
                    "class, and nothing else"
                )
            if item.name not in classes:
                raise UsageError(f"the class {item.name} of {path} has no folder in {folder}/train")
            if split == "train" and not _visible(item):
                raise UsageError(f"the class {item.name} has no image in {path}")
        images = FolderImages(path, classes)
        if not images:
            raise UsageError(f"{path} has no folder with images: one for each class is expected")
        for file in images.paths:
            try:
                check_image(file)
            except (UnidentifiedImageError, OSError, SyntaxError):
                raise UsageError(f"{file} is not an image that can be read: remove it") from None
        counts[split] = len(images)
    return {
        "data": str(folder.resolve()),
        **{"classes": classes, "images": counts, "test_split": found[0]},
    }


def describe_hub(name: str, test_split: str | None, label: str | None) -> dict[str, Any]:
    """The contents of data.json for a data set of Hugging Face.

    Raises:
        UsageError: it cannot be had, or has no such split or column, or images without a class.
    """
    loaded = load(name)
    found = [split for split in ([test_split] if test_split else TEST_SPLITS) if split in loaded]
    if "train" not in loaded or not found:
        expected = test_split or " or ".join(TEST_SPLITS)
        raise UsageError(
            f"{name} has the splits {', '.join(loaded)}, expected train and {expected}: "
            "set TEST_SPLIT to the one to test on"
        )
    features = loaded["train"].features
    kinds = {column: type(feature).__name__ for column, feature in features.items()}
    image = next((column for column, kind in kinds.items() if kind == "Image"), None)
    label = label or next((column for column in LABELS if column in kinds), None)
    if image is None or kinds.get(str(label)) != "ClassLabel":
        raise UsageError(
            f"{name} needs a column of images and one of classes ({label}), and has "
            f"{', '.join(f'{column} ({kind})' for column, kind in kinds.items())}: "
            "set LABEL to the column of the classes"
        )
    classes = features[label].names
    counts = {}
    for split in ("train", found[0]):
        labels = Counter(loaded[split][label])
        counts[split] = sum(labels.values())
        if min(labels, default=-1) < 0:
            raise UsageError(
                f"{split} of {name} has images without a class: set TEST_SPLIT to a split that "
                f"has them, of {', '.join(loaded)}"
            )
        if split == "train" and len(labels) < len(classes):
            missing = next(name for i, name in enumerate(classes) if i not in labels)
            raise UsageError(f"the class {missing} has no image in train of {name}")
    return {
        **{"data": name, "classes": classes, "images": counts, "test_split": found[0]},
        **{"image_column": image, "label_column": label},
    }


@command("images")
def main(argv: Sequence[str] | None = None) -> None:
    cli = parser(__doc__, "images.py")
    cli.add_argument("--data", required=True, help="a folder, or a name on huggingface.co")
    cli.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    cli.add_argument("--test-split", help=f"default: the first of {', '.join(TEST_SPLITS)}")
    cli.add_argument("--label", help="the column of the classes, of a data set of Hugging Face")
    args = cli.parse_args(argv)
    if Path(args.data).is_dir():
        data = describe_folder(Path(args.data), args.test_split)
    elif re.fullmatch(r"[\w-]+/[\w.-]+", args.data):
        data = describe_hub(args.data, args.test_split, args.label)
    else:
        raise UsageError(f"no such folder: {args.data}")
    if len(data["classes"]) < 2:
        raise UsageError(f"{args.data} has one class, {data['classes'][0]}: expected at least two")
    data["curve_split"] = "valid" if "valid" in data["images"] else data["test_split"]
    write_json(args.out, data)
    counts = ", ".join(f"{split} {count:,}" for split, count in data["images"].items())
    print(f"{len(data['classes'])} classes; images: {counts}")


if __name__ == "__main__":
    main()
