"""--rdrop-encoder once: the encoder runs once, the decoder with as many dropout masks as passes."""

import contextlib
import copy
import logging
from types import SimpleNamespace

import pytest
import torch
from fairseq.models import FairseqEncoder
from fairseq.modules import FairseqDropout, MultiheadAttention

from rdrop_fairseq.criterions.encoder_once import encoder_once
from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.loss import reference_rdrop_loss

from .. import needs
from .test_rdrop import assert_same_grads, step

IMPLS = ["linear", "logits", "eager"]
ARCHS = ["transformer", "transformer-untied", "bart_base", "lstm", "fconv"]
DROPOUT = "--dropout 0.3 --attention-dropout 0.2"


def flags_of(arch: str) -> str:
    return "--dropout 0.3" if arch in ("lstm", "fconv") else DROPOUT


def once(built: SimpleNamespace, seed: int = 1, **settings) -> SimpleNamespace:
    settings = {"rdrop_alpha": 5, **settings}
    criterion = built.criterion("rdrop", rdrop_encoder="once", **settings)
    return step(criterion, built.model, built.sample, seed)


def expected(built: SimpleNamespace, logits: torch.Tensor, passes: int) -> SimpleNamespace:
    """The definition, and its gradients, of logits in the order [x1, x1, x2, x2]."""
    result = reference_rdrop_loss(
        torch.cat([logits[n::passes] for n in range(passes)]),
        built.sample["target"],
        alpha=5,
        label_smoothing=0.1,
        ignore_index=built.task.target_dictionary.pad(),
        passes=passes,
    )
    result.objective.backward()
    grads = {
        name: parameter.grad.clone()
        for name, parameter in built.model.named_parameters()
        if parameter.grad is not None
    }
    return SimpleNamespace(loss=result.objective, kl=result.kl, grads=grads)


def by_hand(built: SimpleNamespace, passes: int = 2, seed: int = 1) -> SimpleNamespace:
    """Encoder, its output repeated, decoder: the definition, differentiated by autograd."""
    model, net_input = built.model, built.sample["net_input"]
    model.train()
    model.zero_grad()
    torch.manual_seed(seed)
    output = model.encoder(net_input["src_tokens"], src_lengths=net_input["src_lengths"])
    order = torch.arange(len(net_input["src_tokens"])).repeat_interleave(passes)
    output = model.encoder.reorder_encoder_out(output, order)
    previous = net_input["prev_output_tokens"].repeat_interleave(passes, 0)
    return expected(built, model.decoder(previous, encoder_out=output)[0], passes)


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("passes", [2, 3])
def test_against_autograd_through_the_repeated_output(build, arch, passes) -> None:
    """Loss and gradient, that of the encoder too: the sum over the passes."""
    built = build(arch, flags_of(arch))
    ours = once(built, rdrop_passes=passes)
    theirs = by_hand(built, passes)
    torch.testing.assert_close(ours.loss, theirs.loss, rtol=1e-5, atol=0)
    assert ours.logged["rdrop_kl"].item() == pytest.approx(theirs.kl.item(), rel=1e-4)
    assert theirs.kl > 0
    assert_same_grads(ours.grads, theirs.grads)
    assert any(name.startswith("encoder.") for name in ours.grads)


@pytest.mark.parametrize("arch", ARCHS)
def test_without_dropout_in_the_encoder_it_is_twice(build, arch) -> None:
    """With the same masks in the decoder: those of a whole batch of [x1, x1, x2, x2]."""
    built = build(arch, flags_of(arch))
    for module in built.model.encoder.modules():
        if isinstance(module, FairseqDropout):
            module.p = 0.0
        if isinstance(module, torch.nn.LSTM):
            module.dropout = 0.0
    ours = once(built)
    built.model.zero_grad()
    torch.manual_seed(1)
    net_input = {
        name: value.repeat_interleave(2, 0) for name, value in built.sample["net_input"].items()
    }
    theirs = expected(built, built.model(**net_input)[0], passes=2)
    torch.testing.assert_close(ours.loss, theirs.loss, rtol=1e-5, atol=0)
    assert_same_grads(ours.grads, theirs.grads)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("settings", [{}, {"ignore_prefix_size": 2, "report_accuracy": True}])
