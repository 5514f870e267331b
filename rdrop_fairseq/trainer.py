"""R-Drop in Hugging Face's Trainer; needs transformers, but no fairseq.

    trainer = RDropTrainer(model, args, alpha=1.0, train_dataset=..., eval_dataset=...)
    trainer.train()

examples/huggingface/README.md has a program for each kind of model.
"""

import logging
import sys
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from .batch import repeat_batch
from .errors import UsageError
from .huggingface import (
    IGNORED,
    Head,
    evaluating,
    head_of,
    obstacle_to_use,
    require_dropout,
    with_decoder_inputs,
)
from .loss import linear_rdrop_loss, rdrop_binary_loss, rdrop_loss, rdrop_mse_loss
from .loss.functions import LARGEST_ALPHA

try:
    import torchaudio  # noqa: F401
except Exception:  # the one that ve-fairseq brings cannot be imported beside torch 2.13
    from transformers.utils.import_utils import is_torchaudio_available

    sys.modules["torchaudio"] = None  # type: ignore[assignment]  # or transformers would try to
    is_torchaudio_available.cache_clear()  # it may have been asked before
from transformers import Seq2SeqTrainer, Trainer

logger = logging.getLogger(__name__)

#: what labels may be; the first that gives the model's own loss is taken
KINDS = ("classes", "next tokens", "positions", "several labels", "numbers")
ANSWERS = ("start_positions", "end_positions")  # the labels of question answering
IMPLS = ("auto", "linear", "logits")


