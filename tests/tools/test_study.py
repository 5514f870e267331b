"""rdrop study, with programs that only note what they were given."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.state import State
from rdrop_fairseq.tools.study import main

# An update takes PACE seconds of CPU time. A checkpoint has the run that made it
TRAIN = """
[ ! -e "$OUT/fail" ] || { echo "the trouble"; exit 3; }
[ -z "$TOGETHER" ] || { touch "$OUT/$RUN.begun"; until [ -e "$OUT/$TOGETHER.begun" ]; do :; done; }
mkdir -p "$OUT/$RUN"
echo "train $RUN $SEED $UPDATES ALPHA=$ALPHA $*" >>"$OUT/calls"
if grep -qs "updates.: $UPDATES," "$OUT/$RUN/run.json"; then exit; fi
cat >"$OUT/$RUN/run.json" <<END
{"updates": $UPDATES, "starts": [{"status": 0, "cpu_seconds": $((UPDATES * PACE))}]}
END
echo "$RUN" >>"$OUT/$RUN/checkpoint_last.pt"
"""
SCORE = """
echo "score $RUN $UNTIL" >>"$OUT/calls"
mkdir -p "$OUT/$RUN/best"
echo '{"accuracy": '"9$SEED"'}' >"$OUT/$RUN/best/scores.json"
"""
STUDY = """
[study]
OUT = elsewhere
PACE = 2
UPDATES = 100
prepare = sh "${here}/prepare.sh"
train = sh "${here}/train.sh"
    --fast
score = sh "${here}/score.sh"
curve = sh "${here}/score.sh"
runs = ${OUT}
seeds = 1 2

[baseline]

[alpha3]
ALPHA = 3
PACE = 5
flags = --passes 3
points = 50 100 150
against = baseline

[alpha3-long]
from = alpha3
UPDATES = 200
points =
seeds = 1

