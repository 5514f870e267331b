"""scripts/recipe.sh: what every script of a recipe answers."""

import re

import pytest

from ..conftest import ROOT, run

SCRIPTS = [
    path
    for pattern in ("scripts/*.sh", "examples/*/*.sh")
    for path in sorted(ROOT.glob(pattern))
    if path.read_text().startswith("#!")
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_help_is_the_header_and_names_every_setting(script, tmp_path) -> None:
    """From any folder, and without fairseq; also beside other arguments."""
    lines = script.read_text().split("\n")
    arguments = ["--help"] if script.parent.name == "scripts" else ["de-en", "--help"]
    result = run(["bash", script, *arguments], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"})
    header = lines[1 : lines.index("set -euo pipefail")]
    assert result.stdout == "".join(f"{line[2:]}\n" for line in header)
    settings = set(re.findall(r"\b([A-Z][A-Z_0-9]+)=\$\{\1:-", "\n".join(lines)))
    shown = {"OMP_NUM_THREADS", *re.findall(r"[A-Z][A-Z_0-9]+", result.stdout)}
    assert settings <= shown


@pytest.mark.parametrize("name", ["train.sh", "prepare.sh", "evaluate.sh"])
def test_no_flag_of_fairseq_is_out_of_sight(name) -> None:
    """Each script sources recipe.sh and at most one file of its own folder, without a flag."""
    for script in ROOT.glob(f"examples/*/{name}"):
        sourced = re.findall(r'^source "(.+)"$', script.read_text(), re.MULTILINE)
        assert sourced[0] == '$(dirname "$0")/../../scripts/recipe.sh'
        assert len(sourced) <= 2
        for other in sourced[1:]:
            text = (script.parent / other.removeprefix("$here/")).read_text()
            code = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
            assert not re.search(r"(?<![\w-])--(?!help|small|dry-run)[a-z]", code), other


def recipe(program: str, *arguments: str):
    text = f"set -euo pipefail; source {ROOT}/scripts/recipe.sh; {program}"
    return run(["bash", "-c", text, ROOT / "examples" / "y.sh", *arguments], check=False)


def test_arguments() -> None:
    """Names come first; what is no setting goes on to the last command."""
    program = 'echo "${names[*]}|${small[*]}|${dry[*]}|${flags[*]}"'
    result = recipe(program, "de-en", "--lr", "1e-3", "--small", "b", "--dry-run")
    assert result.stdout == "de-en|--small|--dry-run|--lr 1e-3 b\n"
    assert "unknown argument --lr; see --help" in recipe("no_flags", "--lr").stderr
    assert recipe("no_flags", "de-en").returncode == 0


def test_require_choice() -> None:
    program = "BPE=x; require_choice BPE sentencepiece moses"
    assert "BPE must be sentencepiece or moses, got 'x'" in recipe(program).stderr
    assert recipe("BPE=moses; require_choice BPE sentencepiece moses").returncode == 0


def test_without_rdrop() -> None:
    command = ["bash", ROOT / "examples" / "wmt14" / "train.sh", "en-de"]
    result = run(command, env={"PATH": "/usr/bin:/bin"}, check=False)
    assert result.stderr.endswith(
        "rdrop is not on PATH: run '. .venv/bin/activate' (scripts/setup.sh makes it)\n"
    )