class RDropTrainer(Trainer):
    """A Trainer that minimises R-Drop's loss of several passes.

        sum_i LOSS(P_i, y) + alpha * mean over i < j of 1/2 [KL(P_i||P_j) + KL(P_j||P_i)]

    in the mean over the labels of an update, those of -100 left out. LOSS is the model's own:
    cross-entropy of classes, of masked or next tokens, of start and end of an answer, smoothed with
    ``label_smoothing_factor`` as Trainer does it; binary cross-entropy of several labels; or the
    squared error, with (f_i - f_j)^2 in place of the KL. Which one it is, the model's own loss of
    one example of the first batch tells. Evaluation is Trainer's: one pass, the plain loss.

    Another subclass of Trainer gets the same by ``class Mine(RDropTrainer, Theirs): pass``.

    Args:
        alpha: weight of the KL term, >= 0.
        passes: m >= 2.
        impl: "linear": the output projection is fused with the loss, so that the logits never
            exist as a whole; "logits"; or "auto": linear where that is right.
        The others are Trainer's. Tensors of a batch begin with the batch size.

    Raises:
        UsageError: a setting makes no sense, or the model has no dropout; with the first batch,
            if the model's loss is none of the above.
    """

    def __init__(
        self, *args: Any, alpha: float, passes: int = 2, impl: str = "auto", **kwargs: Any
    ) -> None:
        if not 0 <= alpha <= LARGEST_ALPHA:
            raise UsageError(f"alpha must be a finite number >= 0, got {alpha}")
        if passes < 2:
            raise UsageError(f"passes must be at least 2, got {passes}")
        if impl not in IMPLS:
            raise UsageError(f"impl must be one of {', '.join(IMPLS)}, got {impl!r}")
        super().__init__(*args, **kwargs)
        if self.compute_loss_func is not None:
            raise UsageError("RDropTrainer has a loss of its own: give it no compute_loss_func")
        if alpha:
            require_dropout(self.model)
        self.alpha = alpha
        self.passes = passes
        self.impl = impl
        self._kind = ""  # one of KINDS; the first batch tells

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        named = {name: inputs[name] for name in self.label_names if inputs.get(name) is not None}
        if len(named) != 1 and tuple(named) != ANSWERS:
            raise UsageError(
                f"R-Drop needs a batch's labels ({' and '.join(self.label_names)}), got only "
                f"{', '.join(inputs)}"
            )
        labels = torch.stack(list(named.values()), dim=1) if len(named) > 1 else inputs[min(named)]
        rest = {name: value for name, value in inputs.items() if name not in self.label_names}
        rest = with_decoder_inputs(rest, labels, self._base())
        # one call, as DistributedDataParallel expects
        batch = repeat_batch(rest, self.passes, len(labels), name="inputs")
        if not self._kind:
            self._look_at(model, dict(inputs), rest, labels)

        # who asks for the outputs may want the logits
        head = head_of(self._base()) if self.impl == "linear" and not return_outputs else None
        with head.replaced(lambda features: features) if head else nullcontext():
            outputs = model(**batch)
        logits = logits_of(outputs)
        target = target_of(self._kind, logits, labels)
        smooth = self.label_smoother is not None and "labels" in inputs  # as Trainer does it
        with self.accelerator.autocast():
            loss = loss_of(
                self._kind,
                logits,
                target,
                head,
                self.label_smoother.epsilon if smooth else 0.0,
                alpha=self.alpha,
                passes=self.passes,
            )
        if num_items_in_batch is None:  # Trainer then divides by the accumulated batches
            loss = loss / target.ne(IGNORED).sum().clamp(min=1)
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

    def _base(self) -> Any:
        """The model, that within PEFT's if it is one."""
        return self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model

    def _look_at(
        self, model: nn.Module, inputs: dict[str, Any], rest: dict[str, Any], labels: Tensor
    ) -> None:
        """Find out which loss the model has, and how to compute it: set ``_kind`` and ``impl``.

        One example goes through the model as in evaluation, with labels, and as here in training.
        A language model's output projection gives random numbers meanwhile: what is done to them
        afterwards shows, and no two losses are the same, as they would be with logits of 0.

        Args:
            inputs: the batch.
            rest: what the model sees of it in training.
            labels: [B, ...]
        """
        kept = labels.ne(IGNORED).view(len(labels), -1).sum(1)
        if not kept.any():  # then any labels will do
            zeros = torch.zeros_like(labels)
            inputs = {name: zeros if value is labels else value for name, value in inputs.items()}
            labels = zeros
        row = slice(int(kept.argmax()), int(kept.argmax()) + 1)

        def example(tree: Any) -> Any:
            return tree_map(lambda x: x[row] if isinstance(x, Tensor) else x, tree)

        name, head = type(self._base()).__name__, head_of(self._base())
        seen: list[Tensor] = []

        def drawn(features: Tensor) -> Tensor:
            seen.append(features)
            generator = torch.Generator(features.device).manual_seed(1)
            shape = (*features.shape[:-1], head.module.out_features if head else 0)
            return 3 * torch.randn(shape, generator=generator, device=features.device)

        wrapper = getattr(model, "_orig_mod", model)  # not compiled
        with evaluating(wrapper), head.replaced(drawn) if head else nullcontext():
            theirs, ours = wrapper(**example(inputs)), wrapper(**example(rest))
        logits = isinstance(theirs, dict) and {"logits", "start_logits"} & set(theirs)
        if not logits or theirs.get("loss") is None:
            raise UsageError(
                f"{name} gives no loss for its labels, by which R-Drop knows what they are: let "
                "its forward take labels, and return a dict with loss and logits"
            )
        if theirs.get("aux_loss") is not None:
            raise UsageError(
                f"R-Drop would leave out the auxiliary loss of {name}'s experts: set "
                "output_router_logits of its config to False (in SFTConfig router_aux_loss_coef=0)"
            )
        fitting = [kind for kind in KINDS if has_loss(theirs, kind, example(labels))]
        if not fitting:
            raise UsageError(
                f"the loss of {name} is none that R-Drop is for (cross-entropy of classes, masked "
                "or next tokens or an answer's start and end; of several labels; squared error): "
                "train it with Trainer"
            )
        self._kind = fitting[0]
        called = len(seen) == 2
        before, after = seen if called else (logits_of(theirs), logits_of(ours))
        if before.shape != after.shape or not torch.allclose(before, after, rtol=1e-3, atol=1e-5):
            raise UsageError(
                f"{name} computes something else when it sees labels: put what it makes of them "
                "into the batch, such as decoder_input_ids (DataCollatorForSeq2Seq with model=...)"
            )
        obstacle: str | None
        if head is None:
            obstacle = "it does not end in a plain nn.Linear that is its output embeddings"
        elif not called or not torch.equal(logits_of(theirs), drawn(before)):
            obstacle = "its logits are more than its output projection: scaled, capped or cut"
        else:
            obstacle = obstacle_to_use(head, self._base(), wrapper)
        if obstacle and self.impl == "linear":
            raise UsageError(f"impl='linear' is not possible for {name}: {obstacle}; take 'auto'")
        if self.impl == "auto":
            self.impl = "logits" if obstacle else "linear"
        logger.info(
            "R-Drop: alpha %g, %d passes, labels are %s, impl %s%s",
            *(self.alpha, self.passes, self._kind, self.impl, f" ({obstacle})" if obstacle else ""),
        )
        if self.label_smoother is not None and self._kind in ("several labels", "numbers"):
            raise UsageError(
                f"label_smoothing_factor is for classes, and labels are {self._kind}: set it to 0"
            )


