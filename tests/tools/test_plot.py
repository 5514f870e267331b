"""rdrop plot, on what fairseq really logs."""

import json
import re
import shutil
from datetime import datetime
from pathlib import Path

import matplotlib.colors
import matplotlib.image
import numpy
import pytest
from tensorboardX import SummaryWriter

from rdrop_fairseq.tools.plot import draw, main, read_run

from ..conftest import full_disk, train

FLAGS = (
    *("--log-interval", "2", "--save-interval-updates", "6", "--eval-bleu"),
    *("--eval-bleu-args", '{"beam": 1, "min_len": 8, "max_len_b": 9}'),
)
INNER = [("train_inner", metric) for metric in ("loss", "ppl", "rdrop_kl")]
VALID = [("valid", metric) for metric in ("loss", "ppl", "bleu")]


@pytest.fixture(scope="module")
def logs(data, tmp_path_factory) -> Path:
    """One training, logged in every way; and the same one, killed after 10 updates and resumed
    from its checkpoint of update 6, which ends where the first one does."""
    folder = tmp_path_factory.mktemp("logs")

    def log(name: str, updates: int, log_format: str) -> None:
        result = train(
            *(data, folder / name, *FLAGS, "--log-format", log_format),
            *("--max-update", str(updates), "--log-file", str(folder / f"{name}.file.log")),
            *("--tensorboard-logdir", str(folder / f"{name}.board")),
        )
        with (folder / f"{name}.log").open("a") as file:  # as tee -a does
            file.write(result.stdout + result.stderr)

    log("whole", 14, "json")
    log("parts", 10, "simple")
    checkpoints = folder / "parts"
    shutil.copy(checkpoints / "checkpoint_1_6.pt", checkpoints / "checkpoint_last.pt")
    log("parts", 14, "simple")
    return folder


def is_start(line: str) -> bool:
    """Whether fairseq's first line, its configuration."""
    return "'_name': None, 'common': {" in line


def wall_of(lines: list[str], index: int) -> float:
    """What line ``index`` logs as wall; if that is 0, the seconds since its process began.

    fairseq rounds to seconds, and after a resumption in the middle of an epoch it logs 0.
    """

    def clock(line: str) -> float:
        return datetime.fromisoformat(line[:19]).timestamp()

    wall = float(re.search(r'\bwall[=": ]+(\d+)', lines[index])[1])
    start = [line for line in lines[:index] if is_start(line)][-1]
    return wall or clock(lines[index]) - clock(start)


def test_values_are_those_logged(logs) -> None:
    lines = (logs / "whole.log").read_text().splitlines()
    for split, prefix in (("train_inner", ""), ("valid", "valid_")):
        stats = [
            json.loads(line.split(f"| {split} | ")[1]) for line in lines if f"| {split} |" in line
        ]
        for key in INNER if split == "train_inner" else VALID:
            curve = read_run(logs / "whole.log", "").curves[key]
            assert curve[:, 0].tolist() == [float(stat[f"{prefix}num_updates"]) for stat in stats]
            assert curve[:, 2].tolist() == [float(stat[prefix + key[1]]) for stat in stats]
        if split == "train_inner":
            inner = [index for index, line in enumerate(lines) if f"| {split} |" in line]
            assert curve[:, 1].tolist() == [wall_of(lines, index) for index in inner]
            assert curve[:, 0].tolist() == [2, 4, 6, 8, 10, 12, 14]
    # a validation's wall time is that of the training line at the same update
    curves = read_run(logs / "whole.log", "").curves
    assert curves["valid", "loss"][0, :2].tolist() == curves["train_inner", "loss"][2, :2].tolist()


@pytest.mark.parametrize("other", ["whole.file.log", "whole.board", "parts.log"])
def test_all_kinds_give_the_same(logs, other) -> None:
    """The resumed run, too: its second process repeats updates 7 to 10 to the last digit."""
    expected, found = (read_run(logs / name, "").curves for name in ("whole.log", other))
    assert set(expected) >= {*INNER, *VALID}
    for key in (*INNER, *VALID):
        assert found[key][:, 0].tolist() == expected[key][:, 0].tolist()
        # TensorBoard has float32, the logs six digits
        assert found[key][:, 2] == pytest.approx(expected[key][:, 2], rel=1e-5)
        if other.startswith("whole"):  # with other clocks, or none, where wall is 0
            assert found[key][:, 1] == pytest.approx(expected[key][:, 1], abs=1.1)


