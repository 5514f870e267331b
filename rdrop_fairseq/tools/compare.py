"""Tables of runs: scores, their mean and deviation over the seeds, differences between settings.

    rdrop compare runs/low_resource --pair alpha1 baseline --pair alpha3 baseline

RUNS holds a folder SETTING.SEED for each run, with its run.json. In it or below it are

    scores.json        {"accuracy": 91.7, "BLEU": {"score": 9.39}}, or such scores of several sets,
                       {"valid": {...}, "test": {...}}; what is no number is left out
    hyp.txt, ref.txt   beside a BLEU: translations and references
    examples.tsv       beside other scores, of several sets valid.examples.tsv and so on: a line for
                       each example, with its name and, under the score's name, what it has; the
                       score is the mean. Of an F1, "F1 true", "F1 predicted", "F1 correct": how
                       many entities
    curve.tsv          update, cpu_seconds and what was measured then; else the valid loss in
                       fairseq's log, and the scores in folders untilUPDATE

Prints results.md, and writes it and results.tsv, differences.tsv and curves.tsv, in which a run's
CPU time is spread evenly over its updates. A side of --pair may name one folder of scores:
--pair half/until12000 baseline/until11000.

A seed's difference has, of translations, the p-value of sacrebleu's paired bootstrap, else the 95%
interval of scipy's over the examples, pair by pair. Both say what other examples would change, not
what other seeds would. The mean difference over the seeds has its 95% t interval.
"""

import csv
import json
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from numpy import ndarray
from scipy import stats

from ..errors import UsageError
from .command_line import command, existing_folder, parser
from .files import write_lines
from .state import State
from .text import whole_lines

# a validation in fairseq-train's log, json and simple
VALID = re.compile(
    r'"valid_loss": "(?P<loss>[\d.]+)".*"valid_num_updates": "(?P<update>\d+)"'
    r"|valid on 'valid' subset \| loss (?P<loss_>[\d.]+) .*\| num_updates (?P<update_>\d+)"
)
RUN = ["scored", "setting", "seed", "updates", "cpu_seconds", "valid_loss"]
PAIR = ["scored", "setting", "minus", "seed"]


class Scored(NamedTuple):
    """What one folder holds of a set."""

    scores: dict[str, float]
    folder: Path
    examples: Path


class Difference(NamedTuple):
    value: float
    note: str = ""  #: a p-value, or an interval

    def __str__(self) -> str:
        return self.note if self.note == "identical" else f"{self.value:+.2f} {self.note}".strip()


def with_interval(value: float, low: float, high: float) -> Difference:
    return Difference(value, f"[{low:+.2f}, {high:+.2f}]")


