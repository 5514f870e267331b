"""The dropout of an architecture or checkpoint, without its parameters' values."""

import re
from types import SimpleNamespace
from typing import Any, NamedTuple

from fairseq import options
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import (
    ARCH_MODEL_REGISTRY,
    MODEL_REGISTRY,
    FairseqEncoderModel,
    FairseqLanguageModel,
    build_model,
)
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ...dropout import find_dropout
from ...errors import UsageError
from ..command_line import explained


class Row(NamedTuple):
    """One dropout of a model."""

    path: str
    place: str
    rate: float
    in_training: bool
    at_inference: bool


def rows_of(model: nn.Module) -> list[Row]:
    training, inference = list(find_dropout(model.train())), list(find_dropout(model.eval()))
    return [Row(*a, b.active) for a, b in zip(training, inference, strict=True)]


def heads_of(state: dict[str, Any]) -> set[str]:
    """The classification heads of a checkpoint."""
    parts = (key.split(".") for key in state["model"])
    return {part[1] for part in parts if part[0] == "classification_heads"}


def of_checkpoint(name: str, state: dict[str, Any]) -> nn.Module:
    """The outline of a checkpoint, from the settings that it holds."""
    cfg = convert_namespace_to_omegaconf(state["args"]) if state.get("args") else state["cfg"]
    return _outline(cfg.model, name, sorted(heads_of(state)))


def of_architecture(arch: str, rates: dict[str, float]) -> nn.Module:
    """The outline of what fairseq-train builds for ``--arch`` and the dropout flags given."""
    task = "translation"
    if issubclass(ARCH_MODEL_REGISTRY[arch], FairseqLanguageModel):
        task = "language_modeling"
    elif issubclass(ARCH_MODEL_REGISTRY[arch], FairseqEncoderModel):
        task = "masked_lm"
    command = ["data", "--arch", arch]
    for name, rate in rates.items():
        command += [f"--{name.replace('_', '-')}", str(rate)]
    parser = options.get_training_parser(task)
    args, unknown = options.parse_args_and_arch(parser, command, parse_known=True)
    if unknown:
        raise UsageError(f"{arch} has no {unknown[0]}")
    cfg = convert_namespace_to_omegaconf(args).model
    has_head = task == "masked_lm" and hasattr(cfg, "pooler_dropout")
    # the head that fairseq's sentence_prediction adds
    return _outline(cfg, arch, ["sentence_classification_head"] if has_head else [])


def _outline(cfg: Any, name: str, heads: list[str]) -> nn.Module:
    """The model of a configuration, with a made-up dictionary and shapes without memory.

    Args:
        cfg: the model's part of fairseq's configuration.
        name: what errors call the model.
        heads: classification heads that it gets.
    """
    arch = getattr(cfg, "_name", None) or getattr(cfg, "arch", None)
    if arch not in ARCH_MODEL_REGISTRY and arch not in MODEL_REGISTRY:
        raise UsageError(
            f"the architecture {arch} of {name} is none of fairseq's: give its --user-dir"
        )
    dictionary = Dictionary()
    # adaptive input and softmax want a vocabulary beyond their cutoffs, such as "20000,60000"
    cutoffs = (str(getattr(cfg, f"adaptive_{part}_cutoff", "")) for part in ("input", "softmax"))
    size = 1 + max(map(int, re.findall(r"\d+", " ".join(cutoffs))), default=0)
    for number in range(size):
        dictionary.add_symbol(f"w{number}")
    task = SimpleNamespace(max_positions=lambda: 512)
    task.source_dictionary = task.target_dictionary = dictionary
    task.dictionary = task.output_dictionary = dictionary
    with (
        explained(
            f"cannot build {name} from its settings alone: rdrop dropout knows translation, "
            "summarization and language models and RoBERTa"
        ),
        FakeTensorMode(),
    ):
        model = build_model(cfg, task, from_checkpoint=True)
        for head in heads:
            model.register_classification_head(head, num_classes=2)
    return model
