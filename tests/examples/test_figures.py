"""The pictures of the READMEs show what the tables beside them hold."""

import io
import sys

import matplotlib
import numpy
import pytest
from matplotlib import rc_context
from PIL import Image

from ..conftest import ROOT

sys.path.insert(0, str(ROOT / "examples"))
import figures  # examples/figures.py


def widths(axes) -> list[float]:
    return [bar.get_width() for bar in axes.patches]


def test_cost() -> None:
    time, memory = figures.cost_of_loss().axes
    assert widths(time) == [3.76, 7.31, 5.44, 3.70, 3.43]  # README of the loss
    assert widths(memory) == [404, 1191, 752, 109, 20]
    for axes in (time, memory):
        names = [label.get_text() for label in time.get_yticklabels()]
        assert names[0] == "plain CE, doubled"
        assert axes.yaxis_inverted()  # the first on top


def test_low_resource() -> None:
    perplexity, bleu, cost = figures.low_resource().axes
    rows = figures.table(ROOT / "examples/low_resource/curves.tsv")
    runs = {(row["setting"], row["seed"]) for row in rows}
    assert len(perplexity.lines) == len(bleu.lines) == len(runs)
    last = {(row["setting"], row["seed"]): float(row["valid_ppl"]) for row in rows}
    assert sorted(line.get_ydata()[-1] for line in perplexity.lines) == sorted(last.values())
    scored = [float(row["BLEU"]) for row in rows if row["BLEU"]]
    assert sorted(y for line in bleu.lines for y in line.get_ydata()) == sorted(scored)
    # of a plain step: 1.89 s; here 3.43, fairseq's 7.31 (README of the loss)
    assert widths(cost) == pytest.approx([1, 1.815, 3.868], abs=1e-3)


def test_over_time() -> None:
    bleu, rouge = figures.over_time().axes
    folder = ROOT / "examples/low_resource"
    first, later = (figures.table(folder / name) for name in ("results.tsv", "once.tsv"))
    seconds = {
        (row["setting"], row["seed"], rows is later): float(row["cpu_seconds"])
        for rows in (first, later)
        for row in rows
    }
    summaries = figures.table(ROOT / "examples/cnn_dm/results.tsv")
    timed = {
        row["seed"]: float(row["cpu_seconds"]) for row in summaries if row["setting"] == "baseline"
    }
    scale = seconds["baseline", "1", False] / seconds["baseline", "1", True]
    expected = {
        # the baseline that was timed again is drawn once
        bleu: [
            (float(row["cpu_seconds"]) / 60 * (1 if rows is first else scale), float(row["BLEU"]))
            for rows in (first, later)
            for row in rows
            if row["checkpoint"] == "average" and (rows is first or row["setting"] != "baseline")
        ],
        # baselines of all seeds have the time of seed 1's
        rouge: [
            (
                float(row["cpu_seconds"]) / 60 * timed["1"] / timed[row["seed"]],
                float(row["ROUGE-1"]),
            )
            for row in summaries
        ],
    }
    for axes, runs in expected.items():
        dots = [tuple(xy) for path in axes.collections for xy in path.get_offsets()]
        assert len(dots) == len(runs)
        for dot, run in zip(sorted(dots), sorted(runs), strict=True):
            assert dot == pytest.approx(run)
        for line in axes.lines:
            assert sorted(line.get_xdata()) == list(line.get_xdata())
    baseline = bleu.lines[0]
    assert baseline.get_label() == "baseline"
    # README of low_resource: means of 371, 619 and 734 s
    assert baseline.get_xdata() == pytest.approx([371 / 60, 619 / 60, 734 / 60], abs=0.01)
    assert baseline.get_ydata() == pytest.approx([9.35, 10.25, 10.48], abs=0.005)


def test_accuracy() -> None:
    updates, time = figures.accuracy().axes
    rows = figures.table(ROOT / "examples/vit/curves.tsv")
    runs = list(dict.fromkeys((row["setting"], row["seed"]) for row in rows))
    assert len(updates.lines) == len(time.lines) == len(runs) == 9
    points = {(int(row["update"]), float(row["accuracy"])) for row in rows}
    assert {
        point for line in updates.lines for point in zip(*line.get_data(), strict=True)
    } == points
    minutes = sorted(float(row["cpu_seconds"]) / 60 for row in rows)
    assert sorted(x for line in time.lines for x in line.get_xdata()) == pytest.approx(minutes)
    names = [text.get_text() for text in time.get_legend().get_texts()]
    assert names == ["baseline", "baseline, R-Drop's time", "R-Drop, alpha 1"]


@pytest.mark.parametrize("name", figures.PICTURES)
def test_pictures_are_there(name) -> None:
    picture = (ROOT / "examples" / name).read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 200_000  # a README loads fast


@pytest.mark.parametrize("name", figures.PICTURES)
def test_pictures_show_their_tables(name) -> None:
    """Drawn anew they are the same, with the matplotlib that setup.sh installs."""
    if (
        f"matplotlib=={matplotlib.__version__}"
        not in (ROOT / "constraints.txt").read_text().split()
    ):
        pytest.skip(f"drawn by another matplotlib than {matplotlib.__version__}")
    with rc_context(figures.STYLE):
        figure = figures.PICTURES[name]()
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=100, metadata={"Software": None})
    drawn, kept = (
        numpy.asarray(Image.open(picture).convert("L"), dtype=float)
        for picture in (io.BytesIO(file.getvalue()), ROOT / "examples" / name)
    )
    assert drawn.shape == kept.shape
    assert abs(drawn - kept).max() < 8  # of 255; a line elsewhere changes far more