def logits_of(outputs: Any) -> Tensor:
    """[B, ..., V]; [B, 2, V] for the start and the end of an answer."""
    if "start_logits" in outputs:
        return torch.stack([outputs["start_logits"], outputs["end_logits"]], dim=1)
    return outputs["logits"]


def has_loss(outputs: Any, kind: str, labels: Tensor) -> bool:
    """Whether the loss in ``outputs``, of one pass, is that of ``kind``."""
    if (kind == "positions") != ("start_logits" in outputs):
        return False
    logits, own = logits_of(outputs), outputs["loss"]
    target = target_of(kind, logits, labels)
    try:
        twice = loss_of(kind, torch.cat([logits, logits]), target, alpha=0.0, passes=2)
    except ValueError:
        return False
    mean = twice / 2 / target.ne(IGNORED).sum().clamp(min=1)
    # models that compute in bfloat16 may do so for their loss, too
    rtol = max(1e-4, 2 * torch.finfo(own.dtype).eps)
    return bool(torch.isclose(mean, own.mean().to(mean), rtol=rtol, atol=1e-6))


def target_of(kind: str, logits: Tensor, labels: Tensor) -> Tensor:
    """What the passes are compared with, of the shape of ``labels``; IGNORED where nothing is."""
    labels = labels.to(logits.device)
    if kind == "next tokens":
        return F.pad(labels[..., 1:], (0, 1), value=IGNORED)
    if kind == "positions":  # those beyond the text were cut off
        return labels.clamp(min=0).masked_fill(labels >= logits.size(-1), IGNORED)
    return labels


def loss_of(
    kind: str,
    logits: Tensor,
    target: Tensor,
    head: Head | None = None,
    label_smoothing: float = 0.0,
    **settings: Any,
) -> Tensor:
    """R-Drop's objective, summed over the targets.

    Args:
        logits: or features, of which ``head`` makes logits.
        label_smoothing: Trainer's eps, of which every class has eps / V.
        settings: alpha and passes.

    Raises:
        ValueError: shapes or dtypes are not those of the kind.
    """
    if kind == "several labels":
        return rdrop_binary_loss(logits, target, ignore_index=IGNORED, **settings).objective
    if kind == "numbers":
        predictions = logits.squeeze(-1) if logits.dim() > target.dim() else logits
        return rdrop_mse_loss(predictions, target, **settings).objective
    classes = head.module.out_features if head else logits.size(-1)
    settings["ignore_index"] = IGNORED
    # fairseq's eps / (V - 1) on every class is PyTorch's eps / V with this
    settings["label_smoothing"] = label_smoothing * (classes - 1) / classes
    if head:
        weight = head.module.weight
        return linear_rdrop_loss(logits, weight, target, bias=head.bias, **settings).objective
    return rdrop_loss(logits, target, **settings).objective


class RDropSeq2SeqTrainer(RDropTrainer, Seq2SeqTrainer):
    """`RDropTrainer` for encoder-decoders: evaluation can generate, ``predict_with_generate``."""