def test_wall_time_of_a_resumed_run(logs) -> None:
    """fairseq logs wall 0 after a resumption in the middle of an epoch: the clock serves."""
    lines = (logs / "parts.log").read_text().splitlines()
    first, second = (i for i, line in enumerate(lines) if is_start(line))
    inner = [i for i, line in enumerate(lines) if "| train_inner |" in line]
    assert first < inner[4] < second < inner[5]  # 2, 4, 6, 8, 10; then 8, 10, 12, 14
    walls = [i for i, line in enumerate(lines) if re.search(r"\bwall[= ]\d+$", line)]
    assert all(lines[i].endswith(("wall=0", "wall 0")) for i in walls if i > second)
    before = wall_of(lines, [i for i in walls if i < second][-1])

    curves = read_run(logs / "parts.log", "").curves
    expected = [wall_of(lines, i) for i in inner[:3]]
    expected += [before + wall_of(lines, i) for i in inner[5:]]
    for key in INNER:
        assert curves[key][:, 1].tolist() == expected
    # in TensorBoard the second process begins with its first record; --log-file has no clock
    began = wall_of(lines, inner[5])
    board = read_run(logs / "parts.board", "").curves["train_inner", "loss"][:, 1]
    # the log's clock has whole seconds
    assert board == pytest.approx([*expected[:3], *(x - began for x in expected[3:])], abs=2.1)
    file = read_run(logs / "parts.file.log", "").curves["train_inner", "loss"][:, 1]
    assert file == pytest.approx([*expected[:3], *[before] * 4], abs=1.1)


LINE = "epoch 001:  {0} / 100 loss={1}, num_updates={0}, wall={2}\n"


@pytest.mark.parametrize("start", ["", "{'_name': None, 'common': {'_name': None}}\n"])
def test_processes_that_count_from_0(tmp_path, start) -> None:
    """Known by fairseq's first line or, without it, by wall time or updates that go back."""
    parts = [[(10, 9, 60), (20, 8, 120), (30, 7, 180)], [(30, 6, 70), (40, 5, 130)]]
    parts += [[(20, 4, 140)]]
    log = tmp_path / "log"
    log.write_text("".join(start + "".join(LINE.format(*p) for p in part) for part in parts))
    curve = read_run(log, "").curves["train_inner", "loss"]
    assert curve.tolist() == [[10, 60, 9], [20, 180 + 130 + 140, 4]]


def test_tensorboard_of_a_clock_that_was_set_back(tmp_path) -> None:
    """As the clock of a virtual machine is that was stopped for a while."""
    for suffix, updates, clock in ((".1", (2, 4, 6, 8), 1000), (".2", (6, 8, 10), 997)):
        writer = SummaryWriter(str(tmp_path / "train_inner"), filename_suffix=suffix)
        for update in updates:
            writer.add_scalar("loss", 10 * clock + update, update, walltime=clock + update)
            writer.add_scalar("wall", update, update, walltime=clock + update)
        writer.close()
    curve = read_run(tmp_path, "").curves["train_inner", "loss"]
    assert curve[:, [0, 2]].tolist() == [[n, 10000 + n] for n in (2, 4)] + [
        [n, 9970 + n] for n in (6, 8, 10)
    ]


def test_a_second_process_that_took_longer(tmp_path) -> None:
    """Only fairseq's first line tells that there are two."""
    start = "{'_name': None, 'common': {'_name': None}}\n"
    log = tmp_path / "log"
    log.write_text(start + LINE.format(10, 9, 60) + start + LINE.format(20, 8, 100))
    curve = read_run(log, "").curves["train_inner", "loss"]
    assert curve.tolist() == [[10, 60, 9], [20, 160, 8]]


def test_hydra_and_two_validation_sets(tmp_path) -> None:
    log = tmp_path / "hydra_train.log"
    log.write_text(
        '[2026-11-22 09:00:00,1][train_inner][INFO] - {"epoch": 1, "update": 0.5, "loss": "3.5", '
        '"accuracy": "50", "num_updates": "10", "wall": "20"}\n'
        '[2026-11-22 09:00:01,1][valid][INFO] - {"epoch": 1, "valid_loss": "2.5", '
        '"valid_accuracy": "60.5", "valid_num_updates": "15"}\n'
        '[2026-11-22 09:00:01,1][valid1][INFO] - {"epoch": 1, "valid1_loss": "inf", '
        '"valid1_num_updates": "15", "valid1_best_loss": null}\n'
        '[2026-11-22 09:00:02,1][train_inner][INFO] - {"epoch": 1, "update": 1.0, "loss": "cut o\n'
        '[2026-11-22 09:00:02,1][train_inner][INFO] - {"epoch": 1, "update": 1.0, "loss": "3", '
        '"num_updates": "20", "wall": "30"}\n'
    )
    assert {key: curve.tolist() for key, curve in read_run(log, "").curves.items()} == {
        ("train_inner", "loss"): [[10, 20, 3.5], [20, 30, 3]],
        ("train_inner", "accuracy"): [[10, 20, 50]],
        ("valid", "loss"): [[15, 25, 2.5]],
        ("valid", "accuracy"): [[15, 25, 60.5]],
        ("valid1", "loss"): [[15, 25, float("inf")]],
    }


