"""--criterion rdrop, against fairseq's own criteria and against the loss's definition."""

import copy
import logging
import math
from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.logging import metrics
from fairseq.models.nat import FairseqNATModel
from fairseq.models.wav2vec.wav2vec2_asr import Wav2VecCtc
from fairseq.nan_detector import NanDetector
from fairseq.tasks import TASK_REGISTRY
from fairseq.tasks.fairseq_task import StatefulContainer

from rdrop_fairseq.compat import FAST_PATH_COPIES
from rdrop_fairseq.criterions import rdrop
from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.loss import compiled, reference_rdrop_loss

from .. import needs

IMPLS = ["linear", "logits", "eager"]
ARCHS = ["transformer", "transformer-untied", "lstm", "fconv", "bart_base", "transformer_lm"]


def step(criterion, model, sample, seed=1, **kwargs):
    """One training step with the dropout masks of ``seed``: results and gradients."""
    model.train()
    model.zero_grad()
    torch.manual_seed(seed)
    loss, sample_size, logged = criterion(model, sample, **kwargs)
    loss.sum().backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return SimpleNamespace(loss=loss, sample_size=sample_size, logged=logged, grads=grads)


def assert_same_grads(ours, theirs, rtol=1e-4):
    assert ours.keys() == theirs.keys()
    scale = max(grad.abs().max() for grad in theirs.values())
    for name, grad in theirs.items():
        torch.testing.assert_close(ours[name], grad, rtol=rtol, atol=1e-6 * scale.item(), msg=name)


def logged_metrics(criterion, *logging_outputs):
    with metrics.aggregate(new_root=True) as aggregated:
        type(criterion).reduce_metrics(list(logging_outputs))
    return aggregated.get_smoothed_values()


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("arch", ["transformer", "transformer-untied", "fconv", "transformer_lm"])
def test_gradient_equals_fairseqs_rdrop(build, arch, impl) -> None:
    """For the same dropout masks, the loss and gradient are those of fairseq's criterion."""
    if (arch, impl) == ("fconv", "linear"):
        pytest.skip("fconv has no plain output projection")
    needs.fairseqs_rdrop()
    built = build(arch, "--dropout 0.3")
    ours = step(built.criterion("rdrop", rdrop_alpha=5, rdrop_impl=impl), built.model, built.sample)
    theirs = step(
        built.criterion("label_smoothed_cross_entropy_with_rdrop", rdrop_alpha=5),
        built.model,
        copy.deepcopy(built.sample),  # it changes its input
    )
    assert ours.sample_size == theirs.sample_size
    torch.testing.assert_close(ours.loss, theirs.loss, rtol=1e-5, atol=0)
    assert_same_grads(ours.grads, theirs.grads)
    # fairseq adds up both passes but divides by one pass's tokens: squared perplexity
    torch.testing.assert_close(
        ours.logged["nll_loss"], theirs.logged["nll_loss"] / 2, rtol=1e-5, atol=0
    )
    assert ours.logged["rdrop_kl"].item() == pytest.approx(theirs.logged["rdrop_kl_loss"], rel=1e-4)


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("passes", [2, 3])
def test_every_model_against_the_definition(build, arch, passes) -> None:
    """auto trains every architecture, and its gradient is that of the definition."""
    built = build(arch, "--dropout 0.3")
    auto = step(built.criterion("rdrop", rdrop_passes=passes), built.model, built.sample)
    eager = step(
        built.criterion("rdrop", rdrop_passes=passes, rdrop_impl="eager"),
        built.model,
        built.sample,
    )
    torch.testing.assert_close(auto.loss, eager.loss, rtol=1e-5, atol=0)
    assert_same_grads(auto.grads, eager.grads)
    assert eager.logged["rdrop_kl"] > 0