def test_every_impl(build, impl, settings) -> None:
    built = build("transformer", DROPOUT)
    ours = once(built, rdrop_impl=impl, **settings)
    theirs = once(built, rdrop_impl="eager", **settings)
    torch.testing.assert_close(ours.loss, theirs.loss, rtol=1e-5, atol=0)
    assert_same_grads(ours.grads, theirs.grads)
    assert ours.logged.keys() == theirs.logged.keys()
    for name, value in theirs.logged.items():
        assert float(ours.logged[name]) == pytest.approx(float(value), rel=1e-4), name


@pytest.mark.parametrize(
    "flags", ["--checkpoint-activations", "--encoder-layerdrop 0.5 --decoder-layerdrop 0.5"]
)
def test_wrapped_and_dropped_layers(build, flags) -> None:
    """Checkpointed layers run again in the backward, then with the keys of each pass."""
    built = build("transformer", f"{DROPOUT} {flags}")
    rows = []
    for seed in range(3):  # of LayerDrop
        projection = built.model.decoder.layers[0].encoder_attn.k_proj
        hook = projection.register_forward_hook(lambda *call: rows.append(call[1][0].size(1)))
        ours = once(built, seed)
        hook.remove()
        theirs = by_hand(built, seed=seed)
        torch.testing.assert_close(ours.loss, theirs.loss, rtol=1e-5, atol=0)
        assert_same_grads(ours.grads, theirs.grads)
    size = len(built.sample["target"])
    assert set(rows) == ({size, 2 * size} if "checkpoint" in flags else {size})


def test_float16(build) -> None:
    """Nothing is flushed to zero: the fused loss has the gradient of the definition."""
    needs.float16_on_the_cpu()
    built = build("transformer", DROPOUT)
    built.model.half()
    ours, theirs = once(built, rdrop_impl="linear"), once(built, rdrop_impl="eager")
    for name, gradient in theirs.grads.items():
        if name.endswith("k_proj.bias"):  # in truth 0: a softmax does not see it
            continue
        error = (ours.grads[name].float() - gradient.float()).norm()
        assert error <= 5e-3 * gradient.float().norm() + 1e-6, name


@pytest.mark.parametrize("passes", [2, 3])
def test_what_runs_once(build, passes) -> None:
    """The encoder, and the keys and values of its output; the decoder reads it once a pass."""
    built = build("transformer", DROPOUT)
    batch_size = len(built.sample["target"])
    rows: dict[str, list[int]] = {"encoder": [], "keys": [], "values": [], "queries": []}
    read = []
    model = built.model
    model.encoder.register_forward_pre_hook(
        lambda module, args: rows["encoder"].append(len(args[0]))
    )
    model.decoder.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["encoder_out"]), with_kwargs=True
    )
    attentions = [layer.encoder_attn for layer in model.decoder.layers]
    for attention in attentions:
        for name, projection in (
            ("keys", attention.k_proj),
            ("values", attention.v_proj),
            ("queries", attention.q_proj),
        ):
            projection.register_forward_hook(
                lambda module, args, output, name=name: rows[name].append(args[0].size(1))
            )
    once(built, rdrop_passes=passes)
    assert rows["encoder"] == [batch_size]
    assert rows["keys"] == rows["values"] == [batch_size] * len(attentions)
    assert rows["queries"] == [passes * batch_size] * len(attentions)
    (output,) = read
    states = output["encoder_out"][0].unflatten(1, (batch_size, passes))
    assert torch.equal(states, states[:, :, :1].expand_as(states))
    assert output["encoder_states"] == []


