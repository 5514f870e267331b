"""Print the scores of the runs of one task or several, over the seeds, as a Markdown table.

    python scripts/recipe/seeds_table.py RUNS...

RUNS is OUT/TASK/ENCODER and holds SETTING/seedN/scores.json, which predict.py writes. Median,
mean, the sample's standard deviation, and the best seed: the one with the highest score on the
dev set, with what it has on the row's set. A best of several seeds is no estimate of what
another seed would have.
"""

import argparse
import json
import statistics
from pathlib import Path

HEAD = ["task", "set", "metric", "setting", "seeds", "median", "mean", "sd", "best", "each"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUNS", help="folder of a task and an encoder"
    )
    lines = [HEAD, ["---"] * len(HEAD)]
    for runs in parser.parse_args().runs:
        lines += rows(runs)
    print("\n".join(f"| {' | '.join(cells)} |" for cells in lines))


def rows(runs: Path) -> list[list[str]]:
    """The rows of a task: the dev set first, within a metric the baseline, then by alpha."""
    found: dict[tuple[str, str, str], dict[int, float]] = {}
    best: dict[str, tuple[float, int]] = {}  # of each setting: by the first metric, on dev
    for path in sorted(runs.glob("*/seed*/scores.json"), key=lambda path: _seed(path.parent)):
        setting, seed = path.parent.parent.name, _seed(path.parent)
        all_scores = json.loads(path.read_text())
        for split, scores in all_scores.items():
            for metric, score in scores.items():
                found.setdefault((split, metric, setting), {})[seed] = score
        on_dev = next(iter(all_scores["valid"].values()))
        # the first of equal ones
        best[setting] = max(best.get(setting, (on_dev, -seed)), (on_dev, -seed))
    table = []
    for split, metric, setting in sorted(found, key=lambda key: _order(*key)):
        scores = found[split, metric, setting]
        values = list(scores.values())
        seed = -best[setting][1]
        numbers = [statistics.median(values), statistics.mean(values)]
        cells = [runs.parent.name, split, metric, setting, str(len(values))]
        cells += [f"{number:.2f}" for number in numbers]
        # of one seed there is no deviation
        cells.append(f"{statistics.stdev(values):.2f}" if len(values) > 1 else "-")
        cells.append(f"{scores[seed]:.2f} (seed {seed})")
        table.append([*cells, " ".join(f"{value:.2f}" for value in values)])
    return table


def _seed(run: Path) -> int:
    return int(run.name.removeprefix("seed"))


def _order(split: str, metric: str, setting: str) -> tuple:
    """The dev set first; within a metric the baseline first, then by alpha."""
    alpha = setting.removeprefix("rdrop-")
    return split != "valid", split, metric, -1.0 if alpha == "baseline" else float(alpha)


if __name__ == "__main__":
    main()
