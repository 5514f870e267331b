"""Draw the learning curves of one or more trainings of fairseq.

    rdrop plot checkpoints/train.log
    rdrop plot baseline.log rdrop.log --names baseline R-Drop --plot both.png
    rdrop plot runs/tensorboard

A LOG is what fairseq-train prints or writes with --log-file (--log-format json or simple; other
lines do no harm), or the folder given to --tensorboard-logdir. Each LOG is one run. The output of
a training that was stopped and resumed must stand in one file, in order (tee -a); what it did
after the checkpoint that it went on from is left out.

Draws loss and perplexity of the training and validation sets, BLEU and accuracy if they were
logged, and R-Drop's KL, over updates and over wall time, and prints the best values. All is in
fairseq's units: losses in bits. The training loss of an R-Drop run holds its share of the KL term:
compare validation losses. Wall time is what fairseq logs as wall, that of a resumed run's processes
added up, lost work included; that of a validation is interpolated. After a resumption in the middle
of an epoch fairseq logs 0: there the times at which the lines were written serve (--log-file has
none).
"""

import json
import re
import struct
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from ..errors import UsageError
from .command_line import command, output_png, parser
from .files import writing

METRICS = {  # as fairseq logs them: title, unit, which point of a validation curve is the best
    "loss": ("loss", "bits", numpy.nanargmin),
    "ppl": ("perplexity", "2^nll_loss", numpy.nanargmin),
    "bleu": ("BLEU", "points", numpy.nanargmax),
    "accuracy": ("accuracy", "%", numpy.nanargmax),
    "rdrop_kl": ("R-Drop's KL", "bits", None),
}
START = "{'_name': None, 'common': {"  # its settings, which every fairseq-train logs first


class Record(NamedTuple):
    """What fairseq logged at once."""

    split: str  #: train_inner (every --log-interval), train (an epoch), or a validation set
    values: dict[str, float]  #: among them num_updates
    process: int  #: 0, 1, ...: a resumed run has several
    started: float | None  #: time of the day, in seconds, of the process's start, if known
    time: float | None  #: and of the record


class Run(NamedTuple):
    """The curves of one training, by split and metric: updates, seconds and values."""

    name: str
    curves: dict[tuple[str, str], numpy.ndarray]  #: each [points, 3]


def numbers(pairs: dict[str, Any]) -> dict[str, float]:
    """Those of ``pairs`` that are numbers; fairseq writes them as strings."""
    found = {}
    for key, value in pairs.items():
        try:
            found[key] = float(value)
        except (TypeError, ValueError):
            continue
    return found


def parsed(line: str) -> tuple[str, dict[str, float]] | None:
    """Split and values of a line of fairseq's log, or None if it is another line."""
    if match := re.search(r'\{"epoch": .*\}$', line):
        try:
            values = numbers(json.loads(match[0]))
        except json.JSONDecodeError:  # two processes wrote at once, or a line was cut off
            return None
        if "num_updates" in values:
            return "train_inner", values
        for key in values:
            if key.endswith("_num_updates"):  # train_num_updates, valid_num_updates, ...
                split = key.removesuffix("_num_updates")
                return split, {key.removeprefix(f"{split}_"): v for key, v in values.items()}
    elif match := re.search(r"epoch \d+:\s+\d+ / \d+ (\S+=.*)$", line):
        pairs = (pair.partition("=") for pair in match[1].split(", "))
        return "train_inner", numbers({key: value for key, _, value in pairs})
    elif match := re.search(r"epoch \d+ \|(?: valid on '(.+?)' subset \|)? (\S+ .* \| .*)$", line):
        pairs = (pair.partition(" ") for pair in match[2].split(" | "))
        return match[1] or "train", numbers({key: value for key, _, value in pairs})
    return None


def time_of(line: str) -> float | None:
    match = re.match(r"\[?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", line)
    return datetime.fromisoformat(match[1]).timestamp() if match else None


def read_text(path: Path) -> Iterator[Record]:
    process, started = 0, None
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if START in line:
            process, started = process + 1, time_of(line)
        found = parsed(line.rstrip())
        if found and "num_updates" in found[1]:
            yield Record(*found, process, started, time_of(line))


