"""R-Drop in Hugging Face's Trainer, for models with one class a label: images, texts, tokens.

    trainer = RDropTrainer(model, args, alpha=1.0, train_dataset=..., eval_dataset=...)
    trainer.train()

README.md beside this file has examples.
"""

import math
import re
import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from rdrop_fairseq.batch import repeat_batch
from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.loss import rdrop_loss

try:
    import torchaudio  # noqa: F401
except Exception:  # the one that ve-fairseq brings cannot be imported beside torch 2.13
    sys.modules["torchaudio"] = None  # type: ignore[assignment]  # or transformers would try to
from transformers import Trainer

IGNORED = -100  #: the label that Hugging Face's losses leave out
SINGLE_LABEL = (None, "single_label_classification")  # what a config's problem_type may be


class RDropTrainer(Trainer):
    """A Trainer that minimises R-Drop's loss of two passes.

        CE(P1, y) + CE(P2, y) + alpha * 1/2 [KL(P1||P2) + KL(P2||P1)]

    in the mean over the labels of an update, those of -100 left out; with
    ``label_smoothing_factor`` both CE are smoothed as Trainer does it. Evaluation is Trainer's
    own: one pass, the plain loss.

    Args:
        alpha: weight of the KL term, >= 0.
        The others are Trainer's. Batches have "labels", int64 of shape [B] or [B, T], and
        otherwise tensors that begin with B; the model's "logits" are [B, V] or [B, T, V].

    Raises:
        UsageError: alpha is not such a number, the model has no dropout, or its loss is of
            another kind (a regression, several labels an example, a causal language model).
    """

    def __init__(self, *args: Any, alpha: float, **kwargs: Any) -> None:
        if not (math.isfinite(alpha) and alpha >= 0):
            raise UsageError(f"alpha must be a finite number >= 0, got {alpha}")
        if kwargs.get("compute_loss_func"):
            raise UsageError("RDropTrainer has a loss of its own: give it no compute_loss_func")
        super().__init__(*args, **kwargs)
        self.alpha = alpha
        name = type(self.model).__name__
        # transformers names the loss of its models; other models have no such names
        loss_type = str(getattr(self.model, "loss_type", "Classification"))
        config = getattr(self.model, "config", None)
        problem_type = getattr(config, "problem_type", None)
        if problem_type is None and getattr(config, "num_labels", 2) == 1:
            problem_type = "regression"  # what transformers takes it for
        if not re.search("Classification|MaskedLM", loss_type) or problem_type not in SINGLE_LABEL:
            raise UsageError(
                f"RDropTrainer is for one class a label, at the same place as its logits, and the "
                f"loss of {name} is of another kind ({loss_type}, {problem_type}): take a model "
                "for sequence, token or image classification or for masked language modelling. If "
                "that is what a model of your own is for, set its loss_type to "
                "'ForSequenceClassification'"
            )
        if alpha and not has_dropout(self.model):
            raise UsageError(
                f"R-Drop compares passes that differ by dropout, but {name} has none: set "
                "hidden_dropout_prob or attention_probs_dropout_prob (or what its config calls "
                "them) to a rate > 0 where the model is made (0.1 is usual), or alpha to 0"
            )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if "labels" not in inputs:
            raise UsageError(f"R-Drop needs a batch's labels, got only {', '.join(inputs)}")
        labels = inputs["labels"]
        if labels.is_floating_point():
            raise UsageError("R-Drop's labels are numbers of classes, got numbers with a point")
        rest = {name: value for name, value in inputs.items() if name != "labels"}
        # one call, as DistributedDataParallel expects
        outputs = model(**repeat_batch(rest, 2, len(labels), name="inputs"))
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
        classes = logits.size(-1)
        loss = rdrop_loss(
            logits,
            labels,
            alpha=self.alpha,
            # PyTorch's eps / V on every class is fairseq's eps / (V - 1) with this
            label_smoothing=self.args.label_smoothing_factor * (classes - 1) / classes,
            ignore_index=IGNORED,
        ).objective
        if num_items_in_batch is None:  # Trainer then divides by the accumulated batches
            loss = loss / labels.ne(IGNORED).sum().clamp(min=1)
        else:  # the labels of all accumulated batches, and by default of all processes
            items = torch.as_tensor(num_items_in_batch, device=loss.device).flatten()[0]
            loss = loss / items.clamp(min=1) * self._parts()
        return (loss, outputs) if return_outputs else loss

    def _parts(self) -> float:
        """What to divide Trainer's number of items by, so that it is that of this process."""
        if self.args.average_tokens_across_devices:
            # those of all processes, whose gradients DistributedDataParallel will average
            return self.accelerator.num_processes
        # with DataParallel those of one GPU, while the logits of all are here
        return 1 / max(1, self.args.n_gpu)


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
