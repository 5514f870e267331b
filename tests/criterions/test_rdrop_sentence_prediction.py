"""--criterion rdrop_sentence_prediction, against float64 sums and fairseq's own criterion."""

import copy
import itertools
import json
import logging
import math
import re
import shutil
from types import SimpleNamespace

import pytest
import torch
from fairseq import tasks
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.logging import metrics
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef

from rdrop_fairseq.criterions.rdrop_sentence_prediction import (
    RDropSentencePredictionConfig,
)
from rdrop_fairseq.errors import UsageError

from .. import needs
from ..conftest import ROBERTA, ROOT, USER_DIR, configuration, run


def configured(data, flags, criterion="rdrop_sentence_prediction"):
    if "--report" in flags:
        needs.fairseqs_glue_reports()
    command = [str(data), *ROBERTA.split(), "--criterion", criterion, "--optimizer", "adam"]
    if "--num-classes" not in flags:
        command += ["--num-classes", "1" if "--regression-target" in flags else "2"]
    command += ["--batch-size", "8", *flags.split()]
    return configuration("sentence_prediction", command)


@pytest.fixture
def built(pairs):
    """built("--regression-target"): what fairseq-train builds, and a batch of 8 real pairs."""

    def built(flags=""):
        data = pairs / ("ratings" if "--regression-target" in flags else "classes")
        cfg = configured(data, flags)
        task = tasks.setup_task(cfg.task)
        task.load_dataset("valid")
        torch.manual_seed(0)
        model = task.build_model(cfg.model)
        for parameter in model.parameters():  # fairseq's start is too close to uniform
            torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.3)
        batches = task.get_batch_iterator(task.dataset("valid"), max_sentences=8)
        sample = next(batches.next_epoch_itr(shuffle=False))
        criterion = task.build_criterion(cfg.criterion)
        plain_cfg = configured(data, _without_rdrop(flags), "sentence_prediction")
        plain = task.build_criterion(plain_cfg.criterion)
        return SimpleNamespace(
            task=task, model=model, sample=sample, criterion=criterion, plain=plain
        )

    return built


def _without_rdrop(flags):
    words = flags.split()
    starts = [i for i, word in enumerate(words) if word.startswith("--rdrop")]
    return " ".join(w for i, w in enumerate(words) if i not in starts and i - 1 not in starts)


def step(criterion, model, sample, seed=1):
    model.train()
    model.zero_grad()
    torch.manual_seed(seed)
    loss, sample_size, logged = criterion(model, sample)
    loss.backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return SimpleNamespace(loss=loss, sample_size=sample_size, logged=logged, grads=grads)


def outputs_of_passes(built, passes, seed=1):
    """The head's output for the repeated batch, with the dropout of ``seed``, [m, B, C]."""
    net_input = built.sample["net_input"]
    built.model.train()
    built.model.zero_grad()
    torch.manual_seed(seed)
    logits, _ = built.model(
        src_tokens=torch.cat([net_input["src_tokens"]] * passes),
        src_lengths=torch.cat([net_input["src_lengths"]] * passes),
        classification_head_name="sentence_classification_head",
    )
    return logits, logits.view(passes, -1, logits.size(-1)).double()


def assert_same_grads(model, ours):
    theirs = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    scale = max(grad.abs().max().item() for grad in theirs.values())
    assert scale > 0.1
    for name, grad in theirs.items():
        torch.testing.assert_close(ours[name], grad, rtol=1e-4, atol=1e-6 * scale, msg=name)


def papers_terms(of_pass, target):
    """Distributions, their summed CE, and the pair-mean of their symmetric KL."""
    distributions = [torch.distributions.Categorical(logits=logits) for logits in of_pass]
    ce = -sum(d.log_prob(target).sum() for d in distributions)
    kl_of = torch.distributions.kl_divergence
    kl = [
        (kl_of(p, q) + kl_of(q, p)).sum() / 2 for p, q in itertools.combinations(distributions, 2)
    ]
    return distributions, ce, sum(kl) / len(kl)


def logged_metrics(criterion, *logging_outputs):
    with metrics.aggregate(new_root=True) as aggregated:
        criterion.reduce_metrics(list(logging_outputs))
    return aggregated.get_smoothed_values()


