"""A head for every token, against fairseq's for the first; saved and loaded by fairseq."""

from argparse import Namespace

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from fairseq.models.roberta.model import RobertaClassificationHead

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.token_head import register_token_head

TOKENS = torch.tensor([[0, 3, 3, 2], [0, 3, 2, 1]])  # <s> 0, <pad> 1, </s> 2


def built(arch, **settings):
    args = Namespace(encoder_layers=1, encoder_embed_dim=8, encoder_attention_heads=2, **settings)
    args.encoder_ffn_embed_dim, args.max_positions = 16, 10
    ARCH_CONFIG_REGISTRY[arch](args)
    task = Namespace(source_dictionary=Dictionary(), target_dictionary=Dictionary())
    return ARCH_MODEL_REGISTRY[arch].build_model(args, task)


@pytest.mark.parametrize("arch", ["roberta_base", "bert"])
def test_every_token_gets_what_fairseqs_head_gives_the_first(arch) -> None:
    model = built(arch).eval()
    register_token_head(model, "tags", 5)
    logits, _ = model(TOKENS, classification_head_name="tags")
    assert logits.shape == (2, 4, 5)
    first = RobertaClassificationHead(8, 8, 5, "tanh", 0.0)
    first.load_state_dict(model.classification_heads["tags"].state_dict())
    features, _ = model(TOKENS, features_only=True)
    for position in range(4):
        torch.testing.assert_close(logits[:, position], first(features[:, position:]))


def test_both_dropouts_are_active_at_every_token() -> None:
    model = built("roberta_base", pooler_dropout=0.5, dropout=0.0, attention_dropout=0.0).train()
    register_token_head(model, "tags", 5)
    torch.manual_seed(0)
    first, second = (model(TOKENS, classification_head_name="tags")[0] for _ in range(2))
    # dropout after the dense layer alone leaves 2 ** 8 masks: equal ones for no token of 8
    assert (first != second).any(-1).all()
    with torch.no_grad():
        equal = (
            model.eval()(TOKENS, classification_head_name="tags")[0],
            model(TOKENS, classification_head_name="tags")[0],
        )
    assert torch.equal(*equal)


def test_checkpoints_keep_the_head_and_lack_it_before() -> None:
    trained, new = built("roberta_base"), built("roberta_base")
    pretrained = {key: value.clone() for key, value in trained.state_dict().items()}
    for model in (trained, new):
        register_token_head(model, "tags", 5)
    head = {key: value.clone() for key, value in new.classification_heads.state_dict().items()}
    new.load_state_dict(pretrained, strict=True)  # what --finetune-from-model loads
    assert all(torch.equal(new.classification_heads.state_dict()[key], head[key]) for key in head)
    new.load_state_dict(trained.state_dict(), strict=True)
    for key, value in trained.state_dict().items():
        assert torch.equal(new.state_dict()[key], value)


def test_other_models_are_refused() -> None:
    with pytest.raises(UsageError, match="needs an encoder such as --arch roberta_base or bert"):
        register_token_head(torch.nn.Linear(2, 2), "tags", 5)
