"""rdrop run: folders that know what they were made with."""

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.run import locked, main, printed, updates_at_end
from rdrop_fairseq.tools.state import State

from ..conftest import BIN, ROOT, train

# what fairseq-train logs where it begins, saves, and ends; it also says what it was given
FAKE = """#!/bin/sh
echo "$@" >>"$CALLS"
echo "x | INFO | fairseq_cli.train | task: TranslationTask"
touch "$SAVED/checkpoint_last.pt" 2>/dev/null
echo "x | INFO | fairseq.checkpoint_utils | Saved checkpoint (epoch 1 @ ${UPDATES:-5} updates)"
[ -z "$STATUS" ] || exit "$STATUS"
echo "x | INFO | fairseq_cli.train | done training in 1.0 seconds"
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A fairseq-train and a torchrun that log what the real one would. Gives their calls."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("fairseq-train", "torchrun"):
        (programs / name).write_text(FAKE)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{BIN}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("SAVED", str(tmp_path / "run"))
    for name in ("NGPU", "NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "UPDATES", "STATUS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dict.en.txt").write_text("the 7\n")

    def calls() -> list[str]:
        path = tmp_path / "calls"
        return path.read_text().splitlines() if path.exists() else []

    return calls


def rdrop_run(tmp_path: Path, *flags: str, own: tuple[str, ...] = ()) -> None:
    data = tmp_path / "data"
    own = ("--folder", str(tmp_path / "run"), "--inputs", str(data), "--small", *own)
    main([*own, "--", "fairseq-train", str(data), "--max-tokens", "100", *flags])


def test_run_json_has_what_a_run_was_made_with(fake, tmp_path, capsys) -> None:
    rdrop_run(tmp_path, "--max-update", "5", "--lr", "0.1", "--adam-betas", "(0.9, 0.98)")
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    assert content["settings"]["--lr"] == "0.1"
    assert (content["updates"], content["ended_early"]) == (5, False)
    assert content["inputs"]["data"]["sha256"]
    (start,) = content["starts"]
    assert start["status"] == 0
    assert 0 <= start["cpu_seconds"] < 60
    assert start["versions"]["torch"] == importlib.metadata.version("torch")
    # what it prints can be copied: a shell takes it apart into what fairseq-train was given
    command = capsys.readouterr().out.partition("\n# its log")[0]
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert words[0] == "fairseq-train"
    assert "(0.9, 0.98)" in words
    assert fake() == [" ".join(words[1:])]
    assert (tmp_path / "run" / "dict.en.txt").read_text() == "the 7\n"


def test_goes_on_until_the_last_update_and_no_further(fake, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("STATUS", "3")
    with pytest.raises(SystemExit) as stopped:
        rdrop_run(tmp_path, "--max-update", "5")
    assert stopped.value.code == 3
    assert "stopped before the last update; running this again goes on" in capsys.readouterr().out
    monkeypatch.delenv("STATUS")
    rdrop_run(tmp_path, "--max-update", "5")
    rdrop_run(tmp_path, "--max-update", "5")
    assert len(fake()) == 2
    assert "is trained already, 5 updates" in capsys.readouterr().out
    monkeypatch.setenv("UPDATES", "9")
    rdrop_run(tmp_path, "--max-update", "9", "--log-interval", "7")
    state = State(tmp_path / "run")
    assert (len(fake()), state.updates, len(state.starts)) == (3, 9, 3)


def test_ends_early_as_it_was_told(fake, tmp_path, capsys) -> None:
    """--max-epoch, --patience and the like: not started again."""
    rdrop_run(tmp_path, "--max-update", "100", "--patience", "1")
    assert "has ended after 5 updates of 100, as it was told" in capsys.readouterr().out
    rdrop_run(tmp_path, "--max-update", "100", "--patience", "1")
    assert len(fake()) == 1


def test_other_settings_are_refused_once_something_is_made(fake, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SAVED", "/nowhere")
    monkeypatch.setenv("STATUS", "2")
    (tmp_path / "data" / "dict.en.txt").rename(tmp_path / "data" / "other.txt")
    with pytest.raises(SystemExit):
        rdrop_run(tmp_path, "--lr", "O.1")  # which fairseq would refuse
    monkeypatch.setenv("SAVED", str(tmp_path / "run"))
    with pytest.raises(SystemExit):
        rdrop_run(tmp_path, "--lr", "0.1")
    with pytest.raises(UsageError) as refused:
        rdrop_run(tmp_path, "--lr", "0.2", "--clip-norm", "1")
    assert str(refused.value) == (
        f"rdrop run: {tmp_path}/run was made with other settings or data: --clip-norm not given "
        "then, 1 now; --lr 0.1 then, 0.2 now. Name another folder, or remove that one and what was "
        "made from it"
    )
    assert len(fake()) == 2


def test_other_data_are_refused(fake, tmp_path) -> None:
    rdrop_run(tmp_path, "--max-update", "5")
    (tmp_path / "data" / "dict.en.txt").write_text("a 7\nthe 7\n")
    with pytest.raises(UsageError, match=r"data is not what it was \(checksum \w{8} then"):
        rdrop_run(tmp_path, "--max-update", "9")


def test_checkpoints_of_unknown_origin_are_refused(fake, tmp_path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint_last.pt").touch()
    with pytest.raises(UsageError, match=r"holds checkpoint_last.pt, but no run.json"):
        rdrop_run(tmp_path)
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(UsageError, match=r"run.json is damaged"):
        rdrop_run(tmp_path)


@pytest.mark.parametrize("flags", ["--max-update 3", "--max-epoch 1", "--stop-time-hours 1e-9"])
def test_updates_by_the_log_of_the_real_program(data, tmp_path, flags) -> None:
    """As many as its last checkpoint has."""
    few = ["--train-subset", "valid", "--max-tokens", "700", "--disable-validation"]
    log = tmp_path / "log"
    log.write_text(train(data, tmp_path, *few, *flags.split()).stdout)
    saved = torch.load(tmp_path / "checkpoint_last.pt")
    assert updates_at_end(log) == saved["optimizer_history"][-1]["num_updates"]
    *lines, _ = log.read_text().splitlines()  # "done training in ..."
    log.write_text("\n".join(lines))
    assert updates_at_end(log) is None


def test_a_training_that_outlived_who_started_it(fake, tmp_path, capsys) -> None:
    """It came to its end after `rdrop run` was killed, which has noted nothing of it."""
    rdrop_run(tmp_path, "--max-update", "5")
    state = State(tmp_path / "run")
    del state.content["updates"]
    state.save()
    rdrop_run(tmp_path, "--max-update", "5")
    assert "is trained already, 5 updates" in capsys.readouterr().out
    assert len(fake()) == 1


def test_one_command_in_a_folder_at_a_time(tmp_path) -> None:
    """Also where `rdrop run` was killed and its command goes on. SIGTERM is passed on."""
    folder = tmp_path / "run"
    waits = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); "
    waits += "print('waits', flush=True); time.sleep(600)"
    command = ["--folder", str(folder), "--", sys.executable, "-c", waits]
    starter = subprocess.Popen(
        [sys.executable, "-m", "rdrop_fairseq.tools.run", *command],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert starter.stdout
    while starter.stdout.readline() != "waits\n":
        assert starter.poll() is None
    with pytest.raises(UsageError, match="a command that was started before still writes"):
        main(command)
    starter.send_signal(signal.SIGTERM)
    assert starter.wait() == 7
    assert State(folder).starts[0]["status"] == 7
    assert "updates" not in State(folder).content


def test_seconds_of_cpu_time_are_the_commands(tmp_path) -> None:
    """Those that it counts itself, and no more than a start of Python beside."""
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    main(["--folder", str(tmp_path / "run"), "--updates", "7", "--", sys.executable, "-c", busy])
    state = State(tmp_path / "run")
    assert state.updates == 7
    assert state.cpu_seconds() >= 0.5
    assert state.cpu_seconds() == state.starts[0]["cpu_seconds"]
    state.starts.append({})
    with pytest.raises(UsageError, match=r"the time of .* is not known, since it was interrupted"):
        state.cpu_seconds()


def test_other_batches_begin_the_epoch_anew(fake, tmp_path, monkeypatch, capsys) -> None:
    """fairseq knows its place in an epoch as a number of batches, of this size, on each GPU."""
    last = tmp_path / "run" / "checkpoint_last.pt"
    monkeypatch.setenv("SAVED", "/nowhere")
    monkeypatch.setenv("STATUS", "1")

    def place(tokens: str, *flags: str) -> int:
        """Where in its epoch the checkpoint is after another start with so many tokens."""
        last.parent.mkdir(exist_ok=True)
        torch.save({"extra_state": {"train_iterator": {"iterations_in_epoch": 7}}}, last)
        with pytest.raises(SystemExit):
            rdrop_run(tmp_path, "--max-tokens", tokens, *flags)
        return torch.load(last)["extra_state"]["train_iterator"]["iterations_in_epoch"]

    with pytest.raises(SystemExit):
        rdrop_run(tmp_path, "--max-tokens", "100")
    assert place("100") == 7
    assert place("64") == 0
    assert (
        "note: its epoch begins anew: the checkpoint has batches of 100" in capsys.readouterr().out
    )
    assert place("64") == 7
    assert place("64", "--batch-size", "8") == 0
    assert place("64", "--batch-size", "8") == 7
    assert place("64", "--batch-size", "4") == 0
    # started with other batches, but stopped before it saved anything: the checkpoint is older
    state = State(tmp_path / "run")
    state.starts.append({**state.starts[-1], "batches": "batches of 9", "time": time.time() + 1e6})
    state.save()
    assert place("64", "--batch-size", "4") == 7


def test_progress_in_place_of_the_log(fake, tmp_path, monkeypatch, capsys) -> None:
    """And the log's end where the command fails. A path is no setting: the data may be moved."""
    monkeypatch.setenv("STATUS", "3")
    with pytest.raises(SystemExit):
        rdrop_run(tmp_path, "--max-update", "5", "--path", "some/where", own=("--progress",))
    printed, errors = capsys.readouterr()
    assert "Saved checkpoint" not in printed
    assert errors.splitlines()[-1].endswith("Saved checkpoint (epoch 1 @ 5 updates)")
    monkeypatch.delenv("STATUS")
    rdrop_run(tmp_path, "--max-update", "5", "--path", "else/where", own=("--progress",))
    assert not capsys.readouterr().err