@pytest.mark.parametrize("impl", ["auto", "logits", "eager"])
@pytest.mark.parametrize("passes", [2, 3])
def test_classification_is_the_papers_sum(built, passes, impl) -> None:
    """sum of CE + alpha * pair-mean of the symmetric KL, by torch.distributions in float64."""
    model = built(f"--rdrop-alpha 0.7 --rdrop-passes {passes} --rdrop-impl {impl}")
    ours = step(model.criterion, model.model, model.sample)

    _, of_pass = outputs_of_passes(model, passes)
    target = model.sample["target"].view(-1)
    distributions, ce, kl = papers_terms(of_pass, target)
    (ce + 0.7 * kl).backward()

    assert ours.sample_size == 8
    assert kl > 0.01
    torch.testing.assert_close(ours.loss.double(), ce + 0.7 * kl, rtol=1e-6, atol=0)
    assert_same_grads(model.model, ours.grads)
    shown = logged_metrics(model.criterion, ours.logged)
    assert shown["loss"] == pytest.approx(
        (ce + 0.7 * kl).item() / passes / 8 / math.log(2), abs=1e-3
    )
    assert shown["rdrop_kl"] == pytest.approx(kl.item() / 8 / math.log(2), abs=1e-3)
    tokens = model.sample["ntokens"]
    assert shown["nll_loss"] == pytest.approx(ce.item() / passes / tokens / math.log(2), abs=1e-3)
    correct = sum(d.probs.argmax(-1).eq(target).sum().item() for d in distributions)
    assert shown["accuracy"] == pytest.approx(100 * correct / passes / 8, abs=0.1)


@pytest.mark.parametrize("passes", [2, 3])
def test_regression_is_the_sum_of_squares(built, passes) -> None:
    model = built(f"--regression-target --rdrop-alpha 0.7 --rdrop-passes {passes}")
    ours = step(model.criterion, model.model, model.sample)

    _, of_pass = outputs_of_passes(model, passes)
    of_pass = of_pass.squeeze(-1)
    target = model.sample["target"].view(-1).double()
    squared_error = ((of_pass - target) ** 2).sum()
    pairs = [((f - g) ** 2).sum() for f, g in itertools.combinations(of_pass, 2)]
    disagreement = sum(pairs) / len(pairs)
    (squared_error + 0.7 * disagreement).backward()

    assert disagreement > 0.01
    expected = squared_error + 0.7 * disagreement
    torch.testing.assert_close(ours.loss.double(), expected, rtol=1e-5, atol=0)
    assert_same_grads(model.model, ours.grads)
    shown = logged_metrics(model.criterion, ours.logged)
    assert shown["rdrop_mse"] == pytest.approx(disagreement.item() / 8, abs=1e-4)
    # fairseq divides every loss by log 2, a squared error too
    assert shown["loss"] == pytest.approx(expected.item() / passes / 8 / math.log(2), abs=1e-3)
    assert "accuracy" not in shown


@pytest.mark.parametrize("flags", ["", "--regression-target"])
def test_alpha_0_is_the_plain_criterion_on_each_pass(built, flags) -> None:
    """Without the KL and without dropout, every logged number is fairseq's."""
    model = built(f"{flags} --rdrop-alpha 0 --dropout 0 --attention-dropout 0")
    ours = step(model.criterion, model.model, model.sample)
    theirs = step(model.plain, model.model, model.sample)
    torch.testing.assert_close(ours.loss, 2 * theirs.loss, rtol=1e-5, atol=0)
    for name, grad in theirs.grads.items():
        torch.testing.assert_close(ours.grads[name], 2 * grad, rtol=1e-4, atol=1e-5)
    shown = logged_metrics(model.criterion, ours.logged)
    expected = logged_metrics(model.plain, theirs.logged)
    assert {key: shown[key] for key in expected} == pytest.approx(expected, abs=1e-3)
    assert "nll_loss" in expected


@pytest.mark.parametrize("flags", ["--report-mcc --report-acc-and-f1", "--regression-target"])
def test_validation_is_fairseqs_criterion(built, flags) -> None:
    model = built(f"{flags} --rdrop-alpha 5")
    model.model.eval()
    with torch.no_grad():
        ours = model.criterion(model.model, model.sample)
        theirs = model.plain(model.model, model.sample)
    assert ours == theirs
    assert logged_metrics(model.criterion, ours[2]) == logged_metrics(model.plain, theirs[2])


