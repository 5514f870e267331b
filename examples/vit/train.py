"""Train a ViT on the images that images.py has checked, with R-Drop or plain cross-entropy.

    python examples/vit/train.py --data data.json --model small --alpha 1 --output_dir RUN ...

train.sh gives the arguments; those that are not listed first are transformers' TrainingArguments.
Goes on from the newest checkpoint in output_dir. Writes there, at the end, model/ (with the image
processor) and curve.tsv: loss (nats) and accuracy along the way, in one plain pass, and the CPU
time, user and system, of all updates until then, without evaluation and saving.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
from images import Images, open_split, random_crop, read_data
from torch import Tensor, nn

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import command
from rdrop_fairseq.tools.files import write_lines, writing_folder
from rdrop_fairseq.trainer import RDropTrainer  # before transformers

# isort: split
from transformers import (
    HfArgumentParser,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    logging,
    set_seed,
)

# --model small: what a CPU trains in minutes
SMALL = {
    "patch_size": 7,
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 256,
}
COLUMNS = ("update", "cpu_seconds", "split", "loss", "accuracy")


@dataclass
class Arguments:
    data: Path = field(metadata={"help": "what images.py has written"})
    model: str = field(
        metadata={"help": "small, or a pretrained ViT: a folder, or a name on huggingface.co"}
    )
    image_size: int = field(metadata={"help": "height and width of what the model sees"})
    alpha: float | None = field(
        default=None, metadata={"help": "weight of R-Drop's KL term; default: no R-Drop"}
    )
    dropout: float = field(
        default=0.1, metadata={"help": "of embeddings, and after attention and feed-forward"}
    )
    attention_dropout: float = field(default=0.0, metadata={"help": "of the attention's weights"})
    augment: bool = field(
        default=False, metadata={"help": "random parts of the training images, as the authors"}
    )


class CpuTime(TrainerCallback):
    """Counts the CPU seconds of updates, loading of their images included."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.since = 0.0

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        # a resumed training goes on counting
        counted = (log.get("eval_cpu_seconds", 0.0) for log in state.log_history)
        self.seconds = max(counted, default=0.0)
        self.since = time.process_time()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        now = time.process_time()
        self.seconds += now - self.since
        self.since = now

    def on_evaluate(self, args, state, control, **kwargs) -> None:
        self.since = time.process_time()

    on_save = on_evaluate


def build_model(args: Arguments, classes: list[str]) -> nn.Module:
    """The ViT to train, with its dropout set and a classifier for the classes.

    Raises:
        UsageError: there is no such pretrained model, it is no ViT, or the image size does not fit
            it.
    """
    settings = {
        "hidden_dropout_prob": args.dropout,
        "attention_probs_dropout_prob": args.attention_dropout,
        "id2label": dict(enumerate(classes)),
        "label2id": {name: number for number, name in enumerate(classes)},
    }
    if args.model == "small":
        patch = SMALL["patch_size"]
        if args.image_size % patch:
            raise UsageError(f"the image size {args.image_size} is no multiple of {patch}")
        config = ViTConfig(image_size=args.image_size, **SMALL, **settings)
        return ViTForImageClassification(config)
    try:
        model, found = ViTForImageClassification.from_pretrained(
            args.model, ignore_mismatched_sizes=True, output_loading_info=True, **settings
        )
    except (OSError, ValueError) as error:
        raise cannot_load(args.model, error) from None
    # transformers would draw them at random, without an error
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("classifier."))
    if missing:
        raise UsageError(
            f"{args.model} lacks {len(missing)} of a ViT's parameters, {missing[0]} for one: set "
            "MODEL to a model of transformers' type vit"
        )
    resize_positions(model, args.image_size)
    # as the authors (vit_src/train.py, zero_head): the new classifier starts from nothing
    nn.init.zeros_(model.classifier.weight)
    nn.init.zeros_(model.classifier.bias)
    return model


def cannot_load(model: str, error: Exception) -> UsageError:
    return UsageError(
        f"cannot load {model} ({str(error).splitlines()[0]}): set MODEL to a folder with a ViT's "
        "config.json, model.safetensors and preprocessor_config.json, or take a machine that "
        "reaches huggingface.co"
    )


