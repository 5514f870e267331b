"""The flags that all R-Drop criteria share."""

from dataclasses import dataclass, field

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from ..errors import UsageError
from ..loss.functions import LARGEST_ALPHA

IMPLEMENTATIONS = ChoiceEnum(["auto", "linear", "logits", "eager"])


@dataclass
class RDropFlags(FairseqDataclass):
    rdrop_alpha: float = field(
        default=1.0,
        metadata={
            "help": "weight of R-Drop's KL term, >= 0; default 1. The paper's choices: 5 for "
            "translation, 0.7 for summarization, 1 for language modelling, 0.1, 0.5 or 1 for GLUE"
        },
    )
    rdrop_passes: int = field(
        default=2,
        metadata={
            "help": "how many times each example goes through the model (with --rdrop-encoder once "
            "through the decoder), >= 2; default 2, as in "
            "the paper (its section 4.3 tries 3: little gain)"
        },
    )
    rdrop_interval: int = field(
        default=1,
        metadata={
            "help": "k of k-step R-Drop, >= 1; default 1: only one update of every k makes the "
            "passes and the KL, the others are plain single passes, whose gradient is that of one "
            "cross-entropy, not two. The paper (its section 4.2) tries 1, 2, 5 and 10: a larger k "
            "trains faster and ends lower"
        },
    )
    rdrop_impl: IMPLEMENTATIONS = field(  # type: ignore[valid-type]
        default="auto",
        metadata={
            "help": "how to compute the loss: linear (output projection fused with the loss: the "
            "least memory and time, but in float16 it projects twice), logits (fused loss on the "
            "logits), eager (the definition, for comparison), or auto (linear where the model "
            "allows it, else logits); default auto. All give the same numbers up to rounding"
        },
    )


def check_flags(rdrop_alpha: float, rdrop_passes: int, rdrop_interval: int) -> None:
    """Raise UsageError unless the values of the shared flags make sense."""
    if not 0 <= rdrop_alpha <= LARGEST_ALPHA:
        raise UsageError(
            f"--rdrop-alpha must be a finite number >= 0, got {rdrop_alpha}, in float32 "
            "(the paper uses 5 for translation, 0.7 for summarization)"
        )
    if rdrop_passes < 2:
        raise UsageError(
            f"--rdrop-passes must be at least 2, got {rdrop_passes}: R-Drop compares passes. "
            "For a single pass train with the criterion that this one extends"
        )
    if rdrop_interval < 1:
        raise UsageError(
            f"--rdrop-interval must be at least 1, got {rdrop_interval}: 1 is R-Drop in every "
            "update, k in one of every k. For none train with the criterion that this one extends"
        )


def impl_of_head(flags: RDropFlags) -> str:
    """The loss' impl for the logits of a classification head, which has no vocabulary.

    Raises:
        UsageError: linear was asked for.
    """
    if str(flags.rdrop_impl) == "linear":
        raise UsageError(
            "--rdrop-impl linear fuses the loss with a projection to a vocabulary; a "
            "classification head has a few classes: use --rdrop-impl auto"
        )
    return "eager" if flags.rdrop_impl == "eager" else "fused"
