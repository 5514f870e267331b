"""scripts/evaluate.sh on a real, if hardly trained, model."""

import json
import re
import sys

from ..conftest import ROOT, run

EVALUATE = ["bash", ROOT / "scripts" / "evaluate.sh"]
SHORT = {"GENERATE_ARGS": "--cpu --max-len-b 15", "BEAM": "2"}


def test_checkpoint_to_scores(data, trained, tmp_path) -> None:
    checkpoint = trained[0] / "checkpoint_last.pt"
    reference = data / "raw.test.en"
    command = [*EVALUATE, data / "bin", checkpoint, "--out", tmp_path, "--reference", reference]
    result = run(command, env=SHORT)
    hypothesis = (tmp_path / "hyp.txt").read_text().splitlines()
    assert len(hypothesis) == 40
    assert not any("▁" in line for line in hypothesis)  # text, not pieces
    assert (tmp_path / "ref.txt").read_text() == reference.read_text()
    # the order of the test set, not of the batches
    log = (tmp_path / "generate.log").read_text()
    assert hypothesis[7] == re.search(r"^H-7\t\S+\t(.*)$", log, re.M)[1]
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores.keys() == {"BLEU", "chrF2", "TER", "settings"}
    assert result.stdout.splitlines()[0] == " ".join(
        f"{name} {values['score']:.2f}" for name, values in scores.items() if name != "settings"
    )
    assert scores["settings"] == {
        **{
            "checkpoints": "1",
            "beam": "2",
            "lenpen": "1.0",
            "generate_args": SHORT["GENERATE_ARGS"],
        }
    }
    assert not list(tmp_path.glob("*.tmp"))
    # the same files give the same scores when given to score.py by hand
    score = [sys.executable, ROOT / "scripts" / "score.py"]
    score += ["--hypothesis", tmp_path / "hyp.txt", "--reference", tmp_path / "ref.txt"]
    assert run(score).stdout == result.stdout


def test_average_and_baseline(data, trained, tmp_path) -> None:
    baseline = tmp_path / "other.txt"
    baseline.write_text("And\n" * 40)
    command = [*EVALUATE, data / "bin", trained[0], "--average", "2", "--out", tmp_path]
    result = run([*command, "--baseline", baseline], env=SHORT)
    assert "average of 2 in" in result.stdout
    assert "paired bootstrap: BLEU" in result.stdout
    # without --reference: the binarised target, detokenised
    expected = (data / "raw.test.en").read_text().splitlines()
    found = (tmp_path / "ref.txt").read_text().splitlines()
    same = [a == b for a, b in zip(expected, found, strict=True) if "<<unk>>" not in b]
    assert len(same) > 20
    assert all(same)


def test_wrong_input(data, trained, tmp_path) -> None:
    checkpoint = trained[0] / "checkpoint_last.pt"
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "test.es-en.es.bin").touch()
    short = tmp_path / "short.txt"
    short.write_text("one line\n")
    broken = tmp_path / "broken.pt"
    broken.write_text("nothing")
    for arguments, message in (
        ([], "expected DATA and CHECKPOINT, got 0 arguments"),
        ([data / "none", checkpoint], "no such data folder: .*none"),
        ([data / "bin", "none.pt"], "no such checkpoint: none.pt"),
        ([data / "bin", trained[0]], "is a folder: name a checkpoint in it, or give --average"),
        ([data / "bin", checkpoint, "--average", "2"], "--average takes a folder"),
        ([data / "bin", trained[0], "--average", "x"], "whole number above 0, got x"),
        ([data / "bin", checkpoint, "--reference", "none"], "no such file: none"),
        ([data / "bin", checkpoint, "--baseline", "none"], "no such file: none"),
        ([data / "bin", checkpoint, "--beam", "4"], "unknown option --beam"),
        ([empty, checkpoint], "the test set in .*empty is empty"),
        ([trained[0], checkpoint], r"holds no test set \(test\.\*\.bin\)"),
        ([data / "bin", broken], r"fairseq-generate failed; see .*generate\.log\.err"),
        ([data / "bin", checkpoint, "--reference", short], "has 1 lines but the hypothesis"),
    ):
        out = tmp_path / "out"
        options = ["--out", out] if arguments else []
        result = run([*EVALUATE, *arguments, *options], env=SHORT, check=False)
        assert result.returncode == 1, arguments
        assert re.search(message, result.stderr.splitlines()[-1]), (message, result.stderr)
        assert not (out / "scores.json").exists()


def test_help() -> None:
    text = run([*EVALUATE, "--help"]).stdout
    for word in ("--average N", "--baseline HYP", "BEAM", "default: 5"):
        assert word in text
