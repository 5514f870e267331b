"""examples/low_resource: the split, the scripts on real text, and the study with fake trainings."""

import bz2
import csv
import gzip
import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ..conftest import PROGRAMS, ROOT, corpus_lines, run

RECIPE = ROOT / "examples" / "low_resource"
# a tenth of the verses twice, so that some test pairs have a side that is in training
SOURCE = corpus_lines("train", "es")[:400]
TARGET = corpus_lines("train", "en")[:400]
SIZES = {"TRAIN_SIZE": "300", "VALID_SIZE": "30", "TEST_SIZE": "40", "VOCAB": "400"}


def write(path: Path, lines: list[str]) -> None:
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """400 pairs of 80 documents, and what each rule of the split is to drop."""
    folder = tmp_path / "raw"
    folder.mkdir()
    source = [*SOURCE, "", "lo mismo", "uno " * 81, "uno " * 12, SOURCE[0]]
    target = [*TARGET, "nothing", "lo mismo", "one " * 81, "one two", TARGET[0]]
    write(folder / "sent.es.gz", source)
    write(folder / "sent.en.gz", target)
    write(folder / "sent.pkg.gz", [f"document {i // 5}" for i in range(len(source))])
    return folder


def split(raw: Path, out: Path, *, check: bool = True, train: int = 300):
    command = [sys.executable, RECIPE / "split_corpus.py", "--raw", raw, "--out", out]
    command += ["--languages", "es", "en", "--train", train, "--valid", "30", "--test", "40"]
    return run(command, check=check)


