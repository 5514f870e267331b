"""Train and score settings with several seeds, at equal updates or in equal CPU time.

    rdrop study examples/low_resource/study.ini
    rdrop study examples/low_resource/study.ini --only baseline.1 alpha1.1 --dry-run

Skips what is done, goes on with what was stopped, and writes the tables of rdrop compare. FILE is
read by Python's configparser: NAME = value, and ${NAME} for another value.

    [study]                               what all settings have
    train = bash "${here}/train.sh"       a command; ${here} is the folder of FILE. It gets RUN
                                          (SETTING.SEED), SEED and the variables
    prepare = bash "${here}/prepare.sh"   commands, a line each, once before all
    score = bash "${here}/evaluate.sh"    the same after each training
    curve = bash "${here}/evaluate.sh"    the same for each of the points, an update, as UNTIL
    points = 1000 2000
    runs = ${OUT}                         where train makes the folder RUN, which has a run.json
    seeds = 1 2 3
    order =                               what matters first; within a line seed by seed
        baseline alpha1
        baseline-time
    OUT = runs/mine                       variables, in capitals; the environment's come first

    [alpha1]                              a setting: what it has of its own, or other than above
    ALPHA = 1
    flags = --rdrop-passes 3              more arguments for train
    against = baseline                    what its scores are compared with

    [baseline-time]
    like = baseline                       has the variables and flags of that setting, too
    from = baseline                       likewise, and goes on from a copy of its run
    time = alpha1                         UPDATES: as many as that other setting makes in the CPU
                                          time that this one took
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from configparser import ConfigParser, Error, ExtendedInterpolation, RawConfigParser, SectionProxy
from pathlib import Path
from typing import NamedTuple

from ..errors import UsageError
from .command_line import command, existing_file, parser, whole
from .files import writing_folder
from .state import State

KNOWN = "prepare train score curve runs order here like from time flags seeds points against"
Variables = dict[str, str]


class Run(NamedTuple):
    """A setting with a seed."""

    setting: SectionProxy
    seed: str

    @property
    def name(self) -> str:
        return f"{self.setting.name}.{self.seed}"

    def other(self, key: str) -> str:
        """The run, with the same seed, of the setting that this one names by ``key``, or ""."""
        return f"{self.setting[key]}.{self.seed}" if key in self.setting else ""

    @property
    def base(self) -> str:
        return self.other("from") or self.other("like")

    def needs(self) -> set[str]:
        """The names of the runs that are trained before this one."""
        needed = {self.other("from"), self.other("time")}
        return (needed | {self.base} if "time" in self.setting else needed) - {""}


def read(path: Path) -> ConfigParser:
    """A study file, in which settings have what they take of others, too.

    Raises:
        UsageError: it cannot be read, or names what is not there.
    """
    file = ConfigParser(default_section="study", interpolation=ExtendedInterpolation())
    own = RawConfigParser()  # to tell what is a setting's own from what [study] has
    try:
        for each in (file, own):
            each.optionxform = str  # type: ignore[assignment, method-assign]  # keep capitals
            each.read_string(path.read_text(encoding="utf-8"), str(path))
        file["study"]["here"] = str(path.parent).replace("$", "$$")
        for name in file["study"]:
            if name.isupper() and name in os.environ:
                file["study"][name] = os.environ[name].replace("$", "$$")
        for place, name in enumerate(file.sections()):
            inherit(own[name], {above: own[above] for above in file.sections()[:place]})
            file[name].update(own[name])
        for section in file.values():
            check(section)
    except (Error, ValueError, UsageError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from None
    return file


def inherit(setting: SectionProxy, above: dict[str, SectionProxy]) -> None:
    """Give a setting the variables and flags of the one that it is like, or goes on from."""
    for key in ("like", "from", "time", "against"):
        for other in setting.get(key, "").split():
            if other not in above:
                raise UsageError(f"[{setting.name}] names {other}, but no [{other}] is above it")
    base = setting.get("from") or setting.get("like")
    if "time" in setting and not base:
        raise UsageError(f"[{setting.name}] has a time: like or from must say at whose pace")
    for name, value in above[base].items() if base else ():
        if name == "flags":
            setting[name] = f"{value} {setting.get(name, '')}"
        elif name.isupper() and name not in setting:
            setting[name] = value


def check(section: SectionProxy) -> None:
    """Raise UsageError if a section holds what would not be understood."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", section.name):
        raise UsageError(f"a setting's name has letters, digits, dots, dashes, got {section.name}")
    for name, value in section.items():
        if name not in KNOWN.split() and not name.isupper():
            raise UsageError(f"[{section.name}] has {name}: expected one of {KNOWN}, or capitals")
        if name in ("seeds", "points") and not all(map(str.isdecimal, value.split())):
            raise UsageError(f"{name} of [{section.name}] must be whole numbers, got '{value}'")


