"""rdrop benchmark at toy size: every variant runs, and the tables hold what was measured."""

import csv
import json

import pytest

from rdrop_fairseq.tools import benchmark

TOY = ["--arch", "transformer", "--vocab", "40", "--batch", "2", "--tokens", "4", "--threads", "1"]
# not the compiled ones, for which a compiler works for a minute: tests/loss/test_compiled.py
CASES = [
    (table, variant)
    for table, variants in (
        ([], benchmark.STEP_VARIANTS),
        (["--loss"], benchmark.LOSS_VARIANTS),
        (["--floor"], benchmark.FLOOR_VARIANTS),
    )
    for variant in variants
    if not variant.endswith("compiled")
]


@pytest.mark.parametrize(("table", "variant"), CASES)
def test_a_variant(table, variant, monkeypatch, capsys) -> None:
    monkeypatch.setattr(benchmark.logging, "disable", lambda level: None)
    monkeypatch.setattr("torch.set_num_threads", lambda number: None)  # of the other tests, too
    benchmark.main([*table, *TOY, "--steps", "2", "--size", "8", "40", "--measure", variant])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(result["times"]) == 2
    assert min(result["times"]) > 0
    assert result["peak"] > 1  # MiB, of a process that has imported torch


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "--steps: must be a whole number of at least 1, got 0"),
        (["--batch", "x"], "--batch: must be a whole number of at least 1, got x"),
        (["--csv", "no/a.csv"], "--csv: no such folder to write to: no"),
    ],
)
def test_wrong_input(arguments, message, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(arguments)
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_tables_and_csv(tmp_path, monkeypatch, capsys) -> None:
    """Ratios by hand: the n-th variant takes n seconds and 100 n MiB."""

    def measured(argv, processes, cases):
        return {case: (float(n), 100.0 * n) for n, case in enumerate(cases, start=1)}

    monkeypatch.setattr(benchmark, "measured_in_turns", measured)
    monkeypatch.setattr("rdrop_fairseq.loss.compiled.missing_compiler", lambda device: None)
    monkeypatch.setattr(benchmark.logging, "disable", lambda level: None)
    path = tmp_path / "figures.csv"
    for _ in range(2):
        benchmark.main([*TOY, "--csv", str(path)])
    out = capsys.readouterr().out
    # of fairseq's R-Drop, the third, and of plain cross-entropy doubled, the second
    assert "| ours, linear | 7.00 | 2.33 | 3.50 | 700 | -200 |" in out
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == benchmark.CSV_COLUMNS
    assert len(rows) == 2 * len(benchmark.STEP_VARIANTS)
    linear = dict(zip(header, rows[6], strict=True))
    assert (linear["table"], linear["arch"], linear["variant"]) == (
        "step",
        "transformer",
        "ours, linear",
    )
    assert (linear["rows"], linear["vocabulary"]) == ("8", "40")
    assert (linear["seconds"], linear["peak_mib"]) == ("7.0000", "700")
