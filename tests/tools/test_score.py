"""scripts/score.py, against sacrebleu's own command line."""

import json
import re
import sys
from pathlib import Path

import pytest
import sacrebleu

from ..conftest import ROOT, corpus_lines, run

SCORE = [sys.executable, ROOT / "scripts" / "score.py"]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """40 verses as reference; with every fifth word left out, and every third, as systems."""
    reference = corpus_lines("test", "en")[:40]
    texts = {"reference": reference}
    for name, step in (("hypothesis", 5), ("baseline", 3)):
        texts[name] = [
            " ".join(word for i, word in enumerate(line.split(), 1) if i % step)
            for line in reference
        ]
    paths = {}
    for name, lines in texts.items():
        paths[name] = tmp_path / name
        paths[name].write_text("".join(f"{line}\n" for line in lines))
    return paths


def flags(files: dict[str, Path], *names: str) -> list:
    return [part for name in names for part in (f"--{name}", files[name])]


def test_only_newlines_end_a_line(files, tmp_path) -> None:
    lines = files["reference"].read_text().splitlines()
    lines[3] += "\r odd \u2028 ones \x85"
    files["reference"].write_bytes(("\n".join(lines) + "\n").encode())
    run([*SCORE, *flags(files, "hypothesis", "reference")])


def test_equals_sacrebleu(files, tmp_path) -> None:
    command = [*SCORE, *flags(files, "hypothesis", "reference", "baseline")]
    result = run([*command, "--json", tmp_path / "scores.json"])
    report = json.loads((tmp_path / "scores.json").read_text())
    sacrebleu = ["sacrebleu", files["reference"], "-m", "bleu", "chrf", "ter"]
    expected = json.loads(run([*sacrebleu, "-w", "10", "-i", files["hypothesis"]]).stdout)
    for metric in expected:
        assert report[metric["name"]]["score"] == pytest.approx(metric["score"])
        assert report[metric["name"]]["signature"] == metric["signature"]
        assert f"{metric['name']}|{metric['signature']}" in result.stdout
    paired = report["paired_bootstrap"]["BLEU"]
    assert paired["hypothesis"] == pytest.approx(report["BLEU"]["score"])
    assert paired["difference"] > 5
    assert paired["p_value"] < 0.01
    assert "bs:1000|seed:12345" in paired["signature"]
    assert [path.name for path in tmp_path.glob("*.tmp")] == []


def test_settings_of_the_search(files, tmp_path) -> None:
    """They are kept; a baseline that was searched otherwise is pointed out."""
    (tmp_path / "run").mkdir()
    baseline = files["baseline"].rename(tmp_path / "run" / "hyp.txt")
    command = [*SCORE, "--reference", files["reference"]]
    of_baseline = ["--hypothesis", baseline, "--json", tmp_path / "run" / "scores.json"]
    run([*command, *of_baseline, "--setting", "beam=4", "--setting", "lenpen=0.6"])
    report = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert report["settings"] == {"beam": "4", "lenpen": "0.6"}
    command += ["--hypothesis", files["hypothesis"], "--baseline", baseline]
    for beam, note in (("5", True), ("4", False)):
        result = run([*command, "--setting", f"beam={beam}"])
        assert ("note: the baseline was made with beam '4', here '5'" in result.stdout) == note


