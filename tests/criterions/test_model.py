from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY, FairseqEncoderDecoderModel
from torch import nn

from rdrop_fairseq.batch import tiled
from rdrop_fairseq.criterions.model import choose_impl, logits_of, may_overwrite, unwrapped
from rdrop_fairseq.errors import UsageError


@pytest.mark.parametrize(
    ("arch", "impl"),
    [
        ("transformer", "linear"),
        ("transformer-untied", "linear"),
        ("transformer_lm", "linear"),
        ("bart_base", "linear"),
        ("lstm", "logits"),
        ("fconv", "logits"),
    ],
)
def test_auto(build, arch, impl) -> None:
    assert choose_impl(build(arch).model, "auto")[0] == impl


def test_linear_where_impossible(build) -> None:
    with pytest.raises(UsageError, match="LSTMModel has no plain output projection"):
        choose_impl(build("lstm").model, "linear")


def plain_softmax(self, net_output, log_probs, sample=None):
    return net_output[0].log_softmax(-1)


OWN_SOFTMAX = "TransformerModel or its decoder has its own get_normalized_probs"


@pytest.mark.parametrize(
    ("owner", "name", "value", "reason"),
    [
        ("decoder", "output_layer", lambda self, features: features, "has its own output_layer"),
        ("decoder", "forward", lambda self, *args, **kwargs: args, "has its own forward"),
        ("decoder", "get_normalized_probs", plain_softmax, OWN_SOFTMAX),
        ("", "get_normalized_probs", plain_softmax, OWN_SOFTMAX),
        ("decoder.output_projection", "hook", print, "output projection .* has hooks"),
    ],
)
def test_why_linear_is_impossible(build, owner, name, value, reason) -> None:
    model = build("transformer").model
    part = model.get_submodule(owner)
    if name == "hook":
        handle = part.register_forward_hook(value)
    else:
        own = type(part).__name__, (type(part),), {name: value}
        part.__class__ = type(*own)
    try:
        with pytest.raises(UsageError, match=f"--rdrop-impl linear: .*{reason}"):
            choose_impl(model, "linear")
    finally:
        if name == "hook":
            handle.remove()
        else:
            part.__class__ = type(part).__base__


def wrap(wrapper: type, model: nn.Module, **attributes: object) -> nn.Module:
    """A wrapper of distributed training that was not set up."""
    wrapped = wrapper.__new__(wrapper)
    nn.Module.__init__(wrapped)
    wrapped.module = model
    for name, value in attributes.items():
        setattr(wrapped, name, value)
    return wrapped


def test_wrappers(build) -> None:
    ddp = nn.parallel.DistributedDataParallel
    tied, untied = build("transformer").model, build("transformer-untied").model
    assert unwrapped(wrap(ddp, tied)) is tied
    for find, model, impl in (
        (False, untied, "linear"),
        (True, untied, "logits"),
        (True, tied, "linear"),
    ):
        wrapped = wrap(ddp, model, find_unused_parameters=find)
        assert choose_impl(wrapped, "auto")[0] == impl
    sharded = type("FullyShardedDataParallel", (nn.Module,), {})
    impl, reason = choose_impl(wrap(sharded, tied), "auto")
    assert impl == "logits"
    assert "gathers the weights" in reason


def test_models_that_do_more_than_project(build) -> None:
    """A forward of its own might change the logits after the projection, or know no keyword."""
    model = build("transformer").model

    class Decoder(type(model.decoder)):
        def forward(self, *args, **kwargs):
            x, extra = super().forward(*args, **kwargs)
            return x / 2, extra

    plain = type(model.decoder)
    model.decoder.__class__ = Decoder
    assert choose_impl(model, "auto")[0] == "logits"
    model.decoder.__class__ = plain
    bare = FairseqEncoderDecoderModel(model.encoder, model.decoder)
    impl, reason = choose_impl(bare, "auto")
    assert impl == "logits"
    assert "forward has no features_only" in reason