def lines_of(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def pairs_of(folder: Path, name: str) -> list[tuple[str, str]]:
    sides = (lines_of(folder / f"{name}.{language}.gz") for language in ("es", "en"))
    return list(zip(*sides, strict=True))


def test_split(raw, tmp_path) -> None:
    out = tmp_path / "out"
    split(raw, out)
    counts = dict(line.split("\t") for line in (out / "counts.tsv").read_text().splitlines())
    assert counts["raw"] == "405"
    for rule in ("empty", "source equals target", "over 80 words", "length ratio", "duplicate"):
        assert counts[f"dropped: {rule}"] == "1"
    document = {pair: i // 5 for i, pair in enumerate(zip(SOURCE, TARGET, strict=True))}
    documents = {}
    for name in ("train", "valid", "test"):
        pairs = pairs_of(out, name)
        assert len(pairs) == int(counts[name])
        documents[name] = {document[pair] for pair in pairs}  # real pairs, not mixed up
    assert len(pairs_of(out, "train")) == 300
    assert not documents["test"] & documents["train"]
    assert not documents["test"] & documents["valid"]
    assert not documents["valid"] & documents["train"]
    # the same again, from the names of the documents alone
    split(raw, tmp_path / "again")
    for path in out.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_nothing_of_the_test_set_is_in_training(raw, tmp_path) -> None:
    """Verses that stand in several documents, with another translation or in capitals."""
    source = SOURCE + [line.upper() for line in SOURCE[:200]]
    target = TARGET + [f"{line} Indeed." for line in TARGET[:200]]
    write(raw / "sent.es.gz", source)
    write(raw / "sent.en.gz", target)
    write(raw / "sent.pkg.gz", [f"document {i // 5}" for i in range(len(source))])
    split(raw, tmp_path / "out")
    seen = {side.casefold() for pair in pairs_of(tmp_path / "out", "train") for side in pair}
    counts = (tmp_path / "out" / "counts.tsv").read_text()
    for name, size in (("test", 40), ("valid", 30)):
        pairs = pairs_of(tmp_path / "out", name)
        assert all(seen.isdisjoint(side.casefold() for side in pair) for pair in pairs)
        assert 0 < len(pairs) < size
        assert f"dropped: {name}: a side is in training\t{size - len(pairs)}\n" in counts


def test_without_documents_each_pair_is_one(raw, tmp_path) -> None:
    (raw / "sent.pkg.gz").unlink()
    split(raw, tmp_path / "out")
    assert len(pairs_of(tmp_path / "out", "test")) == 40


def test_wrong_corpora(raw, tmp_path) -> None:
    good = (raw / "sent.en.gz").read_bytes()
    for content, message in (
        (None, r"no such file: .*sent\.en\.gz"),
        (good[:-9], r"sent\.en\.gz is not a complete gzip file"),
        (b"plain text", r"sent\.en\.gz is not a complete gzip file"),
        (gzip.compress(b"caf\xe9\n"), r"sent\.en\.gz is not UTF-8 at byte 3"),
        (
            gzip.compress(b"one line\n"),
            r"differ in their number of lines: sent\.es\.gz 405, sent\.en\.gz 1, sent\.pkg\.gz 405",
        ),
        (good, r"of 400 usable pairs 330 are left for training, not 1,000: ask for fewer"),
    ):
        (raw / "sent.en.gz").unlink(missing_ok=True)
        if content is not None:
            (raw / "sent.en.gz").write_bytes(content)
        result = split(raw, tmp_path / "out", check=False, train=1000)
        assert result.returncode == 1
        assert re.search(message, result.stderr.splitlines()[-1]), result.stderr
        assert not (tmp_path / "out").exists()
    for name in ("sent.es.gz", "sent.en.gz", "sent.pkg.gz"):
        write(raw / name, [])
    assert "are empty" in split(raw, tmp_path / "out", check=False).stderr


def script(name: str, *arguments: str, check: bool = True, real: bool = False, **env: str):
    return run(["bash", RECIPE / f"{name}.sh", *arguments], env=env, check=check, real=real)


def test_prepare_train_evaluate(raw, tmp_path) -> None:
    """The three verbs with fairseq itself, and each a second time, which does nothing."""
    env = {"RAW_DIR": str(raw), "OUT": str(tmp_path / "out"), "SRC": "es", "TGT": "en", **SIZES}
    env |= {"RUN": "alpha3.1", "UPDATES": "6", "BEAM": "1", "ALPHA": "3"}
    env["TRAIN_ARGS"] = "--save-interval-updates 1"  # what train.sh has otherwise: 100
    script("prepare", **env)
    # not by the fork server, whose processes' time bash does not see
    script("train", real=True, **env)
    script("evaluate", **env)
    trial = tmp_path / "out" / "runs" / "alpha3.1"
    found = [path for path in sorted((tmp_path / "out").rglob("*.*")) if path.is_file()]
    files = {path: path.stat().st_mtime_ns for path in found}
    for name in ("prepare", "train", "evaluate"):
        script(name, **env)
    changed = [path for path, time in files.items() if path.stat().st_mtime_ns != time]
    assert {path.name for path in changed} <= {
        "prepare.settings",
        "train.settings",
        "evaluate.settings",
    }
    user, system = map(float, (trial / "cpu_seconds").read_text().split())
    assert user + system > 0.1  # importing torch alone takes seconds
    assert '"train_num_updates": "6"' in (trial / "train.log").read_text()
    count = len((tmp_path / "out" / "text" / "test.en").read_text().splitlines())
    # the last five of six, which are what KEEP has kept
    kept = sorted(path.name for path in trial.glob("checkpoint_*_*.pt"))
    assert kept == [f"checkpoint_1_{update}.pt" for update in range(2, 7)]
    assert not list(trial.glob("*/average.pt"))
    results = [sys.executable, RECIPE / "results.py", "--runs", trial.parent, "--main", "alpha3"]
    tables = run([*results, "--out", tmp_path / "results.tsv"]).stdout
    with (tmp_path / "results.tsv").open() as file:
        rows = {row["checkpoint"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert rows.keys() == {"best", "last", "average"}
    assert rows["average"]["valid_loss"] == ""
    assert rows["average"]["at_update"] == "6"
    scores = json.loads((trial / "average" / "scores.json").read_text())
    assert rows["average"]["chrF2"] == f"{scores['chrF2']['score']:.2f}"
    line = [*("alpha3", "1", "6", rows["average"]["cpu_seconds"], "6", "")]
    line += [rows["average"]["BLEU"], rows["average"]["chrF2"]]
    assert f"| {' | '.join(line)} |" in tables.partition("Averages of the last five")[2]

    for which in ("best", "last", "average"):
        assert len((trial / which / "hyp.txt").read_text().splitlines()) == count
        assert json.loads((trial / which / "scores.json").read_text()).keys() >= {"BLEU", "chrF2"}
    for name, changes, message in (
        (
            "prepare",
            {"VOCAB": "500"},
            "< VOCAB=400 > VOCAB=500; set OUT to another folder, or remove",
        ),
        (
            "train",
            {"ALPHA": "4"},
            "alpha3.1 was made with .*< --rdrop-alpha 3 > --rdrop-alpha 4; set RUN",
        ),
        (
            "evaluate",
            {"BEAM": "2"},
            "< BEAM=1 > BEAM=2; remove .*best, .*last and .*average to score",
        ),
        ("train", {"UPDATES": "1"}, "has had 6 updates, more than UPDATES=1"),
    ):
        result = script(name, check=False, **{**env, **changes})
        assert result.returncode == 1
        assert re.search(message, result.stderr), result.stderr

    # as if there were a checkpoint at each hundredth update; OUT relative, as in its README
    for update in range(100, 501, 100):
        (trial / f"checkpoint_1_{update}.pt").hardlink_to(trial / "checkpoint_1_6.pt")
    (trial / "updates").write_text("500\n")
    env |= {"OUT": "out", "RUNS": "alpha3.1"}

    def curves(**settings: str):
        command = ["bash", RECIPE / "curves.sh"]
        return run(command, cwd=tmp_path, env={**env, "EVERY": "500", **settings}, check=False)

    for changed, message in (
        ({"EVERY": "200"}, "EVERY must be a whole number of at least 500, got '200'"),
        ({"EVERY": "750"}, "EVERY must be a multiple of 100, the updates between two checkpoints"),
        ({"OUT": "none"}, "no such folder: OUT=none"),
    ):
        assert message in curves(**changed).stderr
    assert curves().stdout.splitlines()[-1] == f"curves in {tmp_path}/out/curves.tsv"
    points = json.loads((trial / "curve" / "500" / "scores.json").read_text())
    assert "BLEU" in points
    assert re.search("< BEAM=1 > BEAM=2; remove .*curve", curves(BEAM="2").stderr)


TRAIN = """#!/usr/bin/env bash
# as slow as two passes if it is R-Drop
{ printf '%s\\n' "$@"; echo; } >>"$RECORD"
work=20000 data=$1
while (($#)); do
  case $1 in
    --save-dir) folder=$2 ;;
    --max-update) updates=$2 ;;
    rdrop) work=40000 ;;
  esac
  shift
done
echo "it | INFO | fairseq_cli.train | task: TranslationTask"
for ((i = 0; i < work; i++)); do :; done
valid='{"valid_loss": "8", "valid_ppl": "99", "valid_num_updates": "%s"}'
[[ ! -e $FAIL ]] || { eval "$(<"$FAIL")"; echo "the trouble"; exit 1; }
printf "it | INFO | valid | $valid\\n" "$updates"
cp "$data"/dict.*.txt "$folder/"
echo "it | INFO | Preparing to save checkpoint for epoch 1 @ $updates updates"
echo "it | INFO | fairseq_cli.train | done training in 1.0 seconds"
echo "best" >"$folder/checkpoint_best.pt"
echo "after $updates" >"$folder/checkpoint_last.pt"
"""
GENERATE = """#!/usr/bin/env bash
# the reference, from a baseline's checkpoint without the first word of each sentence
[[ $* == *baseline* ]] && cut='s/^[^ ]* //'
sed "${cut:-}" "$1/../text/test.en" | awk '{ print "D-" NR - 1 "\\t-0.5\\t" $0 }'
"""
PREPROCESS = """#!/usr/bin/env bash
while (($#)); do [[ $1 != --destdir ]] || folder=$2; shift; done
mkdir -p "$folder" && echo x | tee "$folder/test.es-en.es.bin" >"$folder/test.es-en.en.bin"
echo "a 1" | tee "$folder/dict.es.txt" >"$folder/dict.en.txt"
"""


@pytest.fixture
def fake(raw, tmp_path) -> SimpleNamespace:
    """The study on 400 real pairs, with programs that only seem to train and to translate."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("train", TRAIN), ("generate", GENERATE), ("preprocess", PREPROCESS)):
        (programs / f"fairseq-{name}").write_text(text)
        (programs / f"fairseq-{name}").chmod(0o755)
    out, record, fail = tmp_path / "out", tmp_path / "record", tmp_path / "fail"
    env = {"PATH": f"{programs}:{PROGRAMS}:{os.environ['PATH']}", "RECORD": str(record)}
    env |= {"RAW_DIR": str(raw), "OUT": str(out), "SRC": "es", "TGT": "en", **SIZES}
    env |= {"FAIL": str(fail), "UPDATES": "200"}

    def trainings() -> list[list[str]]:
        text = record.read_text() if record.exists() else ""
        return [call.split("\n") for call in text.split("\n\n") if call.strip()]

    return SimpleNamespace(env=env, out=out, trainings=trainings, fail=fail)


def option(call: list[str], name: str) -> str | None:
    return call[call.index(name) + 1] if name in call else None


def test_study(fake) -> None:
    settings = "baseline:1 alpha5:1 baseline-time:1 alpha0.5:2 alpha5-every2:1 alpha5-passes3:1"
    settings += " alpha5-once-passes3:1 baseline:3"
    runs = fake.out / "runs"
    env = {**fake.env, "MAIN": "alpha5", "CRITERION": "baseline"}
    script("study", **env, RUNS="baseline:1 alpha5:1")
    # their times from here on are these, user and system, whatever the machine took
    for name, times in (("baseline.1", "1.000 0.500"), ("alpha5.1", "2.500 0.250")):
        user, system = (runs / name / "cpu_seconds").read_text().split()
        assert min(float(user), float(system)) >= 0
        (runs / name / "cpu_seconds").write_text(f"{times}\n")
    script("study", **env, RUNS=settings)
    calls = fake.trainings()
    names = ("--criterion", "--rdrop-alpha", "--rdrop-encoder", "--rdrop-interval")
    names += ("--rdrop-passes", "--seed")
    assert [[option(call, name) for name in names] for call in calls] == [
        ["label_smoothed_cross_entropy", None, None, None, None, "1"],
        ["rdrop", "5", None, None, None, "1"],
        ["label_smoothed_cross_entropy", None, None, None, None, "1"],
        ["rdrop", "0.5", None, None, None, "2"],
        ["rdrop", "5", None, "2", None, "1"],
        ["rdrop", "5", None, None, "3", "1"],
        ["rdrop", "5", "once", None, "3", "1"],
        ["label_smoothed_cross_entropy", None, None, None, None, "3"],
    ]
    # all have the README's model and schedule
    for call in calls:
        for name, value in (
            ("--encoder-layers", "2"),
            ("--decoder-embed-dim", "128"),
            ("--dropout", "0.1"),
            ("--label-smoothing", "0.1"),
            ("--max-tokens", "1200"),
            ("--lr", "3e-3"),
            ("--warmup-updates", "200"),
            ("--save-interval-updates", "100"),
        ):
            assert option(call, name) == value
    # baseline-time goes on from the baseline, for the seconds of R-Drop
    assert [option(call, "--max-update") for call in calls] == [
        *("200", "200", "367", "200", "200", "200", "200", "200")  # 200 * 2.75 / 1.5
    ]
    log = (runs / "baseline-time.1" / "train.log").read_text()
    assert log.startswith((runs / "baseline.1" / "train.log").read_text())
    assert len((runs / "baseline-time.1" / "cpu_seconds").read_text().splitlines()) == 2

    with (fake.out / "results.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 16  # eight runs, best and last
    of = {(row["setting"], row["checkpoint"]): row for row in rows if row["seed"] != "3"}
    main, plain = of["alpha5", "last"], of["baseline", "last"]
    assert float(main["BLEU"]) == 100
    assert float(plain["BLEU"]) < 100
    difference = float(main["BLEU_difference_vs_baseline"])
    assert difference == pytest.approx(100 - float(plain["BLEU"]), abs=0.011)
    assert float(main["BLEU_p_vs_baseline"]) < 0.01
    assert float(main["chrF2_p_vs_baseline_time"]) < 0.01
    assert main["BLEU_signature"].startswith("nrefs:1|case:mixed")
    assert "bs:1000" in main["bootstrap_signature"]
    assert main["cpu_seconds"] == "3"
    # of another setting, only what can be compared: not the time of the main one, and the same seed
    assert of["alpha5-every2", "best"]["BLEU_difference_vs_baseline"]
    assert not of["alpha5-every2", "best"]["BLEU_difference_vs_baseline_time"]
    assert not of["alpha0.5", "best"]["BLEU_difference_vs_baseline"]
    assert not plain["BLEU_p_vs_baseline"]

    table = (fake.out / "results.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    (line,) = [row for row in cells if row[:2] == ["alpha5", "1"]]  # no averages here
    best = of["alpha5", "best"]
    assert line[6:9] == [
        *(best["BLEU"], best["chrF2"]),
        f"{best['BLEU_difference_vs_baseline']} ({best['BLEU_p_vs_baseline']})",
    ]
    (mean,) = [row for row in cells if row[:2] == ["baseline", "mean"]]
    assert float(mean[6]) == pytest.approx(float(plain["BLEU"]), abs=0.005)

    before = (fake.out / "results.tsv").read_text()
    script("study", **fake.env, RUNS=settings, MAIN="alpha5")
    assert len(fake.trainings()) == 8  # nothing is done twice
    assert (fake.out / "results.tsv").read_text() == before


def test_long_runs(fake) -> None:
    """They go on from the others, and are compared with each other."""
    runs = "baseline:1 alpha2:1 baseline-long:1 alpha2-long:1"
    script("study", **fake.env, RUNS=runs, MAIN="alpha2")
    calls = fake.trainings()
    assert [option(call, "--max-update") for call in calls] == ["200", "200", "400", "400"]
    assert [option(call, "--rdrop-alpha") for call in calls] == [None, "2", None, "2"]
    for name in ("baseline", "alpha2"):
        folders = [fake.out / "runs" / f"{name}{suffix}.1" for suffix in ("", "-long")]
        first, whole = ((folder / "train.log").read_text() for folder in folders)
        assert whole.startswith(first)
        assert len(whole) > len(first)
    with (fake.out / "results.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    of = {row["setting"]: row for row in rows if row["checkpoint"] == "last"}
    assert of["alpha2-long"]["updates"] == of["baseline-long"]["updates"] == "400"
    assert float(of["alpha2-long"]["BLEU_difference_vs_baseline"]) > 0
    assert not of["baseline-long"]["BLEU_difference_vs_baseline"]
    result = script("study", check=False, **{**fake.env, "RUNS": "alpha3-long:1", "MAIN": "alpha2"})
    assert "alpha3-long:1 needs alpha3:1 earlier in RUNS" in result.stderr


def test_time_of_what_was_killed(fake) -> None:
    """That of fairseq-train is known even then; if it is not, no equal time is claimed."""
    env = {**fake.env, "RUNS": "baseline:1 alpha1:1"}
    fake.fail.write_text("kill -9 $$")
    assert script("study", check=False, **env).returncode == 1
    fake.fail.unlink()
    script("study", **env)
    seconds = fake.out / "runs" / "baseline.1" / "cpu_seconds"
    assert re.fullmatch(r"([0-9.]+ [0-9.]+\n){2}", seconds.read_text())

    result = script("study", check=False, **{**env, "RUNS": "baseline:1 alpha1:1 baseline-time:1"})
    assert "baseline.1 was interrupted, and its time is also that of updates" in result.stderr
    # nothing that a later call would go on from
    assert not (fake.out / "runs" / "baseline-time.1").exists()

    seconds.write_text(seconds.read_text().splitlines()[0] + "\nunknown\n")
    result = script("study", check=False, **{**env, "RUNS": "baseline:1 alpha1:1 baseline-time:1"})
    assert "the time of" in result.stderr.splitlines()[-1]
    assert "baseline.1 is not known, since it was interrupted" in result.stderr
    with (fake.out / "results.tsv").open() as file:
        rows = {row["setting"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert rows["baseline"]["cpu_seconds"] == ""
    assert rows["alpha1"]["cpu_seconds"] != ""

    for changes in ({"UPDATES": "300"}, {"MAIN": "alpha5"}):  # baseline-time is that of another
        result = script("study", check=False, **{**env, **changes})
        assert "made with other settings" in result.stderr.splitlines()[-1]


def test_script_that_is_stopped_when_its_training_ends(fake) -> None:
    """The training has had its last update: fairseq-train, started again, would make one more."""
    env = {**fake.env, "RUNS": "baseline:1"}
    fake.fail.write_text(
        'printf "it | INFO | valid | $valid\\n" "$updates"; '
        'echo "it | INFO | Preparing to save checkpoint for epoch 1 @ $updates updates"; '
        'echo "it | INFO | fairseq_cli.train | done training in 1.0 seconds"; '
        'echo best | tee "$folder/checkpoint_best.pt" >"$folder/checkpoint_last.pt"'
    )
    assert script("study", check=False, **env).returncode == 1
    fake.fail.unlink()
    assert "baseline.1 is trained already, 200 updates" in script("study", **env).stdout
    assert len(fake.trainings()) == 1


def test_study_that_fails_goes_on_later(fake) -> None:
    env = {**fake.env, "RUNS": "baseline:1 alpha1:1"}
    fake.fail.touch()
    result = script("study", check=False, **env)
    assert result.returncode == 1
    *_, cause, error = result.stderr.splitlines()
    assert cause == "the trouble"
    assert re.search(
        r"low_resource/train: fairseq-train failed or was stopped; see .*baseline\.1/train\.log",
        error,
    )
    assert not (fake.out / "results.tsv").exists()
    fake.fail.unlink()
    script("study", **env)
    assert len((fake.out / "results.tsv").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("study", {"RUNS": "baseline:1 alfa5:1"}, "no such setting: alfa5; see --help"),
        ("study", {"RUNS": "baseline"}, "RUNS is a list of SETTING:SEED, got baseline"),
        ("study", {"MAIN": "baseline"}, "MAIN must be a setting of R-Drop, got baseline"),
        ("study", {"RUNS": "baseline-time:1"}, "baseline-time:1 needs baseline:1 earlier in RUNS"),
        ("study", {"RAW_DIR": ""}, "set RAW_DIR to the folder that holds sent.es.gz"),
        ("prepare", {"RAW_DIR": "/none"}, "no such folder: RAW_DIR=/none"),
        ("prepare", {"TEST_SIZE": "0"}, "TEST_SIZE must be a whole number of at least 1, got '0'"),
        ("train", {"RUN": ""}, "RUN must be a name"),
        ("train", {"RUN": "a", "CRITERION": "mle"}, "must be rdrop or baseline, got 'mle'"),
        ("train", {"RUN": "a", "ALPHA": "-1"}, "ALPHA must be a number >= 0, got '-1'"),
        ("train", {"RUN": "a"}, "bin is not there: run prepare.sh first"),
        ("evaluate", {"RUN": "a"}, "a is not there or not finished: run train.sh first"),
    ],
)
def test_wrong_settings(fake, name, changes, message) -> None:
    result = script(name, check=False, **{**fake.env, **changes})
    assert result.returncode == 1
    assert message in result.stderr.splitlines()[-1]
    assert fake.trainings() == []


def test_best_beside_nan(tmp_path) -> None:
    """A validation that gave NaN is not the best one, even if it is the first."""
    run_folder = tmp_path / "runs" / "baseline.1"
    (run_folder / "best").mkdir(parents=True)
    line = 'it | INFO | valid | {"valid_loss": "%s", "valid_ppl": "9", "valid_num_updates": "%s"}\n'
    # of equal ones the last is checkpoint_best.pt
    losses = ("nan", "4.25", "4.25", "nan")
    log = "".join(line % (loss, update) for update, loss in enumerate(losses, start=1))
    (run_folder / "train.log").write_text(log)
    (run_folder / "updates").write_text("4\n")
    (run_folder / "cpu_seconds").write_text("1.5 0.5\n")
    metric = {"score": 1.0, "signature": "x"}
    (run_folder / "best" / "scores.json").write_text(json.dumps({"BLEU": metric, "chrF2": metric}))
    results = [sys.executable, RECIPE / "results.py", "--runs", tmp_path / "runs", "--main", "x"]
    assert "| 4 | 2 | 3 | 4.250 |" in run([*results, "--out", tmp_path / "results.tsv"]).stdout


def test_help() -> None:
    for name in ("prepare", "train", "evaluate", "study"):
        text = script(name, "--help").stdout
        assert "Settings (environment variables):" in text
        assert "default: runs/low_resource" in text
        result = script(name, "more", check=False)
        assert "takes no arguments, got more; see --help" in result.stderr


def test_preprocessing_that_fails_leaves_nothing(tmp_path) -> None:
    """fairseq-preprocess has written its log by then."""
    (tmp_path / "text.es").write_text("uno\n")
    program = "source scripts/recipe/stages.sh; recipe=x; "
    program += f"preprocess {tmp_path}/bin {tmp_path}/log -s es -t en --trainpref {tmp_path}/text"
    result = run(["bash", "-c", program], check=False)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-2:]
    assert "text.en" in last[0]
    assert last[1] == f"x: fairseq-preprocess failed: its last line is above, all in {tmp_path}/log"
    assert {path.name for path in tmp_path.iterdir()} == {"text.es", "log"}


def test_numbers_have_points_in_any_locale() -> None:
    """bash's ``time`` and mawk write commas in some, which the study could not add up."""
    program = "source scripts/recipe/stages.sh; printf '%s\\n' \"$LC_ALL\""
    assert run(["bash", "-c", program], env={"LC_ALL": "de_DE.UTF-8"}).stdout == "C.UTF-8\n"


TRANSLATIONS = {
    "en": """Package: chess3
Description-md5: 1
Description-en: Play chess across  3 boards!
 There are three boards, e.g. One.  It is hard. A second
 sentence ends here.
 .
 This paragraph is whole. The other side has it in one.
  * a list
    that goes on
  * the same

Package: chess3-data
Description-md5: 2
Description-en: Play chess across 3 boards!
 No translation of this paragraph.

Package: other
Description-md5: 3
Description-en: Not translated
""",
    "de": """Package: chess3
Description-md5: 1
Description-de: Schach auf 3 Brettern!
 Es gibt drei Bretter, z.B. Eins. Es ist schwer. Ein zweiter
 Satz endet hier.
 .
 Dieser Absatz ist ganz, die andere Seite hat zwei Sätze.
  * eine Liste, die
    weitergeht
  * the same

Package: chess3-data
Description-md5: 2
Description-de: Schach auf 3 Brettern!

Package: other
Description-md5: 4
Description-de: Von einer anderen Fassung
""",
}


def test_corpus_of_debian(tmp_path) -> None:
    """A made-up sample in the format of Debian's Translation files."""
    files = [tmp_path / "Translation-en.bz2", tmp_path / "Translation-de"]
    files[0].write_bytes(bz2.compress(TRANSLATIONS["en"].encode()))
    files[1].write_text(TRANSLATIONS["de"])
    script = [sys.executable, RECIPE / "debian_corpus.py", "--languages", "en", "de"]
    result = run([*script, "--out", tmp_path / "raw", *files])
    assert result.stdout == f"{tmp_path}/raw: 6 pairs of 1 packages\n"
    assert [lines_of(tmp_path / "raw" / f"sent.{name}.gz") for name in ("en", "de", "pkg")] == [
        [
            "Play chess across 3 boards!",
            "There are three boards, e.g. One.",
            "It is hard.",
            "A second sentence ends here.",
            "This paragraph is whole. The other side has it in one.",
            "a list that goes on",
        ],
        [
            "Schach auf 3 Brettern!",
            "Es gibt drei Bretter, z.B. Eins.",
            "Es ist schwer.",
            "Ein zweiter Satz endet hier.",
            "Dieser Absatz ist ganz, die andere Seite hat zwei Sätze.",
            "eine Liste, die weitergeht",
        ],
        ["chess3"] * 6,
    ]
    before = (tmp_path / "raw" / "sent.en.gz").read_bytes()
    (tmp_path / "short.bz2").write_bytes(files[0].read_bytes()[:50])
    (tmp_path / "another").write_text(TRANSLATIONS["de"].replace("md5: ", "md5: 9"))
    for names, message in (
        (files, "raw is there already: remove it first"),
        ([files[0], tmp_path / "none"], "no such file: .*none"),
        ([tmp_path / "short.bz2", files[1]], "cannot read .*short.bz2: Compressed file ended"),
        (files[::-1], "Translation-de holds no package with a Description-en: is it Debian's"),
        ([files[0], tmp_path / "another"], "no description of .* is translated in .*same release"),
    ):
        out = tmp_path / ("raw" if names is files else "new")
        result = run([*script, "--out", out, *names], check=False)
        assert result.returncode
        assert re.search(message, result.stderr.splitlines()[-1]), result.stderr
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "raw" / "sent.en.gz").read_bytes() == before