def test_lstm_gets_sorted_lengths_and_the_right_pairs(build) -> None:
    """The recurrent model's interleaved passes are compared example by example."""
    built = build("lstm", "--dropout 0.3")
    criterion = built.criterion("rdrop", rdrop_alpha=3, rdrop_impl="eager")
    result = step(criterion, built.model, built.sample)
    torch.manual_seed(1)
    net_input = {k: v.repeat_interleave(2, 0) for k, v in built.sample["net_input"].items()}
    logits = built.model(**net_input)[0]
    expected = reference_rdrop_loss(
        torch.cat([logits[0::2], logits[1::2]]),
        built.sample["target"],
        alpha=3,
        label_smoothing=0.1,
        ignore_index=built.task.target_dictionary.pad(),
    )
    torch.testing.assert_close(result.loss, expected.objective)


@pytest.mark.parametrize("arch", ["transformer", "lstm", "transformer_lm"])
def test_validation_is_label_smoothed_cross_entropy(build, arch) -> None:
    built = build(arch, "--dropout 0.3")
    built.model.eval()
    calls = []
    hook = built.model.register_forward_hook(lambda *_: calls.append(1))
    settings = {"report_accuracy": True, "ignore_prefix_size": 1}
    with torch.no_grad():
        ours = built.criterion("rdrop", rdrop_alpha=5, **settings)(built.model, built.sample)
        assert len(calls) == 1
        theirs = built.criterion("label_smoothed_cross_entropy", **settings)(
            built.model, built.sample
        )
    hook.remove()
    assert ours[0].item() == theirs[0].item()
    assert ours[1:] == theirs[1:]


@pytest.mark.parametrize("impl", IMPLS)
def test_same_sample_again(build, impl) -> None:
    """A second call gives the same loss, and the sample is left as it was (fairseq #5410)."""
    built = build("transformer", "--dropout 0.3")
    before = copy.deepcopy(built.sample)
    criterion = built.criterion("rdrop", rdrop_impl=impl)
    first = step(criterion, built.model, built.sample)
    second = step(criterion, built.model, built.sample)
    assert first.loss.item() == second.loss.item()
    assert built.sample.keys() == before.keys()
    assert torch.equal(built.sample["target"], before["target"])
    for key, tensor in before["net_input"].items():
        assert torch.equal(built.sample["net_input"][key], tensor)


@pytest.mark.parametrize("impl", IMPLS)
def test_alpha_0_logs_what_a_plain_run_logs(build, impl) -> None:
    """Without dropout noise every number is the plain criterion's, not twice or squared."""
    built = build("transformer", "--dropout 0 --attention-dropout 0")
    settings = {"report_accuracy": True}
    criterion = built.criterion("rdrop", rdrop_alpha=0, rdrop_impl=impl, **settings)
    ours = logged_metrics(criterion, step(criterion, built.model, built.sample).logged)
    criterion = built.criterion("label_smoothed_cross_entropy", **settings)
    theirs = logged_metrics(criterion, step(criterion, built.model, built.sample).logged)
    kl = ours.pop("rdrop_kl")
    assert kl == pytest.approx(0, abs=1e-6)
    assert ours.keys() == theirs.keys() >= {"loss", "nll_loss", "ppl", "accuracy"}
    for key, value in theirs.items():
        assert float(ours[key]) == pytest.approx(float(value), rel=1e-5)


def test_units_of_the_log(build) -> None:
    """bits, per pass; rdrop_kl a token; sums of several batches."""
    criterion = build("transformer").criterion("rdrop")
    assert criterion.logging_outputs_can_be_summed()
    log = {
        "loss": torch.tensor(60.0),
        "nll_loss": torch.tensor(50.0),
        "rdrop_kl": torch.tensor(5.0),
        "ntokens": 10,
        "nsentences": 2,
        "sample_size": 10,
    }
    other = {**log, "rdrop_kl": torch.tensor(15.0)}
    values = logged_metrics(criterion, log, other)
    assert float(values["loss"]) == pytest.approx(6 / math.log(2), abs=1e-3)
    assert float(values["nll_loss"]) == pytest.approx(5 / math.log(2), abs=1e-3)
    assert float(values["rdrop_kl"]) == pytest.approx(1 / math.log(2), abs=1e-3)
    assert float(values["ppl"]) == pytest.approx(math.exp(5), rel=1e-2)


