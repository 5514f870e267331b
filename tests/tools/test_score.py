"""rdrop score, against sacrebleu's own command line."""

import json
import re
from pathlib import Path

import pytest
import sacrebleu

from rdrop_fairseq.tools.score import compare, main

from ..conftest import corpus_lines, run


@pytest.fixture
def score(tmp_path, capsys):
    """score(argument, ...): what it prints, and what it writes as JSON."""

    def score(*arguments: object) -> tuple[str, dict]:
        main([*map(str, arguments), "--json", str(tmp_path / "scores.json")])
        return capsys.readouterr().out, json.loads((tmp_path / "scores.json").read_text())

    return score


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


def test_only_newlines_end_a_line(files, score) -> None:
    lines = files["reference"].read_text().splitlines()
    lines[3] += "\r odd \u2028 ones \x85"
    files["reference"].write_bytes(("\n".join(lines) + "\n").encode())
    score(*flags(files, "hypothesis", "reference"))


def test_equals_sacrebleu(files, tmp_path, score) -> None:
    printed, report = score(*flags(files, "hypothesis", "reference", "baseline"))
    sacrebleu = ["sacrebleu", files["reference"], "-m", "bleu", "chrf", "ter"]
    expected = json.loads(run([*sacrebleu, "-w", "10", "-i", files["hypothesis"]]).stdout)
    for metric in expected:
        assert report[metric["name"]]["score"] == pytest.approx(metric["score"])
        assert report[metric["name"]]["signature"] == metric["signature"]
        assert f"{metric['name']}|{metric['signature']}" in printed
    paired = report["paired_bootstrap"]["BLEU"]
    assert paired["hypothesis"] == pytest.approx(report["BLEU"]["score"])
    assert paired["difference"] > 5
    # no resampling has such a difference: (0 + 1) / (1,000 + 1)
    assert paired["p_value"] == pytest.approx(1 / 1001)
    assert not paired["identical"]
    assert "bs:1000|seed:12345" in paired["signature"]
    assert [path.name for path in tmp_path.glob("*.tmp")] == []


def test_systems_that_are_equal(files, score) -> None:
    """p is the share of resamplings that differ as much; no difference is the least there is."""
    command = flags(files, "hypothesis", "reference")
    printed, report = score(*command, "--baseline", files["hypothesis"])
    for name, values in report["paired_bootstrap"].items():
        assert (values["difference"], values["p_value"], values["identical"]) == (0, 1, True)
        found = f"{name} {values['baseline']:.2f}"
        assert re.search(rf"{found} -> \S+ \(identical\), p = 1.0000", printed)
    # two that have learnt nothing, each in its own way
    reference = files["reference"].read_text().splitlines()
    nothing = [["ψ"] * len(reference), ["ω"] * len(reference)]
    for values in compare(*nothing, reference).values():
        assert (values["baseline"], values["hypothesis"], values["p_value"]) == (0, 0, 1)
        assert not values["identical"]


def test_a_perfect_translation_has_100(files, score) -> None:
    """With a byte order mark, lower-cased, by each tokenisation: of the quickstart's test sets."""
    for language in ("en", "es"):
        text = "".join(f"{line}\n" for line in corpus_lines("test", language))
        files["reference"].write_text(text)
        files["hypothesis"].write_text(f"\ufeff{text.lower()}")
        command = [*flags(files, "hypothesis", "reference"), "--lowercase"]
        _, report = score(*command, "--tokenised", language, "--perfect", files["hypothesis"])
        for name in ("BLEU", "chrF2", "tokenised BLEU", "tokenised compound-split BLEU"):
            assert report[name]["score"] == pytest.approx(100, abs=1e-9), name
        assert report["perfect"] == {name: report[name]["score"] for name in report["perfect"]}
        assert report["TER"]["score"] == 0
    files["reference"].write_text("\ufeff他在这里等你。\n")
    files["hypothesis"].write_text("他在这里等你。\n")
    _, report = score(*flags(files, "hypothesis", "reference"), "--language", "zh")
    assert (report["BLEU"]["score"], report["TER"]["score"]) == (pytest.approx(100), 0)


