"""--criterion rdrop for language models, through fairseq's own command on real text."""

import subprocess
from pathlib import Path

import pytest

from ..conftest import ARCHS, USER_DIR, run
from ..test_command_line import assert_one_clear_error, logged

ROBERTA = (
    "--encoder-layers 1 --encoder-embed-dim 16 --encoder-ffn-embed-dim 32 "
    "--encoder-attention-heads 2 --max-positions 128"
)


def train_lm(
    data: Path, save_dir: Path, *flags: str, arch: str = "transformer_lm", **kwargs: bool
) -> subprocess.CompletedProcess[str]:
    command = ["fairseq-train", data / "lm", *USER_DIR, "--task", "language_modeling"]
    command += ["--arch", arch, *ARCHS.get(arch, ROBERTA).split()]
    command += ["--dropout", "0.2", "--optimizer", "adam", "--lr", "0.01", "--cpu"]
    command += ["--max-tokens", "1000", "--save-dir", save_dir, "--log-format", "json"]
    return run([*command, "--num-workers", "0", *flags], **kwargs)


@pytest.mark.parametrize(
    ("arch", "flags"),
    [
        ("transformer_lm", "--sample-break-mode none --tokens-per-sample 50"),
        ("transformer_lm", "--sample-break-mode complete --tokens-per-sample 200 --future-target"),
        # roberta is a model of fairseq's that takes --self-target; it is no causal one
        ("roberta_base", "--sample-break-mode eos --tokens-per-sample 128 --self-target"),
    ],
)
def test_data_and_validation_are_those_of_fairseqs_criterion(data, tmp_path, arch, flags) -> None:
    """With a learning rate of 0, all but the training loss is the same to the last digit."""

    def epoch(criterion: str) -> tuple[dict, dict]:
        result = train_lm(
            *(data, tmp_path, "--criterion", criterion, "--label-smoothing", "0.1"),
            *("--lr", "0", "--max-epoch", "1", "--no-save", *flags.split()),
            arch=arch,
        )
        return logged(result, "train")[0], logged(result, "valid")[0]

    train, valid = epoch("rdrop")
    expected_train, expected_valid = epoch("label_smoothed_cross_entropy")
    for key in ("num_updates", "wpb", "bsz"):  # updates, tokens and samples in one of them
        assert train[f"train_{key}"] == expected_train[f"train_{key}"]
    for key in ("loss", "nll_loss", "ppl", "wpb", "bsz"):
        assert valid[f"valid_{key}"] == expected_valid[f"valid_{key}"]
    # with other dropout masks, hence not the same
    nll_loss = float(expected_train["train_nll_loss"])
    assert float(train["train_nll_loss"]) == pytest.approx(nll_loss, abs=0.05)
    assert float(train["train_rdrop_kl"]) > 0


def test_adaptive_softmax_is_refused(data, tmp_path) -> None:
    result = train_lm(
        *(data, tmp_path / "out", "--criterion", "rdrop", "--tokens-per-sample", "50"),
        # without a worker, fairseq's loading thread aborts the process once the error is out
        *("--adaptive-softmax-cutoff", "60,150", "--max-update", "1", "--num-workers", "1"),
        check=False,
    )
    assert_one_clear_error(result, "has an adaptive softmax .*use --criterion rdrop_adaptive_loss")
    assert not list(tmp_path.rglob("*.pt"))