class Run:
    """A run that is scored."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, State(folder)
        try:
            self.seconds: float | None = self.state.cpu_seconds()
        except UsageError:
            self.seconds = None
        log = folder / "run.log"
        found = VALID.finditer(log.read_text(errors="replace")) if log.is_file() else ()
        self.losses = {  # by update; of one that was made twice the last
            int(line["update"] or line["update_"]): float(line["loss"] or line["loss_"])
            for line in found
        }
        self.scored = dict(scored_in(folder))

    def row(self, scored: str, names: list[str]) -> dict[str, float | None]:
        """Updates, CPU seconds, the lowest valid loss, and the scores of these names."""
        loss = min(self.losses.values(), default=None)
        own = dict(zip(RUN[3:], (self.state.updates, self.seconds, loss), strict=True))
        return own | {name: self.scored[scored].scores.get(name) for name in names}

    def curve(self) -> list[dict[str, str]]:
        """What was measured along the way, by update."""
        own = self.folder / "curve.tsv"
        if own.is_file():
            return rows_of(own)
        points = {update: {"valid_loss": f"{loss:.3f}"} for update, loss in self.losses.items()}
        for name, scored in self.scored.items():
            if place := re.fullmatch(r"until(\d+)", name):
                scores = {key: f"{value:.2f}" for key, value in scored.scores.items()}
                points[int(place[1])] = points.get(int(place[1]), {}) | scores
        pace = (self.seconds or 0) / max(self.state.updates, 1)
        return [
            {"update": str(update), "cpu_seconds": f"{update * pace:.0f}"} | points[update]
            for update in sorted(points)
        ]


def scored_in(run: Path) -> Iterable[tuple[str, Scored]]:
    """By the folder's name in the run's, and that of the set, if there are several."""
    for path in sorted(run.rglob("scores.json")):
        folder, content = path.parent, json.loads(path.read_text())
        name = "" if folder == run else folder.relative_to(run).as_posix()
        sets = {key: content[key] for key in content if key.startswith(("valid", "test"))}
        for key, values in sets.items():
            found = Scored(numbers(values), folder, folder / f"{key}.examples.tsv")
            yield f"{name}/{key}".strip("/"), found
        if not sets:
            yield name, Scored(numbers(content), folder, folder / "examples.tsv")


def numbers(content: dict[str, Any]) -> dict[str, float]:
    found = {k: v.get("score") if isinstance(v, dict) else v for k, v in content.items()}
    return {key: value for key, value in found.items() if isinstance(value, int | float)}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def difference(ours: Scored, theirs: Scored) -> dict[str, Difference]:
    """How much the one is above the other in each score.

    Raises:
        UsageError: they are scores of different examples.
    """
    found = {
        name: Difference(ours.scores[name] - theirs.scores[name])
        for name in ours.scores
        if name in theirs.scores
    }
    sides = (ours, theirs)
    if "BLEU" in found and all((side.folder / "hyp.txt").is_file() for side in sides):
        from .score import compare

        hypothesis, baseline = (whole_lines(s.folder / "hyp.txt", "hypothesis") for s in sides)
        reference, other = (whole_lines(s.folder / "ref.txt", "reference") for s in sides)
        need_equal(reference, other, sides)
        for name, values in compare(hypothesis, baseline, reference).items():
            note = "identical" if values["identical"] else f"(p {values['p_value']:.4f})"
            found[name] = Difference(values["difference"], note)
    elif all(side.examples.is_file() for side in sides):
        tables = [rows_of(side.examples) for side in sides]
        names, others = ([next(iter(row.values())) for row in table] for table in tables)
        need_equal(names, others, sides)
        for name, one in found.items():
            values, score = per_example(tables, name)
            if values.size and numpy.array_equal(*values):
                found[name] = Difference(0.0, "identical")
            elif values.size:
                found[name] = with_interval(one.value, *bootstrap(values, score))
    return found


def need_equal(ours: list[str], theirs: list[str], sides: Sequence[Scored]) -> None:
    if ours != theirs:
        raise UsageError(
            f"{sides[0].folder} and {sides[1].folder} were scored on different examples: score "
            "them on the same data"
        )


def per_example(tables: list[list[dict[str, str]]], name: str) -> tuple[ndarray, Callable]:
    """What each example of two tables adds to a score, and how that follows from the mean.

    Returns: [2, examples, 1 or 3], without examples if the tables do not have it; and a function of
        [..., 1 or 3].
    """
    columns, score = [name], mean_score
    if f"{name} correct" in tables[0][0]:
        columns, score = [f"{name} {what}" for what in ("true", "predicted", "correct")], f1
    if columns[0] not in tables[0][0]:
        return numpy.empty(0), score
    values = [[[float(row[column]) for column in columns] for row in table] for table in tables]
    return numpy.array(values), score


def mean_score(mean: ndarray) -> ndarray:
    return mean[..., 0]


def f1(mean: ndarray) -> ndarray:
    """In percent, of true, predicted and correct entities; 0 if there are none."""
    return 200 * mean[..., 2] / numpy.maximum(mean[..., 0] + mean[..., 1], 1e-9)


def bootstrap(values: ndarray, score: Callable) -> tuple[float, float]:
    """The 95% interval of the difference of two scores, percentiles of 2,000 resamples."""

    def statistic(drawn: ndarray, axis: int) -> ndarray:
        ours, theirs = score(values[:, drawn.astype(int)].mean(axis=-2))
        return ours - theirs

    result = stats.bootstrap(
        (numpy.arange(values.shape[1]),),
        statistic,
        n_resamples=2000,
        batch=100,
        method="percentile",  # scores without a mistake have no other kind of interval
        rng=numpy.random.default_rng(1),
    ).confidence_interval
    return float(result.low), float(result.high)


def over_seeds(found: list[Difference]) -> Difference:
    """The mean difference with its 95% t interval."""
    values = [one.value for one in found]
    mean = statistics.fmean(values)
    width = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    if all(one.note == "identical" for one in found):
        return found[0]
    return with_interval(mean, mean - width, mean + width)


def _baselines_first(run: Path) -> tuple[bool, str, str]:
    setting, _, seed = run.name.rpartition(".")
    return not setting.startswith("baseline"), setting, seed


def runs_in(folder: Path) -> dict[str, dict[str, Run]]:
    """The scored runs by setting and seed; baselines first."""
    found: dict[str, dict[str, Run]] = {}
    paths = [path.parent for path in folder.glob("*.*/run.json")]
    for path in sorted(paths, key=_baselines_first):
        setting, _, seed = path.name.rpartition(".")
        run = Run(path)
        if seed.isdecimal() and run.scored:
            found.setdefault(setting, {})[seed] = run
    return found


def results(runs: dict[str, dict[str, Run]], names: list[str]) -> list[list[str]]:
    """The rows of results.md: each run, then mean, deviation and median over a setting's seeds."""
    rows = []
    folders = {name for of_seed in runs.values() for run in of_seed.values() for name in run.scored}
    for scored in sorted(name for name in folders if not name.startswith("until")):
        for setting, of_seed in runs.items():
            found = {
                s: run.row(scored, names) for s, run in of_seed.items() if scored in run.scored
            }
            rows += [[scored, setting, seed, *cells(row)] for seed, row in found.items()]
            what: Callable[[list[float]], float]
            for what in (statistics.mean, statistics.stdev, statistics.median):
                if len(found) > 1:
                    columns = {n: [row[n] for row in found.values()] for n in [*RUN[3:], *names]}
                    of_seeds = {
                        n: None if None in values else what([v for v in values if v is not None])
                        for n, values in columns.items()
                    }
                    rows.append([scored, setting, what.__name__, *cells(of_seeds)])
    return rows