[baseline-time]
like = baseline
time = alpha3
flags = --again
seeds = 2
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Runs a study in a folder with a blank in its name; gives the new calls of its programs."""
    folder, out = tmp_path / "a folder", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    scripts = {"train": TRAIN, "score": SCORE, "prepare": 'echo prepare >>"$OUT/calls"'}
    for name, script in scripts.items():
        (folder / f"{name}.sh").write_text(script)
    for name in ("RUN", "SEED", "UPDATES", "ALPHA", "PACE", "TOGETHER", "UNTIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OUT", str(out))  # before what the file says

    def study(*flags: str, text: str = STUDY) -> list[str]:
        (folder / "study.ini").write_text(text)
        (out / "calls").write_text("")
        main([str(folder / "study.ini"), *flags])
        return (out / "calls").read_text().splitlines()

    return study


def test_a_study(study, tmp_path, capsys) -> None:
    """Seed by seed in the order of the file; what a setting says, and what it takes of others."""
    out = tmp_path / "out"
    assert study() == [
        "prepare",
        "train baseline.1 1 100 ALPHA= --fast",
        "score baseline.1 ",
        "train alpha3.1 1 100 ALPHA=3 --fast --passes 3",
        *("score alpha3.1 ", "score alpha3.1 50", "score alpha3.1 100"),  # it has no update 150
        "train alpha3-long.1 1 200 ALPHA=3 --fast --passes 3",
        "score alpha3-long.1 ",
        "train baseline.2 2 100 ALPHA= --fast",
        "score baseline.2 ",
        "train alpha3.2 2 100 ALPHA=3 --fast --passes 3",
        *("score alpha3.2 ", "score alpha3.2 50", "score alpha3.2 100"),
        # 100 updates at 5 s are 500 s, which are 250 updates at 2 s
        "train baseline-time.2 2 250 ALPHA= --fast --again",
        "score baseline-time.2 ",
    ]
    made_by = (out / "alpha3-long.1" / "checkpoint_last.pt").read_text().split()
    assert made_by == ["alpha3.1", "alpha3-long.1"]
    assert (out / "alpha3.1" / "checkpoint_last.pt").read_text().split() == ["alpha3.1"]
    # accuracies of 91 and 92: see test_compare.py
    assert "| best | alpha3 | mean | 100 | 500 |  | 91.50 |" in capsys.readouterr().out
    assert (
        "\t".join(["best", "alpha3", "baseline", "1", "+0.00"])
        in (out / "differences.tsv").read_text().splitlines()
    )

    # again: only train, which knows by itself what is done
    assert [call for call in study() if not call.startswith("train")] == ["prepare"]
    assert study("--tables") == []
    # a run that has gone on is scored anew
    longer = study("--only", "baseline.1", text=STUDY.replace("UPDATES = 100", "UPDATES = 300"))
    assert longer[1:] == ["train baseline.1 1 300 ALPHA= --fast", "score baseline.1 "]


def test_dry_run(study, tmp_path, capsys) -> None:
    assert study("--dry-run", "--only", "alpha3-long.1", "baseline-time.2") == []
    folder, out = tmp_path / "a folder", tmp_path / "out"
    assert capsys.readouterr().out.splitlines() == [
        f"OUT={out} PACE=2 UPDATES=100 sh '{folder}/prepare.sh'",
        "# alpha3-long.1 goes on from a copy of alpha3.1",
        f"UPDATES=200 ALPHA=3 PACE=5 OUT={out} RUN=alpha3-long.1 SEED=1 sh '{folder}/train.sh' "
        "--fast --passes 3",
        f"UPDATES=200 ALPHA=3 PACE=5 OUT={out} RUN=alpha3-long.1 SEED=1 sh '{folder}/score.sh'",
        *(
            f"OUT={out} PACE=2 UPDATES='<at the pace of baseline.2, in the CPU time of alpha3.2>' "
            f"RUN=baseline-time.2 SEED=2 sh '{folder}/{rest}"
            for rest in ("train.sh' --fast --again", "score.sh'")
        ),
    ]


def test_order_is_what_matters_first(study) -> None:
    order = "order =\n    alpha3 baseline\n    baseline-time\n\n[baseline]"
    calls = study("--dry-run", text=STUDY.replace("[baseline]", order, 1))
    assert calls == []
    calls = study(text=STUDY.replace("[baseline]", order, 1))
    runs = [call.split()[1] for call in calls if call.startswith("train")]
    assert runs == ["alpha3.1", "baseline.1", "alpha3.2", "baseline.2", "baseline-time.2"]


def test_two_at_a_time(study) -> None:
    """Each of the first two ends only once the other has begun; the third needs both."""
    text = STUDY.replace("[baseline]", "TOGETHER = alpha3.2\n[baseline]", 1)
    text = text.replace("[alpha3]", "[alpha3]\nTOGETHER = baseline.2")
    text = text.replace("[baseline-time]", "[baseline-time]\nTOGETHER =")
    calls = study("--jobs", "2", "--only", "baseline.2", "alpha3.2", "baseline-time.2", text=text)
    runs = [call.split()[1] for call in calls if call.startswith("train")]
    assert set(runs[:2]) == {"alpha3.2", "baseline.2"}
    assert runs[2:] == ["baseline-time.2"]


def test_what_fails_goes_on_later(study, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    (out / "fail").touch()
    with pytest.raises(
        UsageError, match=r"^rdrop study: sh .*train\.sh.* failed for baseline\.1; "
    ):
        study()
    assert "the trouble" in capsys.readouterr().err
    assert (out / "baseline.1.log").read_text() == "the trouble\n"
    (out / "fail").unlink()
    assert len(study()) == 17


def test_time_of_what_was_interrupted(study, tmp_path) -> None:
    """It is also that of updates made twice: no equal time is claimed."""
    study("--only", "baseline.2", "alpha3.2")
    state = State(tmp_path / "out" / "alpha3.2")
    state.starts.insert(0, {"status": 1, "cpu_seconds": 7})
    state.save()
    with pytest.raises(UsageError, match=r"the time of .*alpha3\.2 is not known, since it was int"):
        study("--only", "baseline-time.2")
    assert not (tmp_path / "out" / "baseline-time.2").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('train = sh "${here}/train.sh"\n    --fast', "", "must have train in [study], and sett"),
        ("train = ", "exercise = ", "[study] has exercise: expected one of "),
        ("flags = --again", "flag = --again", "[baseline-time] has flag: expected one of "),
        ("from = alpha3", "from = alpha5", "[alpha3-long] names alpha5, but no [alpha5] is above"),
        ("like = baseline", "", "[baseline-time] has a time: like or from must say at whose pace"),
        ("seeds = 1 2", "seeds = 1,2", "seeds of [study] must be whole numbers, got '1,2'"),
        ("[baseline-time]", "[base time]", "letters, digits, dots, dashes, got base time"),
        ("seeds = 1 2", "order = alpha7", "order names alpha7, but there is no such section"),
        ("seeds = 1 2", "order = alpha3-long", "alpha3-long.1 needs alpha3.1 earlier in order"),
        ("${OUT}", "${OUTPUT}", "'${OUTPUT}'"),
        ("UPDATES = 100", "UPDATES", "parsing errors"),
    ],
)
def test_wrong_files(study, old, new, message) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        study(text=STUDY.replace(old, new, 1))
    assert str(error.value).startswith("rdrop study: ")
    assert "study.ini" in str(error.value)


def test_wrong_runs(study) -> None:
    with pytest.raises(UsageError, match=r"study\.ini has no run alpha3\.7: --dry-run shows them"):
        study("--only", "alpha3.7")
    with pytest.raises(UsageError, match=r"alpha3-long\.1 needs alpha3\.1, which is not trained"):
        study("--only", "alpha3-long.1")
    with pytest.raises(UsageError, match="holds no scored run"):
        study("--tables")


def test_marks_are_in_run_json(study, tmp_path) -> None:
    """What is scored is known by the command; the training's own content stays."""
    study("--only", "baseline.1")
    content = json.loads((tmp_path / "out" / "baseline.1" / "run.json").read_text())
    (command,) = content["scored"]
    assert "RUN=baseline.1" in command
    assert content["scored"][command] == content["updates"] == 100
