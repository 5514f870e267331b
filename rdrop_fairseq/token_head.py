"""A classification head for every token, where fairseq's RoBERTa has one for the first."""

from typing import Any

from fairseq.models.roberta.model import RobertaClassificationHead, RobertaModel
from torch import Tensor

from .errors import UsageError


class TokenHead(RobertaClassificationHead):
    """fairseq's head (dropout, dense, tanh, dropout, out_proj) at every position.

    Its parameters have the names of fairseq's head, which saves and loads them.
    """

    def forward(self, features: Tensor, **kwargs: Any) -> Tensor:
        """The logits, [B, T, classes], of ``features`` [B, T, D]."""
        tokens = features.flatten(0, 1).unsqueeze(1)  # fairseq's head looks at [:, 0]
        return super().forward(tokens, **kwargs).unflatten(0, features.shape[:2])


def register_token_head(model: RobertaModel, name: str, num_classes: int) -> None:
    """Give ``model`` a `TokenHead` that ``model(..., classification_head_name=name)`` uses.

    Raises:
        UsageError: it is not RoBERTa or bert.
    """
    if not isinstance(model, RobertaModel):
        raise UsageError(
            f"--task sequence_tagging needs an encoder such as --arch roberta_base or bert, got "
            f"{type(model).__name__}, which has no output for every token of its input"
        )
    args = model.args
    model.classification_heads[name] = TokenHead(
        input_dim=args.encoder_embed_dim,
        inner_dim=args.encoder_embed_dim,
        num_classes=num_classes,
        activation_fn=args.pooler_activation_fn,
        pooler_dropout=args.pooler_dropout,
        q_noise=args.quant_noise_pq,
        qn_block_size=args.quant_noise_pq_block_size,
        do_spectral_norm=args.spectral_norm_classification_head,
    )
