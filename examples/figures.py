"""Draw the pictures of the READMEs from the tables beside them.

    python examples/figures.py                           all of them
    python examples/figures.py low_resource/rdrop.png    one

| picture | from | made by |
| --- | --- | --- |
| low_resource/rdrop.png | low_resource/curves.tsv | rdrop study, of version 0.1 |
| low_resource/time.png | low_resource/{results,once}.tsv, cnn_dm/results.tsv | the same |
| vit/accuracy.png | vit/curves.tsv | the same |
| ../rdrop_fairseq/loss/cost.png | ../rdrop_fairseq/loss/cost.tsv | rdrop benchmark |
"""

import csv
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from statistics import fmean

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rdrop_fairseq.tools.command_line import command, parser
from rdrop_fairseq.tools.files import writing

HERE = Path(__file__).parent
LOSS = HERE.parent / "rdrop_fairseq" / "loss"
PLAIN, RDROP, ONCE, OTHER = "#7f7f7f", "#c44e52", "#4c72b0", "#8fb0d4"
# the settings of the two studies that are one method, trained for longer and longer
METHODS = {
    "baseline": (PLAIN, "-", ["baseline", "baseline-time", "baseline-long"]),
    "R-Drop": (RDROP, "-", ["alpha1", "alpha1-long", "alpha0.7"]),
    "encoder once": (
        ONCE,
        "-",
        ["alpha1-once", "alpha1-once-long", "alpha0.7-once", "alpha0.7-once-time"],
    ),
    "encoder once, 3 passes": (ONCE, ":", ["alpha1-once-passes3", "alpha1-once-passes3-long"]),
}
# for a README, which shows a picture about 850 pixels wide
STYLE = {
    "font.size": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 14,
    "lines.linewidth": 2,
}

Row = dict[str, str]


def table(path: Path) -> list[Row]:
    """The rows of a tsv file, without its lines of comment."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader((li for li in lines if not li.startswith("#")), delimiter="\t"))


def bars(axes: Axes, values: dict[str, float], label: str, colors: list[str]) -> None:
    """Horizontal bars, the first on top, each with its value."""
    found = axes.barh(list(values), list(values.values()), color=colors)
    axes.bar_label(found, fmt=label, padding=3)
    axes.invert_yaxis()
    axes.set_xlim(0, max(values.values()) * 1.25)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def low_resource() -> Figure:
    """Validation perplexity and BLEU over updates, a line for each seed; the cost of a step."""
    figure = Figure(figsize=(12, 3.9), layout="constrained")
    perplexity, bleu, cost = figure.subplots(1, 3, width_ratios=(1, 1, 0.8))
    rows = table(HERE / "low_resource" / "curves.tsv")
    named = {"baseline": ("baseline", PLAIN), "alpha1": ("R-Drop", RDROP)}
    for setting, (name, color) in named.items():
        of_setting = [row for row in rows if row["setting"] == setting]
        for axes, column in ((perplexity, "valid_ppl"), (bleu, "BLEU")):
            label: str | None = name
            for seed in sorted({row["seed"] for row in of_setting}):
                points = [row for row in of_setting if row["seed"] == seed and row[column]]
                updates = [int(row["update"]) for row in points]
                values = [float(row[column]) for row in points]
                marker = "o" if column == "BLEU" else ""
                axes.plot(updates, values, color=color, marker=marker, label=label, alpha=0.85)
                label = None
    perplexity.set(title="validation perplexity", xlabel="updates", yscale="log", ylim=(None, 200))
    perplexity.set_yticks([30, 50, 100, 200], ["30", "50", "100", "200"])
    perplexity.minorticks_off()
    perplexity.legend(frameon=False)
    bleu.set(title="BLEU", xlabel="updates")
    seconds = {row["variant"]: float(row["seconds"]) for row in table(LOSS / "cost.tsv")}
    plain = seconds["plain CE, batch"]
    steps = {
        "baseline": 1.0,
        "R-Drop, here": seconds["ours, linear"] / plain,
        "R-Drop,\nfairseq's own": seconds["fairseq R-Drop"] / plain,
    }
    bars(cost, steps, "%.1f", [PLAIN, RDROP, OTHER])
    cost.set_title("time of a training step")
    return figure


def lines_over_time(axes: Axes, rows: list[Row], score: str) -> None:
    """For each method a line through its settings' means over the seeds, and a dot for each run."""
    for name, (color, style, settings) in METHODS.items():
        runs_of = [
            [
                (float(row["cpu_seconds"]) / 60, float(row[score]))
                for row in rows
                if row["setting"] == setting
            ]
            for setting in settings
        ]
        means = sorted(tuple(map(fmean, zip(*runs, strict=True))) for runs in runs_of if runs)
        if not means:
            continue
        axes.plot(*zip(*means, strict=True), style, color=color, marker="o", label=name)
        dots = zip(*chain.from_iterable(runs_of), strict=True)
        axes.scatter(*dots, s=14, color=color, alpha=0.5)
    axes.set(xlabel="CPU minutes of training", xlim=(0, None))


