"""examples/vit: the README's program, the recipe's modules, the real scripts once."""

import gzip
import io
import json
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import torch
from PIL import Image
from torch import Tensor

import rdrop_fairseq.trainer  # noqa: F401  (before transformers)
from rdrop_fairseq.tools.state import flags_of

from ..conftest import ROOT, run
from .conftest import script_of

sys.path.insert(0, str(ROOT / "examples" / "vit"))
from transformers import (
    BertConfig,
    BertForMaskedLM,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

RECIPE = ROOT / "examples" / "vit"
TINY = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
DROPOUT = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2}
README = (RECIPE / "README.md").read_text()
script = script_of("vit")


def vit(**settings) -> ViTForImageClassification:
    torch.manual_seed(0)
    settings = {**TINY, **DROPOUT, "image_size": 8, "patch_size": 4, "num_labels": 5, **settings}
    return ViTForImageClassification(ViTConfig(**settings)).double()


def images(number: int) -> dict[str, Tensor]:
    torch.manual_seed(1)
    pixels = torch.randn(number, 3, 8, 8, dtype=torch.float64)
    return {"pixel_values": pixels, "labels": torch.arange(number) % 5}


def rows(batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """A batch as a data set."""
    return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]


def test_readme_of_the_trainer(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    vit().float().vit.save_pretrained("vit")  # as pretrained ones are, without a classifier
    batch = images(4)
    batch["pixel_values"] = batch["pixel_values"].float()
    seen = {"vit": "vit", "train": rows(batch), "valid": rows(batch)}
    exec(program, seen)
    assert seen["trainer"].state.global_step == 3  # epochs of a batch
    loss = seen["trainer"].state.log_history[-1]["train_loss"]
    # two cross-entropies over 10 classes of a model that knows nothing yet
    assert loss == pytest.approx(2 * numpy.log(10), rel=0.3)


# the recipe


def program(name: str, *arguments: object) -> None:
    """Run a module of the recipe as a program, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        runpy.run_path(str(RECIPE / f"{name}.py"), run_name="__main__")


def last_words(name: str, *arguments: object) -> str:
    """Of a program that ends with an error."""
    with pytest.raises(SystemExit) as stopped:
        program(name, *arguments)
    return str(stopped.value)


def idx_file(values: numpy.ndarray) -> bytes:
    shape = numpy.array(values.shape, dtype=">u4").tobytes()
    return bytes([0, 0, 8, values.ndim]) + shape + values.astype(numpy.uint8).tobytes()


@pytest.fixture(scope="module")
def digits() -> SimpleNamespace:
    """scikit-learn's digits as MNIST has them: images [500, 28, 28] of bytes, labels [500]."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    small = [
        Image.fromarray((row * 15.9).astype(numpy.uint8).reshape(8, 8)) for row in pixels[:500]
    ]
    large = [numpy.asarray(image.resize((28, 28))) for image in small]
    return SimpleNamespace(images=numpy.stack(large), labels=labels[:500])


@pytest.fixture
def idx(digits, tmp_path) -> Path:
    """400 and 100 digits in the four files, some of them compressed."""
    folder = tmp_path / "idx"
    folder.mkdir()
    for prefix, part in (("train", slice(400)), ("t10k", slice(400, 500))):
        content = gzip.compress(idx_file(digits.images[part]))
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(content)
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_file(digits.labels[part]))
    return folder


def test_folders_of_idx_files(digits, idx, tmp_path) -> None:
    out = tmp_path / "images"
    program("fashion_mnist", "--data-dir", idx, "--train", 60, "--valid", 20, "--out", out)
    parts = {"train": slice(60), "valid": slice(380, 400), "test": slice(400, 500)}
    for split, part in parts.items():
        found = sorted((out / split).glob("*/*.png"), key=lambda path: path.name)
        assert [int(path.parent.name) for path in found] == digits.labels[part].tolist()
        pixels = numpy.stack([numpy.asarray(Image.open(path)) for path in found])
        assert numpy.array_equal(pixels, digits.images[part])


