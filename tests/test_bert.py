"""--arch bert: RoBERTa with another LayerNorm eps, and with segments."""

from argparse import Namespace

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from torch import nn

from rdrop_fairseq.bert import SEGMENT


def built(**settings) -> nn.Module:
    args = Namespace(encoder_layers=2, encoder_embed_dim=8, encoder_attention_heads=2, **settings)
    args.encoder_ffn_embed_dim, args.max_positions = 16, 10
    ARCH_CONFIG_REGISTRY["bert"](args)
    return ARCH_MODEL_REGISTRY["bert"].build_model(args, Namespace(source_dictionary=Dictionary()))


@pytest.mark.parametrize(("given", "expected"), [(None, 1e-12), (1e-6, 1e-6)])
def test_every_layer_norm_has_the_eps(given, expected) -> None:
    model = built(**({} if given is None else {"layer_norm_eps": given}))
    found = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert len(found) == 1 + 2 * 2 + 1  # embedding, two in a layer, masked-LM head
    assert {module.eps for module in found} == {expected}
    # and forward uses it: one LayerNorm of tiny numbers tells 1e-12 from fairseq's 1e-5
    x = torch.tensor([[1e-4, -1e-4] * 4])
    norm = found[0]
    assert norm(x)[0, 0].item() == pytest.approx((1e-8 / (1e-8 + expected)) ** 0.5, rel=1e-3)


def test_what_follows_the_first_end_is_the_second_segment() -> None:
    positions = built().encoder.sentence_encoder.embed_positions
    nn.init.ones_(positions.second_segment)
    tokens = torch.tensor([[0, 3, 2, 3, 3, 2], [0, 3, 3, 2, 1, 1]])  # <s> 0, <pad> 1, </s> 2
    plain = super(type(positions), positions).forward(tokens)
    added = (positions(tokens) - plain).mean(-1)
    # 1 added to numbers below 1 and taken off again: an error of 1e-7
    expected = torch.tensor([[0.0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1]])  # padding is masked
    torch.testing.assert_close(added, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["", "model"])
def test_older_checkpoints_have_no_segments(name) -> None:
    model = built()
    nn.init.ones_(model.encoder.sentence_encoder.embed_positions.second_segment)
    prefix = f"{name}." * bool(name)
    state = {f"{prefix}{key}": value for key, value in model.state_dict().items()}
    del state[prefix + SEGMENT]
    model.upgrade_state_dict_named(state, name)
    assert not state[prefix + SEGMENT].any()
