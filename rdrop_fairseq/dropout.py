"""Find a model's dropout: where it is, at which rate, and whether it is active."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from fairseq.modules import FairseqDropout
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from .errors import UsageError


class Dropout(NamedTuple):
    """One dropout of a model."""

    path: str  #: the module's name in the model
    #: embedding, attention, feed-forward, output, adaptive-softmax, classifier, recurrent, other
    place: str
    rate: float  #: probability of zeroing a unit
    active: bool  #: whether it zeroes anything in the model's present mode


def find_dropout(model: nn.Module) -> Iterator[Dropout]:
    """Every dropout of ``model``: fairseq's, PyTorch's, and that inside LSTMs and GRUs.

    LayerDrop and quantization noise are left out: they are the same for all examples of
    a batch, hence for all passes of R-Drop.
    """
    for path, module in model.named_modules():
        if isinstance(module, FairseqDropout):
            active = module.training or module.apply_during_inference
            rate = module.p
        elif isinstance(module, _DropoutNd):
            active = module.training
            rate = module.p
        elif isinstance(module, nn.MultiheadAttention):
            active = module.training
            rate = module.dropout
        elif isinstance(module, nn.RNNBase):
            active = module.training and module.num_layers > 1
            rate = module.dropout
        else:
            continue
        yield Dropout(path, _place(path, module), rate, bool(active and rate > 0))


def _place(path: str, module: nn.Module) -> str:
    """Where in the network fairseq applies the dropout with this module path."""
    if isinstance(module, nn.RNNBase):
        return "recurrent"
    if isinstance(module, nn.MultiheadAttention):
        return "attention"
    parts = path.split(".")
    owner, name = ".".join(parts[:-1]), parts[-1]
    if "classification_head" in owner:
        return "classifier"
    if "adaptive_softmax" in parts:
        return "adaptive-softmax"
    if "attn" in owner:
        return "attention"
    if name.startswith(("activation_dropout", "relu_dropout")):
        return "feed-forward"
    if name.startswith(("dropout_in", "input_dropout")):
        return "embedding"
    if name.startswith("dropout_out") or "layers" in parts[:-1]:
        return "output"  # of a sublayer, before it is added to the residual
    if parts[-2:-1] and parts[-2].endswith(("encoder", "decoder")):
        return "embedding"
    return "other"


def require_active_dropout(model: nn.Module, part: str = "") -> str:
    """A sentence that says how much active dropout ``model`` has, and where.

    Args:
        part: only that in the submodule of this name, of which the sentence says so.

    Raises:
        UsageError: none is active, so that R-Drop's passes would be the same.
    """
    rates, prefix = defaultdict(list), f"{part}." if part else ""
    for dropout in find_dropout(model):
        if dropout.active and dropout.path.startswith(prefix):
            rates[dropout.place].append(dropout.rate)
    if not rates:
        raise UsageError(
            f"R-Drop compares passes that differ by dropout, but this {part or 'model'} has no "
            "active dropout: set a rate > 0 with --dropout, --attention-dropout or "
            "--activation-dropout (0.1 to 0.3 are usual), or give --rdrop-alpha 0. Dropout that is "
            "not a module is not seen"
        )
    places = ", ".join(
        f"{place} {len(found)} at {'/'.join(f'{rate:g}' for rate in sorted(set(found)))}"
        for place, found in rates.items()
    )
    return f"{sum(map(len, rates.values()))} active dropout modules ({places})"