def test_wrong_idx_files(digits, idx, tmp_path) -> None:
    def message(train: int = 60, valid: int = 20) -> str:
        sizes = ("--train", train, "--valid", valid)
        found = last_words("fashion_mnist", "--data-dir", idx, "--out", tmp_path / "o", *sizes)
        assert not list(tmp_path.glob("o*"))
        return found

    assert "390 images to train on and 20 for validation: expected together at" in message(390)
    labels = idx / "train-labels-idx1-ubyte"
    whole = labels.read_bytes()
    for content, expected in (
        (whole[:-1], "too much: its first 8 bytes announce 400 more, and it has 399 more"),
        (whole[:6], "is cut off or has too much"),
        (idx_file(digits.labels[:5]), "has 400 images but 5 labels of train: the files do not"),
        (idx_file(digits.images[:5]), "begins with 0x00000803, expected 0x00000801"),
        (b"", "is not an IDX file of bytes in 1 dimension(s)"),
        (None, "neither train-labels-idx1-ubyte nor train-labels-idx1-ubyte.gz is in"),
    ):
        labels.unlink() if content is None else labels.write_bytes(content)
        assert expected in message()
    (idx / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(whole)[:-9])
    assert "train-labels-idx1-ubyte.gz is not a complete gzip file: fetch it again" in message()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve images of noise in two classes: train/ and val/, as ImageNet's."""
    noise = numpy.random.default_rng(0)
    for split, number in (("train", 4), ("val", 2)):
        for name in ("cat", "dog"):
            path = tmp_path / "folder" / split / name
            path.mkdir(parents=True)
            for i in range(number):
                pixels = noise.integers(0, 256, (40, 50, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(path / f"{name}{i}.png")
    return tmp_path / "folder"


def test_whole_photos_are_taken(tmp_path) -> None:
    import images as module  # examples/vit/images.py

    photo(tmp_path / "plain.jpg")
    photo(tmp_path / "more.jpg", behind=b"some cameras write this")
    for name in ("plain.jpg", "more.jpg"):
        module.check_image(tmp_path / name)


def test_folder(folder, tmp_path, capsys) -> None:
    (folder / "train" / ".DS_Store").write_text("")
    program("images", "--data", folder, "--out", tmp_path / "data.json")
    assert capsys.readouterr().out == "2 classes; images: train 8, val 4\n"
    data = json.loads((tmp_path / "data.json").read_text())
    assert data["classes"] == ["cat", "dog"]
    assert data["test_split"] == data["curve_split"] == "val"
    import images as module  # examples/vit/images.py

    examples = module.open_split(data, "val")
    assert examples.names == ["cat/cat0.png", "cat/cat1.png", "dog/dog0.png", "dog/dog1.png"]
    assert [label for _, label in examples] == examples.labels == [0, 0, 1, 1]
    kept = module.Images(examples, lambda image: torch.rand(1), keep=True)
    assert kept[1] is kept[1]
    assert kept[1] != module.Images(examples, lambda image: torch.rand(1))[1]
    assert len(torch.utils.data.DataLoader(kept, batch_size=3)) == 2


def remove(path: Path) -> None:
    shutil.rmtree(path)


def photo(path: Path, share: float = 1.0, behind: bytes = b"") -> None:
    """A JPEG, or the first part of its bytes; perhaps with something behind its end."""
    noise = numpy.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=numpy.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))] + behind)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: remove(f), "no such folder: {f}"),
        (lambda f: remove(f / "train"), "must hold the folders train and test or val or valid"),
        (lambda f: remove(f / "val"), "train and test or val or validation, with a folder for"),
        (lambda f: remove(f / "train" / "cat"), "the class cat of {f}/val has no folder in {f}/tr"),
        (
            lambda f: (remove(f / "train" / "cat"), (f / "train" / "cat").mkdir()),
            "the class cat has no image in {f}/train",
        ),
        (
            lambda f: (remove(f / "train" / "cat"), remove(f / "val" / "cat")),
            "{f} has one class, dog: expected at least two",
        ),
        (
            lambda f: (f / "val" / "cat" / "cat0.png").rename(f / "val" / "cat0.png"),
            "{f}/val/cat0.png is not in the folder of a class: {f}/val must hold a folder for",
        ),
        (
            lambda f: (remove(f / "val"), (f / "val").mkdir()),
            "{f}/val has no folder with images: one for each class is expected",
        ),
        (
            lambda f: (f / "train" / "dog" / "notes.txt").write_text("none"),
            "{f}/train/dog/notes.txt is not an image that can be read: remove it",
        ),
        (
            lambda f: photo(f / "train" / "dog" / "half.jpg", 0.5),
            "{f}/train/dog/half.jpg is not an image that can be read: remove it",
        ),
    ],
)
def test_wrong_folders(folder, tmp_path, damage, message) -> None:
    damage(folder)
    found = last_words("images", "--data", folder, "--out", tmp_path / "data.json")
    assert found.startswith("images: ")
    assert message.format(f=folder) in found
    assert not (tmp_path / "data.json").exists()


