"""scripts/benchmark.py at toy size: every variant runs, and the tables hold what was measured."""

import csv
import json
import sys

import pytest

from ..conftest import ROOT, run

sys.path.insert(0, str(ROOT / "scripts"))
import benchmark  # scripts/benchmark.py

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
def test_a_variant(table, variant) -> None:
    command = [sys.executable, ROOT / "scripts" / "benchmark.py", *table, *TOY, "--steps", "2"]
    output = run([*command, "--size", "8", "40", "--measure", variant]).stdout
    result = json.loads(output.splitlines()[-1])
    assert len(result["times"]) == 2
    assert min(result["times"]) > 0
    assert result["peak"] > 1  # MiB, of a process that has imported torch


def test_tables_and_csv(tmp_path, monkeypatch, capsys) -> None:
    """Ratios by hand: the n-th variant takes n seconds and 100 n MiB."""

    def measured(args, cases):
        return {case: (float(n), 100.0 * n) for n, case in enumerate(cases, start=1)}

    monkeypatch.setattr(benchmark, "measured_in_turns", measured)
    monkeypatch.setattr("rdrop_fairseq.loss.compiled.missing_compiler", lambda device: None)
    monkeypatch.setattr(benchmark.logging, "disable", lambda level: None)
    path = tmp_path / "figures.csv"
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["benchmark.py", *TOY, "--csv", str(path)])
        benchmark.main()
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
