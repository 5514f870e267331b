"""fairseq's own commands with --user-dir rdrop_fairseq, on real sentence pairs."""

import json
import re

import pytest
import torch

from .conftest import ARCHS, PAIR, ROOT, USER_DIR, run, train


def logged(result, kind: str) -> list[dict]:
    """The JSON lines that fairseq's progress bar ``kind`` (train, valid) logged."""
    lines = (result.stdout + result.stderr).splitlines()
    return [json.loads(line.split(" | ")[-1]) for line in lines if f"| INFO | {kind} | {{" in line]


def test_train_logs_per_pass_and_valid_bleu(trained) -> None:
    _, result = trained
    assert "R-Drop: 2 passes, alpha 5, " in result.stdout
    assert "impl linear" in result.stdout
    (epoch,) = logged(result, "train")[:1]
    assert float(epoch["train_rdrop_kl"]) > 0
    assert 6 < float(epoch["train_nll_loss"]) < 12  # log2 of 400 pieces is 8.6; not twice that
    valid = logged(result, "valid")[-1]
    assert "valid_bleu" in valid
    assert "valid_accuracy" in valid
    assert "valid_rdrop_kl" not in valid


def test_interrupted_equals_uninterrupted(data, trained, tmp_path) -> None:
    """Resumed from the checkpoint of update 4, the end is the same to the last bit."""
    whole, _ = trained
    (half,) = whole.glob("checkpoint_*_4.pt")
    (tmp_path / "checkpoint_last.pt").write_bytes(half.read_bytes())
    result = train(
        *(data, tmp_path, "--max-update", "8", "--report-accuracy", "--update-freq", "2"),
        *("--eval-bleu", "--eval-bleu-remove-bpe", "sentencepiece"),
        *("--eval-bleu-args", '{"beam": 2, "max_len_b": 20}'),
        real=True,
    )
    assert "Loaded checkpoint" in result.stdout
    ends = [torch.load(folder / "checkpoint_last.pt") for folder in (whole, tmp_path)]
    assert ends[0]["optimizer_history"][-1]["num_updates"] == 8
    for name, parameter in ends[0]["model"].items():
        assert torch.equal(parameter, ends[1]["model"][name]), name
    moments = [end["last_optimizer_state"]["state"] for end in ends]
    assert all(
        torch.equal(moments[0][i]["exp_avg_sq"], moments[1][i]["exp_avg_sq"]) for i in moments[0]
    )


def test_generate_interactive_validate(data, trained) -> None:
    checkpoint = trained[0] / "checkpoint_last.pt"
    common = [data / "bin", *USER_DIR, "--path", checkpoint, "--cpu", "--beam", "2"]
    common += ["--post-process", "sentencepiece", "--max-len-b", "20"]
    generated = run(["fairseq-generate", *common, *PAIR, "--max-tokens", "1000"], real=True)
    assert len(re.findall(r"^H-\d+\t", generated.stdout, re.M)) == 40
    (data / "three.es").write_text("".join((data / "test.es").open().readlines()[:3]))
    translated = run(
        ["fairseq-interactive", *common, *PAIR, "--input", data / "three.es"], real=True
    )
    assert len(re.findall(r"^H-\d+\t", translated.stdout, re.M)) == 3
    command = ["fairseq-validate", data / "bin", *USER_DIR, "--path", checkpoint, "--cpu"]
    validated = run([*command, "--task", "translation", *PAIR, "--max-tokens", "1000"], real=True)
    nll = re.search(r"nll_loss ([\d.]+)", validated.stdout + validated.stderr)
    assert 6 < float(nll[1]) < 12


def test_finetune_from_bart(data, build, tmp_path) -> None:
    """A checkpoint of the published BART layout is fine-tuned for translation."""
    from .test_checkpoint import old_checkpoint

    torch.save(old_checkpoint(build("bart_base").model), tmp_path / "bart.pt")
    result = train(
        *(data, tmp_path / "out", "--max-update", "2", "--restore-file", tmp_path / "bart.pt"),
        *("--reset-optimizer", "--reset-dataloader", "--reset-meters", "--reset-lr-scheduler"),
        arch="bart_base",
    )
    assert f"Loaded checkpoint {tmp_path / 'bart.pt'}" in result.stdout
    assert "impl linear" in result.stdout


