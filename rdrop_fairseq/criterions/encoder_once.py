"""--rdrop-encoder once: one pass through the encoder, several through the decoder."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from fairseq.models import FairseqEncoder
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from ..batch import repeat_batch
from ..errors import UsageError
from .model import unwrapped

TARGET_SIDE = "prev_output_tokens"


def require_repeatable_encoder(model: nn.Module) -> None:
    """Raise UsageError unless ``model`` has an encoder whose output can be repeated."""
    module = unwrapped(model)
    encoder = getattr(module, "encoder", None)
    obstacle = None
    if encoder is None or getattr(module, "decoder", None) is None:
        obstacle = "has no encoder and decoder"
    elif getattr(type(encoder), "reorder_encoder_out", None) in (
        None,
        FairseqEncoder.reorder_encoder_out,
    ):
        obstacle = f"has an encoder ({type(encoder).__name__}) without reorder_encoder_out"
    if obstacle:
        raise UsageError(
            "--rdrop-encoder once runs the encoder once and the decoder several times, and "
            f"{type(module).__name__} {obstacle}: use --rdrop-encoder twice"
        )


def repeat_target_side(net_input: dict[str, Any], passes: int, batch_size: int) -> dict[str, Any]:
    """What the decoder reads as [x1, x1, x2, x2], what the encoder reads as it is.

    Raises:
        UsageError: there is a tensor of which it is not known who reads it.
    """
    for name, value in net_input.items():
        if isinstance(value, Tensor) and name != TARGET_SIDE and not name.startswith("src_"):
            raise UsageError(
                f"--rdrop-encoder once knows the inputs src_* and {TARGET_SIDE}, and this task "
                f"also gives {name}: use --rdrop-encoder twice"
            )
    target_side = {TARGET_SIDE: net_input[TARGET_SIDE]}
    return net_input | repeat_batch(target_side, passes, batch_size, interleave=True)


@contextmanager
def encoder_once(model: nn.Module, passes: int) -> Iterator[None]:
    """While it lasts, the encoder's output of each example serves ``passes`` of the decoder.

    ``model`` is called as a whole, so that its wrapper for distributed training sees one
    ordinary forward, with what `repeat_target_side` returns. The passes share the dropout
    masks of the encoder and of its embeddings; each has masks of its own in the decoder: its
    embeddings, self-attention, attention to the source, feed-forward layers. The gradient that
    reaches the encoder is the sum over the passes.

    Nothing is random between the encoder's output and the keys and values that a Transformer's
    decoder makes of it. So they are made once, too: fairseq's attention can do that for the
    hypotheses of a beam, which share a source, and here passes take the place of hypotheses.
    """
    module = unwrapped(model)
    encoder, calls = module.encoder, []

    def repeat_output(encoder: FairseqEncoder, args: tuple, kwargs: dict, output: Any) -> Any:
        calls.append(True)
        source = kwargs["src_tokens"] if "src_tokens" in kwargs else args[0]
        order = torch.arange(len(source), device=source.device).repeat_interleave(passes)
        if isinstance(output, dict) and output.get("encoder_states"):
            # the states of all layers, which no decoder reads, would be copied as well
            output = {**output, "encoder_states": []}
        return encoder.reorder_encoder_out(output, order)

    hook = encoder.register_forward_hook(repeat_output, with_kwargs=True)
    attentions = [
        part
        for part in module.decoder.modules()
        if isinstance(part, MultiheadAttention)
        and part.encoder_decoder_attention
        and hasattr(part, "set_beam_size")  # fairseq 0.12.2 has it not
    ]
    for attention in attentions:
        attention.set_beam_size(passes)
    try:
        yield
    finally:
        hook.remove()
        for attention in attentions:
            attention.set_beam_size(1)
    if len(calls) != 1:
        raise UsageError(
            f"--rdrop-encoder once: {type(module).__name__} called its encoder {len(calls)} times "
            "for one batch, expected one call: use --rdrop-encoder twice"
        )