@pytest.mark.parametrize("arch", ["transformer", "lstm"])
def test_nothing_stays_behind(build, arch) -> None:
    """After a step, and after one that fails, the model is validated as ever."""
    built = build(arch, flags_of(arch))
    for module in built.model.decoder.modules():  # as for a search
        if isinstance(module, MultiheadAttention):
            module.set_beam_size(3)
    untouched = copy.deepcopy(built.model)
    criterion = built.criterion("rdrop", rdrop_encoder="once")
    step(criterion, built.model, built.sample)
    with contextlib.suppress(ZeroDivisionError), encoder_once(built.model, 2, 1):
        raise ZeroDivisionError
    for module, before in zip(built.model.modules(), untouched.modules(), strict=True):
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert getattr(module, "beam_size", None) == getattr(before, "beam_size", None)
    for module in (*built.model.modules(), *untouched.modules()):
        if isinstance(module, MultiheadAttention):
            module.set_beam_size(1)
    for model in (built.model, untouched):
        model.eval()
    with torch.no_grad():
        ours = criterion(built.model, built.sample)
        theirs = built.criterion("label_smoothed_cross_entropy")(untouched, built.sample)
    assert ours[0].item() == theirs[0].item()
    assert ours[1:] == theirs[1:]


def test_log_line(build, caplog) -> None:
    built = build("transformer", DROPOUT)
    with caplog.at_level(logging.INFO, logger="rdrop_fairseq"):
        once(built, rdrop_passes=3)
    (message,) = [r.message for r in caplog.records if r.name.startswith("rdrop_fairseq")]
    assert message.startswith(
        "R-Drop: 3 passes through the decoder, alpha 5, 7 active dropout modules (embedding 1 at "
        "0.3, output 2 at 0.3, attention 4 at 0.2); impl linear"
    )


def test_dropout_in_the_encoder_alone_is_none(build) -> None:
    built = build("transformer", DROPOUT)
    for module in built.model.decoder.modules():
        if isinstance(module, FairseqDropout):
            module.p = 0.0
    with pytest.raises(UsageError, match="this decoder has no active dropout: set a rate > 0"):
        once(built)
    once(built, rdrop_alpha=0)
    step(built.criterion("rdrop", rdrop_encoder="twice"), built.model, built.sample)


def test_language_model(build) -> None:
    built = build("transformer_lm", "--dropout 0.3")
    message = "TransformerLanguageModel has no encoder and decoder: use --rdrop-encoder twice"
    with pytest.raises(UsageError, match=message):
        once(built)


def test_encoder_that_cannot_be_repeated(build, monkeypatch) -> None:
    built = build("transformer", DROPOUT)
    for parent in type(built.model.encoder).__mro__:
        if parent is not FairseqEncoder and "reorder_encoder_out" in vars(parent):
            monkeypatch.delattr(parent, "reorder_encoder_out")
    message = r"an encoder \(TransformerEncoderBase\) without reorder_encoder_out"
    with pytest.raises(UsageError, match=message):
        once(built)


def test_encoder_that_is_called_twice(build, monkeypatch) -> None:
    built = build("transformer", DROPOUT)
    forward = built.model.forward

    def twice(src_tokens, src_lengths, **rest):
        built.model.encoder(src_tokens, src_lengths=src_lengths)
        return forward(src_tokens, src_lengths, **rest)

    monkeypatch.setattr(built.model, "forward", twice)
    with pytest.raises(UsageError, match="TransformerModel called its encoder 2 times"):
        once(built, rdrop_impl="logits")


def test_input_of_unknown_side(build) -> None:
    built = build("transformer", DROPOUT)
    size = len(built.sample["target"])
    net_input = {**built.sample["net_input"], "speaker": torch.zeros(size), "scale": 2}
    built.sample = {**built.sample, "net_input": net_input}
    message = "this task gives src_tokens, src_lengths, prev_output_tokens, speaker: use"
    with pytest.raises(UsageError, match=message):
        once(built)


def test_keys_that_differ_between_the_passes(build) -> None:
    """A decoder that does something random to the encoder's output has keys of its own a pass."""
    built = build("transformer", DROPOUT)
    decoder, noise = built.model.decoder, torch.nn.Dropout(0.5)

    def forget_some(module, args, kwargs):
        output = kwargs["encoder_out"]
        noisy = {**output, "encoder_out": [noise(output["encoder_out"][0])]}
        return args, {**kwargs, "encoder_out": noisy}

    decoder.register_forward_pre_hook(forget_some, with_kwargs=True)
    ours, theirs = once(built), by_hand(built)
    torch.testing.assert_close(ours.loss, theirs.loss, rtol=1e-5, atol=0)
    assert_same_grads(ours.grads, theirs.grads)