@pytest.mark.parametrize("impl", IMPLS)
def test_ignore_prefix_and_accuracy(build, impl) -> None:
    built = build("transformer", "--dropout 0.3")
    settings = {"ignore_prefix_size": 2, "report_accuracy": True}
    result = step(
        built.criterion("rdrop", rdrop_alpha=5, rdrop_impl=impl, **settings),
        built.model,
        built.sample,
    )
    torch.manual_seed(1)
    net_input = {k: torch.cat([v, v]) for k, v in built.sample["net_input"].items()}
    logits, target = built.model(**net_input)[0][:, 2:], built.sample["target"][:, 2:]
    pad = built.task.target_dictionary.pad()
    expected = reference_rdrop_loss(logits, target, alpha=5, label_smoothing=0.1, ignore_index=pad)
    torch.testing.assert_close(result.loss, expected.objective)
    assert result.logged["n_correct"].item() == expected.n_correct.item() / 2
    assert result.logged["total"].item() == target.ne(pad).sum().item()


def test_sentence_avg(build) -> None:
    built = build("transformer", "--dropout 0.3")
    result = step(built.criterion("rdrop", sentence_avg=True), built.model, built.sample)
    assert result.sample_size == built.sample["target"].size(0) == result.logged["sample_size"]


@pytest.mark.parametrize("impl", IMPLS)
def test_not_reduced(build, impl) -> None:
    built = build("transformer", "--dropout 0.3")
    criterion = built.criterion("rdrop", rdrop_impl=impl)
    each = step(criterion, built.model, built.sample, reduce=False)
    summed = step(criterion, built.model, built.sample)
    assert each.loss.shape == built.sample["target"].shape
    torch.testing.assert_close(each.loss.sum(), summed.loss)
    assert_same_grads(each.grads, summed.grads)


@pytest.mark.parametrize("impl", IMPLS)
def test_dummy_batch(build, impl) -> None:
    """fairseq multiplies a dummy batch's loss by 0 in place: all gradients are 0."""
    built = build("transformer", "--dropout 0.3")
    built.model.train()
    built.model.zero_grad()
    loss, *_ = built.criterion("rdrop", rdrop_impl=impl)(built.model, built.sample)
    loss *= 0
    loss.backward()
    used = [
        parameter
        for name, parameter in built.model.named_parameters()
        if name.rpartition(".")[2] not in FAST_PATH_COPIES  # of fairseq 0.12.2, without gradient
    ]
    assert not any(parameter.grad.count_nonzero() for parameter in used)