def hub_rows(labels: list[int], names: tuple[str, ...] = ("cat", "dog")):
    """As uoft-cs/cifar100: two kinds of classes, images in the column img."""
    import datasets

    content = io.BytesIO()
    Image.new("L", (9, 9), 200).save(content, "PNG")
    columns = {"img": [{"bytes": content.getvalue(), "path": None}] * len(labels)}
    columns |= {"fine_label": labels, "coarse_label": [0] * len(labels)}
    features = {"img": datasets.Image(), "fine_label": datasets.ClassLabel(names=list(names))}
    features["coarse_label"] = datasets.ClassLabel(names=["animal"])
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def test_hub(tmp_path, monkeypatch, capsys) -> None:
    import datasets

    splits = {"train": hub_rows([0, 1, 1]), "test": hub_rows([1, 0])}
    monkeypatch.setattr(datasets, "load_dataset", lambda *name: splits)
    out = tmp_path / "data.json"
    program("images", "--data", "uoft-cs/cifar100", "--out", out)
    assert capsys.readouterr().out == "2 classes; images: train 3, test 2\n"
    import images as module  # examples/vit/images.py

    examples = module.open_split(json.loads(out.read_text()), "test")
    assert examples.labels == [1, 0]
    image, label = examples[0]
    assert (image.mode, image.size, label) == ("RGB", (9, 9), 1)

    def message(*arguments: str, **changed) -> str:
        monkeypatch.setattr(datasets, "load_dataset", lambda *name: {**splits, **changed})
        return last_words("images", "--data", "some/name", "--out", tmp_path / "o", *arguments)

    assert "some/name has the splits train, test, expected train and dev" in message(
        "--test-split", "dev"
    )
    assert "images without a class: set TEST_SPLIT" in message(test=hub_rows([-1, -1]))
    assert "the class dog has no image in train of some/name" in message(train=hub_rows([0]))
    assert "and has img (Image), fine_label (ClassLabel)" in message("--label", "img")
    renamed = {"train": splits["train"].rename_column("fine_label", "kind")}
    assert "one of classes (None), and has img (Image), kind" in message(**renamed)

    def unreachable(*name: str) -> None:
        raise OSError("offline")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    found = last_words("images", "--data", "no/name", "--out", tmp_path / "o")
    assert "cannot load no/name (offline): give DATA as a folder that holds train/" in found


def test_parts_of_images() -> None:
    """Squares of what lies in the image; of all of it now and then, if it is narrow."""
    import images as module  # examples/vit/images.py

    ramp = numpy.arange(200)[None].repeat(100, 0)  # the value is the place from the left
    image = Image.fromarray(ramp.astype(numpy.uint8)).convert("RGB")
    torch.manual_seed(0)
    spans = []
    for _ in range(200):
        part = numpy.asarray(module.random_crop(image, 16))
        assert part.shape == (16, 16, 3)
        row = part[0, :, 0].astype(int)
        # from the middle of the first of 16 pixels to that of the last: 15/16 of the width
        spans.append((row[-1] - row[0]) * 16 / 15)
        assert 0 <= row[0] <= row[-1] <= 199
    # width^2 = area * ratio; the area 0.05 to 1 of 20,000, but at most as high as the image,
    # the ratio 3/4 to 4/3. One pixel of rounding of the values, one of the box
    assert sqrt_of(0.05 * 20_000 * 3 / 4) - 3 < min(spans) < 45
    assert 110 < max(spans) < 100 * 4 / 3 + 3
    wide = Image.new("RGB", (300, 2))
    assert module.random_crop(wide, 16).size == (16, 16)


def sqrt_of(value: float) -> float:
    return float(numpy.sqrt(value))


def tiny_training(folder: Path, tmp_path: Path) -> list[object]:
    """What train.py is given for six updates of the small model on eight images."""
    program("images", "--data", folder, "--out", tmp_path / "data.json")
    return [
        *("--data", tmp_path / "data.json", "--model", "small", "--image_size", 28),
        *("--alpha", 1, "--output_dir", tmp_path / "run", "--max_steps", 6, "--use_cpu"),
        *("--per_device_train_batch_size", 2, "--eval_strategy", "steps", "--eval_steps", 2),
        *("--save_steps", 2, "--remove_unused_columns", False, "--disable_tqdm", True),
    ]