def events(path: Path) -> Iterator[Event]:
    """Of a TensorBoard file: records of length, checksum, protobuf, checksum."""
    content = path.read_bytes()
    position = 0
    while position + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, position)
        start, end = position + 12, position + 12 + length
        checksums = struct.unpack_from("<I", content, position + 8)
        if masked_crc32c(content[position : position + 8]) != checksums[0]:
            raise UsageError(f"{path} is no TensorBoard file, or damaged, at byte {position}")
        if end + 4 > len(content):
            return  # the process was stopped while it wrote
        if masked_crc32c(content[start:end]) != struct.unpack_from("<I", content, end)[0]:
            raise UsageError(f"{path} is damaged at byte {start}")
        yield Event.FromString(content[start:end])
        position = end + 4


def read_tensorboard(folder: Path) -> Iterator[Record]:
    """Records, process by process in the order of time.

    Each process has one file for each split, in the split's folder.
    """
    files = list(folder.rglob("events.out.tfevents.*"))
    runs = sorted({str(file.parent.parent) for file in files})
    if len(runs) > 1:
        raise UsageError(
            f"{folder} holds several runs, name one, or two to compare: {', '.join(runs)}"
        )
    content = {file: list(events(file)) for file in files}
    content = {file: found for file, found in content.items() if found}
    splits: set[str] = set()
    records, process = [], 0
    for file, found in sorted(content.items(), key=lambda item: item[1][0].wall_time):
        split = file.parent.name
        if split in splits:  # it has a file of this process already
            process, splits = process + 1, set()
        splits.add(split)
        steps: dict[int, dict[str, float]] = {}
        times = {}
        for event in found:
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    values = steps.setdefault(event.step, {"num_updates": event.step})
                    values[value.tag] = value.simple_value
                    times[event.step] = event.wall_time
        records += [Record(split, steps[step], process, None, times[step]) for step in steps]
    # a clock that was set back in between does not mix the processes
    yield from sorted(records, key=lambda record: (record.process, record.time))


def assembled(name: str, records: Iterator[Record]) -> Run:
    """One curve for each split and metric, without what a resumed run did twice."""
    points: dict[tuple[str, str], dict[float, float]] = {}
    clock = {0.0: 0.0}  # seconds by update
    process = started = None
    before, elapsed, last_wall, last_update = 0.0, 0.0, 0.0, 0.0
    for record in records:
        update, wall = record.values["num_updates"], record.values.get("wall")
        went_back = update < last_update or (wall is not None and wall < last_wall)
        if record.process != process or went_back:
            before, elapsed, last_wall = before + elapsed, 0.0, 0.0
            process, started = record.process, record.started or record.time
            for curve in (clock, *points.values()):
                for late in [step for step in curve if step >= update]:
                    del curve[late]
        last_update = update
        if wall is not None:
            last_wall = elapsed = wall
            # resumed in the middle of an epoch, fairseq logs 0
            if wall == 0 and record.time and started:
                elapsed = record.time - started
            clock.setdefault(update, before + elapsed)  # not that of its validation
        for metric in METRICS.keys() & record.values.keys():
            points.setdefault((record.split, metric), {})[update] = record.values[metric]
    curves = {}
    for key, curve in points.items():
        updates = sorted(curve)
        if not updates:  # all of it was done again, and not logged then
            continue
        seconds = numpy.interp(updates, sorted(clock), [clock[step] for step in sorted(clock)])
        curves[key] = numpy.column_stack([updates, seconds, [curve[step] for step in updates]])
    return Run(name, curves)


def read_run(path: Path, name: str) -> Run:
    """The run of a log or of a TensorBoard folder.

    Raises:
        UsageError: there is none.
    """
    if not path.exists():
        raise UsageError(f"no such log: {path}")
    run = assembled(name, read_tensorboard(path) if path.is_dir() else read_text(path))
    if not run.curves:
        kind = "TensorBoard events" if path.is_dir() else "lines"
        raise UsageError(
            f"{path} holds no {kind} of a fairseq training; give what fairseq-train printed with "
            "--log-format json or simple, or its --tensorboard-logdir"
        )
    return run