def test_metrics_are_those_of_the_predictions(built) -> None:
    """What --report-... prints, from the predictions of all batches by scikit-learn and scipy."""
    model = built("--report-mcc --report-acc-and-f1")
    outputs = [
        {"pred": [1, 0, 1, 1], "targ": [1, 0, 0, 1], "report_mcc": True, "report_acc_and_f1": True},
        {"pred": [0, 1], "targ": [1, 1], "report_mcc": True, "report_acc_and_f1": True},
    ]
    for output in outputs:
        output |= {"loss": 1.0, "ntokens": 9, "nsentences": 4, "sample_size": 4}
    shown = logged_metrics(model.criterion, *outputs)
    pred, targ = [1, 0, 1, 1, 0, 1], [1, 0, 0, 1, 1, 1]
    assert shown["mcc"] == round(100 * matthews_corrcoef(targ, pred), 1)
    assert shown["f1"] == round(100 * f1_score(targ, pred), 1)
    rated = built("--regression-target --report-pearson-and-spearman")
    pred, targ = [1.0, 2.5, 3.0, 4.5], [1.5, 2.0, 2.2, 5.0]
    output = {"pred": pred, "targ": targ, "report_pearson_and_spearman": True}
    output |= {"loss": 1.0, "ntokens": 9, "nsentences": 4, "sample_size": 4}
    shown = logged_metrics(rated.criterion, output)
    assert shown["pearson"] == round(100 * pearsonr(pred, targ)[0], 1)
    assert shown["spearman"] == round(100 * spearmanr(pred, targ)[0], 1)


def test_predictions_are_gathered_not_added_up(built) -> None:
    """Several processes must not add up lists of predictions, as fairseq's criterion would."""
    for flags, of_validation in (("--report-mcc", False), ("", True)):
        for criterion in (built(flags).criterion, built(flags).plain):
            assert criterion.train().logging_outputs_can_be_summed() is True  # no predictions
            assert criterion.eval().logging_outputs_can_be_summed() is of_validation


def test_a_last_batch_of_one_rating(built) -> None:
    """No correlation can be told of one; that of the validation set is that of all batches."""
    rated = built("--regression-target --report-pearson-and-spearman")
    with torch.no_grad():
        whole = rated.criterion.eval()(rated.model.eval(), rated.sample)[2]
    parts = [
        {**whole, "pred": whole["pred"][rows], "targ": whole["targ"][rows]}
        for rows in (slice(7), slice(7, 8))
    ]
    for criterion in (rated.criterion, rated.plain):
        with metrics.aggregate(new_root=True) as valid:
            for part in parts:
                with metrics.aggregate() as batch:
                    type(criterion).reduce_metrics([part])
                batch.get_smoothed_values()  # as fairseq's trainer does after every batch
        shown = valid.get_smoothed_values()
        assert shown["pearson"] == round(100 * pearsonr(whole["pred"], whole["targ"])[0], 1)
        assert shown["spearman"] == round(100 * spearmanr(whole["pred"], whole["targ"])[0], 1)


@pytest.mark.parametrize("flags", ["", "--regression-target"])
def test_sample_is_left_unchanged(built, flags) -> None:
    model = built(flags)
    before = copy.deepcopy(model.sample)
    step(model.criterion, model.model, model.sample)
    assert model.sample["net_input"].keys() == before["net_input"].keys()
    for key, value in before["net_input"].items():
        assert torch.equal(model.sample["net_input"][key], value)
    assert torch.equal(model.sample["target"], before["target"])
    assert model.sample["ntokens"] == before["ntokens"]


def test_pruning_regularizers_count_once_a_pass(built) -> None:
    flags = "--rdrop-alpha 0 --dropout 0 --attention-dropout 0 --mha-reg-scale-factor 0.01"
    model = built(flags)
    ours = step(model.criterion, model.model, model.sample)
    theirs = step(model.plain, model.model, model.sample)
    torch.testing.assert_close(ours.loss, 2 * theirs.loss, rtol=1e-5, atol=0)
    torch.testing.assert_close(ours.logged["mha_reg_loss"], theirs.logged["mha_reg_loss"])


