"""examples/vit: the README's program, the recipe's modules, the real scripts once."""

import gzip
import io
import json
import re
import runpy
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
from rdrop_fairseq import checkpoint

from ..conftest import ROOT, run
from .conftest import option, script_of

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


@pytest.fixture(autouse=True)
def allow_list():
    """Trainer takes numpy's classes off torch's list; other tests load without fairseq."""
    yield
    checkpoint.allow()


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

    assert "390 images to train on and 20 for validation: expected at least one" in message(390)
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
    with pytest.raises(SystemExit):
        program("results", "--runs", tmp_path, "--main", "alpha1")


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
    settings = {"OUT": tmp_path / "out", "DATA": folder, "MODEL": pretrained, "CPU": 1}
    settings |= {"UPDATES": 2, "BATCH": 4, "GPU_BATCH": 2, "IMAGE_SIZE": 64, "WORKERS": 0}
    settings |= {"EVAL_EVERY": 2, "WARMUP": 1}
    script("prepare", arguments=["animals"], **settings)
    script("train", arguments=["animals"], **settings)
    script("evaluate", arguments=["animals"], **settings)
    run_folder = tmp_path / "out" / "animals" / "tiny" / "alpha19.2.1"
    model = ViTForImageClassification.from_pretrained(run_folder / "model")
    assert model.config.id2label == {0: "cat", 1: "dog"}
    assert model.config.hidden_dropout_prob == 0.1
    assert model.config.image_size == 64
    assert model.vit.embeddings.position_embeddings.shape == (1, 1 + 4 * 4, 8)
    with (tmp_path / "out" / "animals" / "data.json").open("a") as file:
        file.write("\n")
    changed = script("train", arguments=["animals"], check=False, **settings)
    assert re.search(r"made with other settings .*> --data-checksum", changed.stderr)
    changed = script("evaluate", arguments=["animals"], check=False, **settings)
    assert re.search(
        r"alpha19\.2\.1 was trained with other images than .*data\.json", changed.stderr
    )
    processor = ViTImageProcessorPil.from_pretrained(run_folder / "model")
    assert list(processor.image_mean) == [0.4] * 3  # the pretrained model's
    scores = json.loads((run_folder / "scores.json").read_text())
    lines = (run_folder / "predictions.tsv").read_text().splitlines()
    assert (scores["split"], scores["images"], len(lines)) == ("val", 4, 5)
    assert {path.name for path in run_folder.iterdir()} == {
        *("model", "curve.tsv", "predictions.tsv", "scores.json", "settings", "train.log"),
        "updates",
    }
    # images that are in the folder of the predicted class are all classified right
    for line in lines[1:]:
        name, _, predicted = line.split("\t")
        path = folder / "val" / ("cat", "dog")[int(predicted)] / Path(name).name
        (folder / "val" / name).rename(path)
    program("evaluate", "--data", tmp_path / "out" / "animals" / "data.json", run_folder)
    scores = json.loads((run_folder / "scores.json").read_text())
    assert (scores["accuracy"], scores["low"], scores["high"]) == (100, 100, 100)


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


