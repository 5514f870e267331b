"""rdrop compare: tables of scores that are worked out by hand."""

import json
import re
from pathlib import Path

import numpy
import pytest

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.compare import main

VALID = '| valid | {"epoch": 1, "valid_loss": "%s", "valid_ppl": "9", "valid_num_updates": "%d"}\n'
SIMPLE = "| epoch 001 | valid on 'valid' subset | loss %s | nll_loss 4 | ppl 9 | num_updates %d\n"


def make_run(folder: Path, updates: int = 100, seconds: float = 50, log: str = "") -> Path:
    folder.mkdir(parents=True)
    starts = [{"status": 0, "cpu_seconds": seconds}]
    (folder / "run.json").write_text(json.dumps({"updates": updates, "starts": starts}))
    (folder / "run.log").write_text(log)
    return folder


def score(folder: Path, content: object, examples: str = "", name: str = "examples.tsv") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text(json.dumps(content))
    if examples:
        (folder / name).write_text(examples.replace(" ", "\t"))


def accuracies(folder: Path, right: list[int]) -> None:
    """A run that has classified these examples right (1) or not (0)."""
    make_run(folder)
    lines = ["image accuracy", *(f"{i}.png {100 * value}" for i, value in enumerate(right))]
    score(folder, {"accuracy": 100 * numpy.mean(right)}, "\n".join(lines) + "\n")


def tables(folder: Path, *pairs: tuple[str, str]) -> dict[str, list[list[str]]]:
    """The cells of the files that are written, without their heads."""
    main([str(folder), *(word for pair in pairs for word in ("--pair", *pair))])
    return {
        name: [line.split("\t") for line in (folder / f"{name}.tsv").read_text().splitlines()][1:]
        for name in ("results", "differences", "curves")
    }


def test_seeds_and_paired_differences(tmp_path, capsys) -> None:
    """By hand: +25 and +75 points; their deviation is 35.36, and t with one degree 12.706."""
    accuracies(tmp_path / "alpha1.1", [1, 0, 1, 1])
    accuracies(tmp_path / "alpha1.2", [1, 1, 1, 1])
    accuracies(tmp_path / "baseline.1", [0, 0, 1, 1])
    accuracies(tmp_path / "baseline.2", [0, 0, 0, 1])
    accuracies(tmp_path / "alpha4.2", [0, 0, 0, 1])
    found = tables(tmp_path, ("alpha1", "baseline"), ("alpha4", "baseline"), ("alpha7", "baseline"))
    assert found["results"][:3] == [  # baselines first
        ["", "baseline", "1", "100", "50", "", "50.00"],
        ["", "baseline", "2", "100", "50", "", "25.00"],
        ["", "alpha1", "1", "100", "50", "", "75.00"],
    ]
    one, two, both, same = found["differences"]
    # of one image in four, the sum of four draws is 0 in 32% of resamples and 3 or more in 5%
    assert one == ["", "alpha1", "baseline", "1", "+25.00 [+0.00, +75.00]"]
    assert two == ["", "alpha1", "baseline", "2", "+75.00 [+25.00, +100.00]"]
    value, low, high = map(float, re.findall(r"[-+][\d.]+", both[4]))
    half = 12.7062 * 35.3553 / 2**0.5
    assert (value, low, high) == pytest.approx((50, 50 - half, 50 + half), abs=0.006)
    assert same == ["", "alpha4", "baseline", "2", "identical"]
    shown = capsys.readouterr().out
    assert shown == (tmp_path / "results.md").read_text()
    # of 50 and 25: deviation 25 / sqrt(2)
    for row in (
        "mean | 100 | 50 |  | 37.50",
        "stdev | 0 | 0 |  | 17.68",
        "median | 100 | 50 |  | 37",
    ):
        assert f"|  | baseline | {row}" in shown
    assert "| alpha4 | mean |" not in shown  # one seed


def test_identical_with_all_seeds(tmp_path) -> None:
    for seed in (1, 2):
        accuracies(tmp_path / f"alpha1.{seed}", [1, 0])
        accuracies(tmp_path / f"baseline.{seed}", [1, 0])
    found = tables(tmp_path, ("alpha1", "baseline"))["differences"]
    assert [row[3:] for row in found] == [[seed, "identical"] for seed in ("1", "2", "all")]


def test_f1_by_counts(tmp_path) -> None:
    """F1 of 3 of 4 and 4 is 75, of 2 of 4 and 2 is 66.67. All that differs is one sentence."""
    head = "sentence|F1 true|F1 predicted|F1 correct"
    counts = {"baseline": ("1 1 1", "3 1 1"), "alpha1": ("1 1 1", "3 3 2")}
    for setting, (first, second) in counts.items():
        run = make_run(tmp_path / f"{setting}.1")
        rows = [f"{i}|{row.replace(' ', '|')}" for i, row in enumerate((first, second))]
        score(run, {"test": {"F1": 75.0 if setting == "alpha1" else 66.67}})
        text = "\n".join([head, *rows]) + "\n"
        (run / "test.examples.tsv").write_text(text.replace("|", "\t"))
    ((scored, *_, cell),) = tables(tmp_path, ("alpha1", "baseline"))["differences"]
    assert scored == "test"
    # the first sentence twice: both have 100; the second twice: 200 * 2 / 6 and 200 * 1 / 4
    assert cell == "+8.33 [+0.00, +16.67]"


