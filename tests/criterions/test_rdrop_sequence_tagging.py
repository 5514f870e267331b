"""--criterion rdrop_sequence_tagging, against float64 sums and the plain criterion."""

import json
import math

import pytest
import torch

from rdrop_fairseq.errors import UsageError

from ..conftest import ROBERTA, USER_DIR, run, saved_parameters
from .test_rdrop_sentence_prediction import assert_same_grads, logged_metrics, papers_terms, step
from .test_sequence_tagging import built  # noqa: F401  (a fixture)

RDROP = "rdrop_sequence_tagging"


@pytest.mark.parametrize("impl", ["auto", "eager"])
@pytest.mark.parametrize("passes", [2, 3])
def test_it_is_the_papers_sum_over_the_words(built, passes, impl) -> None:  # noqa: F811
    """sum of CE + alpha * pair-mean of the symmetric KL, by torch.distributions in float64."""
    flags = f"--rdrop-alpha 0.7 --rdrop-passes {passes} --rdrop-impl {impl}"
    task, model, criterion, sample = built(flags, RDROP)
    ours = step(criterion, model, sample)

    model.train()
    model.zero_grad()
    torch.manual_seed(1)
    tokens = torch.cat([sample["net_input"]["src_tokens"]] * passes)
    logits, _ = model(tokens, classification_head_name="sequence_tagging_head")
    is_word = sample["target"].ne(task.ignore_index)
    target = sample["target"][is_word]
    of_pass = logits.double().unflatten(0, (passes, -1))[:, is_word]
    _, ce, kl = papers_terms(of_pass, target)
    (ce + 0.7 * kl).backward()

    assert ours.sample_size == len(target)
    assert kl > 0.01
    torch.testing.assert_close(ours.loss.double(), ce + 0.7 * kl, rtol=1e-5, atol=0)
    assert_same_grads(model, ours.grads)
    shown = logged_metrics(criterion, ours.logged)
    unit = len(target) * math.log(2)
    assert shown["loss"] == pytest.approx((ce + 0.7 * kl).item() / passes / unit, abs=1e-3)
    assert shown["nll_loss"] == pytest.approx(ce.item() / passes / unit, abs=1e-3)
    assert shown["rdrop_kl"] == pytest.approx(kl.item() / unit, abs=1e-3)


def test_alpha_0_is_the_plain_criterion_on_each_pass(built) -> None:  # noqa: F811
    flags = "--dropout 0 --attention-dropout 0"
    _, model, criterion, sample = built(f"--rdrop-alpha 0 {flags}", RDROP)
    _, _, plain, _ = built(flags)
    ours, theirs = step(criterion, model, sample), step(plain, model, sample)
    torch.testing.assert_close(ours.loss, 2 * theirs.loss, rtol=1e-5, atol=0)
    for name, grad in theirs.grads.items():
        torch.testing.assert_close(ours.grads[name], 2 * grad, rtol=1e-4, atol=1e-5)
    shown, expected = logged_metrics(criterion, ours.logged), logged_metrics(plain, theirs.logged)
    assert {key: shown[key] for key in expected} == pytest.approx(expected, abs=1e-2)


def test_validation_is_the_plain_criterion(built) -> None:  # noqa: F811
    _, model, criterion, sample = built("--rdrop-alpha 5", RDROP)
    _, _, plain, _ = built()
    model.eval()
    with torch.no_grad():
        assert criterion(model, sample) == plain(model, sample)


def test_interval(built) -> None:  # noqa: F811
    _, model, criterion, sample = built("--rdrop-interval 2", RDROP)
    _, _, plain, _ = built()
    _, _, always, _ = built("", RDROP)
    for update, expected in ((0, always), (1, plain)):
        criterion.rdrop_interval.update_num = update
        found, wanted = step(criterion, model, sample), step(expected, model, sample)
        assert torch.equal(found.loss, wanted.loss)
        shown = logged_metrics(criterion, found.logged)
        assert shown.pop("rdrop_updates") == 1 - update
        assert shown == logged_metrics(expected, wanted.logged)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--rdrop-alpha -1", "--rdrop-alpha must be a finite number >= 0, got -1"),
        ("--rdrop-passes 1", "--rdrop-passes must be at least 2, got 1"),
        ("--rdrop-impl linear", "--rdrop-impl linear .* use --rdrop-impl auto"),
    ],
)
def test_wrong_flags(built, flags, message) -> None:  # noqa: F811
    with pytest.raises(UsageError, match=message):
        built(flags, RDROP)


def test_no_dropout_is_refused(built) -> None:  # noqa: F811
    _, model, criterion, sample = built("--dropout 0 --attention-dropout 0", RDROP)
    with pytest.raises(UsageError, match="no active dropout"):
        step(criterion, model, sample)


@pytest.mark.parametrize("name", ["rdrop", "rdrop_sentence_prediction"])
def test_other_criteria_refuse_the_task(built, name) -> None:  # noqa: F811
    with pytest.raises(UsageError, match="sequence_tagging"):
        built("", name)


def test_fairseq_train_and_resume(tagged, tmp_path) -> None:
    """The best checkpoint by F1; a resumed run ends where an undisturbed one does."""
    command = ["fairseq-train", tagged, *USER_DIR, "--task", "sequence_tagging", *ROBERTA.split()]
    command += ["--cpu", "--criterion", RDROP, "--init-token", "0", "--num-workers", "0"]
    command += ["--optimizer", "adam", "--lr", "0.01", "--batch-size", "16", "--log-format", "json"]
    command += ["--best-checkpoint-metric", "f1", "--maximize-best-checkpoint-metric"]
    whole = run([*command, "--save-dir", tmp_path / "whole", "--max-update", "12"]).stdout
    (line,) = [line for line in whole.splitlines() if "| valid | {" in line][-1:]
    valid = json.loads(line.split(" | ", 3)[-1])
    assert 0 <= float(valid["valid_f1"]) <= 100
    assert float(valid["valid_best_f1"]) >= float(valid["valid_f1"])
    assert "valid_rdrop_kl" not in valid
    assert (tmp_path / "whole" / "checkpoint_best.pt").is_file()
    for updates in ("6", "12"):
        run([*command, "--save-dir", tmp_path / "parts", "--max-update", updates])
    states = [saved_parameters(tmp_path / name) for name in ("whole", "parts")]
    assert any("classification_heads.sequence_tagging_head" in key for key in states[0])
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key