@pytest.mark.parametrize("flags", ["", "--regression-target"])
def test_interval(built, flags) -> None:
    """--rdrop-interval 2: fairseq's criterion in every other update, R-Drop as ever in the rest."""
    model = built(f"{flags} --rdrop-interval 2")
    always = built(f"{flags}")
    for update, expected in ((0, always.criterion), (1, model.plain), (2, always.criterion)):
        model.criterion.rdrop_interval.update_num = update
        found = step(model.criterion, model.model, model.sample)
        wanted = step(expected, model.model, model.sample)
        assert torch.equal(found.loss, wanted.loss)
        assert all(torch.equal(found.grads[name], grad) for name, grad in wanted.grads.items())
        shown = logged_metrics(model.criterion, found.logged)
        assert shown.pop("rdrop_updates") == 1 - update % 2
        assert shown == logged_metrics(expected, wanted.logged)


def test_says_what_dropout_it_found(built, caplog) -> None:
    model = built("--pooler-dropout 0.2")
    with caplog.at_level(logging.INFO):
        step(model.criterion, model.model, model.sample)
        step(model.criterion, model.model, model.sample)
    (line,) = [r.getMessage() for r in caplog.records if "R-Drop:" in r.getMessage()]
    assert "2 passes, alpha 1" in line
    assert "classifier 1 at 0.2" in line
    assert "attention 2 at 0.1" in line


def test_no_dropout_is_refused(built) -> None:
    model = built("--dropout 0 --attention-dropout 0")
    with pytest.raises(UsageError, match="no active dropout"):
        step(model.criterion, model.model, model.sample)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--rdrop-alpha -1", "--rdrop-alpha must be a finite number >= 0, got -1"),
        ("--rdrop-passes 1", "--rdrop-passes must be at least 2, got 1"),
        ("--rdrop-interval 0", "--rdrop-interval must be at least 1, got 0"),
        ("--rdrop-impl linear", "--rdrop-impl linear .* use --rdrop-impl auto"),
        ("--num-classes 3", r"--num-classes 3 .* 2 labels \(0, 1\)"),
        ("--num-classes 1", r"--num-classes 1 .* 2 labels"),
        ("--regression-target --report-acc-and-f1", "--report-acc-and-f1 needs classes"),
        ("--regression-target --report-mcc", "--report-mcc needs classes"),
    ],
)
def test_wrong_flags(built, flags, message) -> None:
    with pytest.raises(UsageError, match=message):
        built(flags)


@pytest.fixture
def relabelled(pairs, tmp_path):
    """relabelled(train, valid): the pairs with other labels, the dictionary from train."""

    def relabelled(train, valid):
        folder = tmp_path / "data"
        for field in ("input0", "input1"):
            shutil.copytree(pairs / "classes" / field, folder / field)
        command = ["fairseq-preprocess", "--only-source", "--destdir", folder / "label"]
        for split, labels in (("train", train), ("valid", valid)):
            (tmp_path / split).write_text("".join(f"{label}\n" for label in labels))
            command += [f"--{split}pref", tmp_path / split]
        run(command)
        return folder

    return relabelled


def test_a_label_the_dictionary_lacks(relabelled) -> None:
    labels = ["0", "1"] * 80
    data = relabelled(labels, [*labels[:-1], "2"])
    cfg = configured(data, "")
    with pytest.raises(UsageError, match=r"label/valid: row 160 has <unk>.*labels (0, 1|1, 0) of"):
        tasks.setup_task(cfg.task).build_criterion(cfg.criterion)


def test_a_test_set_needs_no_labels(relabelled, tmp_path) -> None:
    labels = ["0", "1"] * 80
    data = relabelled(labels, labels)
    (tmp_path / "test").write_text("-1\n" * 160)
    command = ["fairseq-preprocess", "--only-source", "--destdir", tmp_path / "label"]
    run([*command, "--srcdict", data / "label" / "dict.txt", "--testpref", tmp_path / "test"])
    for path in (tmp_path / "label").glob("test.*"):
        shutil.copy(path, data / "label")
    cfg = configured(data, "")
    tasks.setup_task(cfg.task).build_criterion(cfg.criterion)