def test_a_resumed_training_is_an_undisturbed_one(folder, tmp_path) -> None:
    arguments, run_folder = tiny_training(folder, tmp_path), tmp_path / "run"

    def outcome() -> tuple[dict[str, Tensor], list[list[str]]]:
        model = ViTForImageClassification.from_pretrained(run_folder / "model")
        lines = (run_folder / "curve.tsv").read_text().splitlines()
        return model.state_dict(), [line.split("\t") for line in lines]

    program("train", *arguments)
    undisturbed, curve = outcome()
    seconds = [float(line[1]) for line in curve[1:]]
    assert [line[0] for line in curve] == ["update", "2", "4", "6"]
    assert 0 < seconds[0] < seconds[1] < seconds[2]
    # as if it had been stopped after update 3, and while it wrote a checkpoint
    shutil.rmtree(run_folder / "checkpoint-6")
    (run_folder / "model" / "config.json").write_text("{}")
    (run_folder / "curve.tsv").unlink()
    (run_folder / "checkpoint-4" / "trainer_state.json").unlink()
    program("train", *arguments)
    resumed, resumed_curve = outcome()
    torch.testing.assert_close(resumed, undisturbed)
    assert resumed_curve[1] == curve[1]  # the time until then, too
    assert float(resumed_curve[1][1]) < float(resumed_curve[2][1])
    assert [line[3:] for line in resumed_curve] == [line[3:] for line in curve]


def test_what_train_refuses(folder, tmp_path) -> None:
    arguments = tiny_training(folder, tmp_path)
    for changed, message in (
        (["--dropout", "0"], "ViTForImageClassification has none: set hidden_dropout_prob"),
        (["--alpha", "-1"], "alpha must be a finite number >= 0, got -1.0"),
        (["--image_size", "30"], "train: the image size 30 is no multiple of 7"),
        (["--model", tmp_path / "none"], "train: cannot load .*none .*: set MODEL to a folder"),
        (["--data", "none.json"], "train: no such file: none.json: run prepare.sh first"),
        (["--bogus", "1"], "train: Some specified arguments are not used .*--bogus"),
    ):
        assert re.match(f".*{message}", last_words("train", *arguments, *changed))
        assert not list(tmp_path.glob("run/*"))
    assert re.match(
        "evaluate: .* holds no model: run train.sh first",
        last_words("evaluate", "--data", tmp_path / "data.json", tmp_path),
    )


@pytest.fixture
def pretrained(tmp_path) -> Path:
    """A tiny random ViT for images of 32 x 32, as a hub's: without a classifier."""
    path = tmp_path / "tiny"
    vit(image_size=32, patch_size=16).float().vit.save_pretrained(path)
    ViTImageProcessorPil(size={"height": 32, "width": 32}, image_mean=[0.4] * 3).save_pretrained(
        path
    )
    return path


def test_full_size_with_a_tiny_model(folder, pretrained, tmp_path) -> None:
    """The three verbs on one's own images, two accumulated batches an update."""
    settings = {"OUT": tmp_path / "out", "DATA": folder, "MODEL": pretrained, "UPDATES": 2}
    flags = ["--image_size", "64", "--per_device_train_batch_size", "2", "--use_cpu"]
    flags += ["--gradient_accumulation_steps", "2", "--dataloader_num_workers", "0"]
    flags += ["--eval_steps", "2", "--save_steps", "2", "--warmup_steps", "1"]
    script("prepare", arguments=["animals"], **settings)
    script("train", arguments=["animals", *flags], **settings)
    script("evaluate", arguments=["animals"], **settings)
    run_folder = tmp_path / "out" / "animals" / "rdrop"
    model = ViTForImageClassification.from_pretrained(run_folder / "model")
    assert model.config.id2label == {0: "cat", 1: "dog"}
    assert model.config.hidden_dropout_prob == 0.1
    assert model.config.image_size == 64
    assert model.vit.embeddings.position_embeddings.shape == (1, 1 + 4 * 4, 8)
    processor = ViTImageProcessorPil.from_pretrained(run_folder / "model")
    assert list(processor.image_mean) == [0.4] * 3  # the pretrained model's
    assert {path.name for path in run_folder.iterdir()} == {
        *("model", "curve.tsv", "examples.tsv", "scores.json", "run.json", "run.log"),
    }
    rows = [line.split("\t") for line in (run_folder / "examples.tsv").read_text().splitlines()]
    scores = json.loads((run_folder / "scores.json").read_text())
    assert scores["set"] == {"split": "val", "images": 4}
    for number, name in ((3, "accuracy"), (4, "cross-entropy")):
        assert rows[0][number] == name
        mean = numpy.mean([float(row[number]) for row in rows[1:]])
        score = scores["accuracy"]["score"] if name == "accuracy" else scores[name]
        assert score == pytest.approx(mean)
    # images that are in the folder of the predicted class are all classified right
    for name, _, predicted, *_ in rows[1:]:
        path = folder / "val" / ("cat", "dog")[int(predicted)] / Path(name).name
        (folder / "val" / name).rename(path)
    data = tmp_path / "out" / "animals" / "data" / "data.json"
    program("evaluate", "--data", data, run_folder)
    scores = json.loads((run_folder / "scores.json").read_text())
    assert scores["accuracy"] == {"score": 100, "low": 100, "high": 100}
    # other images than those of the training
    data.write_text(data.read_text().replace('"val"', '"test"'))
    changed = script("train", arguments=["animals", *flags], check=False, **settings)
    assert "data.json is not what it was" in changed.stderr
    changed = last_words("evaluate", "--data", data, run_folder)
    assert "rdrop was trained with other images than" in changed