def test_the_authors_settings(fake, tmp_path) -> None:
    """What torchrun is given for two GPUs, CIFAR-100 and ImageNet."""
    out = tmp_path / "out"
    for name in ("cifar100", "imagenet"):
        (out / name).mkdir(parents=True)
        (out / name / "data.json").write_text("{}")
    common = {"--alpha": "19.2", "--max_steps": "20000", "--warmup_steps": "500"}
    common |= {"--optim": "sgd", "--optim_args": "momentum=0.9", "--weight_decay": "0"}
    common |= {"--per_device_train_batch_size": "32", "--gradient_accumulation_steps": "8"}
    common |= {"--lr_scheduler_type": "cosine", "--max_grad_norm": "1", "--dropout": "0.1"}
    common |= {"--attention_dropout": "0", "--augment": "1", "--nproc-per-node": "2"}
    name = "google/vit-{}-patch16-224-in21k"
    cifar = {"--learning_rate": "8e-3", "--image_size": "224", "--model": name.format("base")}
    imagenet = {"--learning_rate": "1e-2", "--image_size": "384", "--model": name.format("large")}
    script("train", arguments=["cifar100"], OUT=out, **fake.env(2))
    script("train", arguments=["imagenet"], OUT=out, MODEL="large", BF16=1, **fake.env(2))
    script("train", arguments=["cifar100"], OUT=out, CRITERION="baseline", NGPU=1, **fake.env(2))
    calls = fake.calls()
    for call, expected in zip(calls[:2], (cifar, imagenet), strict=True):
        for key, value in {**common, **expected}.items():
            assert option(call, key) == value, key
        # 512 images an update: two GPUs, eight batches of 32 each
        assert int(option(call, "--gradient_accumulation_steps")) * 32 * 2 == 512
    assert "--bf16" in calls[1]
    assert "--bf16" not in calls[0]
    assert "--use_cpu" not in calls[0]
    assert "--alpha" not in calls[2]
    assert option(calls[2], "--gradient_accumulation_steps") == "16"
    assert option(calls[2], "--output_dir") == str(out / "cifar100" / "base" / "baseline.1")


