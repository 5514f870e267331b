"""scripts/recipe/stages.sh: what every script of a recipe answers."""

import re

import pytest

from ...conftest import ROOT, run

SCRIPTS = [
    path
    for folder in ("scripts", "examples/*")
    for path in sorted(ROOT.glob(f"{folder}/*.sh"))
    if "settings" not in path.name
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_help_is_the_header_and_names_every_setting(script, tmp_path) -> None:
    """From any folder, and without fairseq; also the settings that a file of recipe/ reads."""
    text = script.read_text()
    result = run(["bash", script, "--help"], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"})
    lines = text.split("\n")
    header = lines[1 : lines.index("set -euo pipefail")]
    assert result.stdout == "".join(f"{line[2:]}\n" for line in header)
    for sourced in re.findall(r'source "\$root/(scripts/recipe/\w+.sh)"', text):
        text += (ROOT / sourced).read_text()
    settings = set(re.findall(r"\b([A-Z][A-Z_0-9]+)=\$\{\1:-", text))
    assert settings <= set(re.findall(r"[A-Z][A-Z_0-9]+", result.stdout))


def test_help_beside_other_arguments() -> None:
    script = ROOT / "examples" / "wmt14" / "train.sh"
    result = run(["bash", script, "en-de", "--help"])
    assert result.stdout.startswith("Trains a big Transformer on WMT14 with R-Drop")


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("BPE=moses; require_choice BPE sentencepiece moses", ""),
        (
            "BPE=x; require_choice BPE sentencepiece moses",
            "BPE must be sentencepiece or moses, got 'x'",
        ),
        ("CPU=; require_choice CPU 0 1", "CPU must be 0 or 1, got ''"),
        ("A=1; B=0; require_positive A B", "B must be a whole number of at least 1, got '0'"),
        ("A=.5; require_decimal A", ""),
        ("A=1e-3; require_decimal A", "A must be a number >= 0, got '1e-3'"),
    ],
)
def test_checks(check, message) -> None:
    program = f"set -euo pipefail; source scripts/recipe/stages.sh; recipe=x; {check}"
    result = run(["bash", "-c", program], check=False)
    assert result.stderr == (f"x: {message}\n" if message else "")
    assert result.returncode == (1 if message else 0)