def cells(values: dict[str, float | None]) -> list[str]:
    """Updates and seconds without decimals, losses with three, scores two or, below 1, four."""
    digits = {"updates": 0, "cpu_seconds": 0, "valid_loss": 3}
    return [
        "" if value is None else f"{value:.{digits.get(name, 2 if abs(value) >= 1 else 4)}f}"
        for name, value in values.items()
    ]


def differences(
    runs: dict[str, dict[str, Run]], pairs: Iterable[Sequence[str]], names: list[str]
) -> list[list[str]]:
    """The rows of differences.tsv."""
    rows = []
    for pair in pairs:
        (setting, _, place), (other, _, other_place) = (side.partition("/") for side in pair)
        both = {
            seed: (run.scored, runs[other][seed].scored)
            for seed, run in runs.get(setting, {}).items()
            if seed in runs.get(other, {})
        }
        places = dict.fromkeys((name, name) for ours, _ in both.values() for name in ours)
        if place or other_place:
            places = {(place, other_place): None}
        for mine, yours in places:
            found = {
                seed: difference(ours[mine], theirs[yours])
                for seed, (ours, theirs) in both.items()
                if mine in ours and yours in theirs and (place or not mine.startswith("until"))
            }
            if len(found) > 1:
                shared = [n for n in names if all(n in one for one in found.values())]
                found["all"] = {n: over_seeds([one[n] for one in found.values()]) for n in shared}
            for seed, one in found.items():
                shown = [str(one.get(name, "")) for name in names]
                rows.append([mine, setting, pair[1], seed, *shown])
    return rows


def curves(runs: dict[str, dict[str, Run]]) -> list[list[str]]:
    """The lines of curves.tsv, the head first."""
    points = [
        {"setting": setting, "seed": seed} | point
        for setting, of_seed in runs.items()
        for seed, run in of_seed.items()
        for point in run.curve()
    ]
    head = list(dict.fromkeys(name for point in points for name in point))
    return [head, *([point.get(name, "") for name in head] for point in points)]


def markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]


def write_tables(folder: Path, pairs: Iterable[Sequence[str]], out: Path) -> None:
    """Write what there is of the scores of the runs in a folder, and print it.

    Raises:
        UsageError: there is none.
    """
    runs = runs_in(folder)
    if not runs:
        raise UsageError(
            f"{folder} holds no scored run: SETTING.SEED with run.json and scores.json"
        )
    every = [
        scored
        for of_seed in runs.values()
        for run in of_seed.values()
        for scored in run.scored.values()
    ]
    names = list(dict.fromkeys(name for scored in every for name in scored.scores))
    rows, of_pairs = results(runs, names), differences(runs, pairs, names)
    shown = [*markdown([*RUN, *names], rows), "", *markdown([*PAIR, *names], of_pairs)]
    for name, lines in (
        ("results.tsv", [[*RUN, *names], *(row for row in rows if row[2].isdecimal())]),
        ("differences.tsv", [[*PAIR, *names], *of_pairs]),
        ("curves.tsv", curves(runs)),
    ):
        write_lines(out / name, ["\t".join(line) for line in lines])
    write_lines(out / "results.md", shown)
    print(*shown, sep="\n")


@command("rdrop compare")
def main(argv: Sequence[str] | None = None) -> None:
    cli = parser(__doc__, "rdrop compare")
    cli.add_argument("runs", type=existing_folder, metavar="RUNS", help="folder of the runs")
    cli.add_argument(
        "--pair",
        nargs=2,
        action="append",
        default=[],
        metavar=("SETTING", "OTHER"),
        help="how much SETTING is above OTHER; several times for several pairs",
    )
    cli.add_argument("--out", type=existing_folder, help="where to write; default: RUNS")
    args = cli.parse_args(argv)
    write_tables(args.runs, args.pair, args.out or args.runs)


if __name__ == "__main__":
    main()
