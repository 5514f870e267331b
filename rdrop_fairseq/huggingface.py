"""What R-Drop must know of a model of Hugging Face's transformers; needs PyTorch alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DistributedDataParallel

from .errors import UsageError

IGNORED = -100  #: the label that Hugging Face's losses leave out


def require_dropout(model: nn.Module) -> None:
    """Raise UsageError if all passes of ``model`` would be the same."""
    if has_dropout(model):
        return
    config: Any = getattr(model, "config", None)
    settings = config.to_dict() if hasattr(config, "to_dict") else {}
    rates = [name for name in settings if "drop" in name and "layerdrop" not in name]
    raise UsageError(
        f"R-Drop compares passes that differ by dropout, but {type(model).__name__} has none: set "
        f"{' or '.join(rates) or 'a dropout of its modules'} to a rate > 0 where the model is made "
        "(0.1 is usual), train a LoRA adapter with lora_dropout, or set alpha to 0"
    )


def has_dropout(model: nn.Module) -> bool:
    """Whether ``model`` has a dropout above 0, be it a module or a rate that a module holds."""
    for module in model.modules():
        rates = [
            value
            for name, value in vars(module).items()
            # LayerDrop drops whole layers, for all examples of a batch alike
            if "drop" in name and "layerdrop" not in name and type(value) in (int, float)
        ]
        if isinstance(module, _DropoutNd):
            rates.append(module.p)
        if any(rate > 0 for rate in rates):
            return True
    return False


def with_decoder_inputs(inputs: dict[str, Any], labels: Tensor, model: Any) -> dict[str, Any]:
    """``inputs`` with the decoder's, which an encoder-decoder makes of labels, if it sees them."""
    config: Any = getattr(model, "config", None)
    generates = (
        getattr(config, "is_encoder_decoder", False) and model.get_output_embeddings() is not None
    )
    if not generates or {"decoder_input_ids", "decoder_inputs_embeds"} & set(inputs):
        return inputs
    if hasattr(model, "prepare_decoder_input_ids_from_labels"):
        shifted = model.prepare_decoder_input_ids_from_labels(labels)
    else:  # M2M100's, NLLB's, Whisper's do this inside
        shifted = F.pad(labels[:, :-1], (1, 0), value=config.decoder_start_token_id)
        shifted = shifted.masked_fill(shifted.eq(IGNORED), config.pad_token_id)
    return {**inputs, "decoder_input_ids": shifted}


class Head(NamedTuple):
    """The output projection of a language model: logits = linear(features, weight, bias)."""

    module: nn.Linear
    bias: Tensor | None  #: [V]
    #: the model, if it is one of those that add their final_logits_bias: BART, Marian and others
    adds_bias: Any = None

    @contextmanager
    def replaced(self, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """``forward`` in place of the projection, and nothing added to what it gives."""
        module: Any = self.module
        before = vars(module).get("forward")  # accelerate, for one, may have replaced it, too
        module.forward = forward
        if self.adds_bias is not None:
            added = self.adds_bias.final_logits_bias
            self.adds_bias.final_logits_bias = added.new_zeros(1, 1)
        try:
            yield
        finally:
            del module.forward
            if before is not None:
                module.forward = before
            if self.adds_bias is not None:
                self.adds_bias.final_logits_bias = added


def head_of(model: Any) -> Head | None:
    """The plain nn.Linear that ends a language model, if there is one."""
    module = getattr(model, "get_output_embeddings", lambda: None)()
    if type(module) is not nn.Linear:  # an adapter's layer is none
        return None
    if not hasattr(model, "final_logits_bias"):
        return Head(module, module.bias)
    return Head(module, model.final_logits_bias[0], model) if module.bias is None else None


def obstacle_to_use(head: Head, model: Any, wrapper: nn.Module) -> str | None:
    """Why the weight of ``head`` cannot be used after the forward of ``wrapper``, or None.

    Args:
        model: that ends in ``head``.
        wrapper: what Trainer has made of it for distributed training.
    """
    weight = head.module.weight
    if type(weight) is not nn.Parameter or weight.dim() != 2:
        return "its output projection is sharded or quantised"
    tied = weight is getattr(model.get_input_embeddings(), "weight", None)
    finds_unused = isinstance(wrapper, DistributedDataParallel) and wrapper.find_unused_parameters
    if finds_unused and weight.requires_grad and not tied:
        return "ddp_find_unused_parameters would take its output projection for unused"
    return None


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """``model`` in evaluation mode, without gradients."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