@pytest.mark.parametrize("impl", IMPLS)
def test_trajectory_equals_fairseqs_rdrop(build, impl) -> None:
    """20 updates from one seed end in the same parameters, but for rounding.

    How far rounding drives two trainings apart differs with the CPU, and is measured: by
    trainings with fairseq's criterion whose first parameters are off by 16 roundings.
    """
    needs.fairseqs_rdrop()

    def train(name, nudge=None, **settings):
        built = build("transformer", "--dropout 0.3")
        if nudge is not None:
            numbers = torch.Generator().manual_seed(nudge)
            for parameter in built.model.parameters():
                noise = torch.randn(parameter.shape, generator=numbers)
                parameter.data *= 1 + 8 * torch.finfo(torch.float32).eps * noise
        model, criterion = built.model, built.criterion(name, rdrop_alpha=5, **settings)
        # momentum, not Adam: Adam's step has the size of the learning rate even where the
        # gradient is rounding noise around 0
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        for seed in range(20):
            result = step(criterion, model, copy.deepcopy(built.sample), seed=seed)
            for parameter in model.parameters():
                parameter.grad /= result.sample_size
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        return result.loss.item(), torch.cat([p.detach().flatten() for p in model.parameters()])

    loss, ours = train("rdrop", rdrop_impl=impl)
    fairseqs = "label_smoothed_cross_entropy_with_rdrop"
    expected_loss, theirs = train(fairseqs)
    nudged = [train(fairseqs, nudge) for nudge in range(3)]
    drift = max(abs(other - expected_loss) for other, _ in nudged)
    assert drift < 1e-3 * expected_loss  # else nothing would be told
    assert abs(loss - expected_loss) <= 3 * drift
    drift = max((other - theirs).norm() for _, other in nudged)
    assert (ours - theirs).norm() <= 3 * drift


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("loss_scale", [2.0**15, 2.0**7, 1.0])
def test_fp16_gradients_reach_the_parameters(build, impl, loss_scale) -> None:
    """In float16 nothing is flushed to zero before the loss scale multiplies it."""
    needs.float16_on_the_cpu()
    built = build("transformer", "--dropout 0.3")
    built.model.half()

    def scaled(impl):
        built.model.train()
        built.model.zero_grad()
        torch.manual_seed(1)
        loss, sample_size, _ = built.criterion("rdrop", rdrop_alpha=5, rdrop_impl=impl)(
            built.model, built.sample
        )
        (loss * (loss_scale / sample_size)).backward()
        return {name: p.grad.float() for name, p in built.model.named_parameters()}

    ours, theirs = scaled(impl), scaled("eager")
    for name, grad in theirs.items():
        assert ours[name].isfinite().all()
        if name.endswith("k_proj.bias"):  # in truth 0: a softmax does not see it
            continue
        norm = grad.norm().item()
        assert (ours[name] - grad).norm().item() <= 5e-3 * norm + 1e-6, name
        # as much of the gradient is there at all
        nonzero = ours[name].count_nonzero(), grad.count_nonzero()
        assert nonzero[0] >= 0.98 * nonzero[1], name


def test_logits_are_overwritten(build, monkeypatch) -> None:
    """With --rdrop-impl logits the gradient takes the place of the logits."""
    needs.gradients_multiplied_in_place()
    built = build("transformer", "--dropout 0.3")
    addresses, forward = [], built.model.forward

    def watched(**net_input):
        output = forward(**net_input)
        addresses.append(output[0].data_ptr())
        output[0].register_hook(lambda gradient: addresses.append(gradient.data_ptr()))
        return output

    monkeypatch.setattr(built.model, "forward", watched)
    step(built.criterion("rdrop", rdrop_impl="logits"), built.model, built.sample)
    assert addresses[0] == addresses[1]


@pytest.mark.parametrize("hooked", ["decoder.output_projection", "decoder", ""])
def test_logits_that_a_hook_keeps(build, hooked) -> None:
    """They are not written over: the hook has what plain training would give it."""
    kept = []
    for impl in ("logits", "eager", "auto"):
        built = build("transformer", "--dropout 0.3")
        built.model.get_submodule(hooked).register_forward_hook(
            lambda module, args, output: kept.append(output if hooked[8:] else output[0])
        )
        step(built.criterion("rdrop", rdrop_impl=impl), built.model, built.sample)
    torch.testing.assert_close(kept[0], kept[1], rtol=0, atol=0)
    if kept[2].shape == kept[1].shape:  # not so for the features of the linear path
        torch.testing.assert_close(kept[2], kept[1], rtol=0, atol=0)


@pytest.mark.parametrize("impl", IMPLS)
def test_nothing_but_the_prefix(build, impl) -> None:
    """All tokens ignored: loss and gradient are 0."""
    built = build("transformer", "--dropout 0.3")
    criterion = built.criterion("rdrop", rdrop_impl=impl, ignore_prefix_size=500)
    result = step(criterion, built.model, built.sample)
    assert result.loss == 0
    assert not any(grad.count_nonzero() for grad in result.grads.values())