def test_language_model(data, tmp_path) -> None:
    command = ["fairseq-train", data / "lm", *USER_DIR, "--task", "language_modeling"]
    command += ["--arch", "transformer_lm", *ARCHS["transformer_lm"].split(), "--dropout", "0.2"]
    command += ["--criterion", "rdrop", "--optimizer", "adam", "--lr", "0.01", "--cpu"]
    command += ["--sample-break-mode", "eos", "--tokens-per-sample", "128", "--max-tokens", "1000"]
    result = run([*command, "--save-dir", tmp_path, "--max-update", "3", "--log-format", "json"])
    assert float(logged(result, "train")[0]["train_rdrop_kl"]) > 0
    command = ["fairseq-eval-lm", data / "lm", *USER_DIR, "--path", tmp_path / "checkpoint_last.pt"]
    command += ["--sample-break-mode", "eos", "--tokens-per-sample", "128", "--cpu"]
    evaluated = run([*command, "--gen-subset", "valid", "--max-tokens", "1000"], real=True)
    assert "Perplexity" in evaluated.stdout + evaluated.stderr


def test_memory_efficient_fp16_and_buckets(data, tmp_path) -> None:
    flags = ["--max-update", "3", "--memory-efficient-fp16", "--fp16-init-scale", "4"]
    result = train(data, tmp_path, *flags, "--num-batch-buckets", "3", "--sentence-avg")
    assert logged(result, "train")[0]["train_num_updates"] == "3"


def test_hydra(data, tmp_path) -> None:
    """fairseq-hydra-train with a small config."""
    (tmp_path / "tiny.yaml").write_text(
        f"""# @package _group_
common: {{user_dir: {ROOT / "rdrop_fairseq"}, cpu: true, log_format: json}}
task: {{_name: translation, data: {data / "bin"}, source_lang: es, target_lang: en}}
criterion:
  {{_name: rdrop, rdrop_alpha: 5, rdrop_passes: 3, rdrop_impl: logits, label_smoothing: 0.1}}
dataset: {{max_tokens: 1500, num_workers: 0}}
optimization: {{max_update: 2, lr: [0.01]}}
optimizer: {{_name: adam}}
lr_scheduler: {{_name: fixed}}
checkpoint: {{save_dir: {tmp_path / "out"}}}
model:
  _name: transformer
  share_all_embeddings: true
  dropout: 0.2
  encoder: {{embed_dim: 16, ffn_embed_dim: 32, layers: 1, attention_heads: 2}}
  decoder: {{embed_dim: 16, ffn_embed_dim: 32, layers: 1, attention_heads: 2}}
"""
    )
    command = ["fairseq-hydra-train", "--config-dir", tmp_path, "--config-name", "tiny"]
    result = run([*command, f"hydra.run.dir={tmp_path}"], real=True)
    text = result.stdout + result.stderr + (tmp_path / "hydra_train.log").read_text()
    assert "R-Drop: 3 passes, alpha 5, " in text
    assert "impl logits" in text
    assert (tmp_path / "out" / "checkpoint_last.pt").is_file()


def assert_one_clear_error(result, message: str) -> None:
    assert result.returncode == 1 or "usage:" in result.stderr
    assert re.search(message, result.stderr.strip().splitlines()[-1]), result.stderr[-2000:]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--rdrop-alpha -1", r"--rdrop-alpha must be a finite number >= 0, got -1\.0"),
        ("--rdrop-passes 1", "--rdrop-passes must be at least 2, got 1"),
        ("--rdrop-interval 0", "--rdrop-interval must be at least 1, got 0"),
        ("--label-smoothing 1.5", r"--label-smoothing must be in \[0, 1\), got 1\.5"),
        # without a worker, fairseq's loading thread aborts the process once the error is out
        ("--dropout 0 --attention-dropout 0 --num-workers 1", "no active dropout: set a rate > 0"),
        ("--rdrop-impl fast", "invalid choice: 'fast'"),
    ],
)
def test_wrong_input(data, tmp_path, flags, message) -> None:
    """One line, before training starts; nothing written."""
    result = train(data, tmp_path / "out", *flags.split(), check=False)
    assert_one_clear_error(result, message)
    assert not list(tmp_path.rglob("*.pt"))


def test_truncated_checkpoint(data, trained, tmp_path) -> None:
    broken = tmp_path / "checkpoint_last.pt"
    broken.write_bytes((trained[0] / "checkpoint_last.pt").read_bytes()[:20000])
    result = train(data, tmp_path, "--max-update", "9", check=False)
    assert_one_clear_error(result, r"cannot read .*checkpoint_last\.pt \(20,000 bytes\)")
    assert broken.stat().st_size == 20000
    result = run(
        ["fairseq-generate", data / "bin", *USER_DIR, "--path", broken, "--cpu"], check=False
    )
    assert_one_clear_error(result, "truncated or not a fairseq checkpoint")
