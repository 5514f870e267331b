"""How far a training has come, told by a clock of the test's."""

import sys

from rdrop_fairseq.tools.progress import Progress

# as fairseq's log formats have it
LOG = """\
2026-11-25 16:06:01 | INFO | fairseq_cli.train | Start iterating over samples
2026-11-25 16:06:09 | INFO | train_inner | epoch 001: 20 / 358 loss=9.1, num_updates=20, lr=0.0006
2026-11-25 16:06:19 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 8.1 | num_updates 40
2026-11-25 16:06:29 | INFO | train_inner | {"epoch": 1, "num_updates": "60", "lr": "0.0006"}
2026-11-25 16:06:29 | INFO | fairseq_cli.train | saving; num_updates unknown
"""


def told(capsys, log: str, total: int, times: list[float], size: int = 1000) -> list[str]:
    """What is printed of a log that comes in pieces of ``size`` characters."""
    clock = iter(times)
    progress = Progress(total, lambda: next(clock))
    for start in range(0, len(log), size):
        progress.write(log[start : start + size])
    del progress
    return capsys.readouterr().err.splitlines()


def log_of(*numbers: int) -> str:
    return "".join(f"loss 1 | num_updates {number}\n" for number in numbers)


def test_a_line_every_30_seconds(capsys) -> None:
    # 100 updates in 40 seconds: the other 300 take 120. Then 300 in 80: 100 take 26.7
    times = [5, 34.9, 45, 74.9, 85]
    for size in (1, 7, 1000):
        assert told(capsys, log_of(0, 50, 100, 200, 300), 400, times, size) == [
            "25%: 100 of 400 updates, about 02:00 left",
            "75%: 300 of 400 updates, about 00:26 left",
        ]


def test_all_formats_of_the_log(capsys) -> None:
    assert told(capsys, LOG, 80, [0, 100, 200]) == [
        "50%: 40 of 80 updates, about 03:20 left",
        "75%: 60 of 80 updates, about 01:40 left",
    ]


def test_resumed_training_counts_its_own_speed(capsys) -> None:
    """From update 500 on, 10 in 100 seconds; as if it had begun at 0, it would be 510."""
    assert told(capsys, log_of(500, 510), 600, [0, 100]) == [
        "85%: 510 of 600 updates, about 15:00 left"
    ]


def test_log_without_updates(capsys) -> None:
    assert told(capsys, "nothing\n", 10, []) == []


def test_terminal_has_a_bar(capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown = told(capsys, LOG, 80, [0, 1, 2])
    assert "25%" in "".join(shown)  # the first number is where it starts
    assert "60/80 [" in shown[-1]
