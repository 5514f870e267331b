"""A picture of where a model's dropout is, and of what it does to the output."""

import re
from pathlib import Path

import numpy
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..files import writing
from .effect import Effect
from .outline import Row

PLACES = {  # as rdrop_fairseq.dropout names them: colour and meaning
    "embedding": ("C0", "after the embeddings"),
    "attention": ("C1", "on the attention weights"),
    "feed-forward": ("C2", "in the feed-forward sublayer, after its activation"),
    "output": ("C3", "after a sublayer, before it is added to the residual"),
    "classifier": ("C4", "in the classification head"),
    "adaptive-softmax": ("C6", "in the adaptive softmax"),
    "recurrent": ("C5", "between recurrent layers"),
    "other": ("C7", "elsewhere"),
}
_LAYER = re.compile(r"\blayers\.(\d+)\.")


def draw(
    path: Path, tables: dict[str, list[Row]], names: list[str], effects: list[Effect], unit: str
) -> None:
    """A grid of rates for each table and, if they were measured, bars for the effects."""
    heights = [1.7 + 0.3 * len(set(map(_kind, rows))) for rows in tables.values()]
    widths = [4.5 + 0.36 * max(map(_column, rows)) for rows in tables.values()]
    if effects:
        heights.append(3.5)
    figure = Figure(figsize=(max(9, *widths), sum(heights) + 1), layout="constrained")
    axes = figure.subplots(len(heights), height_ratios=heights, squeeze=False)[:, 0]
    for axis, (title, rows) in zip(axes, tables.items(), strict=False):
        _draw_grid(axis, title, rows)
    if effects:
        _draw_effects(axes[-1], names, effects, unit)
    found = {row.place for rows in tables.values() for row in rows}
    patches = [
        Patch(color=to_rgba(color, 0.75), label=f"{place}: {meaning}")
        for place, (color, meaning) in PLACES.items()
        if place in found
    ]
    patches.append(Patch(facecolor="0.93", edgecolor="0.7", label="pale: not active (rate 0)"))
    figure.legend(handles=patches, loc="outside lower center", ncols=2, fontsize=8)
    with writing(path) as (file,):
        figure.savefig(file, format="png", dpi=150)


def _kind(row: Row) -> str:
    return _LAYER.sub("layers.N.", row.path).removesuffix("_module")


def _column(row: Row) -> int:
    layer = _LAYER.search(row.path)
    return int(layer[1]) + 1 if layer else 0


def _draw_grid(axis: Axes, title: str, rows: list[Row]) -> None:
    """A cell for each dropout: kinds from top to bottom, layers from left to right."""
    kinds = list(dict.fromkeys(map(_kind, rows)))
    columns = 1 + max(map(_column, rows))
    image = numpy.ones((len(kinds), columns, 4))
    for row in rows:
        x, y = _column(row), kinds.index(_kind(row))
        image[y, x] = to_rgba(PLACES[row.place][0], 0.75 if row.in_training else 0.12)
        axis.text(x, y, f"{row.rate:g}", ha="center", va="center", fontsize=7)
    axis.imshow(image, aspect="auto")
    axis.set_xticks(range(columns), ["no\nlayer", *range(columns - 1)], fontsize=7)
    axis.set_yticks(range(len(kinds)), kinds, fontsize=8)
    axis.set_xticks(numpy.arange(columns + 1) - 0.5, minor=True)
    axis.set_yticks(numpy.arange(len(kinds) + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="white", linewidth=2)
    axis.tick_params(which="both", length=0)
    axis.set_xlabel("layer N")
    axis.set_title("Dropout rates\n" + title.replace(" and ", "\nand "), fontsize=10)


def _draw_effects(axis: Axes, names: list[str], effects: list[Effect], unit: str) -> None:
    width = 0.8 / len(names)
    for index, (name, effect) in enumerate(zip(names, effects, strict=True)):
        places = [x + (index - (len(names) - 1) / 2) * width for x in range(2)]
        bars = axis.bar(places, effect[:2], 0.95 * width, label=name, color=f"C{8 + index}")
        axis.bar_label(bars, fmt="%.3g")
    axis.set_xticks(range(2), ["between dropout passes", "dropout pass and full model"])
    axis.set(title="What dropout does to the output", ylabel=f"symmetric KL\n(nats per {unit})")
    axis.margins(y=0.15 + 0.12 * len(names))  # room for the legend
    axis.legend(loc="upper right")
