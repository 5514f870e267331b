"""--criterion rdrop_adaptive_loss, against fairseq's adaptive_loss and its dense distribution."""

import copy
import logging
import math
import re
from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions import CRITERION_REGISTRY

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.loss import reference_rdrop_loss

from ..conftest import USER_DIR, run, saved_parameters
from ..test_command_line import assert_one_clear_error, logged
from .test_interval import update
from .test_rdrop import assert_same_grads, logged_metrics, step
from .test_rdrop_language_model import train_lm

SOFTMAX = "--adaptive-softmax-cutoff 60,150 --adaptive-softmax-factor 2"
INPUT = "--adaptive-input --adaptive-input-cutoff 60,150 --adaptive-input-factor 2"
MODELS = {
    "softmax": SOFTMAX,
    "tied": f"{SOFTMAX} {INPUT} --tie-adaptive-weights --tie-adaptive-proj",
}
KLS = ["exact", "target"]


def make(build, model: str = "softmax", flags: str = "--dropout 0.3") -> SimpleNamespace:
    """A small adaptive language model and a batch of real text.

    The second symbol of each tail is replaced, as fairseq's adaptive_loss ignores it there.
    """
    built = build("transformer_lm", f"{flags} {MODELS[model]}")
    built.sample = copy.deepcopy(built.sample)
    target = built.sample["target"]
    target[(target == 61) | (target == 151)] += 1
    assert target.lt(60).any()
    assert (target.ge(60) & target.lt(150)).any()
    assert target.ge(150).any()

    def criterion(name: str = "rdrop_adaptive_loss", **settings: object) -> torch.nn.Module:
        return CRITERION_REGISTRY[name](built.task, **{"sentence_avg": False, **settings})

    built.criterion = criterion
    return built


def doubled(sample: dict) -> dict:
    """The batch twice, as a plain criterion may see it."""
    twice = {key: torch.cat([value, value]) for key, value in sample["net_input"].items()}
    return {**sample, "net_input": twice, "target": torch.cat([sample["target"]] * 2)}


@pytest.mark.parametrize("model", MODELS)
def test_validation_is_fairseqs_criterion_on_the_same_sample(build, model) -> None:
    built = make(build, model)
    built.model.eval()
    calls = []
    hook = built.model.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        ours = built.criterion()(built.model, built.sample)
        assert len(calls) == 1
        theirs = built.criterion("adaptive_loss")(built.model, built.sample)
    hook.remove()
    assert torch.equal(ours[0], theirs[0])
    assert ours[1:] == theirs[1:]
    criteria = built.criterion(), built.criterion("adaptive_loss")
    first, second = (logged_metrics(criterion, ours[2]) for criterion in criteria)
    assert first == second


@pytest.mark.parametrize("kl", KLS)
@pytest.mark.parametrize("model", MODELS)
def test_without_the_kl_it_is_fairseqs_criterion_on_the_doubled_batch(build, model, kl) -> None:
    """For the same dropout masks: loss and gradient of every parameter."""
    built = make(build, model)
    criterion = built.criterion(rdrop_alpha=0, rdrop_adaptive_kl=kl)
    ours = step(criterion, built.model, built.sample)
    theirs = step(built.criterion("adaptive_loss"), built.model, doubled(built.sample))
    torch.testing.assert_close(ours.loss, theirs.loss.squeeze(), rtol=1e-5, atol=0)
    assert_same_grads(ours.grads, theirs.grads)
    assert 2 * ours.sample_size == theirs.sample_size


def test_dropout_inside_the_tails_is_fairseqs(build) -> None:
    """With "target" a tail sees the rows that it sees in fairseq, and draws the same masks."""
    built = make(build, flags="--dropout 0.3 --adaptive-softmax-dropout 0.4")
    criterion = built.criterion(rdrop_alpha=0, rdrop_adaptive_kl="target")
    ours = step(criterion, built.model, built.sample)
    theirs = step(built.criterion("adaptive_loss"), built.model, doubled(built.sample))
    torch.testing.assert_close(ours.loss, theirs.loss.squeeze(), rtol=1e-5, atol=0)
    assert_same_grads(ours.grads, theirs.grads)