def validation_sets(run: Run) -> list[str]:
    return sorted({split for split, _ in run.curves} - {"train_inner", "train"})


def print_best(run: Run) -> None:
    """How long the run took, and the best value of each metric on each validation set."""
    updates, seconds = max(tuple(curve[-1, :2]) for curve in run.curves.values())
    print(f"{run.name}: {updates:.0f} updates in {seconds:.0f} s")
    for split in validation_sets(run):
        for metric, (title, unit, best) in METRICS.items():
            if best and (split, metric) in run.curves:
                curve = run.curves[split, metric]
                if numpy.isnan(curve[:, 2]).all():
                    print(f"  no {split} {title}: all values are NaN")
                    continue
                update, second, value = curve[best(curve[:, 2])]
                when = f"update {update:.0f}, {second:.0f} s"
                print(f"  best {split} {title}: {value:g} {unit} ({when})")


def draw(runs: list[Run]) -> Figure:
    """A row for each metric: over updates on the left, over wall time on the right."""
    logged = {metric for run in runs for _, metric in run.curves}
    metrics = [metric for metric in METRICS if metric in logged]
    longest = max(curve[-1, 1] for run in runs for curve in run.curves.values())
    units = {"hours": 3600, "minutes": 60, "seconds": 1}
    unit = next(name for name, length in units.items() if longest > 2 * length or length == 1)
    columns = (("updates", 1), (f"wall time ({unit})", units[unit]))

    figure = Figure(figsize=(12, 3.2 * len(metrics) + 1), layout="constrained")
    grid = figure.subplots(len(metrics), 2, squeeze=False, sharex="col", sharey="row")
    lines = {}
    for metric, axes in zip(metrics, grid, strict=True):
        title, y_unit, _ = METRICS[metric]
        for column, (axis, (x_label, length)) in enumerate(zip(axes, columns, strict=True)):
            for index, run in enumerate(runs):
                # training as often as it was logged, else by epoch
                inner = ("train_inner", metric) in run.curves
                splits = ["train_inner" if inner else "train", *validation_sets(run)]
                for number, split in enumerate(splits):
                    curve = run.curves.get((split, metric))
                    if curve is None:
                        continue
                    style = {"color": f"C{index}", "linewidth": 1.0, "alpha": 0.6}
                    name = f"{run.name}, train"
                    if number:
                        marker = "os^Dv"[(number - 1) % 5]
                        style |= {"linewidth": 1.8, "alpha": 1, "marker": marker, "markersize": 4}
                        name = f"{run.name}, {split}"
                    x = curve[:, column] / length
                    lines[name] = axis.plot(x, curve[:, 2], label=name, **style)[0]
            axis.set(xlabel=x_label, ylabel=f"{title} ({y_unit})", title=f"{title} over {x_label}")
            axis.set_xlim(left=0)
            axis.tick_params(labelbottom=True, labelleft=True)
            if metric == "ppl":
                axis.set_yscale("log")
                for which in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
                    which(LogFormatter(minor_thresholds=(2, 0.8)))
            axis.grid(alpha=0.3, which="both")
    figure.legend(handles=lines.values(), loc="outside lower center", ncols=min(4, len(lines)))
    return figure


@command("rdrop plot")
def main(argv: Sequence[str] | None = None) -> None:
    cli = parser(__doc__, "rdrop plot")
    add = cli.add_argument
    add("logs", type=Path, nargs="+", metavar="LOG", help="a run's log or TensorBoard folder")
    add("--names", nargs="+", help="what to call the runs; default: their paths")
    add("--plot", type=output_png, default="training.png", help="to write; default training.png")
    args = cli.parse_args(argv)
    names = args.names or [str(log) for log in args.logs]
    if len(names) != len(args.logs):
        cli.error(f"--names has {len(names)} names for {len(args.logs)} logs")
    if len(set(names)) < len(names):
        cli.error(f"the runs need different --names, got {' '.join(names)}")

    runs = [read_run(log, name) for log, name in zip(args.logs, names, strict=True)]
    for run in runs:
        print_best(run)
    with writing(args.plot) as (file,):
        draw(runs).savefig(file, format="png", dpi=120)
    print(f"drawn in {args.plot}")


if __name__ == "__main__":
    main()
