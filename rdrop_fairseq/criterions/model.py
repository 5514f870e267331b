"""What the criteria must know of a model: how its loss can be computed."""

import inspect
from collections.abc import Mapping
from typing import Any

from fairseq.models import BaseFairseqModel, FairseqDecoder, FairseqLanguageModel
from fairseq.models.roberta import RobertaModel
from fairseq.models.speech_to_text import ConvTransformerModel, S2TTransformerModel
from fairseq.models.speech_to_text.berard import BerardModel
from fairseq.models.speech_to_text.xm_transformer import XMTransformerModel
from fairseq.models.transformer import TransformerDecoderBase, TransformerModelBase
from fairseq.modules import AdaptiveSoftmax
from torch import Tensor, nn
from torch.nn.modules.module import _global_forward_hooks
from torch.nn.parallel import DistributedDataParallel

from ..errors import UsageError

# fairseq's methods that amount to a log-softmax of net_output[0]
_PLAIN_SOFTMAX = {
    BaseFairseqModel.get_normalized_probs,
    BaseFairseqModel.get_normalized_probs_scriptable,
    TransformerModelBase.get_normalized_probs,
    FairseqDecoder.get_normalized_probs,
    FairseqDecoder.get_normalized_probs_scriptable,
    S2TTransformerModel.get_normalized_probs,
    ConvTransformerModel.get_normalized_probs,
    XMTransformerModel.get_normalized_probs,
    BerardModel.get_normalized_probs,
}


def unwrapped(model: nn.Module) -> BaseFairseqModel:
    """``model`` without the wrappers of distributed training around it."""
    *_, innermost = _wrappers(model)
    return innermost


def _wrappers(model: nn.Module) -> list[nn.Module]:
    """``model``, what it wraps, and so on."""
    found = [model]
    while isinstance(inner := getattr(found[-1], "module", None), nn.Module):
        found.append(inner)
    return found


def needs_sorted_lengths(model: nn.Module) -> bool:
    """Whether ``model`` packs its input for a recurrent network, longest example first."""
    return any(isinstance(module, nn.RNNBase) for module in model.modules())


def adaptive_softmax_of(model: nn.Module) -> AdaptiveSoftmax | None:
    """What ``model`` has in place of an output projection (--adaptive-softmax-cutoff), if so."""
    return getattr(getattr(unwrapped(model), "decoder", None), "adaptive_softmax", None)


def _method(module: nn.Module | None, name: str) -> Any:
    return getattr(type(module), name, None)


def _has_plain_softmax(module: nn.Module) -> bool:
    decoder = getattr(module, "decoder", None)
    if decoder is None:  # fairseq's own methods then take the whole output for the logits
        return _method(module, "get_normalized_probs") is RobertaModel.get_normalized_probs
    return adaptive_softmax_of(module) is None and all(
        _method(part, name) in _PLAIN_SOFTMAX
        for part in (module, decoder)
        for name in ("get_normalized_probs", "get_normalized_probs_scriptable")
    )


def logits_of(model: BaseFairseqModel, net_output: Any) -> Tensor:
    """What the loss takes the log-softmax of, [B, T, V].

    For a model that computes log-probabilities in its own way (adaptive softmax, pointer
    networks) these are they: log_softmax leaves them as they are.

    Raises:
        UsageError: the output is a dict of several, as that of language models of speech.
    """
    if _has_plain_softmax(unwrapped(model)):
        if isinstance(net_output, Mapping):
            raise UsageError(
                "--criterion rdrop needs one sequence of logits, and "
                f"{type(unwrapped(model)).__name__} gives {', '.join(map(str, net_output))}: train "
                "it with its own criterion"
            )
        return net_output[0]
    return model.get_normalized_probs(net_output, log_probs=True)


def require_one_distribution_a_token(
    logits: Any, target: Tensor, passes: int, model: nn.Module
) -> None:
    """Raise UsageError unless ``logits`` of a repeated batch are [passes * B, T, V].

    Args:
        target: [B, T]
    """
    expected = (passes * target.size(0), *target.shape[1:])
    shape = tuple(getattr(logits, "shape", ()))
    if shape[:-1] != expected:
        raise UsageError(
            f"--criterion rdrop needs logits of shape {expected} + (V,), one distribution for each "
            f"target token, and {type(unwrapped(model)).__name__} gives {shape} (models for CTC "
            "do): train it with its own criterion"
        )


# whose gradient does not need what they made
_FORGETFUL = ("MmBackward0", "AddmmBackward0", "AddBackward0", "CloneBackward0")


def may_overwrite(logits: Tensor, model: nn.Module) -> bool:
    """Whether nobody else needs the values of ``logits``, which ``model`` made.

    Neither another gradient, nor a forward hook that may have kept them.
    """
    if _global_forward_hooks or any(module._forward_hooks for module in model.modules()):
        return False
    node = logits.grad_fn
    while node is not None and node.name() in ("ViewBackward0", "UnsafeViewBackward0"):
        node = node.next_functions[0][0]
    return node is not None and node.name() in _FORGETFUL


def choose_impl(model: nn.Module, impl: str) -> tuple[str, str]:
    """How to compute the loss for ``model``, and why.

    Args:
        impl: the value of --rdrop-impl.

    Returns: "linear", "logits" or "eager", and the reason in a few words.

    Raises:
        UsageError: linear was asked for and is not possible.
    """
    if impl in ("logits", "eager"):
        return impl, "as asked"
    obstacle = _obstacle_to_linear(model)
    if impl == "linear":
        if obstacle:
            raise UsageError(f"--rdrop-impl linear: {obstacle}; use --rdrop-impl auto")
        return impl, "as asked"
    return ("logits", obstacle) if obstacle else ("linear", "the decoder ends in a plain nn.Linear")


def _obstacle_to_linear(model: nn.Module) -> str | None:
    """Why the output projection cannot be fused with the loss, or None."""
    module = unwrapped(model)
    decoder = getattr(module, "decoder", None)
    projection = getattr(decoder, "output_projection", None)
    if type(projection) is not nn.Linear:
        return f"{type(module).__name__} has no plain output projection"
    if projection._forward_hooks or projection._forward_pre_hooks:
        return f"the output projection of {type(module).__name__} has hooks"
    for name in ("output_layer", "forward"):
        if _method(decoder, name) is not getattr(TransformerDecoderBase, name):
            return f"{type(decoder).__name__} has its own {name}"
    if not _has_plain_softmax(module):
        return f"{type(module).__name__} or its decoder has its own get_normalized_probs"
    # a language model hands all keywords to its decoder, other models name those they take
    hands_on = _method(module, "forward") is FairseqLanguageModel.forward
    if not hands_on and "features_only" not in inspect.signature(module.forward).parameters:
        return f"{type(module).__name__}.forward has no features_only"
    # only these two look at which weights take part in forward; a tied one does
    tied = projection.weight is getattr(getattr(decoder, "embed_tokens", None), "weight", None)
    for wrapper in _wrappers(model):
        if type(wrapper).__name__ == "FullyShardedDataParallel":
            return "fully sharded training gathers the weights inside forward only"
        finds_unused = isinstance(wrapper, DistributedDataParallel) and (
            wrapper.find_unused_parameters
        )
        if finds_unused and not tied:
            return "--find-unused-parameters would take the output projection for unused"
    return None
