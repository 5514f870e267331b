"""Collect the scores of the runs that evaluate.py has scored, and compare them in pairs.

    python examples/vit/results.py --runs runs/vit/fashion-mnist/small --main alpha1

Writes to the folder of the runs (SETTING.SEED each)

- results.tsv: a row for each run, with its accuracy on the test set and, for R-Drop, how much it
  is above that of the baseline of the same seed (vs_baseline) and, for the main setting, of the
  baseline that had the same CPU time (vs_baseline_time), in points;
- results.md: the same, with a row for the mean over the seeds of a setting, the standard deviation
  over them, and the differences of all seeds taken together;
- curves.tsv: accuracy along the way.

Intervals have 95 % by bootstrap over the test images (see interval): for a difference of
the images' differences, which is the paired comparison; over seeds of their means for each image.
They tell what other test images would change, not what other seeds would: look at all of them.
"""

import csv
import json
import statistics
import sys
from pathlib import Path

import numpy
from scipy.stats import bootstrap

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import InputError, argument_parser, command_line, write_lines

BASELINES = ("baseline", "baseline-time")
COLUMNS = [
    *("setting", "seed", "updates", "cpu_seconds", "split", "images"),
    *("accuracy", "low", "high", "cross_entropy"),
    *("vs_baseline", "vs_baseline_low", "vs_baseline_high"),
    *("vs_baseline_time", "vs_baseline_time_low", "vs_baseline_time_high"),
]
HEAD = ["setting", "seed", "updates", "CPU s", "accuracy (%)", "cross-entropy"]
HEAD += ["minus baseline (points)", "minus baseline-time (points)"]


def interval(values: numpy.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean, in percent, by bootstrap over the test images.

    Percentiles: a set without a mistake has no other kind of interval.
    """
    result = bootstrap(
        (values,), numpy.mean, n_resamples=2000, batch=100, method="percentile", rng=1
    ).confidence_interval
    return 100 * float(result.low), 100 * float(result.high)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def correct(run: Path) -> dict[str, float]:
    """Whether each test image is classified right, 0 or 1, in the order of their names."""
    rows = sorted(table(run / "predictions.tsv"), key=lambda row: row["image"])
    return {row["image"]: float(row["label"] == row["predicted"]) for row in rows}


def difference(runs: list[Path], others: list[Path]) -> tuple[float, float, float]:
    """How many points the runs are above the others, with its interval: mean over the pairs.

    Raises:
        InputError: they were not scored on the same images.
    """
    scored = [correct(run) for run in runs + others]
    if any(list(right) != list(scored[0]) for right in scored):
        raise InputError(f"{runs[0]} and {others[0]} were scored on different images")
    ours, theirs = numpy.split(numpy.array([list(right.values()) for right in scored]), 2)
    images = (ours - theirs).mean(axis=0)
    return 100 * float(images.mean()), *interval(images)


def rows(runs: Path) -> dict[str, dict[int, Path]]:
    """The scored runs of each setting, by seed; baselines first."""
    found: dict[str, dict[int, Path]] = {}
    for path in runs.glob("*/scores.json"):
        setting, _, seed = path.parent.name.rpartition(".")
        if setting and seed.isdigit():
            found.setdefault(setting, {})[int(seed)] = path.parent
    names = sorted(found, key=lambda name: (not name.startswith("baseline"), name))
    return {name: dict(sorted(found[name].items())) for name in names}


def row_of(run: Path) -> dict[str, str]:
    setting, _, seed = run.name.rpartition(".")
    scores = json.loads((run / "scores.json").read_text())
    last = table(run / "curve.tsv")[-1]
    row = {"setting": setting, "seed": seed, "updates": last["update"]}
    row |= {"cpu_seconds": f"{float(last['cpu_seconds']):.0f}", "split": scores["split"]}
    row |= {"images": str(scores["images"]), "cross_entropy": f"{scores['cross_entropy']:.4f}"}
    return row | {name: f"{scores[name]:.2f}" for name in ("accuracy", "low", "high")}


def compared(found: dict[str, dict[int, Path]], setting: str, seeds: list[int], main: str) -> dict:
    """The differences of a setting from the baselines, over the seeds that both have."""
    cells = {}
    for name in BASELINES:
        if setting in BASELINES or (name == "baseline-time" and setting != main):
            continue
        pairs = [(found[setting][s], found[name][s]) for s in seeds if s in found.get(name, {})]
        if not pairs:
            continue
        values = difference(*map(list, zip(*pairs, strict=True)))
        column = f"vs_{name.replace('-', '_')}"
        names = (column, f"{column}_low", f"{column}_high")
        cells |= {name: f"{value:+.2f}" for name, value in zip(names, values, strict=True)}
    return cells


def cell(row: dict[str, str], value: str, low: str, high: str) -> str:
    return f"{row[value]} [{row[low]}, {row[high]}]" if row.get(value) else ""


def markdown(row: dict[str, str]) -> list[str]:
    names = ("setting", "seed", "updates", "cpu_seconds")
    differences = [
        cell(row, c, f"{c}_low", f"{c}_high") for c in ("vs_baseline", "vs_baseline_time")
    ]
    accuracy = cell(row, "accuracy", "low", "high") or row["mean"]
    return [*(row[name] for name in names), accuracy, row["cross_entropy"], *differences]


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--main", required=True, help="the setting whose time baseline-time has")
    args = parser.parse_args()
    found = rows(args.runs)
    if not found:
        raise InputError(f"{args.runs} holds no scored run (SETTING.SEED/scores.json)")
    lines, shown, points = [], [HEAD, ["---"] * len(HEAD)], []
    for setting, of_seed in found.items():
        of_setting = []
        for seed, run in of_seed.items():
            row = row_of(run) | compared(found, setting, [seed], args.main)
            of_setting.append(row)
            lines.append("\t".join(row.get(column, "") for column in COLUMNS))
            shown.append(markdown(row))
            points += [(setting, seed, *point.values()) for point in table(run / "curve.tsv")]
        if len(of_setting) > 1:
            numbers = {
                name: [float(row[name]) for row in of_setting]
                for name in ("updates", "cpu_seconds", "accuracy", "cross_entropy")
            }
            mean = {name: statistics.fmean(values) for name, values in numbers.items()}
            row = {"setting": setting, "seed": "mean", "updates": f"{mean['updates']:.0f}"}
            row |= {"cpu_seconds": f"{mean['cpu_seconds']:.0f}"}
            row |= {"cross_entropy": f"{mean['cross_entropy']:.4f}"}
            row["mean"] = f"{mean['accuracy']:.2f} +- {statistics.stdev(numbers['accuracy']):.2f}"
            shown.append(markdown(row | compared(found, setting, list(of_seed), args.main)))
    write_lines(args.runs / "results.tsv", ["\t".join(COLUMNS), *lines])
    write_lines(args.runs / "results.md", [f"| {' | '.join(cells)} |" for cells in shown])
    head = ("setting", "seed", *table(run / "curve.tsv")[0])
    write_lines(args.runs / "curves.tsv", ["\t".join(map(str, point)) for point in [head, *points]])


if __name__ == "__main__":
    command_line(main)
