"""--arch bert: fairseq's RoBERTa with what BERT has and RoBERTa has not.

The eps of LayerNorm (--layer-norm-eps): fairseq fixes it at 1e-5, as RoBERTa was trained; BERT
and its like have 1e-12. With the wrong one the hidden states of MiniLM-L6 are off by up to
4e-3, with the right one by 7e-6. And segments: BERT adds another vector to the tokens of a
pair's second sentence than to those of the first.
``rdrop convert`` makes checkpoints for it.
"""

from argparse import ArgumentParser, Namespace
from typing import Any

import torch
from fairseq.models import register_model, register_model_architecture
from fairseq.models.roberta import RobertaModel
from fairseq.models.roberta.model import base_architecture
from fairseq.modules import LearnedPositionalEmbedding
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

BERT_EPS = 1e-12
SEGMENT = "encoder.sentence_encoder.embed_positions.second_segment"


class PositionsAndSegments(LearnedPositionalEmbedding):
    """Positions, and from the second sentence on what BERT adds to it.

    The vector of the first segment is part of ``weight``: each token has one of the two, so that
    ``second_segment``, [embed_dim], holds the second's less the first's.

    Args:
        eos: ends a sentence; what follows the first one is the second sentence.
    """

    def __init__(self, positions: LearnedPositionalEmbedding, eos: int) -> None:
        super().__init__(positions.num_embeddings, positions.embedding_dim, positions.padding_idx)
        self.weight = positions.weight
        self.second_segment = nn.Parameter(torch.zeros(positions.embedding_dim))
        self.eos = eos

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The vectors of ``input``, [batch, length]: [batch, length, embed_dim]."""
        is_end = input.eq(self.eos)
        ends_before = is_end.cumsum(dim=1) - is_end.long()
        second = ends_before.gt(0).unsqueeze(-1).type_as(self.weight)
        return super().forward(input, *args, **kwargs) + second * self.second_segment


@register_model("bert")
class BertModel(RobertaModel):
    """RoBERTa (post-norm transformer encoder, classification heads) with eps and segments."""

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        RobertaModel.add_args(parser)
        parser.add_argument(
            "--layer-norm-eps",
            type=float,
            help=f"eps of every LayerNorm; default {BERT_EPS:g}, that of BERT",
        )

    @classmethod
    def build_model(cls, args: Namespace, task: FairseqTask) -> "BertModel":
        model = super().build_model(args, task)
        for module in model.modules():
            if isinstance(module, nn.LayerNorm) or type(module).__name__ == "FusedLayerNorm":
                module.eps = args.layer_norm_eps
        encoder = model.encoder.sentence_encoder
        encoder.embed_positions = PositionsAndSegments(
            encoder.embed_positions, task.source_dictionary.eos()
        )
        return model

    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> None:
        """Let a model that was made without segments be what it was trained as."""
        super().upgrade_state_dict_named(state_dict, name)
        key = f"{name}." * bool(name) + SEGMENT
        state_dict.setdefault(key, torch.zeros_like(self.state_dict()[SEGMENT]))


@register_model_architecture("bert", "bert")
def bert_architecture(args: Namespace) -> None:
    args.layer_norm_eps = getattr(args, "layer_norm_eps", None) or BERT_EPS
    base_architecture(args)