def test_commands_of_the_readme(idx, tmp_path) -> None:
    """Those for a CPU, as they stand, with less to do; then the study, which goes on from them."""
    settings = {"OUT": tmp_path / "out", "DATA_DIR": idx, "TRAIN": 60, "VALID": 20, "UPDATES": 4}
    env = {name: str(value) for name, value in {**settings, "BATCH": 16}.items()}
    commands = re.findall(r"^    (.*examples/vit/\w+\.sh --small)\b", README, re.MULTILINE)
    assert [re.search(r"\w+\.sh", command)[0] for command in commands] == [
        *("prepare.sh", "train.sh", "train.sh", "evaluate.sh"),
    ]
    for command in commands:
        run(["bash", "-c", command], env=env)
    # the same files as Debian has them, and as torchvision has
    both = tmp_path / "both"
    shutil.copytree(idx, both)
    for file in idx.glob("*.gz"):
        (both / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    again = script("prepare", arguments=["--small"], **{**settings, "DATA_DIR": both}).stdout
    assert "images of fashion-mnist: done already" in again
    absent = {**settings, "DATA_DIR": "none"}
    refused = script("prepare", check=False, arguments=["--small"], **absent)
    assert "no such folder: DATA_DIR=none" in refused.stderr
    # MNIST's files are called the same
    other = tmp_path / "mnist"
    shutil.copytree(idx, other)
    file = min(other.glob("*labels*"))
    file.write_bytes(file.read_bytes() + b"x")
    refused = script(
        "prepare", check=False, arguments=["--small"], **{**settings, "DATA_DIR": other}
    )
    assert re.search(r"> checksum=\S+; .*give fashion-mnist another name", refused.stderr)
    runs = tmp_path / "out" / "fashion-mnist" / "small"
    before = {path: path.stat().st_mtime_ns for path in runs.glob("*/model/*")}
    assert {path.parts[-3] for path in before} == {"baseline.1", "alpha1.1"}
    assert "    bash examples/vit/study.sh\n" in README
    env["RUNS"] = "baseline:1 alpha1:1 baseline-time:1 baseline:2 alpha1:2"
    output = run(["bash", RECIPE / "study.sh"], env=env).stdout
    assert "alpha1.1 is trained already, 4 updates" in output
    assert {path: path.stat().st_mtime_ns for path in before} == before

    import results as module  # examples/vit/results.py

    found = {(row["setting"], row["seed"]): row for row in module.table(runs / "results.tsv")}
    assert list(found) == [
        *(("baseline", "1"), ("baseline", "2"), ("baseline-time", "1")),
        *(("alpha1", "1"), ("alpha1", "2")),
    ]
    times = [
        float((runs / name / "curve.tsv").read_text().split()[-4])
        for name in ("baseline.1", "alpha1.1")
    ]
    assert int(found["baseline-time", "1"]["updates"]) == round(4 * times[1] / times[0])
    main, plain, plain_time = (found[name, "1"] for name in ("alpha1", "baseline", "baseline-time"))
    assert (main["split"], main["images"]) == ("test", "100")
    for other, column in ((plain, "vs_baseline"), (plain_time, "vs_baseline_time")):
        difference = float(main["accuracy"]) - float(other["accuracy"])
        # hundredths of a point are printed; of 100 images all are whole
        assert float(main[column]) == pytest.approx(difference, abs=1e-9)
        assert float(main[f"{column}_low"]) <= difference <= float(main[f"{column}_high"])
    assert found["alpha1", "2"]["vs_baseline_time"] == ""
    table = (runs / "results.md").read_text()
    assert table.count("| mean |") == 2
    assert (runs / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    env["RUNS"] = "baseline-time:1"
    again = run(["bash", RECIPE / "study.sh"], env=env).stdout
    assert "baseline-time.1 is trained already" in again
    assert (runs / "results.md").read_text() == table


def test_wrong_settings(idx, tmp_path) -> None:
    data = tmp_path / "out" / "fashion-mnist" / "data.json"
    settings = {"OUT": tmp_path / "out", "DATA_DIR": idx}

    def message(name: str, *arguments: str, **changed: object) -> str:
        result = script(name, check=False, arguments=arguments, **{**settings, **changed})
        assert result.returncode == 1
        return result.stderr

    small = "--small"
    assert "name the data: cifar100, imagenet, or a name" in message("prepare")
    assert "set DATA to the folder of mine, or to its name" in message("prepare", "mine")
    assert "no such folder: DATA_DIR=none" in message("prepare", small, DATA_DIR="none")
    assert "DATA is set, which --small does not take" in message("prepare", small, DATA="x")
    assert "no such folder: none" in message("prepare", "mine", DATA="none")
    assert "data.json is not there: run prepare.sh first" in message("train", small)
    assert "no finished run in" in message("evaluate", small)
    assert "unknown argument --large" in message("train", "--large")
    assert "RUNS is a list of SETTING:SEED, got alpha1" in message("study", RUNS="alpha1")
    assert "no such setting: alpha" in message("study", RUNS="alpha:1")
    assert "WORKERS must be 0 here" in message("study", WORKERS=2)
    data.parent.mkdir(exist_ok=True)
    data.write_text("{}")
    for name, value, expected in (
        ("ALPHA", "-1", "ALPHA must be a number >= 0, got '-1'"),
        ("CRITERION", "plain", "CRITERION must be rdrop or baseline, got 'plain'"),
        ("GPU_BATCH", "48", "BATCH (64) must be a multiple of GPU_BATCH x GPUs (48 x 1)"),
        ("UPDATES", "0", "UPDATES must be a whole number of at least 1, got '0'"),
        ("OPTIMIZER", "adam", "OPTIMIZER must be sgd or adamw, got 'adam'"),
        ("NNODES", "2", "NNODES is 2: set MASTER_ADDR"),
        ("MODEL", "my vit", "MODEL must have no white space in its name, got 'my vit'"),
        ("RUN", "alpha2.lr3", "RUN must be SETTING.SEED, of letters, digits, dots and dashes"),
    ):
        assert expected in message("train", small, **{name: value})
    # a run is not mixed with one of other settings
    run_folder = data.parent / "small" / "alpha1.1"
    run_folder.mkdir(parents=True)
    (run_folder / "updates").write_text("9\n")
    (run_folder / "settings").write_text("--alpha 1 --max_steps 9\n")
    found = message("train", small, UPDATES=8)
    assert re.search(r"was made with other settings .*< --max_steps 9 .*set RUN to another", found)
    assert "baseline-time:1 needs baseline:1 earlier in RUNS" in message(
        "study", RUNS="baseline-time:1", TRAIN=60, VALID=20, OUT=tmp_path / "other"
    )


def scored(run_folder: Path, predicted: list[int], updates: int = 9) -> None:
    run_folder.mkdir(parents=True)
    lines = ["image\tlabel\tpredicted", *(f"{i}.png\t1\t{p}" for i, p in enumerate(predicted))]
    (run_folder / "predictions.tsv").write_text("\n".join(lines) + "\n")
    accuracy = 100 * sum(p == 1 for p in predicted) / len(predicted)
    scores = {"split": "test", "images": len(predicted), "accuracy": accuracy}
    scores |= {"low": accuracy, "high": accuracy, "cross_entropy": 0.5}
    (run_folder / "scores.json").write_text(json.dumps(scores))
    head = "update\tcpu_seconds\tsplit\tloss\taccuracy\n"
    points = f"3\t60.0\tvalid\t1.0\t40.0\n{updates}\t180.0\tvalid\t0.5\t50.0\n"
    (run_folder / "curve.tsv").write_text(head + points)


def test_differences_are_paired(tmp_path) -> None:
    """Two seeds, by hand: +25 and +75 points, together +50; no image is worse in both."""
    scored(tmp_path / "baseline.1", [0, 0, 1, 1])
    scored(tmp_path / "alpha1.1", [1, 0, 1, 1])
    scored(tmp_path / "baseline.2", [0, 0, 0, 1])
    scored(tmp_path / "alpha1.2", [1, 1, 1, 1])
    program("results", "--runs", tmp_path, "--main", "alpha1")
    lines = [line.split("|") for line in (tmp_path / "results.md").read_text().splitlines()]
    cells = {(line[1].strip(), line[2].strip()): line[7].strip() for line in lines[2:]}
    assert cells["baseline", "1"] == cells["baseline", "mean"] == ""
    # of one image in four, the sum of four draws is 0 in 32 % of resamples and 3 or more in 5 %
    assert re.fullmatch(r"\+25\.00 \[\+0\.00, \+75\.00\]", cells["alpha1", "1"])
    assert cells["alpha1", "2"].startswith("+75.00 [+25.00, +100.00]")
    # of the images' means over seeds: 1, 0.5, 0.5, 0
    assert re.fullmatch(r"\+50\.00 \[\+1\d\.\d\d, \+8\d\.\d\d\]", cells["alpha1", "mean"])
    means = {line[1].strip(): line[5].strip() for line in lines if line[2].strip() == "mean"}
    # of 50 and 25, and of 75 and 100: deviation 25 / sqrt(2)
    assert means == {"baseline": "37.50 +- 17.68", "alpha1": "87.50 +- 17.68"}
    # fewer images, and as many other ones
    predictions = tmp_path / "baseline.1" / "predictions.tsv"
    for text in (
        "image\tlabel\tpredicted\na\t1\t1\n",
        predictions.read_text().replace("0.p", "9.p"),
    ):
        predictions.write_text(text)
        assert "were scored on different images" in last_words(
            "results", "--runs", tmp_path, "--main", "alpha1"
        )


def test_plot(tmp_path) -> None:
    import plot as module  # examples/vit/plot.py

    for name in ("baseline.1", "baseline.2", "baseline-time.1", "alpha1.1", "alpha4.1"):
        scored(tmp_path / name, [1, 0])
    program("results", "--runs", tmp_path, "--main", "alpha1")
    updates, time = module.accuracy(module.table(tmp_path / "curves.tsv")).axes
    assert len(updates.lines) == len(time.lines) == 5
    for line in updates.lines:
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([3, 9], [40, 50])
    assert all(list(line.get_xdata()) == [1, 3] for line in time.lines)  # minutes
    names = [text.get_text() for text in time.get_legend().get_texts()]
    assert names == ["baseline", "baseline, R-Drop's time", "R-Drop, alpha 1", "R-Drop, alpha 4"]
    assert len({line.get_color() for line in time.lines}) == 4
    program("plot", tmp_path / "curves.tsv", tmp_path / "accuracy.png")
    assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG")