class Study:
    """What a study file says, and does; with ``dry`` the commands are only printed.

    Raises:
        UsageError: see `read`; or the order does not fit the settings.
    """

    def __init__(self, path: Path, dry: bool) -> None:
        file = read(path)
        own, self.dry = file["study"], dry
        self.train = shlex.split(own.get("train", ""))
        self.commands = {
            name: [shlex.split(line) for line in own.get(name, "").splitlines() if line]
            for name in ("prepare", "score", "curve")
        }
        self.variables, self.folder = variables_of(own), Path(own.get("runs", "."))
        self.runs: list[Run] = []
        for line in own.get("order", " ".join(file.sections())).splitlines():
            if unknown := [name for name in line.split() if name not in file.sections()]:
                raise UsageError(f"{path}: order names {unknown[0]}, but there is no such section")
            seeds = {name: file[name].get("seeds", "1").split() for name in line.split()}
            for seed in dict.fromkeys(seed for each in seeds.values() for seed in each):
                self.runs += [Run(file[name], seed) for name in seeds if seed in seeds[name]]
        for place, run in enumerate(self.runs):
            if missing := run.needs() - {before.name for before in self.runs[:place]}:
                raise UsageError(f"{path}: {run.name} needs {min(missing)} earlier in order")
        if not (self.train and self.runs):
            raise UsageError(f"{path} must have train in [study], and settings; see --help")

    def pairs(self) -> list[tuple[str, str]]:
        """What is compared: a setting, and another."""
        settings = {run.setting.name: run.setting.get("against", "") for run in self.runs}
        return [(name, other) for name, against in settings.items() for other in against.split()]

    def prepare(self) -> None:
        for words in self.commands["prepare"]:
            self.call(words, self.variables, "prepare")

    def do(self, run: Run) -> None:
        """Train and score a run."""
        variables = {**variables_of(run.setting), "RUN": run.name, "SEED": run.seed}
        if "time" in run.setting:
            variables["UPDATES"] = self.updates_in_time(run)
        if "from" in run.setting:
            self.go_on(run)
        self.call([*self.train, *shlex.split(run.setting.get("flags", ""))], variables, run.name)
        for words in self.commands["score"]:
            self.call_once(words, variables, run.name)
        for point in run.setting.get("points", "").split():
            if self.dry or int(point) <= State(self.folder / run.name).updates:
                for words in self.commands["curve"]:
                    self.call_once(words, {**variables, "UNTIL": point}, run.name)

    def trained(self, name: str, run: Run) -> State:
        state = State(self.folder / name)
        if not state.updates:
            raise UsageError(f"{run.name} needs {name}, which is not trained: add it to --only")
        return state

    def updates_in_time(self, run: Run) -> str:
        """How many updates at its base's pace take the CPU time of the other run."""
        if self.dry:
            return f"<at the pace of {run.base}, in the CPU time of {run.other('time')}>"
        base, other = self.trained(run.base, run), self.trained(run.other("time"), run)
        return str(round(base.updates * other.cpu_seconds() / base.cpu_seconds()))

    def go_on(self, run: Run) -> None:
        """Copy the run that this one goes on from, without its scores."""
        folder, base = self.folder / run.name, run.other("from")
        if self.dry:
            print(f"# {run.name} goes on from a copy of {base}")
        elif not folder.exists():
            files = [
                path for path in self.trained(base, run).path.parent.iterdir() if path.is_file()
            ]
            with writing_folder(folder) as unfinished:
                for path in files:
                    shutil.copy2(path, unfinished)

    def call_once(self, words: list[str], variables: Variables, name: str) -> None:
        """Call what scores a run, unless it has since the last update."""
        state = State(self.folder / name)
        scored, line = state.content.setdefault("scored", {}), printed(words, variables)
        if self.dry or scored.get(line) != state.updates:
            self.call(words, variables, name)
            scored[line] = state.updates
            if not self.dry:
                state.save()

    def call(self, words: list[str], variables: Variables, name: str) -> None:
        """Run a command. What it prints goes to a log beside the runs.

        Raises:
            UsageError: it failed.
        """
        print(printed(words, variables), flush=True)
        if self.dry:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / f"{name}.log"
        with log.open("ab") as file:
            env = {**os.environ, **variables}
            status = subprocess.run(words, env=env, stdout=file, stderr=file).returncode
        if status:
            print(*log.read_text(errors="replace").splitlines()[-5:], sep="\n", file=sys.stderr)
            raise UsageError(f"{shlex.join(words)} failed for {name}; what it printed is in {log}")


def variables_of(section: SectionProxy) -> Variables:
    return {name: value for name, value in section.items() if name.isupper()}


def printed(words: list[str], variables: Variables) -> str:
    """A command for a shell."""
    settings = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    return " ".join([*settings, shlex.join(words)])


def do_all(study: Study, runs: list[Run], jobs: int) -> None:
    """Do the runs in order, some at a time, each after those that it needs.

    Raises:
        UsageError: of one that failed, once those that were begun have ended.
    """
    waiting, begun = list(runs), dict[Future, Run]()
    with ThreadPoolExecutor(jobs) as pool:
        while waiting or begun:
            left = {run.name for run in [*waiting, *begun.values()]}
            ready = [run for run in waiting if not run.needs() & left]
            for run in ready[: jobs - len(begun)]:
                waiting.remove(run)
                begun[pool.submit(study.do, run)] = run
            for future in wait(begun, return_when=FIRST_COMPLETED).done:
                del begun[future]
                future.result()


@command("rdrop study")
def main(argv: Sequence[str] | None = None) -> None:
    cli = parser(__doc__, "rdrop study")
    cli.add_argument("file", type=existing_file, metavar="FILE", help="the study")
    cli.add_argument("--jobs", type=whole(1), default=1, metavar="N", help="runs at a time")
    cli.add_argument("--only", nargs="+", metavar="SETTING.SEED", help="do only these runs")
    cli.add_argument("--dry-run", action="store_true", help="print the commands, do nothing")
    cli.add_argument("--tables", action="store_true", help="write the tables, train nothing")
    args = cli.parse_args(argv)
    study = Study(args.file, args.dry_run)
    runs = [run for run in study.runs if not args.only or run.name in args.only]
    if unknown := set(args.only or []) - {run.name for run in runs}:
        raise UsageError(f"{args.file} has no run {min(unknown)}: --dry-run shows them")
    if not args.tables:
        study.prepare()
        do_all(study, runs, args.jobs)
    if not args.dry_run:
        from .compare import write_tables  # which needs numpy and scipy

        write_tables(study.folder, study.pairs(), study.folder)


if __name__ == "__main__":
    main()
