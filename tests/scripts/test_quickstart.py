"""scripts/quickstart.sh, and the corpus that it trains on."""

import gzip
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ..conftest import CORPUS, ROOT, STAND_INS, corpus_lines, run
from ..fork_server import PROGRAMS

QUICKSTART = ["bash", str(ROOT / "scripts" / "quickstart.sh")]


def test_corpus_is_aligned_and_small() -> None:
    for split, size, longest in (("train", 26237, 40), ("valid", 294, 25), ("test", 667, 25)):
        for language in ("en", "es"):
            lines = corpus_lines(split, language)
            assert len(lines) == size
            assert all(3 <= len(line.split()) <= longest for line in lines)
    assert sum(path.stat().st_size for path in CORPUS.glob("*.gz")) < 5e6


@pytest.mark.parametrize("language", ["en", "es"])
def test_nothing_of_test_or_valid_is_trained_on(language) -> None:
    train, valid, test = (
        set(corpus_lines(split, language)) for split in ("train", "valid", "test")
    )
    assert not train & test
    assert not train & valid
    assert not test & valid


def test_whole_books_are_held_out(tmp_path) -> None:
    """build.py, given all books, keeps each in one split: shown on a corpus of its form."""
    books = ["Genesis", "Mark", "Acts", "Ruth", "Jonah", "Daniel", "Esther", "Ecclesiastes"]
    verses = [(f"{book} {n}:1", f"{book} says word {n}") for book in books for n in range(1, 4)]
    for name, lines in (
        ("ids", [verse for verse, _ in verses]),
        ("en", [f"English {text}" for _, text in verses]),
        ("es", [f"Spanish {text}" for _, text in verses]),
    ):
        (tmp_path / name).write_bytes(gzip.compress("".join(f"{x}\n" for x in lines).encode()))
    (tmp_path / "build.py").write_bytes((CORPUS / "build.py").read_bytes())
    run([sys.executable, tmp_path / "build.py", *(tmp_path / n for n in ("ids", "en", "es"))])
    held_out = {"test": {"Acts", "Ruth", "Jonah"}, "valid": {"Daniel", "Esther", "Ecclesiastes"}}
    for split in ("train", "valid", "test"):
        text = gzip.decompress((tmp_path / f"{split}.en.gz").read_bytes()).decode()
        found = {line.split()[1] for line in text.splitlines()}
        assert found == held_out.get(split, {"Genesis", "Mark"})


@pytest.fixture
def quickstart(tmp_path) -> SimpleNamespace:
    """``command`` and ``settings`` of a quick run: with one verse of ten to train on, in an
    environment whose programs start fast."""
    checkout, venv = tmp_path / "checkout", tmp_path / "venv"
    shutil.copytree(ROOT / "scripts", checkout / "scripts")
    for name in ("rdrop_fairseq", "constraints.txt", "setup.py"):
        (checkout / name).symlink_to(ROOT / name)
    for language in ("en", "es"):
        text = "".join(f"{line}\n" for line in corpus_lines("train", language)[::10])
        path = checkout / "scripts" / "quickstart_data" / f"train.{language}.gz"
        path.write_bytes(gzip.compress(text.encode()))
    (venv / "bin").mkdir(parents=True)
    for program in PROGRAMS:
        (venv / "bin" / program).symlink_to(Path(STAND_INS, program))
    rdrop = venv / "bin" / "rdrop"
    rdrop.unlink()
    # an untrained model does not know when to stop
    rdrop.write_text(
        '#!/bin/sh\n[ "$1" != evaluate ] || set -- "$@" --beam 1 -- --max-len-b 5\n'
        f'exec "{STAND_INS}/rdrop" "$@"\n'
    )
    rdrop.chmod(0o755)
    made_of = (ROOT / "constraints.txt").read_bytes() + (ROOT / "setup.py").read_bytes()
    checksum = subprocess.run(["cksum"], input=made_of, capture_output=True, check=True)
    (venv / "rdrop.stamp").write_text(f"{checksum.stdout.decode().strip()} {checkout}\n")
    return SimpleNamespace(
        command=["bash", str(checkout / "scripts" / "quickstart.sh")],
        settings={"VENV": str(venv)},
    )


def interrupt_in(program: str, command: list[str], settings: dict[str, str]) -> tuple[int, str]:
    """Press Ctrl-C while ``program`` is at work, which begins and then waits for ever.

    Returns: exit status and standard error of ``command``.
    """
    real = Path(settings["VENV"], "bin", program)
    real.unlink()
    begun = real.with_name("begun")
    os.mkfifo(begun)
    real.write_text(f'#!/bin/sh\necho >"{begun}"\nexec sleep infinity\n')
    real.chmod(0o755)
    process = subprocess.Popen(
        command,
        env={**os.environ, **settings},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    ended, pipe = os.pidfd_open(process.pid), os.open(begun, os.O_RDWR)
    select.select([pipe, ended], [], [])
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    os.close(ended)
    os.close(pipe)
    real.unlink()
    real.symlink_to(Path(STAND_INS, program))
    return process.returncode, errors


def test_interrupted_then_whole_then_skipped(tmp_path, quickstart) -> None:
    out, settings = tmp_path / "out", quickstart.settings
    command = [*quickstart.command, "--updates", "2", "--alpha", "2", "--out", str(out)]
    status, errors = interrupt_in("fairseq-preprocess", command, settings)
    assert status == 130, errors
    assert "run it again to go on from here" in errors
    assert (out / "text" / "spm.model").is_file()
    assert not list(out.glob("bin*"))

    result = run([*command, "--compare"], env=settings)
    text = result.stdout[result.stdout.index("== Three translations") :]
    assert len(re.findall(r"^ +source: +\S", text, re.M)) == 3
    assert re.search(r"^copying the source: +BLEU \d", text, re.M)
    assert re.search(r"^most frequent sentence: +BLEU \d", text, re.M)
    assert "BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:" in text
    assert "paired bootstrap: BLEU" in text
    assert re.search(r"^train with R-Drop +\d+ s$", text, re.M)
    log = (out / "rdrop" / "run.log").read_text()
    assert "R-Drop: 2 passes, alpha 2," in log
    assert "num_updates 2 " in log
    # what is scored is the held-out text
    reference = (out / "rdrop" / "ref.txt").read_text().splitlines()
    assert reference == corpus_lines("test", "en")

    results = [
        out / name / file
        for name in ("rdrop", "baseline")
        for file in ("run.log", "checkpoint_last.pt", "hyp.txt")
    ]
    written = [path.stat().st_mtime_ns for path in results]
    run([*command, "--compare"], env=settings)
    assert [path.stat().st_mtime_ns for path in results] == written
    other = run([*command, "--seed", "5"], env=settings, check=False)
    assert other.returncode == 1
    assert "rdrop was made with other settings or data: --seed 1 then, 5 now" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--updates", "0"], "--updates must be a whole number above 0, got 0"),
        (["--alpha", "-1"], "--alpha must be a number >= 0, got -1"),
        (["--seed", "x"], "--seed must be a whole number, got x"),
        (["--out"], "--out needs a value"),
        (["--fast"], "unknown argument --fast; see --help"),
    ],
)
def test_wrong_arguments(arguments, message) -> None:
    result = run([*QUICKSTART, *arguments], check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [f"quickstart: {message}"]


@pytest.mark.parametrize("script", ["quickstart", "setup", "test", "test_stack"])
def test_help(script) -> None:
    text = run(["bash", ROOT / "scripts" / f"{script}.sh", "--help"]).stdout
    assert f"bash scripts/{script}.sh" in text
    assert "default: " in text
    assert "set -euo" not in text
