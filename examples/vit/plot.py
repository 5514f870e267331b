"""Draw accuracy over updates and over CPU time, a line for each seed.

python examples/vit/plot.py runs/vit/fashion-mnist/small/curves.tsv accuracy.png
"""

import sys
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[1]))
from figures import OTHER, PLAIN, RDROP, STYLE, Row, table  # examples/figures.py

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import argument_parser, command_line, existing_file, writing


def accuracy(rows: list[Row]) -> Figure:
    """Accuracy on the images held out, of each setting: grey, pale and red."""
    figure = Figure(figsize=(12, 3.9), layout="constrained")
    over_updates, over_time = figure.subplots(1, 2, sharey=True)
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    colors = {"baseline": PLAIN, "baseline-time": OTHER}
    others = iter((RDROP, "#55a868", "#8172b3", "#ccb974"))
    for setting in settings:
        color = colors.get(setting) or next(others, "#937860")
        name = setting.replace("alpha", "R-Drop, alpha ")
        label: str | None = name.replace("baseline-time", "baseline, R-Drop's time")
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


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("curves", type=existing_file, help="what results.py has written")
    parser.add_argument("out", type=Path, help="the PNG file to write")
    args = parser.parse_args()
    with rc_context(STYLE), writing(args.out) as (file,):
        # without the version of matplotlib: the same table gives the same file
        figure = accuracy(table(args.curves))
        figure.savefig(file, format="png", dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    command_line(main)