def test_models_that_are_no_vit(folder, pretrained, tmp_path) -> None:
    """transformers would take what fits and draw the rest at random."""
    arguments = tiny_training(folder, tmp_path)
    BertForMaskedLM(BertConfig(**TINY, vocab_size=20)).save_pretrained(tmp_path / "bert")
    message = "train: .*bert lacks [0-9]+ of a ViT's parameters, vit.* for one: set MODEL to a mod"
    assert re.match(message, last_words("train", *arguments, "--model", tmp_path / "bert"))
    (pretrained / "preprocessor_config.json").unlink()
    changed = ["--model", pretrained, "--image_size", 32]
    message = "train: cannot load .*tiny .*model.safetensors and preprocessor_config.json, or take"
    assert re.match(message, last_words("train", *arguments, *changed))


def test_position_embeddings_of_another_size(pretrained) -> None:
    """Those of the same size stay; a constant stays one when interpolated; the class' stays."""
    import train as module  # examples/vit/train.py

    model = ViTForImageClassification.from_pretrained(pretrained)
    positions = model.vit.embeddings.position_embeddings
    with torch.no_grad():
        positions[:, 1:] = torch.arange(8.0)
    module.resize_positions(model, 32)
    assert model.vit.embeddings.position_embeddings is positions
    module.resize_positions(model, 48)
    resized = model.vit.embeddings.position_embeddings
    assert resized.requires_grad
    torch.testing.assert_close(resized[:, 0], positions[:, 0])
    # bicubic weights sum to 1, to float32's rounding
    torch.testing.assert_close(resized[0, 1:], torch.arange(8.0).expand(9, 8))
    assert model(pixel_values=torch.zeros(1, 3, 48, 48)).logits.shape == (1, 5)


def printed(*arguments: str, **settings: object) -> dict[str, str]:
    """The flags of what train.sh prints."""
    shown = script("train", arguments=[*arguments, "--dry-run"], **settings).stdout
    return flags_of(shlex.split(shown.replace("\\\n", " "), comments=True))


def test_the_authors_settings() -> None:
    """What is started for two GPUs, CIFAR-100 and ImageNet."""
    common = {"--alpha": "19.2", "--max_steps": "20000", "--warmup_steps": "500"}
    common |= {"--optim": "sgd", "--optim_args": "momentum=0.9", "--weight_decay": "0"}
    # 512 images an update: two GPUs, eight batches of 32 each
    common |= {"--per_device_train_batch_size": "32", "--gradient_accumulation_steps": "8"}
    common |= {"--lr_scheduler_type": "cosine", "--max_grad_norm": "1", "--dropout": "0.1"}
    common |= {"--augment": ""}
    name = "google/vit-{}-patch16-224-in21k"
    cifar = {"--learning_rate": "8e-3", "--image_size": "224", "--model": name.format("base")}
    imagenet = {"--learning_rate": "1e-2", "--image_size": "384", "--model": name.format("large")}
    for expected, found in (
        (cifar, printed("cifar100", NGPU=2)),
        (imagenet, printed("imagenet", "--bf16", NGPU=2, MODEL="large")),
    ):
        assert found.items() >= (common | expected).items()
        assert found["--nproc-per-node"].startswith("2 ")
        assert "--use_cpu" not in found
    plain = printed("cifar100", CRITERION="baseline")
    assert plain[""] == f"python {RECIPE}/train.py"
    assert "--alpha" not in plain
    assert plain["--gradient_accumulation_steps"] == "16"
    assert plain["--output_dir"].endswith("runs/vit/cifar100/baseline")
    assert "--bf16" in printed("cifar100", "--bf16")