def test_translations(tmp_path) -> None:
    """sacrebleu's paired bootstrap, of BLEU and chrF2; what it has not is without a p-value."""
    reference = ["the cat sat on the mat today", "a dog ran in the park at noon"] * 4
    worse = [line.rpartition(" ")[0] for line in reference]
    texts = {"alpha1.1": reference, "baseline.1": worse, "alpha2.1": worse}
    for name, lines in texts.items():
        run = make_run(tmp_path / name)
        score(run / "best", {"BLEU": {"score": 50.0, "signature": "x"}, "TER": {"score": 9}})
        for file, text in (("hyp", lines), ("ref", reference)):
            (run / "best" / f"{file}.txt").write_text("\n".join(text) + "\n")
    better, same = tables(tmp_path, ("alpha1", "baseline"), ("alpha2", "baseline"))["differences"]
    assert better[:4] == ["best", "alpha1", "baseline", "1"]
    # all words are right, one in seven or eight is missing: exp(1 - 60/52) of 100 is left
    expected = 100 - 100 * numpy.exp(1 - 60 / 52)
    assert float(better[4].split()[0]) == pytest.approx(expected, abs=0.006)
    assert better[4].endswith("(p 0.0010)")
    assert better[5] == "+0.00"
    assert same[4:] == ["identical", "+0.00"]
    (tmp_path / "alpha2.1" / "best" / "ref.txt").write_text("other\n" * 8)
    with pytest.raises(UsageError, match="were scored on different examples"):
        tables(tmp_path, ("alpha2", "baseline"))


def test_examples_must_be_the_same(tmp_path) -> None:
    accuracies(tmp_path / "alpha1.1", [1, 0])
    accuracies(tmp_path / "baseline.1", [1, 0, 0])
    with pytest.raises(
        UsageError, match=r"alpha1\.1 and .*baseline\.1 were scored on different ex"
    ):
        tables(tmp_path, ("alpha1", "baseline"))


def test_curves_and_losses(tmp_path) -> None:
    """Losses of both kinds of log, points of untilN with their share of the time."""
    log = VALID % ("nan", 25) + VALID % ("5.5", 50) + VALID % ("5.25", 100)
    run = make_run(tmp_path / "alpha1.1", updates=200, seconds=50, log=log)
    for update in (50, 150):
        score(run / f"until{update}", {"BLEU": {"score": update / 10}, "perfect": {"BLEU": 100}})
    score(run / "average", {"BLEU": {"score": 30.0}})
    run = make_run(tmp_path / "baseline.1", updates=100, seconds=50, log=SIMPLE % ("6.125", 100))
    score(run / "until100", {"BLEU": 12})
    score(run / "average", {"BLEU": 12})
    found = tables(tmp_path, ("alpha1", "baseline"), ("alpha1/until150", "baseline/until100"))
    assert found["curves"] == [
        ["baseline", "1", "100", "50", "6.125", "12.00"],
        ["alpha1", "1", "50", "12", "5.500", "5.00"],
        ["alpha1", "1", "100", "25", "5.250", ""],
        ["alpha1", "1", "150", "38", "", "15.00"],
    ]
    assert found["results"] == [
        ["average", "baseline", "1", "100", "50", "6.125", "12.00"],
        ["average", "alpha1", "1", "200", "50", "5.250", "30.00"],
    ]
    assert found["differences"] == [
        ["average", "alpha1", "baseline", "1", "+18.00"],
        ["until150", "alpha1", "baseline/until100", "1", "+3.00"],
    ]
    # a curve of its own, as of a program that is not fairseq
    (tmp_path / "baseline.1" / "curve.tsv").write_text("update\tcpu_seconds\tloss\n7\t1.5\t0.25\n")
    assert ["baseline", "1", "7", "1.5", "0.25", "", ""] in tables(tmp_path)["curves"]


def test_interrupted_runs_have_no_time(tmp_path) -> None:
    accuracies(tmp_path / "alpha1.1", [1])
    content = {"updates": 9, "starts": [{"status": 1}, {"status": 0, "cpu_seconds": 3}]}
    (tmp_path / "alpha1.1" / "run.json").write_text(json.dumps(content))
    assert tables(tmp_path)["results"] == [["", "alpha1", "1", "9", "", "", "100.00"]]


def test_nothing_to_compare(tmp_path) -> None:
    make_run(tmp_path / "alpha1.1")
    with pytest.raises(UsageError, match=r"holds no scored run: SETTING\.SEED with run\.json and"):
        main([str(tmp_path)])
