"""scripts/recipe/stages.sh: what every script of a recipe answers."""

import re

import pytest
import torch

from ...conftest import ROOT, run, train

SCRIPTS = [
    path
    for folder in ("scripts", "examples/*")
    for path in sorted(ROOT.glob(f"{folder}/*.sh"))
    if "\nset -euo pipefail\n" in path.read_text()  # others are sourced
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


def stages(program: str, **kwargs):
    """Shell commands that know the functions of stages.sh."""
    text = f"set -euo pipefail; source scripts/recipe/stages.sh; recipe=x; {program}"
    return run(["bash", "-c", text], **kwargs)


TOLD = "fairseq-train has ended after {} updates of 99, as TRAIN_ARGS told it to"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--max-update 3", ""),
        ("--max-epoch 1", TOLD),
        ("--stop-time-hours 1e-9", TOLD),  # of all starts together: it does not go on
    ],
)
def test_how_a_training_has_ended(data, tmp_path, flags, said) -> None:
    """By what the real one logs."""
    few = ["--train-subset", "valid", "--max-tokens", "300", "--disable-validation"]
    result = train(data, tmp_path, *few, *flags.split())
    (tmp_path / "train.log").write_text(result.stdout)
    updates = torch.load(tmp_path / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"]
    wanted = 3 if flags == "--max-update 3" else 99
    marked = stages(f"mark_trained {tmp_path} {wanted}").stdout
    assert said.format(updates) in marked if said else not marked
    again = stages(f"is_trained {tmp_path} {wanted}", check=False).stdout
    assert again.startswith(f"{tmp_path} is trained already, {updates} updates")
    # a script that was stopped in between has not marked it
    (tmp_path / "updates").unlink()
    assert stages(f"is_trained {tmp_path} {updates}").stdout.endswith(
        f", {updates} updates (to train anew, remove that folder)\n"
    )
    # it goes on, and is killed
    (tmp_path / "updates").unlink()
    with (tmp_path / "train.log").open("a") as log:
        log.write("x | INFO | fairseq_cli.train | task: TranslationTask\n")
    assert stages(f"updates_at_end {tmp_path}").stdout == "0\n"
    assert not stages(f"is_trained {tmp_path} {updates}", check=False).stdout


def test_a_training_that_has_saved_nothing(tmp_path) -> None:
    (tmp_path / "train.log").write_text("x | fairseq_cli.train | done training in 1.0 seconds\n")
    assert stages(f"updates_at_end {tmp_path}").stdout == "0\n"


def test_settings_bind_what_follows_from_what_is_gone(tmp_path) -> None:
    """Of a stage's product and the later ones any is enough."""
    settings, first, later = (tmp_path / name for name in ("settings", "first", "later"))
    keep = f"keep_settings_of {settings} {{}} 'remove it' {first} {later}"
    stages(keep.format("A=1"))
    stages(keep.format("A=2"))  # nothing is made yet
    later.touch()
    assert stages(keep.format("A=1"), check=False).stderr == (
        f"x: {tmp_path} was made with other settings (< then, > now): < A=2 > A=1; remove it\n"
    )
    assert settings.read_text() == "A=2\n"
    stages(keep.format("A=2"))


def test_preprocess_replaces_what_an_error_has_left(tmp_path) -> None:
    program = tmp_path / "fairseq-preprocess"
    program.write_text('#!/usr/bin/env bash\nmkdir -p "$2"\necho "$3" >"$2/train.bin"\n')
    program.chmod(0o755)
    for content in ("old", "new"):
        stages(f"PATH={tmp_path}:$PATH; preprocess {tmp_path}/bin {tmp_path}/log {content}")
    assert (tmp_path / "bin" / "train.bin").read_text() == "new\n"
    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["train.bin"]


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ("1.5 0.25\n", "1.750"),
        ("1.5 0.25\n2 0\n", "was interrupted, and its time is also that of updates made twice"),
        ("unknown\n", "is not known, since it was interrupted"),
    ],
)
def test_seconds_in_one_go(tmp_path, lines, answer) -> None:
    (tmp_path / "cpu_seconds").write_text(lines)
    result = stages(f"seconds_in_one_go {tmp_path}", check=False)
    assert answer in result.stdout + result.stderr
    assert result.returncode == (0 if answer == "1.750" else 1)
