"""Print the scores of all runs of a task: mean and standard deviation over the seeds.

    python examples/glue/summary.py RUNS

RUNS holds SETTING/seedN/scores.json, which predict.py writes.
"""

import argparse
import json
import statistics
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, metavar="RUNS", help="folder of a task and an encoder")
    runs = parser.parse_args().runs
    found: dict[tuple[str, str, str], list[float]] = {}
    for path in sorted(runs.glob("*/seed*/scores.json"), key=lambda path: _seed(path.parent)):
        for split, scores in json.loads(path.read_text()).items():
            for metric, score in scores.items():
                found.setdefault((split, metric, path.parent.parent.name), []).append(score)
    print(f"{'split':7} {'metric':21} {'setting':12} {'mean':>6} {'sd':>6}  seeds")
    for (split, metric, setting), scores in sorted(
        found.items(), key=lambda item: _order(*item[0])
    ):
        # the sample's standard deviation: of one seed there is none
        sd = f"{statistics.stdev(scores):6.2f}" if len(scores) > 1 else "     -"
        seeds = " ".join(f"{score:.2f}" for score in scores)
        print(f"{split:7} {metric:21} {setting:12} {statistics.mean(scores):6.2f} {sd}  {seeds}")


def _seed(run: Path) -> int:
    return int(run.name.removeprefix("seed"))


def _order(split: str, metric: str, setting: str) -> tuple:
    """The dev set first; within a metric the baseline first, then by alpha."""
    alpha = setting.removeprefix("rdrop-")
    return split != "valid", split, metric, -1.0 if alpha == "baseline" else float(alpha)


if __name__ == "__main__":
    main()
