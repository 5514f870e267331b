"""--rdrop-encoder once: one pass through the encoder, several through the decoder."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from fairseq.models import FairseqEncoder
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from ..batch import repeat_batch
from ..errors import UsageError
from .model import unwrapped

INPUTS = ("src_tokens", "src_lengths", "prev_output_tokens")


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
        UsageError: the inputs are others than those that are known to be read by one of them.
    """
    found = [name for name, value in net_input.items() if list(_tensors(value))]
    if not set(found) <= set(INPUTS) or INPUTS[-1] not in found:
        raise UsageError(
            f"--rdrop-encoder once is for the inputs {', '.join(INPUTS)}, and this task gives "
            f"{', '.join(found)}: use --rdrop-encoder twice"
        )
    target_side = {INPUTS[-1]: net_input[INPUTS[-1]]}
    return net_input | repeat_batch(target_side, passes, batch_size, interleave=True)


@contextmanager
def encoder_once(model: nn.Module, passes: int, batch_size: int) -> Iterator[None]:
    """While it lasts, the encoder's output of each example serves ``passes`` of the decoder.

    ``model`` is called as a whole, so that its wrapper for distributed training sees one
    ordinary forward, with what `repeat_target_side` returns. The passes share the dropout
    masks of the encoder and of its embeddings; each has masks of its own in the decoder: its
    embeddings, self-attention, attention to the source, feed-forward layers. The gradient that
    reaches the encoder is the sum over the passes.

    Nothing is random between the encoder's output and the keys and values that a Transformer's
    decoder makes of it. So they are made once, too: fairseq's attention can do that for the
    hypotheses of a beam, which share a source, and here passes take the place of hypotheses.

    Raises:
        UsageError: ``model`` has not called its encoder, or several times.
    """
    module = unwrapped(model)
    calls = 0
    repeated: set[int] = set()  # the addresses of what is the same for all passes

    def repeat_output(encoder: FairseqEncoder, args: tuple, output: Any) -> Any:
        nonlocal calls
        calls += 1
        if isinstance(output, dict) and output.get("encoder_states"):
            # the states of all layers, which no decoder reads, would be copied as well
            output = {**output, "encoder_states": []}
        device = next(_tensors(output)).device
        order = torch.arange(batch_size, device=device).repeat_interleave(passes)
        output = encoder.reorder_encoder_out(output, order)
        repeated.update(tensor.data_ptr() for tensor in _tensors(output))
        return output

    def take_one_key(attention: MultiheadAttention, args: tuple, kwargs: dict[str, Any]) -> None:
        key = kwargs.get("key")
        same = isinstance(key, Tensor) and key.data_ptr() in repeated
        attention.set_beam_size(passes if same else beam_sizes[attention])

    hooks = [module.encoder.register_forward_hook(repeat_output)]
    beam_sizes = {}
    for part in module.decoder.modules():
        if isinstance(part, MultiheadAttention) and part.encoder_decoder_attention:
            beam_sizes[part] = part.beam_size
            hooks.append(part.register_forward_pre_hook(take_one_key, with_kwargs=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for attention, beam_size in beam_sizes.items():
            attention.set_beam_size(beam_size)
    if calls != 1:
        raise UsageError(
            f"--rdrop-encoder once: {type(module).__name__} called its encoder {calls} times "
            "for one batch, expected one call: use --rdrop-encoder twice"
        )


def _tensors(value: Any) -> Iterator[Tensor]:
    """Those in ``value``: a tensor, or nested dicts, lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(item)
