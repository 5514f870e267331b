"""examples/digits_mlp: a short run through the real command line, and wrong input."""

import contextlib
import io
import logging
import re
import runpy
import statistics
from pathlib import Path

import matplotlib.colors
import matplotlib.image
import numpy
import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

from ..conftest import ROOT

EXAMPLE = ROOT / "examples" / "digits_mlp"
train = runpy.run_path(str(EXAMPLE / "train.py"))["main"]
SHORT = ["--seeds", "2", "--epochs", "7", "--train", "300"]
ROW = re.compile(r"^(\S.*?) {2,}(\S+) \+- (\S+) +(\S+) \+- (\S+)$", re.MULTILINE)


def accuracies(output: str) -> dict[str, list[float]]:
    """Of each method: mean and deviation on the training set, then on the test set."""
    return {name: [float(value) for value in values] for name, *values in ROW.findall(output)}


def printed(*flags: str) -> str:
    """What a short run prints."""
    threads, level = torch.get_num_threads(), logging.getLogger().level
    with contextlib.redirect_stdout(io.StringIO()) as output:
        train([*SHORT, *flags])
    torch.set_num_threads(threads)
    logging.getLogger().setLevel(level)
    return output.getvalue()


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> tuple[str, Path]:
    plot = tmp_path_factory.mktemp("digits") / "curves.png"
    return printed("--plot", str(plot)), plot


def test_table(short) -> None:
    output, _ = short
    assert output.startswith("300 images to train on, 1497 to test on, dropout 0.5, alpha 1")
    rows = accuracies(output)
    assert list(rows) == ["no dropout", "dropout", "two passes", "R-Drop"]
    for on_train, _, on_test, _ in rows.values():
        assert 60 < on_test < on_train < 100  # chance is 10; 7 epochs are not the end


def test_differences_add_up(short) -> None:
    output, _ = short
    rows = accuracies(output)
    found = re.findall(r"^(.+) - (.+?) +(\S+) \+- (\S+) +each seed: (.*)$", output, re.MULTILINE)
    assert [pair[:2] for pair in found] == [
        ("dropout", "no dropout"),
        ("R-Drop", "dropout"),
        ("R-Drop", "two passes"),
    ]
    for one, other, mean, deviation, each in found:
        gains = [float(gain) for gain in each.split()]
        # all numbers are printed to 0.01, so that each is off by up to 0.005
        assert float(mean) == pytest.approx(rows[one][2] - rows[other][2], abs=0.016)
        assert float(mean) == pytest.approx(statistics.mean(gains), abs=0.011)
        assert float(deviation) == pytest.approx(statistics.stdev(gains), abs=0.013)


def test_plot(short) -> None:
    _, plot = short
    image = matplotlib.image.imread(plot)
    assert image.shape[:2] == (750, 1800)
    colors = {tuple(color) for color in numpy.unique(image.reshape(-1, 4), axis=0) * 255}
    for color in ("C7", "C0", "C2", "C1"):  # a curve of each method
        red, green, blue = matplotlib.colors.to_rgb(color)
        assert (round(red * 255), round(green * 255), round(blue * 255), 255) in colors
    assert [path.name for path in plot.parent.iterdir()] == ["curves.png"]


def test_alpha_0_is_two_passes(short) -> None:
    output, _ = short
    rows = accuracies(printed("--alpha", "0"))
    assert rows["R-Drop"] == rows["two passes"]
    # and a seed gives the same numbers again
    before = accuracies(output)
    assert [rows[name] for name in ("no dropout", "dropout", "two passes")] == [
        before[name] for name in ("no dropout", "dropout", "two passes")
    ]


def test_the_ten_lines_of_the_readme() -> None:
    """They run, and their loss is what PyTorch's own functions give for the same masks."""
    (code,) = re.findall(r"```python\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    torch.manual_seed(0)
    x, y = torch.randn(6, 8), torch.randint(3, (6,))
    layers = (torch.nn.Linear(8, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 3))
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = layers[0].weight.clone()
    seen = {"model": model, "optimizer": optimizer, "batches": [(x, y)]}
    exec(code, seen)
    assert not torch.equal(layers[0].weight, before)
    loss, logits = seen["loss"], seen["logits"].double()
    p, q = logits.log_softmax(-1).chunk(2)
    ce = cross_entropy(p, y) + cross_entropy(q, y)
    divergence = [kl_div(a, b, log_target=True, reduction="batchmean") for a, b in ((p, q), (q, p))]
    assert sum(divergence) > 0.01
    expected = ce + 1.0 * sum(divergence) / 2
    assert loss.objective.item() == pytest.approx(expected.item(), rel=1e-5)  # float32


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--alpha", "-1"], "argument --alpha: must be a number of at least 0, got -1"),
        (["--alpha", "nan"], "argument --alpha: must be a number of at least 0, got nan"),
        (["--dropout", "0"], "--dropout must be above 0 and below 1, got 0.0"),
        (["--dropout", "1"], "--dropout must be above 0 and below 1, got 1.0"),
        (["--epochs", "0"], "argument --epochs: must be a whole number of at least 1, got 0"),
        (["--seeds", "1"], "argument --seeds: must be a whole number of at least 2, got 1"),
        (["--train", "9"], "--train must be 10 to 1787 of the 1797 images, got 9"),
        (["--train", "1788"], "--train must be 10 to 1787 of the 1797 images, got 1788"),
        (["--plot", "a.pdf"], "argument --plot: a PNG is written: name it a.png, got a.pdf"),
        (["--plot", "no/such/a.png"], "argument --plot: no such folder to write to: no/such"),
    ],
)
def test_wrong_input(flags, message, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        train(flags)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"train.py: error: {message}"
