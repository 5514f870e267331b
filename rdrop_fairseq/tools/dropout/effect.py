"""How far dropout moves a checkpoint's output distribution."""

import argparse
from typing import Any, NamedTuple

import numpy
import torch
from fairseq import checkpoint_utils, utils
from fairseq.models import FairseqEncoderModel
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from ...batch import repeat_batch
from ...criterions.model import logits_of
from ...errors import UsageError
from ...loss import rdrop_loss
from ..command_line import explained
from .outline import heads_of


class Effect(NamedTuple):
    """Mean symmetric KL divergences, in nats, and of how many positions they are the means."""

    between_passes: float
    to_full_model: float
    positions: int


def effects_of(
    names: list[str], states: list[dict[str, Any]], args: argparse.Namespace
) -> tuple[list[Effect], str]:
    """What dropout does to the output of checkpoints, and the unit that is a position.

    Args:
        states: of the checkpoints called ``names``, whose configuration names ``args.data``.
    """
    models: list[Any] = []
    task: Any = None
    for name, state in zip(names, states, strict=True):
        hint = f"{args.data} does not fit {name}: give the folder that it was trained on"
        with explained(hint):
            loaded, _, task = checkpoint_utils.load_model_ensemble_and_task(
                [name], task=task, state=state
            )
        models += loaded
    head = _head_to_measure(task, models, [heads_of(state) for state in states])
    samples = _first_examples(task, models, args)
    if not head and any(sample.get("target") is None for sample in samples):
        raise UsageError(
            f"{args.split} in {args.data} has no target side, which the decoder is to be given"
        )
    masked = isinstance(models[0], FairseqEncoderModel)
    unit = "sentence" if head else "masked token" if masked else "target token"
    pad = task.target_dictionary.pad()
    return [_measure(model, samples, pad, head, args) for model in models], unit


def _first_examples(
    task: FairseqTask, models: list[Any], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """The first examples of the split, each as a batch of its own, without those too long."""
    splits = sorted({path.name.split(".")[0] for path in args.data.rglob("*.idx")})
    with explained(
        f"cannot load {args.split} from {args.data}, which holds {', '.join(splits) or 'none'}:"
        " give another --split"
    ):
        task.load_dataset(args.split)
        dataset = task.dataset(args.split)
        limits = utils.resolve_max_positions(
            task.max_positions(), *(model.max_positions() for model in models)
        )
        indices = task.filter_indices_by_size(
            numpy.arange(len(dataset)), dataset, limits, ignore_invalid_inputs=True
        )
        return [dataset.collater([dataset[index]]) for index in indices[: args.sentences]]


def _head_to_measure(task: FairseqTask, models: list[Any], heads: list[set[str]]) -> str | None:
    """The classification head that all checkpoints hold, or None: measure the vocabulary."""
    if not hasattr(task, "label_dictionary"):
        return None
    common = set.intersection(*heads)
    head = task.cfg.classification_head_name
    if head not in common and len(common) == 1:
        (head,) = common
    if head not in common:
        found = " and ".join(map(str, heads))
        raise UsageError(f"the checkpoints must hold the head {head}, found {found}")
    if any(model.classification_heads[head].out_proj.out_features < 2 for model in models):
        raise UsageError(
            f"the head {head} predicts one number (regression): there is no distribution over it"
        )
    return head


def _logits_for(
    model: nn.Module, sample: dict[str, Any], pad: int, head: str | None, passes: int
) -> Tensor:
    """The logits of ``passes`` passes for N positions, [passes * N, V].

    Args:
        sample: a batch of one example.
        pad: targets to leave out.
        head: a classification head, or None: the distribution over the vocabulary.
    """
    net_input = sample["net_input"]
    if head:
        net_input = repeat_batch(net_input, passes, 1)
        return model(**net_input, features_only=True, classification_head_name=head)[0]
    positions = sample["target"].ne(pad)
    if isinstance(model, FairseqEncoderModel):  # RoBERTa gives logits for masked tokens only
        net_input = repeat_batch({**net_input, "masked_tokens": positions}, passes, 1)
        return model(**net_input)[0]
    net_output = model(**repeat_batch(net_input, passes, 1))
    return logits_of(model, net_output)[positions.expand(passes, -1)]


def _symmetric_kl(logits: Tensor, passes: int) -> float:
    """As in R-Drop's loss: mean over pairs of passes, sum over positions."""
    unused = torch.zeros(len(logits) // passes, dtype=torch.int64)
    return rdrop_loss(logits, unused, alpha=0, passes=passes).kl.item()


@torch.no_grad()
def _measure(
    model: nn.Module,
    samples: list[dict[str, Any]],
    pad: int,
    head: str | None,
    args: argparse.Namespace,
) -> Effect:
    torch.manual_seed(args.seed)
    between_passes, to_full_model, positions = 0.0, 0.0, 0
    for sample in samples:
        full = _logits_for(model.eval(), sample, pad, head, 1)
        dropped = _logits_for(model.train(), sample, pad, head, args.passes)
        between_passes += _symmetric_kl(dropped, args.passes)
        pairs = torch.cat([full.repeat(args.passes, 1), dropped])
        to_full_model += _symmetric_kl(pairs, 2) / args.passes
        positions += len(full)
    if not positions:
        raise UsageError(
            f"{args.split} in {args.data} has no position to measure: give more --sentences"
        )
    return Effect(between_passes / positions, to_full_model / positions, positions)