def test_reports_need_numbers_as_labels(relabelled) -> None:
    labels = ["entailment", "not_entailment"] * 80
    cfg = configured(relabelled(labels, labels), "--report-mcc")
    with pytest.raises(UsageError, match=r"whole numbers.*label/dict.txt has '\w*entailment'"):
        tasks.setup_task(cfg.task).build_criterion(cfg.criterion)
    cfg = configured(cfg.task.data, "")
    tasks.setup_task(cfg.task).build_criterion(cfg.criterion)  # accuracy does not


def test_another_task_is_refused(build) -> None:
    cfg = RDropSentencePredictionConfig()
    with pytest.raises(UsageError, match="needs --task sentence_prediction; for translation"):
        CRITERION_REGISTRY["rdrop_sentence_prediction"](cfg, build("transformer").task)


def training(data, save_dir, *flags, **kwargs):
    if "--report" in "".join(flags):
        needs.fairseqs_glue_reports()
    command = ["fairseq-train", data, *USER_DIR, "--save-dir", save_dir, "--cpu"]
    command += ["--task", "sentence_prediction", *ROBERTA.split(), "--num-classes", "2"]
    command += ["--criterion", "rdrop_sentence_prediction", "--num-workers", "0"]
    command += ["--optimizer", "adam", "--lr", "0.003", "--batch-size", "16"]
    command += ["--log-format", "json", "--required-batch-size-multiple", "1"]
    return run([*command, *flags], **kwargs)


def last_stats(output, name):
    lines = [line for line in output.splitlines() if f"| {name} | {{" in line]
    return json.loads(lines[-1].split(" | ", 3)[-1])


def test_fairseq_train(pairs, tmp_path) -> None:
    flags = ["--max-update", "12", "--report-acc-and-f1", "--best-checkpoint-metric", "acc_and_f1"]
    flags += ["--maximize-best-checkpoint-metric"]
    output = training(pairs / "classes", tmp_path, *flags).stdout
    train, valid = last_stats(output, "train"), last_stats(output, "valid")
    assert float(train["train_rdrop_kl"]) > 0
    assert float(train["train_loss"]) > 0
    assert "valid_rdrop_kl" not in valid
    assert 0 <= float(valid["valid_acc_and_f1"]) <= 100
    assert (tmp_path / "checkpoint_best.pt").is_file()


def test_fairseq_hydra_train(pairs, tmp_path) -> None:
    needs.fairseqs_glue_reports()
    (tmp_path / "tiny.yaml").write_text(
        f"""# @package _group_
common: {{user_dir: {ROOT / "rdrop_fairseq"}, cpu: true, log_format: json}}
task: {{_name: sentence_prediction, data: {pairs / "ratings"}, num_classes: 1, max_positions: 256}}
model: {{_name: roberta, encoder_layers: 2, encoder_embed_dim: 16, encoder_ffn_embed_dim: 32,
  encoder_attention_heads: 2, max_positions: 256}}
criterion: {{_name: rdrop_sentence_prediction, regression_target: true,
  classification_head_name: sentence_classification_head, report_pearson_and_spearman: true,
  rdrop_alpha: 0.5}}
dataset: {{batch_size: 16, num_workers: 0}}
optimizer: {{_name: adam, adam_betas: "(0.9,0.98)"}}
lr_scheduler: {{_name: fixed}}
optimization: {{max_update: 4, lr: [0.003]}}
checkpoint: {{save_dir: {tmp_path / "out"}}}
"""
    )
    command = ["fairseq-hydra-train", "--config-dir", tmp_path, "--config-name", "tiny"]
    result = run([*command, f"hydra.run.dir={tmp_path}"])
    output = result.stdout + result.stderr + (tmp_path / "hydra_train.log").read_text()
    (shown,) = re.findall(r'"train_rdrop_mse": "([^"]+)"', output)[-1:]
    assert float(shown) > 0
    assert re.search(r'"valid_pearson": "', output)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num-classes", "3"], "--num-classes 3 does not fit the data"),
        (["--dropout", "0", "--attention-dropout", "0"], "no active dropout"),
    ],
)
def test_errors_are_one_line_and_before_training(pairs, tmp_path, flags, message) -> None:
    result = training(pairs / "classes", tmp_path, "--num-workers", "1", *flags, check=False)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("*.pt"))