def test_log_line_names_dropout_and_impl(build, caplog) -> None:
    built = build("transformer", "--dropout 0.3 --attention-dropout 0.1")
    criterion = built.criterion("rdrop", rdrop_alpha=5)
    with caplog.at_level(logging.INFO, logger="rdrop_fairseq"):
        step(criterion, built.model, built.sample)
        step(criterion, built.model, built.sample)
    messages = [r.message for r in caplog.records if r.name.startswith("rdrop_fairseq")]
    assert messages == [
        "R-Drop: 2 passes, alpha 5, 12 active dropout modules (embedding 2 at 0.3, attention 6 "
        "at 0.1, output 4 at 0.3); impl linear (the decoder ends in a plain nn.Linear)"
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rdrop_alpha": -1.0}, r"--rdrop-alpha .*>= 0, got -1\.0"),
        ({"rdrop_alpha": math.nan}, "--rdrop-alpha .*got nan"),
        ({"rdrop_alpha": math.inf}, "--rdrop-alpha .*got inf"),
        ({"rdrop_passes": 1}, "--rdrop-passes must be at least 2, got 1"),
        ({"label_smoothing": 1.0}, r"--label-smoothing must be in \[0, 1\), got 1\.0"),
        ({"label_smoothing": -0.1}, r"--label-smoothing .*got -0\.1"),
        ({"ignore_prefix_size": -1}, "--ignore-prefix-size must be 0 or more tokens, got -1"),
        ({"rdrop_compile": True, "rdrop_impl": "eager"}, "--rdrop-compile .*leave one of them out"),
    ],
)
def test_wrong_settings(build, settings, message) -> None:
    with pytest.raises(UsageError, match=message):
        build("transformer").criterion("rdrop", **settings)


@pytest.mark.parametrize("impl", ["linear", "logits"])
def test_compile(build, monkeypatch, caplog, impl) -> None:
    """The same loss and gradient."""
    needs.compilation_for_any_number_of_rows()
    graphs = []
    monkeypatch.setattr(compiled, "BACKEND", lambda graph, inputs: graphs.append(graph) or graph)
    torch._dynamo.reset()
    built = build("transformer", "--dropout 0.3")
    settings = {"rdrop_alpha": 5, "rdrop_impl": impl}
    criterion = built.criterion("rdrop", rdrop_compile=True, **settings)
    with caplog.at_level(logging.INFO, logger="rdrop_fairseq"):
        ours = step(criterion, built.model, built.sample)
    assert f"impl {impl}, compiled (" in caplog.text
    theirs = step(built.criterion("rdrop", **settings), built.model, built.sample)
    torch.testing.assert_close(ours.loss, theirs.loss, rtol=1e-5, atol=0)
    assert_same_grads(ours.grads, theirs.grads)
    assert len(graphs) == 2  # the line that tries the compiler, and the loss


def test_no_compiler(build, monkeypatch) -> None:
    monkeypatch.setattr(rdrop, "missing_compiler", lambda device: f"no compiler for {device}")
    built = build("transformer", "--dropout 0.3")
    message = "--rdrop-compile: no compiler for cpu. Mend that, or leave --rdrop-compile out"
    with pytest.raises(UsageError, match=message):
        step(built.criterion("rdrop", rdrop_compile=True), built.model, built.sample)


@pytest.mark.parametrize("impl", ["auto", "eager"])
def test_no_dropout(build, impl) -> None:
    built = build("transformer", "--dropout 0 --attention-dropout 0 --activation-dropout 0")
    with pytest.raises(UsageError, match="no active dropout: set a rate > 0 with --dropout"):
        step(built.criterion("rdrop", rdrop_impl=impl), built.model, built.sample)
    step(built.criterion("rdrop", rdrop_alpha=0, rdrop_impl=impl), built.model, built.sample)


SETTINGS = {"sentence_avg": False, "label_smoothing": 0.1}


def test_tasks_with_another_criterion() -> None:
    create = CRITERION_REGISTRY["rdrop"]
    with pytest.raises(UsageError, match="use --criterion rdrop_sentence_prediction"):
        create(SimpleNamespace(target_dictionary=1, label_dictionary=1), **SETTINGS)
    multitask = SimpleNamespace(target_dictionary=1, multitask_tasks={"letters": 1, "units": 2})
    with pytest.raises(UsageError, match=r"no loss for .*--multitask-config-yaml \(letters, units"):
        create(multitask, **SETTINGS)