def test_keep_best(data, tmp_path, monkeypatch) -> None:
    """The best checkpoint without the optimizer, and no other one."""
    folder = tmp_path / "run"
    train(data, folder, "--max-update", "1", "--disable-validation")
    os.replace(folder / "checkpoint_last.pt", folder / "checkpoint_best.pt")
    (folder / "checkpoint_last.pt").touch()
    state = State(folder)
    state.check({"program": "true"}, [])
    state.content["updates"] = 1
    state.save()
    main(["--folder", str(folder), "--keep-best", "--", "true"])
    assert not (folder / "checkpoint_last.pt").exists()
    assert torch.load(folder / "checkpoint_best.pt")["last_optimizer_state"] is None


def test_once(tmp_path, capsys, monkeypatch) -> None:
    """A folder that a command makes in one go is made once, and known by its settings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("words\n")
    make = ["--once", "--folder", "made", "--inputs", "text", "--"]
    script = 'mkdir "$0" && cp text "$0/" && exit "${STATUS:-0}"'
    command = ["bash", "-c", script, "made/", "--size", "3"]
    Path("made.tmp").mkdir()  # of a command that was killed
    monkeypatch.setenv("STATUS", "4")
    with pytest.raises(SystemExit) as stopped:
        main([*make, *command])
    assert stopped.value.code == 4
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
    monkeypatch.delenv("STATUS")
    main([*make, *command])
    (tmp_path / "made" / "text").unlink()
    main([*make, *command])
    assert "made is made already" in capsys.readouterr().out
    assert not (tmp_path / "made" / "text").exists()
    with pytest.raises(UsageError, match="--size 3 then, 4 now"):
        main([*make, *command[:-1], "4"])
    (tmp_path / "text").write_text("other words\n")
    with pytest.raises(UsageError, match="text is not what it was"):
        main([*make, *command])
    make[make.index("text")] = "other"
    (tmp_path / "text").rename("other")
    with pytest.raises(UsageError, match="other is not what text was"):
        main([*make, *command])
    (tmp_path / "other").write_text("words\n")
    main([*make, *command])  # the same under another name
    make.insert(make.index("other"), "made/../other")
    with pytest.raises(UsageError, match=r"read text then, other, /.*/other now"):
        main([*make, *command])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--folder", "x"], "name a command after --"),
        (["--folder", "x", "--", "no-such-program"], "no-such-program is not on PATH: run"),
        (["--folder", "x", "--inputs", "nowhere", "--", "true"], "nowhere is not there: make it"),
    ],
)
def test_refused(tmp_path, monkeypatch, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        main(arguments)
    assert not list(tmp_path.iterdir())


def test_dry_run_needs_nothing(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = ["--folder", "run", "--inputs", "nowhere", "--update-tokens", "4096", "--dry-run"]
    main([*own, "--", "fairseq-train", "nowhere", "--max-tokens", "4096", "--fp16"])
    assert capsys.readouterr().out == (
        "# effective batch: 4096 tokens x 1 process(es) x update-freq 1 (computed) = 4096 tokens; "
        "the recipe's: 4096\n"
        "fairseq-train nowhere \\\n    --max-tokens 4096 \\\n    --fp16 \\\n"
        "    --update-freq 1 \\\n    --distributed-world-size 1\n"
    )
    assert not list(tmp_path.iterdir())


def test_printed_command_of_several_values() -> None:
    words = ["p", "--a", "1", "2", "-s", "de", "--b", "it's", "--c=-1", "--d", "-1"]
    assert (
        printed(words)
        == "p \\\n    --a 1 2 \\\n    -s de \\\n    --b 'it'\"'\"'s' \\\n    --c=-1 \\\n    --d -1"
    )


def test_once_writes_over_nothing(tmp_path, monkeypatch) -> None:
    """Neither over a folder of somebody else nor over what another command is making."""
    monkeypatch.chdir(tmp_path)
    make = ["--once", "--folder", "made", "--", "mkdir", "made"]
    with locked(Path("made.lock")), pytest.raises(UsageError, match="before still makes made"):
        main(make)
    Path("made").mkdir()
    with pytest.raises(UsageError, match=r"made is there, but no run.json that says how it was"):
        main(make)