def as_timed_with(rows: list[Row], later: list[Row]) -> list[Row]:
    """What ``later`` adds to ``rows``, in their seconds: both have timed the baseline of seed 1."""
    baseline = ("baseline", "1")
    before, now = (
        next(float(row["cpu_seconds"]) for row in each if (row["setting"], row["seed"]) == baseline)
        for each in (rows, later)
    )
    settings = {row["setting"] for row in rows}
    return [
        {**row, "cpu_seconds": str(float(row["cpu_seconds"]) * before / now)}
        for row in later
        if row["setting"] not in settings
    ]


def as_timed_with_seed_1(rows: list[Row]) -> list[Row]:
    """The rows in the seconds of seed 1's machine: each seed has timed a baseline on its own."""
    baselines = {
        row["seed"]: float(row["cpu_seconds"]) for row in rows if row["setting"] == "baseline"
    }
    return [
        {
            **row,
            "cpu_seconds": str(float(row["cpu_seconds"]) * baselines["1"] / baselines[row["seed"]]),
        }
        for row in rows
    ]


def over_time() -> Figure:
    """BLEU and ROUGE over CPU time, a line a method."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    bleu, rouge = figure.subplots(1, 2)
    rows = table(HERE / "low_resource" / "results.tsv")
    rows += as_timed_with(rows, table(HERE / "low_resource" / "once.tsv"))
    lines_over_time(bleu, [row for row in rows if row["checkpoint"] == "average"], "BLEU")
    bleu.set_title("BLEU, English-German, 6,000 pairs")
    handles, names = bleu.get_legend_handles_labels()
    figure.legend(handles, names, frameon=False, loc="outside lower center", ncols=len(names))
    summaries = as_timed_with_seed_1(table(HERE / "cnn_dm" / "results.tsv"))
    lines_over_time(rouge, summaries, "ROUGE-1")
    rouge.set_title("ROUGE-1, package descriptions")
    return figure


def cost_of_loss() -> Figure:
    """Time of a step and its memory above the body, by implementation."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    time, memory = figure.subplots(1, 2, sharey=True)
    rows = {row["variant"]: row for row in table(LOSS / "cost.tsv")}
    shown = ["plain CE, doubled", "fairseq R-Drop", "ours, eager", "ours, logits", "ours, linear"]
    colors = [PLAIN, OTHER, RDROP, RDROP, RDROP]
    bars(time, {name: float(rows[name]["seconds"]) for name in shown}, "%.1f s", colors)
    time.set_title("time of a training step")
    above = {name: float(rows[name]["above_body_mib"]) for name in shown}
    bars(memory, above, "%.0f MiB", colors)
    memory.invert_yaxis()  # shared: once is enough
    memory.set_title("peak memory above the model's body")
    return figure


def accuracy() -> Figure:
    """Accuracy on the images held out over updates and over CPU time, a line for each seed."""
    figure = Figure(figsize=(12, 3.9), layout="constrained")
    over_updates, over_time = figure.subplots(1, 2, sharey=True)
    rows = table(HERE / "vit" / "curves.tsv")
    named = {
        "baseline": ("baseline", PLAIN),
        "baseline-time": ("baseline, R-Drop's time", OTHER),
        "alpha1": ("R-Drop, alpha 1", RDROP),
    }
    for setting, (name, color) in named.items():
        label: str | None = name
        for seed in dict.fromkeys(row["seed"] for row in rows if row["setting"] == setting):
            points = [row for row in rows if (row["setting"], row["seed"]) == (setting, seed)]
            values = [float(row["accuracy"]) for row in points]
            updates = [int(row["update"]) for row in points]
            minutes = [float(row["cpu_seconds"]) / 60 for row in points]
            for axes, places in ((over_updates, updates), (over_time, minutes)):
                axes.plot(places, values, color=color, label=label, alpha=0.85)
            label = None
    over_updates.set(xlabel="updates", ylabel="accuracy (%)")
    over_time.set(xlabel="CPU time of the updates (minutes)")
    # the first evaluations are far below; what matters is where the lines end
    last = [float(row["accuracy"]) for row in rows]
    over_updates.set_ylim(bottom=max(min(last), max(last) - 12))
    over_time.legend(frameon=False, loc="lower right")
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "low_resource/rdrop.png": low_resource,
    "low_resource/time.png": over_time,
    "vit/accuracy.png": accuracy,
    "../rdrop_fairseq/loss/cost.png": cost_of_loss,
}


@command("figures")
def main(argv: Sequence[str] | None = None) -> None:
    cli = parser(__doc__, "figures.py")
    cli.add_argument("names", nargs="*", choices=[[], *PICTURES], help="default: all of them")
    args = cli.parse_args(argv)
    for name in args.names or PICTURES:
        with rc_context(STYLE), writing(HERE / name) as (file,):
            # without the version of matplotlib: the same table gives the same file
            PICTURES[name]().savefig(file, format="png", dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main()