def test_commands_of_the_readme(idx, tmp_path) -> None:
    """Those for a CPU, as they stand, with less to do; then a part of the study."""
    settings = {"OUT": tmp_path / "out", "DATA_DIR": idx, "TRAIN": 60, "VALID": 20, "UPDATES": 4}
    env = {name: str(value) for name, value in settings.items()}
    pattern = r"^    (.*(?:examples/vit/\w+\.sh --small|rdrop (?:study|compare) \S*vit).*)$"
    commands = re.findall(pattern, README, re.MULTILINE)
    names = [re.search(r"(\w+\.sh|rdrop \w+)", command)[1] for command in commands]
    assert names == [*("prepare.sh", "train.sh", "train.sh", "evaluate.sh"), "rdrop study"]
    for command in commands[:-1]:
        run(["bash", "-c", command], env=env)
    runs = tmp_path / "out" / "fashion-mnist"
    assert {path.parts[-3] for path in runs.glob("*/model/data.json")} == {"baseline", "rdrop"}
    assert "is made already" in script("prepare", arguments=["--small"], **settings).stdout
    # MNIST's files are called the same
    other = tmp_path / "mnist"
    shutil.copytree(idx, other)
    file = min(other.glob("*labels*"))
    file.write_bytes(file.read_bytes() + b"x")
    changed = {**settings, "DATA_DIR": other}
    refused = script("prepare", check=False, arguments=["--small"], **changed)
    assert re.search(r"images was made with other .*labels\S* is not what it was", refused.stderr)
    run(["bash", "-c", f"{commands[-1]} --only baseline.1 alpha1.1 baseline-time.1"], env=env)
    states = {path.parent.name: json.loads(path.read_text()) for path in runs.glob("*.1/run.json")}
    seconds = {name: state["starts"][0]["cpu_seconds"] for name, state in states.items()}
    expected = round(4 * seconds["alpha1.1"] / seconds["baseline.1"])
    assert states["baseline-time.1"]["updates"] == expected
    rows = [line.split("\t") for line in (runs / "results.tsv").read_text().splitlines()]
    assert rows[0][-2:] == ["accuracy", "cross-entropy"]
    assert [row[1] for row in rows[1:]] == ["baseline", "baseline-time", "alpha1"]
    curves = (runs / "curves.tsv").read_text().splitlines()
    assert curves[0] == (RECIPE / "curves.tsv").read_text().splitlines()[0]  # for figures.py


def test_wrong_settings(idx, tmp_path) -> None:
    def message(name: str, *arguments: str, **changed: object) -> str:
        settings = {"OUT": tmp_path / "out", "DATA_DIR": idx, **changed}
        result = script(name, check=False, arguments=arguments, **settings)
        assert result.returncode == 1
        return result.stderr

    small = "--small"
    assert "name the data: cifar100, imagenet, or a name" in message("prepare")
    assert "set DATA to the folder of mine, or to its name" in message("prepare", "mine")
    assert "neither train-images-idx3-ubyte nor" in message("prepare", small, DATA_DIR="none")
    assert "set DATA_DIR to the folder of Fashion-MNIST" in message("prepare", small, DATA_DIR="")
    assert "DATA is set, which --small does not take" in message("prepare", small, DATA="x")
    assert "no such folder: none" in message("prepare", "mine", DATA="none")
    assert "data.json is not there: make it first" in message("train", small)
    assert "no such file: " in message("evaluate", small)
    for name, value, expected in (
        ("CRITERION", "plain", "CRITERION must be rdrop or baseline, got 'plain'"),
        ("UPDATES", "0", "UPDATES must be a whole number of at least 1, got '0'"),
        ("NGPU", "3", "NGPU must divide 16, for 512 images an update by 32, got 3"),
    ):
        assert expected in message("train", "mine", **{name: value})