def resize_positions(model: ViTForImageClassification, size: int) -> None:
    """Give ``model`` the position embeddings of images of another size, interpolated, once."""
    embeddings, patch = model.vit.embeddings, model.config.patch_size
    if size % patch:
        raise UsageError(f"the image size {size} is no multiple of the model's patches, {patch}")
    if size == model.config.image_size:
        return
    positions = embeddings.position_embeddings
    tokens = positions.new_empty(1, 1 + (size // patch) ** 2, positions.size(-1))
    resized = embeddings.interpolate_pos_encoding(tokens, size, size).detach()
    embeddings.position_embeddings = nn.Parameter(resized.contiguous())
    embeddings.image_size = (size, size)
    model.config.image_size = size


def image_processor(model: str, size: int) -> ViTImageProcessorPil:
    """What makes pixel values of an image, as the model was pretrained with.

    Raises:
        UsageError: the model has none.
    """
    shape = {"size": {"height": size, "width": size}}
    if model == "small":
        return ViTImageProcessorPil(**shape)
    try:
        return ViTImageProcessorPil.from_pretrained(model, **shape)
    except (OSError, ValueError) as error:
        raise cannot_load(model, error) from None


def accuracy_of(prediction: Any) -> float:
    """In percent. ``prediction`` has predictions [N, V] and label_ids [N]."""
    return 100 * float(numpy.mean(prediction.predictions.argmax(-1) == prediction.label_ids))


def newest_checkpoint(run: Path) -> str | None:
    """The newest that is complete: Trainer writes trainer_state.json last."""
    found = [path.parent for path in run.glob("checkpoint-*/trainer_state.json")]
    newest = max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return None if newest is None else str(newest)


def curve(log_history: list[dict[str, Any]], split: str) -> list[str]:
    """The lines of curve.tsv."""
    lines = ["\t".join(COLUMNS)]
    for log in log_history:
        if "eval_accuracy" in log:
            cells = [str(log["step"]), f"{log['eval_cpu_seconds']:.3f}", split]
            cells += [f"{log['eval_loss']:.4f}", f"{log['eval_accuracy']:.2f}"]
            lines.append("\t".join(cells))
    return lines


def parse_arguments(argv: Sequence[str] | None) -> tuple[Arguments, TrainingArguments]:
    parser = HfArgumentParser((Arguments, TrainingArguments), description=__doc__)
    try:
        return parser.parse_args_into_dataclasses(argv)
    except ValueError as error:
        raise UsageError(str(error).splitlines()[0]) from None


@command("train")
def main(argv: Sequence[str] | None = None) -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    args, training = parse_arguments(argv)
    training._n_gpu = min(training.n_gpu, 1)  # else one process would take a batch for each
    data = read_data(args.data)
    checkpoint = newest_checkpoint(Path(training.output_dir))
    set_seed(training.seed)
    if checkpoint is None:
        model = build_model(args, data["classes"])
    else:
        # Trainer, when it resumes, does not find the weights that transformers renames when it
        # saves them, ViT's among them, and goes on without (transformers issue 48805)
        model = ViTForImageClassification.from_pretrained(checkpoint)
    processor = image_processor(args.model, args.image_size)

    def pixels(image: Any) -> Tensor:
        return processor(images=image, return_tensors="pt")["pixel_values"][0]

    def pixels_of_part(image: Any) -> Tensor:
        return pixels(random_crop(image, args.image_size))

    small = args.model == "small"  # its images fit into memory
    transform = pixels_of_part if args.augment else pixels
    sets = {
        "train_dataset": Images(open_split(data, "train"), transform, small and not args.augment),
        "eval_dataset": Images(open_split(data, data["curve_split"]), pixels, small),
    }
    clock = CpuTime()

    def metrics(prediction: Any) -> dict[str, float]:
        return {"accuracy": accuracy_of(prediction), "cpu_seconds": clock.seconds}

    kwargs = {**sets, "callbacks": [clock], "compute_metrics": metrics}
    if args.alpha is None:
        trainer = Trainer(model, training, **kwargs)
    else:
        trainer = RDropTrainer(model, training, alpha=args.alpha, **kwargs)
    run = Path(training.output_dir)
    trainer.train(resume_from_checkpoint=checkpoint)
    if not trainer.is_world_process_zero():
        return
    lines = curve(trainer.state.log_history, data["curve_split"])
    write_lines(run / "curve.tsv", lines)
    shutil.rmtree(run / "model", ignore_errors=True)  # of a run that ended before it said so
    with writing_folder(run / "model") as folder:
        trainer.save_model(str(folder))
        processor.save_pretrained(folder)
        shutil.copy(args.data, folder / "data.json")  # for evaluate.py to compare


if __name__ == "__main__":
    main()