def test_second_symbol_of_a_tail_is_not_left_out(build) -> None:
    """fairseq takes its index in the tail, 1, for padding; see the criterion's docstring."""
    built = make(build)
    built.sample["target"][0, 0] = 61
    ours = step(built.criterion(rdrop_alpha=0), built.model, built.sample)
    theirs = step(built.criterion("adaptive_loss"), built.model, doubled(built.sample))
    torch.manual_seed(1)
    features = built.model(**doubled(built.sample)["net_input"])[0]
    rows = features[[0, len(features) // 2], 0]
    left_out = -built.model.decoder.adaptive_softmax.tail[0](rows).log_softmax(-1)[:, 1].sum()
    torch.testing.assert_close(ours.loss, theirs.loss.squeeze() + left_out, rtol=1e-6, atol=0)


@pytest.mark.parametrize("passes", [2, 3])
@pytest.mark.parametrize("model", MODELS)
def test_exact_is_the_loss_of_fairseqs_dense_distribution(build, model, passes) -> None:
    built = make(build, model)
    result = step(built.criterion(rdrop_alpha=3, rdrop_passes=passes), built.model, built.sample)
    built.model.zero_grad()
    torch.manual_seed(1)
    net_input = {k: torch.cat([v] * passes) for k, v in built.sample["net_input"].items()}
    net_output = built.model(**net_input)
    log_probs = built.model.decoder.adaptive_softmax.get_log_prob(net_output[0], None)
    expected = reference_rdrop_loss(
        log_probs, built.sample["target"], alpha=3, ignore_index=1, passes=passes
    )
    torch.testing.assert_close(result.loss, expected.objective, rtol=1e-5, atol=0)
    torch.testing.assert_close(result.logged["rdrop_kl"], expected.kl, rtol=1e-4, atol=0)
    torch.testing.assert_close(
        result.logged["nll_loss"], expected.nll_loss / passes, rtol=1e-5, atol=0
    )
    # fairseq's get_log_prob writes in place what autograd needs: the definition has its gradient
    eager = step(
        built.criterion(rdrop_alpha=3, rdrop_passes=passes, rdrop_impl="eager"),
        built.model,
        built.sample,
    )
    assert_same_grads(result.grads, eager.grads)


def test_target_is_another_number(build) -> None:
    built = make(build)
    exact, target, eager = (
        step(built.criterion(rdrop_alpha=3, **settings), built.model, built.sample)
        for settings in (
            {},
            {"rdrop_adaptive_kl": "target"},
            {"rdrop_adaptive_kl": "target", "rdrop_impl": "eager"},
        )
    )
    torch.testing.assert_close(exact.logged["nll_loss"], target.logged["nll_loss"])
    assert target.logged["rdrop_kl"] != pytest.approx(exact.logged["rdrop_kl"].item(), rel=1e-3)
    torch.testing.assert_close(target.loss, eager.loss, rtol=1e-5, atol=0)
    assert_same_grads(target.grads, eager.grads)


@pytest.mark.parametrize("kl", KLS)
def test_same_sample_again(build, kl) -> None:
    built = make(build)
    before = copy.deepcopy(built.sample)
    criterion = built.criterion(rdrop_adaptive_kl=kl)
    first = step(criterion, built.model, built.sample)
    second = step(criterion, built.model, built.sample)
    assert first.loss.item() == second.loss.item()
    assert built.sample.keys() == before.keys()
    assert torch.equal(built.sample["target"], before["target"])
    for key, tensor in before["net_input"].items():
        assert torch.equal(built.sample["net_input"][key], tensor)


@pytest.mark.parametrize("kl", KLS)
def test_padding(build, kl) -> None:
    """Columns of padding change neither loss nor gradient; their features get none."""
    built = make(build, flags="--dropout 0 --attention-dropout 0")
    settings = {"rdrop_alpha": 0, "rdrop_adaptive_kl": kl}
    expected = step(built.criterion(**settings), built.model, built.sample)
    padded = copy.deepcopy(built.sample)
    for batch, key in ((padded, "target"), (padded["net_input"], "src_tokens")):
        batch[key] = torch.nn.functional.pad(batch[key], (0, 3), value=1)
    gradients = []

    def watch(module: torch.nn.Module, args: tuple, output: tuple) -> None:
        output[0].register_hook(gradients.append)

    hook = built.model.register_forward_hook(watch)
    result = step(built.criterion(**settings), built.model, padded)
    hook.remove()
    torch.testing.assert_close(result.loss, expected.loss, rtol=1e-5, atol=0)
    assert result.sample_size == expected.sample_size
    assert_same_grads(result.grads, expected.grads)
    assert not gradients[0][:, -3:].any()


@pytest.mark.parametrize("kl", KLS)
def test_alpha_0_logs_what_a_plain_run_logs(build, kl) -> None:
    """Without dropout noise every number is the plain criterion's, not twice or squared."""
    built = make(build, flags="--dropout 0 --attention-dropout 0")
    criterion = built.criterion(rdrop_alpha=0, rdrop_adaptive_kl=kl)
    ours = logged_metrics(criterion, step(criterion, built.model, built.sample).logged)
    criterion = built.criterion("adaptive_loss")
    theirs = logged_metrics(criterion, step(criterion, built.model, built.sample).logged)
    assert ours.pop("rdrop_kl") == pytest.approx(0, abs=1e-6)
    assert ours.pop("nll_loss") == pytest.approx(theirs["loss"], rel=1e-5)
    assert ours.keys() == theirs.keys() == {"loss", "ppl"}
    for key, value in theirs.items():
        assert float(ours[key]) == pytest.approx(float(value), rel=1e-5)


def test_units_of_the_log(build) -> None:
    """bits, per pass; ppl without the KL term; --sentence-avg changes loss only."""
    criterion = make(build).criterion()
    assert criterion.logging_outputs_can_be_summed()
    log = {
        "loss": torch.tensor(60.0),
        "nll_loss": torch.tensor(50.0),
        "rdrop_kl": torch.tensor(5.0),
        "ntokens": 10,
        "nsentences": 2,
        "sample_size": 2,
    }
    values = logged_metrics(criterion, log, {**log, "rdrop_kl": torch.tensor(15.0)})
    assert float(values["loss"]) == pytest.approx(30 / math.log(2), abs=1e-3)
    assert float(values["nll_loss"]) == pytest.approx(5 / math.log(2), abs=1e-3)
    assert float(values["rdrop_kl"]) == pytest.approx(1 / math.log(2), abs=1e-3)
    assert float(values["ppl"]) == pytest.approx(math.exp(5), rel=1e-2)


def test_sentence_avg_and_not_reduced(build) -> None:
    built = make(build)
    summed = step(built.criterion(sentence_avg=True), built.model, built.sample)
    assert summed.sample_size == built.sample["target"].size(0) == summed.logged["sample_size"]
    each = step(built.criterion(), built.model, built.sample, reduce=False)
    assert each.loss.shape == built.sample["target"].shape
    torch.testing.assert_close(each.loss.sum(), summed.loss)
    assert_same_grads(each.grads, summed.grads)


def test_dummy_batch(build) -> None:
    """fairseq multiplies a dummy batch's loss by 0 in place: all gradients are 0."""
    built = make(build)
    built.model.train()
    built.model.zero_grad()
    loss, *_ = built.criterion()(built.model, built.sample)
    loss *= 0
    loss.backward()
    assert not any(p.grad.count_nonzero() for p in built.model.parameters())


@pytest.mark.parametrize("kl", KLS)
@pytest.mark.parametrize("model", MODELS)
def test_bfloat16(build, model, kl) -> None:
    """The loss is float32; the gradient is as close to float32's as adaptive_loss's is."""
    settings = {"rdrop_alpha": 0, "rdrop_adaptive_kl": kl}

    def error(result: SimpleNamespace, truth: SimpleNamespace) -> float:
        return sum(
            (result.grads[name].float() - grad).norm().item() ** 2
            for name, grad in truth.grads.items()
        )

    errors = []
    for seed in range(8):
        built = make(build, model, "--dropout 0 --attention-dropout 0")
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in built.model.parameters():
                parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
        truth = step(built.criterion(**settings), built.model, built.sample)
        built.model.bfloat16()
        ours = step(built.criterion(**settings), built.model, built.sample)
        theirs = step(built.criterion("adaptive_loss"), built.model, doubled(built.sample))
        assert ours.loss.dtype == torch.float32
        assert ours.loss.item() == pytest.approx(truth.loss.item(), rel=2e-3)
        errors.append((error(ours, truth), error(theirs, truth)))
    # most of it comes from the model's body. The ratio of one model is that of two roundings, which
    # spreads by 0.045: that of the sums over eight by 0.016
    total_ours, total_theirs = map(sum, zip(*errors, strict=True))
    assert total_ours <= 1.1 * total_theirs


def test_interval(build) -> None:
    """Plain updates are fairseq's adaptive_loss to the last bit, and logged beside the others."""
    built = make(build)
    criterion = built.criterion(rdrop_interval=2)
    plain = update(built, criterion, 1)
    theirs = step(built.criterion("adaptive_loss"), built.model, built.sample)
    assert torch.equal(plain.loss, theirs.loss)
    for name, gradient in theirs.grads.items():
        assert torch.equal(plain.grads[name], gradient), name
    with_rdrop = update(built, criterion, 2)
    assert torch.equal(with_rdrop.loss, update(built, built.criterion(), 2).loss)
    values = [logged_metrics(criterion, result.logged) for result in (plain, with_rdrop)]
    assert [value["rdrop_updates"] for value in values] == [0, 1]
    assert values[0].keys() | {"rdrop_kl"} == values[1].keys()
    assert float(values[0]["nll_loss"]) == float(values[0]["loss"])


def test_log_line_names_dropout_and_kl(build, caplog) -> None:
    built = make(build, flags="--dropout 0 --attention-dropout 0 --adaptive-softmax-dropout 0.2")
    criterion = built.criterion(rdrop_adaptive_kl="target")
    with caplog.at_level(logging.INFO, logger="rdrop_fairseq"):
        step(criterion, built.model, built.sample)
        step(criterion, built.model, built.sample)
    messages = [r.message for r in caplog.records if r.name.startswith("rdrop_fairseq")]
    # on what enters the softmax, and inside each tail: enough for passes that differ
    assert messages == [
        "R-Drop: 2 passes, alpha 1, 3 active dropout modules (adaptive-softmax 3 at 0.2); "
        "KL target, impl auto"
    ]


def test_no_dropout(build) -> None:
    built = make(build, flags="--dropout 0 --attention-dropout 0")
    with pytest.raises(UsageError, match="no active dropout: set a rate > 0 with --dropout"):
        step(built.criterion(), built.model, built.sample)
    step(built.criterion(rdrop_alpha=0), built.model, built.sample)


@pytest.mark.parametrize("training", [True, False])
def test_model_without_adaptive_softmax(build, training) -> None:
    built = make(build)
    model = build("transformer_lm").model.train(training)
    with pytest.raises(UsageError, match="needs an adaptive softmax, which this TransformerLang"):
        built.criterion()(model, built.sample)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rdrop_alpha": -1.0}, r"--rdrop-alpha .*>= 0, got -1\.0"),
        ({"rdrop_passes": 1}, "--rdrop-passes must be at least 2, got 1"),
        ({"rdrop_interval": 0}, "--rdrop-interval must be at least 1, got 0"),
        ({"rdrop_impl": "linear"}, "--rdrop-impl linear is for models with one output projection"),
    ],
)
def test_wrong_settings(build, settings, message) -> None:
    with pytest.raises(UsageError, match=message):
        make(build).criterion(**settings)