def test_projection_with_a_hook(build) -> None:
    model = build("transformer").model
    hook = model.decoder.output_projection.register_forward_hook(lambda *_: None)
    assert choose_impl(model, "auto")[0] == "logits"
    hook.remove()


def test_logits_of_a_model_with_its_own_probabilities(build) -> None:
    built = build("transformer")
    plain = built.model.eval()
    output = plain(**built.sample["net_input"])
    assert logits_of(plain, output) is output[0]

    def halved(net_output, log_probs, sample=None):
        lprobs = (net_output[0] / 2).log_softmax(-1)
        return lprobs if log_probs else lprobs.exp()

    class Own(type(plain)):
        get_normalized_probs = staticmethod(halved)

    plain.__class__ = Own
    assert torch.equal(logits_of(plain, output), halved(output, True))
    assert choose_impl(plain, "auto")[0] == "logits"


def test_several_outputs(build) -> None:
    """As those of transformer_ulm, a language model of units, durations and pitch."""
    model = build("transformer").model
    with pytest.raises(UsageError, match="TransformerModel gives token, duration: train"):
        logits_of(model, {"token": torch.zeros(2, 3, 4), "duration": torch.zeros(2, 3)})


def test_may_overwrite() -> None:
    x = torch.randn(2, 3, 4, requires_grad=True)
    linear = nn.Linear(4, 5, bias=False)
    assert may_overwrite(linear(x), linear)
    assert may_overwrite(nn.Linear(4, 5)(x), linear)
    assert may_overwrite(linear(x) + torch.randn(5, requires_grad=True), linear)
    assert may_overwrite(tiled(linear(torch.cat([x, x])), 2), linear)
    assert not may_overwrite(linear(x).tanh(), linear)  # needs its result for its gradient
    assert not may_overwrite(linear(x).log_softmax(-1).view(6, 5), linear)
    assert not may_overwrite(x, linear)
    for hook in (
        linear.register_forward_hook(lambda *_: None),
        nn.modules.module.register_module_forward_hook(lambda *_: None),
    ):
        assert not may_overwrite(linear(x), nn.Sequential(linear))
        hook.remove()
    assert may_overwrite(linear(x), nn.Sequential(linear))


SPEECH = {
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_embed_dim": 16,
    "decoder_embed_dim": 16,
}
SPEECH |= {"input_feat_per_channel": 8, "input_channels": 1, "conv_channels": 16}
SPEECH |= {
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "conv_version": "s2t_transformer",
}


@pytest.mark.parametrize("arch", ["s2t_transformer", "convtransformer", "roberta", "transformer"])
def test_log_softmax_of_the_logits(build, arch) -> None:
    """What the loss takes for logits is what the model normalises, in storage to be reused."""
    built = build("transformer")
    task = SimpleNamespace(
        source_dictionary=built.task.source_dictionary,
        target_dictionary=built.task.target_dictionary,
    )
    args = Namespace(**SPEECH, max_source_positions=200, max_target_positions=200)
    if arch == "roberta":
        args = Namespace(max_positions=200, encoder_layers=1, encoder_embed_dim=16)
        args.encoder_attention_heads, args.encoder_ffn_embed_dim = 2, 16
        net_input = {"src_tokens": built.sample["target"]}
    elif arch == "transformer":
        net_input = built.sample["net_input"]
    else:
        previous = built.sample["net_input"]["prev_output_tokens"]
        lengths = torch.full(previous.shape[:1], 40)
        net_input = {"src_tokens": torch.randn(len(previous), 40, 8), "src_lengths": lengths}
        net_input["prev_output_tokens"] = previous
    if arch == "transformer":
        model = built.model
    else:
        ARCH_CONFIG_REGISTRY[arch](args)
        model = ARCH_MODEL_REGISTRY[arch].build_model(args, task)
    output = model(**net_input)
    logits = logits_of(model, output)
    assert logits is output[0]
    assert may_overwrite(logits, model)
    expected = model.get_normalized_probs(output, log_probs=True)
    torch.testing.assert_close(logits.log_softmax(-1), expected)
