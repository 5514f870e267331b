"""--arch bert: RoBERTa with another LayerNorm eps."""

from argparse import Namespace

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from torch import nn


@pytest.mark.parametrize(("given", "expected"), [(None, 1e-12), (1e-6, 1e-6)])
def test_every_layer_norm_has_the_eps(given, expected) -> None:
    args = Namespace(encoder_layers=2, encoder_embed_dim=8, encoder_attention_heads=2)
    args.encoder_ffn_embed_dim, args.max_positions = 16, 10
    if given is not None:
        args.layer_norm_eps = given
    ARCH_CONFIG_REGISTRY["bert"](args)
    model = ARCH_MODEL_REGISTRY["bert"].build_model(args, Namespace(source_dictionary=Dictionary()))
    found = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert len(found) == 1 + 2 * 2 + 1  # embedding, two in a layer, masked-LM head
    assert {module.eps for module in found} == {expected}
    # and forward uses it: one LayerNorm of tiny numbers tells 1e-12 from fairseq's 1e-5
    x = torch.tensor([[1e-4, -1e-4] * 4])
    norm = found[0]
    assert norm(x)[0, 0].item() == pytest.approx((1e-8 / (1e-8 + expected)) ** 0.5, rel=1e-3)