def test_settings_of_the_search(files, tmp_path, score) -> None:
    """They are kept; a baseline that was searched otherwise is pointed out."""
    (tmp_path / "run").mkdir()
    baseline = files["baseline"].rename(tmp_path / "run" / "hyp.txt")
    command = ["--reference", files["reference"]]
    search = ["--setting", "beam=4", "--setting", "lenpen=0.6"]
    _, report = score(*command, "--hypothesis", baseline, *search)
    assert report["settings"] == {"beam": "4", "lenpen": "0.6"}
    (tmp_path / "scores.json").rename(tmp_path / "run" / "scores.json")
    command += ["--hypothesis", files["hypothesis"], "--baseline", baseline]
    for beam, note in (("5", True), ("4", False)):
        printed, _ = score(*command, "--setting", f"beam={beam}")
        assert ("note: the baseline was made with beam '4', here '5'" in printed) == note


def test_tokenised_bleu(files, tmp_path, score) -> None:
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
    command = flags(files, "hypothesis", "reference")
    printed, report = score(*command, "--tokenised", "en")
    # the same of tokens that somebody else made
    own = ["--tokens", tmp_path / "tok.hypothesis", tmp_path / "tok.reference"]
    assert score(*command, *own) == (printed, report)
    for name, split in (("tokenised BLEU", False), ("tokenised compound-split BLEU", True)):
        for side, line in tokens.items():
            text = line.replace("rich-text", "rich ##AT##-##AT## text") if split else line
            (tmp_path / side).write_text(f"{text}\n")
        command = ["sacrebleu", tmp_path / "reference", "-i", tmp_path / "hypothesis"]
        expected = json.loads(run([*command, "--tokenize", "none", "--force", "-w", "10"]).stdout)
        assert report[name]["score"] == pytest.approx(expected["score"])
        assert f"{name} {expected['score']:.2f} (not sacreBLEU)" in printed
    assert report["tokenised BLEU"]["score"] != report["tokenised compound-split BLEU"]["score"]


def test_what_a_perfect_translation_would_score(files, tmp_path, score) -> None:
    perfect = tmp_path / "perfect.txt"
    command = [*flags(files, "hypothesis", "reference"), "--perfect", perfect]
    lines = files["reference"].read_text().splitlines()
    perfect.write_text(files["reference"].read_text())
    assert "a perfect translation" not in score(*command)[0]
    perfect.write_text("".join(f"{line} .\n" for line in lines))
    printed, report = score(*command)
    bleu = sacrebleu.corpus_bleu([f"{line} ." for line in lines], [lines]).score
    assert report["perfect"]["BLEU"] == pytest.approx(bleu)
    assert f"a perfect translation would have BLEU {bleu:.2f} and chrF2" in printed


def test_language_and_case(files, score) -> None:
    files["hypothesis"].write_text("他 在 abc 这里。\n")
    files["reference"].write_text("他在 ABC 那里。\n")
    command = flags(files, "hypothesis", "reference")
    _, report = score(*command, "--language", "zh", "--lowercase")
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
    ("change", "options", "message"),
    [
        ("missing", [], "rdrop score: no such hypothesis file"),
        ("short", [], "has 40 lines but the hypothesis"),
        ("empty", [], "the reference file .* is empty"),
        ("binary", [], "the hypothesis file .*, line 1: byte 0xff at position 1 is not UTF-8"),
        (None, ["--json", "nowhere/x.json"], "--json: no such folder to write to: nowhere"),
        (None, ["--json", "/"], "--json: / is a folder: name a file to write"),
        (
            None,
            ["--tokenised", "zz"],
            "--tokenised: Moses' tokenisation has no rules for zz, but for as, .*en,",
        ),
        (None, ["--language", "xx"], "--language: must be zh, ja or ko, .*, got xx: leave it out"),
    ],
)
def test_wrong_input(files, change, options, message, tmp_path, capsys) -> None:
    if change == "missing":
        files["hypothesis"].unlink()
    elif change == "short":
        files["hypothesis"].write_text("one line\n")
    elif change == "empty":
        files["reference"].write_text("")
        files["hypothesis"].write_text("")
    elif change == "binary":
        files["hypothesis"].write_bytes(b"\xff\n" * 40)
    options = options or ["--json", f"{tmp_path}/x.json"]
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, flags(files, "hypothesis", "reference")), *options])
    said = stopped.value.code
    if said == 2:
        said = capsys.readouterr().err.splitlines()[-1]
    assert re.search(message, said)
    assert "\n" not in said
    assert not (tmp_path / "x.json").exists()