FLAGS = ["--criterion", "rdrop_adaptive_loss", "--ddp-backend", "legacy_ddp"]
FLAGS += ["--tokens-per-sample", "50", *MODELS["tied"].split()]


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Six updates of two batches, R-Drop in every second, a checkpoint after three."""
    folder = tmp_path_factory.mktemp("adaptive")
    flags = [*FLAGS, "--adaptive-softmax-dropout", "0.1", "--rdrop-interval", "2"]
    flags += ["--update-freq", "2", "--log-interval", "1", "--max-update", "6"]
    flags += ["--save-interval-updates", "3"]
    return folder, flags, train_lm(data, folder, *flags)


def test_command_line(trained) -> None:
    _, _, result = trained
    assert "in one update of every 2, " in result.stdout
    assert "(embedding 1 at 0.2, output 2 at 0.2, adaptive-softmax 3 at 0.1)" in result.stdout
    inner = logged(result, "train_inner")
    assert [float(line["rdrop_updates"]) for line in inner] == [1, 0, 1, 0, 1, 0]
    assert all(float(line["rdrop_kl"]) > 0 for line in inner[::2])
    assert all(5 < float(line["nll_loss"]) < 12 for line in inner)  # log2 of 304 symbols is 8.2
    assert not any("rdrop" in key for line in logged(result, "valid") for key in line)


def test_resumed_equals_uninterrupted(data, trained, tmp_path) -> None:
    whole, flags, _ = trained
    (half,) = whole.glob("checkpoint_*_3.pt")
    (tmp_path / "checkpoint_last.pt").write_bytes(half.read_bytes())
    result = train_lm(data, tmp_path, *flags)
    inner = logged(result, "train_inner")
    assert [float(line["rdrop_updates"]) for line in inner] == [0, 1, 0]
    ends = [saved_parameters(folder) for folder in (whole, tmp_path)]
    for name, parameter in ends[0].items():
        assert torch.equal(parameter, ends[1][name]), name


def test_eval_lm(data, trained) -> None:
    command = ["fairseq-eval-lm", data / "lm", *USER_DIR, "--cpu", "--gen-subset", "valid"]
    command += ["--path", trained[0] / "checkpoint_last.pt", "--tokens-per-sample", "50"]
    result = run([*command, "--max-tokens", "1000"])
    perplexity = re.search(r"Perplexity: ([\d.]+)", result.stdout + result.stderr)
    assert 30 < float(perplexity[1]) < 304


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--ddp-backend", "pytorch_ddp"],
            "--ddp-backend pytorch_ddp does not work .*give --ddp-backend legacy_ddp",
        ),
        (["--rdrop-adaptive-kl", "dense"], "invalid choice: 'dense'"),
    ],
)
def test_wrong_input(data, tmp_path, flags, message) -> None:
    result = train_lm(data, tmp_path / "out", *FLAGS, *flags, check=False)
    assert_one_clear_error(result, message)
    assert not list(tmp_path.rglob("*.pt"))