def test_tokenised_bleu(files, tmp_path) -> None:
    """Against sacrebleu on text that was tokenised and split by hand."""
    sides = {
        "reference": "A rich-text format, don't.",
        "hypothesis": "The rich-text format, don't!",
    }
    tokens = {
        "reference": "A rich-text format , don 't .",
        "hypothesis": "The rich-text format , don 't !",
    }
    for side, line in sides.items():
        files[side].write_text(f"{line}\n")
        (tmp_path / f"tok.{side}").write_text(f"{tokens[side]}\n")
    command = [*SCORE, *flags(files, "hypothesis", "reference"), "--json", tmp_path / "scores.json"]
    result = run([*command, "--tokenised", "en"])
    report = json.loads((tmp_path / "scores.json").read_text())
    # the same of tokens that somebody else made
    own = ["--tokens", tmp_path / "tok.hypothesis", tmp_path / "tok.reference"]
    assert run([*command, *own]).stdout == result.stdout
    for name, split in (("tokenised BLEU", False), ("tokenised compound-split BLEU", True)):
        for side, line in tokens.items():
            text = line.replace("rich-text", "rich ##AT##-##AT## text") if split else line
            (tmp_path / side).write_text(f"{text}\n")
        command = ["sacrebleu", tmp_path / "reference", "-i", tmp_path / "hypothesis"]
        expected = json.loads(run([*command, "--tokenize", "none", "--force", "-w", "10"]).stdout)
        assert report[name]["score"] == pytest.approx(expected["score"])
        assert f"{name} {expected['score']:.2f} (not sacreBLEU)" in result.stdout
    assert report["tokenised BLEU"]["score"] != report["tokenised compound-split BLEU"]["score"]


def test_what_a_perfect_translation_would_score(files, tmp_path) -> None:
    perfect = tmp_path / "perfect.txt"
    command = [*SCORE, *flags(files, "hypothesis", "reference"), "--perfect", perfect]
    lines = files["reference"].read_text().splitlines()
    perfect.write_text(files["reference"].read_text())
    assert "a perfect translation" not in run(command).stdout
    perfect.write_text("".join(f"{line} .\n" for line in lines))
    result = run([*command, "--json", tmp_path / "scores.json"])
    report = json.loads((tmp_path / "scores.json").read_text())
    bleu = sacrebleu.corpus_bleu([f"{line} ." for line in lines], [lines]).score
    assert report["perfect"]["BLEU"] == pytest.approx(bleu)
    assert f"a perfect translation would have BLEU {bleu:.2f} and chrF2" in result.stdout


def test_language_and_case(files, tmp_path) -> None:
    files["hypothesis"].write_text("他 在 abc 这里。\n")
    files["reference"].write_text("他在 ABC 那里。\n")
    command = [*SCORE, *flags(files, "hypothesis", "reference"), "--language", "zh", "--lowercase"]
    run([*command, "--json", tmp_path / "scores.json"])
    report = json.loads((tmp_path / "scores.json").read_text())
    sacrebleu = ["sacrebleu", files["reference"], "-i", files["hypothesis"], "-w", "10"]
    for metric, language in (("bleu", ["-l", "en-zh"]), ("chrf", ["--chrf-lowercase"])):
        flag = ["-lc"] if metric == "bleu" else []
        expected = json.loads(run([*sacrebleu, "-m", metric, *language, *flag]).stdout)
        assert report[expected["name"]]["score"] == pytest.approx(expected["score"])
        assert report[expected["name"]]["signature"] == expected["signature"]
    # of seven characters, two words that are spaced otherwise and one other character
    assert 0 < report["TER"]["score"] < 50
    assert "|asian:yes|" in report["TER"]["signature"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "score: no such hypothesis file"),
        ("short", "has 40 lines but the hypothesis"),
        ("empty", "the reference file .* is empty"),
        ("binary", "is not UTF-8 at byte 0"),
        ("folder", "no such folder to write x.json to: .*nowhere"),
    ],
)
def test_wrong_input(files, change, message, tmp_path) -> None:
    if change == "missing":
        files["hypothesis"].unlink()
    elif change == "short":
        files["hypothesis"].write_text("one line\n")
    elif change == "empty":
        files["reference"].write_text("")
        files["hypothesis"].write_text("")
    elif change == "binary":
        files["hypothesis"].write_bytes(b"\xff\n" * 40)
    folder = tmp_path / "nowhere" if change == "folder" else tmp_path
    command = [*SCORE, *flags(files, "hypothesis", "reference"), "--json", folder / "x.json"]
    result = run(command, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("score: ")
    assert re.search(message, line)
    assert not (tmp_path / "x.json").exists()