@pytest.mark.parametrize(
    "name",
    [
        *("audio_pretraining", "hubert_pretraining", "multires_hubert_pretraining"),
        *("text_to_speech", "frm_text_to_speech", "speech_to_speech"),
    ],
)
def test_tasks_without_target_tokens(name) -> None:
    needs.fairseqs_task(name)
    task = TASK_REGISTRY[name].__new__(TASK_REGISTRY[name])
    vars(task).update(cfg=None, state=StatefulContainer(), tgt_dict=None)
    with pytest.raises(UsageError, match=f"a sequence of tokens.*{type(task).__name__} has none"):
        CRITERION_REGISTRY["rdrop"](task, **SETTINGS)


def test_batches_of_something_else(build) -> None:
    """Several targets, as speech_dlm_task has, or inputs, as sentence_ranking has."""
    built = build("transformer", "--dropout 0.3")
    criterion = built.criterion("rdrop")
    for sample in (
        {**built.sample, "target": {"next": built.sample["target"]}},
        {"net_input1": built.sample["net_input"], "target": built.sample["target"]},
        {"net_input": built.sample["net_input"]},
    ):
        with pytest.raises(UsageError, match=f"those of translation have {', '.join(sample)}: use"):
            step(criterion, built.model, sample)


def test_models_that_do_not_predict_token_by_token(build) -> None:
    """Not autoregressive, or with an output of another length, as for CTC."""
    built = build("transformer", "--dropout 0.3")
    criterion = built.criterion("rdrop", rdrop_impl="logits")
    plain = type(built.model)
    built.model.__class__ = type("Levenshtein", (FairseqNATModel,), {})
    with pytest.raises(UsageError, match=r"cannot train Levenshtein, .*--criterion nat_loss"):
        step(criterion, built.model, built.sample)

    class OfFrames(plain):
        def forward(self, **net_input):
            logits, extra = super().forward(**net_input)
            return logits.transpose(0, 1), extra

    built.model.__class__ = OfFrames
    size, length = built.sample["target"].shape
    with pytest.raises(
        UsageError, match=rf"\({2 * size}, {length}\) \+ .* OfFrames gives \({length}"
    ):
        step(criterion, built.model, built.sample)


def test_ctc(build) -> None:
    built = build("transformer", "--dropout 0.3")
    frames, (size, _) = 60, built.sample["target"].shape

    class Encoder(torch.nn.Dropout):
        def forward(self, source):
            logits = torch.zeros(frames, len(source), 50)
            return {"encoder_out": super().forward(logits), "padding_mask": None}

    model = Wav2VecCtc(SimpleNamespace(blank_weight=0, blank_mode="add"), Encoder(0.1))
    sample = {**built.sample, "net_input": {"source": torch.zeros(size, 1000)}}
    with pytest.raises(UsageError, match=rf"Wav2VecCtc gives \({frames}, {2 * size}, 50.*for CTC"):
        step(built.criterion("rdrop"), model, sample)


def test_a_tensor_that_is_not_a_batch(build) -> None:
    built = build("transformer", "--dropout 0.3")
    sample = {**built.sample, "net_input": {**built.sample["net_input"], "odd": torch.zeros(1, 3)}}
    with pytest.raises(UsageError, match=r"net_input\['odd'\].*\(1, 3\)"):
        step(built.criterion("rdrop"), built.model, sample)


def test_nan_is_looked_for_under_the_linear_impl(build) -> None:
    """After a NaN fairseq's trainer runs the step again with a hook in every module."""
    built = build("transformer_lm", "--dropout 0.1")
    criterion = built.criterion("rdrop", rdrop_impl="linear")
    first = step(criterion, built.model, built.sample)
    with NanDetector(built.model):
        again = step(criterion, built.model, built.sample)
    torch.testing.assert_close(again.loss, first.loss, rtol=1e-5, atol=0)