def test_command_line(logs, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    main([f"{logs}/whole.log", f"{logs}/parts.board", "--names", "one", "two"])
    printed = capsys.readouterr()
    assert printed.err == ""
    losses = read_run(logs / "whole.log", "").curves["valid", "loss"]
    best = losses[losses[:, 2].argmin()]
    first, loss, *_ = printed.out.splitlines()
    assert first == f"one: 14 updates in {losses[-1, 1]:.0f} s"
    assert loss == f"  best valid loss: {best[2]:g} bits (update {best[0]:.0f}, {best[1]:.0f} s)"
    image = matplotlib.image.imread(tmp_path / "training.png")
    assert image.shape[:2] == ((4 * 3.2 + 1) * 120, 12 * 120)  # loss, ppl, BLEU, KL
    colors = {tuple(color) for color in (numpy.unique(image.reshape(-1, 4), axis=0) * 255).round()}
    for color in ("C0", "C1"):  # both runs
        assert (*(round(255 * part) for part in matplotlib.colors.to_rgb(color)), 255) in colors
    assert [path.name for path in tmp_path.iterdir()] == ["training.png"]


def test_best_beside_nan(tmp_path, capsys) -> None:
    """A validation that gave NaN is not the best one; where all did, there is none."""
    log = tmp_path / "log"
    values = [("nan", "nan", "nan"), ("3.5", "11.3", "nan"), ("3.25", "9.5", "nan")]
    values += [("nan", "nan", "nan"), ("4", "16", "nan")]
    log.write_text(
        "".join(
            f'{{"epoch": 1, "valid_loss": "{loss}", "valid_ppl": "{ppl}", "valid_bleu": "{bleu}", '
            f'"valid_num_updates": "{10 * number}"}}\n'
            for number, (loss, ppl, bleu) in enumerate(values, 1)
        )
    )
    main([str(log), "--plot", f"{tmp_path}/a.png"])
    assert capsys.readouterr().out.splitlines()[1:4] == [
        "  best valid loss: 3.25 bits (update 30, 0 s)",
        "  best valid perplexity: 9.5 2^nll_loss (update 30, 0 s)",
        "  no valid BLEU: all values are NaN",
    ]


def test_what_is_drawn_is_named(logs) -> None:
    """Titles, units, and a legend with both runs' training and validation."""
    figure = draw([read_run(logs / f"{name}.log", name) for name in ("whole", "parts")])
    expected = ["loss (bits)", "perplexity (2^nll_loss)", "BLEU (points)", "R-Drop's KL (bits)"]
    for row, label in enumerate(expected):
        left, right = figure.axes[2 * row : 2 * row + 2]
        assert left.get_ylabel() == label
        assert left.get_title() == label.rsplit(" (", 1)[0] + " over updates"
        assert left.get_xlabel() == "updates"
        assert re.fullmatch(r"wall time \((hours|minutes|seconds)\)", right.get_xlabel())
    (legend,) = figure.legends
    named = {text.get_text() for text in legend.get_texts()}
    assert named == {
        f"{name}, {split}" for name in ("whole", "parts") for split in ("train", "valid")
    }


def test_damaged_tensorboard(logs, tmp_path) -> None:
    shutil.copytree(logs / "whole.board", tmp_path / "board")
    (file,) = (tmp_path / "board" / "train_inner").iterdir()
    content = file.read_bytes()
    whole = read_run(tmp_path / "board", "").curves["train_inner", "loss"]
    file.write_bytes(content[:-5])  # the process was killed while it wrote
    cut = read_run(tmp_path / "board", "").curves["train_inner", "loss"]
    assert numpy.array_equal(cut, whole[: len(cut)])
    for position in (0, len(content) // 2):
        file.write_bytes(content[:position] + b"\xff" + content[position + 1 :])
        with pytest.raises(SystemExit, match=r"train_inner/events.* damaged"):
            read_run(tmp_path / "board", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.log"], "rdrop plot: no such log: no.log"),
        (["empty.log"], "rdrop plot: empty.log holds no lines of a fairseq training; give what"),
        (["other.log"], "rdrop plot: other.log holds no lines of a fairseq training"),
        (["folder"], "rdrop plot: folder holds no TensorBoard events of a fairseq training"),
        (["boards"], "rdrop plot: boards holds several runs, name one, or two to compare: "),
        (["a", "b", "--names", "one"], "--names has 1 names for 2 logs"),
        (["a", "a"], "the runs need different --names, got a a"),
        (["a", "--plot", "a.pdf"], "--plot: a PNG is written: name it a.png, got a.pdf"),
        (["a", "--plot", "folder"], "--plot: folder is a folder: name a file to write"),
        (["a", "--plot", "no/a.png"], "--plot: no such folder to write to: no"),
    ],
)
def test_wrong_input(logs, arguments, message, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "empty.log").write_text("")
    (tmp_path / "other.log").write_text("epoch 1 loss 2\n{}\n| epoch |\n" + "\xff" * 9)
    (tmp_path / "folder").mkdir()
    for name in ("whole", "parts"):
        shutil.copytree(logs / f"{name}.board", tmp_path / "boards" / name)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    code = stopped.value.code
    assert message in (capsys.readouterr().err.splitlines()[-1] if code == 2 else code)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk(logs, tmp_path) -> None:
    """One sentence; the picture that was there stays, and nothing beside it."""
    picture = tmp_path / "a.png"
    picture.write_text("an older one")
    said = pytest.raises(SystemExit, match=r"^rdrop plot: .*; nothing was left half-written$")
    with said, full_disk():
        main([f"{logs}/whole.log", "--plot", str(picture)])
    assert {path: path.read_text() for path in tmp_path.iterdir()} == {picture: "an older one"}
