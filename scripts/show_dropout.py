"""Show a model's dropout: where it is, at which rate, and what it does to the output.

    python scripts/show_dropout.py roberta_base --pooler-dropout 0.1 --plot dropout.png
    python scripts/show_dropout.py checkpoints/checkpoint_best.pt
    python scripts/show_dropout.py baseline.pt rdrop.pt --data data-bin --split valid --plot kl.png

Lists every dropout of an architecture of fairseq or of a checkpoint (translation, summarization,
language model, RoBERTa): module path, place, rate, whether it is active in training and at
inference. One module may serve at several points: a layer's dropout_module after each of its
sublayers, a classification head's before and after its dense layer.

With --data, measures how far dropout moves the model's output distribution: the mean symmetric
KL divergence, 1/2 [KL(P||Q) + KL(Q||P)], between two dropout passes (what R-Drop's loss makes
small), and between a dropout pass and the full model (the inconsistency of training and
inference). It is taken for each target token (translation and language models, given the
reference before it), each masked token (RoBERTa) or each sentence (a classification head), and
averaged over these. Passes run in training mode, one example at a time.

The sentences come from a folder made by fairseq-preprocess, loaded as in training by the task
that the checkpoint names. Plain text would need the same tokeniser, subwords and special symbols
as the training data, and a slip there would give wrong numbers without a word. Two checkpoints
get the same examples, loaded by the first one's task.
"""

import argparse
import difflib
import logging
import math
import re
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy
import torch
from fairseq import checkpoint_utils, options, utils
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import (
    ARCH_MODEL_REGISTRY,
    MODEL_REGISTRY,
    FairseqEncoderModel,
    FairseqLanguageModel,
    build_model,
)
from fairseq.tasks import FairseqTask
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import rdrop_fairseq  # noqa: F401  (lets torch load fairseq's checkpoints)
from rdrop_fairseq.batch import repeat_batch
from rdrop_fairseq.criterions.model import logits_of
from rdrop_fairseq.dropout import find_dropout, require_active_dropout
from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.loss import rdrop_loss

sys.path.insert(0, str(Path(__file__).parent / "corpus"))
from text_files import writing

RATES = ("dropout", "attention_dropout", "activation_dropout", "pooler_dropout")
PLACES = {  # as rdrop_fairseq.dropout names them: colour and meaning
    "embedding": ("C0", "after the embeddings"),
    "attention": ("C1", "on the attention weights"),
    "feed-forward": ("C2", "in the feed-forward sublayer, after its activation"),
    "output": ("C3", "after a sublayer, before it is added to the residual"),
    "classifier": ("C4", "in the classification head"),
    "adaptive-softmax": ("C6", "in the adaptive softmax"),
    "recurrent": ("C5", "between recurrent layers"),
    "other": ("C7", "elsewhere"),
}
_LAYER = re.compile(r"\blayers\.(\d+)\.")


class Row(NamedTuple):
    """One dropout of a model."""

    path: str
    place: str
    rate: float
    in_training: bool
    at_inference: bool


class Effect(NamedTuple):
    """Mean symmetric KL divergences, in nats, and of how many positions they are the means."""

    between_passes: float
    to_full_model: float
    positions: int


def fail(message: str) -> None:
    sys.exit(f"show_dropout: {message}")


def rows_of(model: nn.Module) -> list[Row]:
    training, inference = list(find_dropout(model.train())), list(find_dropout(model.eval()))
    return [
        Row(a.path, a.place, a.rate, a.active, b.active)
        for a, b in zip(training, inference, strict=True)
    ]


def outline(cfg: Any, name: str, heads: list[str]) -> nn.Module:
    """The model of a configuration, with no parameters' values and a made-up dictionary.

    Args:
        cfg: the model's part of fairseq's configuration.
        name: what errors call the model.
        heads: classification heads that it gets.
    """
    arch = getattr(cfg, "_name", None) or getattr(cfg, "arch", None)
    if arch not in ARCH_MODEL_REGISTRY and arch not in MODEL_REGISTRY:
        fail(f"the architecture {arch} of {name} is none of fairseq's: give its --user-dir")
    dictionary = Dictionary()
    # adaptive input and softmax want a vocabulary beyond their cutoffs, such as "20000,60000"
    cutoffs = (str(getattr(cfg, f"adaptive_{part}_cutoff", "")) for part in ("input", "softmax"))
    size = 1 + max(map(int, re.findall(r"\d+", " ".join(cutoffs))), default=0)
    for number in range(size):
        dictionary.add_symbol(f"w{number}")
    task = SimpleNamespace(
        source_dictionary=dictionary, target_dictionary=dictionary, max_positions=lambda: 512
    )
    task.dictionary = task.output_dictionary = dictionary
    try:
        with FakeTensorMode():  # shapes without memory: even the largest model is there at once
            model = build_model(cfg, task, from_checkpoint=True)
            for head in heads:
                model.register_classification_head(head, num_classes=2)
    except Exception as error:  # other models may ask for anything
        fail(
            f"cannot build {name} from its settings alone: this script knows translation, "
            f"summarization and language models and RoBERTa [{type(error).__name__}: {error}]"
        )
    return model


def architecture(arch: str, rates: dict[str, float]) -> nn.Module:
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
        fail(f"{arch} has no {unknown[0]}")
    cfg = convert_namespace_to_omegaconf(args).model
    has_head = task == "masked_lm" and hasattr(cfg, "pooler_dropout")
    # the head that fairseq's sentence_prediction adds
    return outline(cfg, arch, ["sentence_classification_head"] if has_head else [])


def load_model(
    path: str, state: dict[str, Any], data: Path, task: FairseqTask | None
) -> tuple[nn.Module, FairseqTask]:
    """The trained model, and ``task`` or, if that is None, the checkpoint's."""
    try:
        models, _, task = checkpoint_utils.load_model_ensemble_and_task(
            [path], task=task, state=state
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        fail(
            f"{data} does not fit {path}: give the folder that it was trained on "
            f"[{type(error).__name__}: {reason}]"
        )
    return models[0], task


def first_examples(
    task: FairseqTask, models: list[nn.Module], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """The first examples of the split, each as a batch of its own, without those too long."""
    try:
        task.load_dataset(args.split)
        dataset = task.dataset(args.split)
        limits = utils.resolve_max_positions(
            task.max_positions(), *(model.max_positions() for model in models)
        )
        indices = task.filter_indices_by_size(
            numpy.arange(len(dataset)), dataset, limits, ignore_invalid_inputs=True
        )
        return [dataset.collater([dataset[index]]) for index in indices[: args.sentences]]
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        splits = sorted({path.name.split(".")[0] for path in args.data.rglob("*.idx")})
        fail(
            f"cannot load {args.split} from {args.data}, which holds {', '.join(splits) or 'none'}:"
            f" give another --split [{type(error).__name__}: {reason}]"
        )


def head_to_measure(
    task: FairseqTask, models: list[nn.Module], heads: list[set[str]]
) -> str | None:
    """The classification head that all checkpoints hold, or None: measure the vocabulary."""
    if not hasattr(task, "label_dictionary"):
        return None
    common = set.intersection(*heads)
    head = task.cfg.classification_head_name
    if head not in common and len(common) == 1:
        (head,) = common
    if head not in common:
        fail(f"the checkpoints must hold the head {head}, found {' and '.join(map(str, heads))}")
    if any(model.classification_heads[head].out_proj.out_features < 2 for model in models):
        fail(f"the head {head} predicts one number (regression): there is no distribution over it")
    return head


def logits_for(
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


def measure(
    model: nn.Module,
    samples: list[dict[str, Any]],
    pad: int,
    head: str | None,
    args: argparse.Namespace,
) -> Effect:
    """What dropout does to the output of ``model`` on ``samples``."""

    def symmetric_kl(logits: Tensor, passes: int) -> float:
        """As in R-Drop's loss: mean over pairs of passes, sum over positions."""
        unused = torch.zeros(len(logits) // passes, dtype=torch.int64)
        return rdrop_loss(logits, unused, alpha=0, passes=passes).kl.item()

    torch.manual_seed(args.seed)
    between_passes, to_full_model, positions = 0.0, 0.0, 0
    with torch.no_grad():
        for sample in samples:
            full = logits_for(model.eval(), sample, pad, head, 1)
            dropped = logits_for(model.train(), sample, pad, head, args.passes)
            between_passes += symmetric_kl(dropped, args.passes)
            pairs = torch.cat([full.repeat(args.passes, 1), dropped])
            to_full_model += symmetric_kl(pairs, 2) / args.passes
            positions += len(full)
    if not positions:
        fail(f"{args.split} in {args.data} has no position to measure: give more --sentences")
    return Effect(between_passes / positions, to_full_model / positions, positions)


def print_table(title: str, rows: list[Row]) -> None:
    width = max([len(row.path) for row in rows], default=0)
    print(f"{title}\n{'module path':{width}}  place         rate   training  inference")
    for row in rows:
        active = ["active" if on else "-" for on in (row.in_training, row.at_inference)]
        cells = f"{row.path:{width}}  {row.place:12}  {row.rate:<5g}  {active[0]:8}  {active[1]}"
        print(cells)


def print_effects(effects: list[Effect], unit: str, args: argparse.Namespace) -> None:
    where = f"{effects[0].positions} {unit}s of {args.split} in {args.data}"
    print(f"\nmean symmetric KL per {unit}: {where}, {args.passes} passes, seed {args.seed}")
    width = max(len(name) for name in args.models)
    print(f"{'':{width}}  {'between dropout passes':30}  dropout pass and full model")
    for name, effect in zip(args.models, effects, strict=True):
        cells = [f"{kl:.4g} nats ({kl / math.log(2):.4g} bits)" for kl in effect[:2]]
        print(f"{name:{width}}  {cells[0]:30}  {cells[1]}")
    if len(effects) == 2:
        first, second = effects
        ratios = [b / a if a else math.nan for a, b in zip(first[:2], second[:2], strict=True)]
        print(f"{'second / first':{width}}  {ratios[0]:<30.3g}  {ratios[1]:.3g}")


def draw(
    path: Path, tables: dict[str, list[Row]], names: list[str], effects: list[Effect], unit: str
) -> None:
    """A grid of rates for each table and, if they were measured, bars for the effects."""
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    def kind(row: Row) -> str:
        return _LAYER.sub("layers.N.", row.path).removesuffix("_module")

    def column(row: Row) -> int:
        layer = _LAYER.search(row.path)
        return int(layer[1]) + 1 if layer else 0

    def draw_grid(axis: Any, title: str, rows: list[Row]) -> None:
        """A cell for each dropout: kinds from top to bottom, layers from left to right."""
        kinds = list(dict.fromkeys(map(kind, rows)))
        columns = 1 + max(map(column, rows))
        image = numpy.ones((len(kinds), columns, 4))
        for row in rows:
            x, y = column(row), kinds.index(kind(row))
            image[y, x] = to_rgba(PLACES[row.place][0], 0.75 if row.in_training else 0.12)
            axis.text(x, y, f"{row.rate:g}", ha="center", va="center", fontsize=7)
        axis.imshow(image, aspect="auto")
        axis.set_xticks(range(columns), ["no\nlayer", *range(columns - 1)], fontsize=7)
        axis.set_yticks(range(len(kinds)), kinds, fontsize=8)
        axis.set_xticks(numpy.arange(columns + 1) - 0.5, minor=True)
        axis.set_yticks(numpy.arange(len(kinds) + 1) - 0.5, minor=True)
        axis.grid(which="minor", color="white", linewidth=2)
        axis.tick_params(which="both", length=0)
        axis.set(xlabel="layer N")
        axis.set_title("Dropout rates\n" + title.replace(" and ", "\nand "), fontsize=10)

    def draw_effects(axis: Any) -> None:
        width = 0.8 / len(names)
        for index, (name, effect) in enumerate(zip(names, effects, strict=True)):
            places = [x + (index - (len(names) - 1) / 2) * width for x in range(2)]
            bars = axis.bar(places, effect[:2], 0.95 * width, label=name, color=f"C{8 + index}")
            axis.bar_label(bars, fmt="%.3g")
        axis.set_xticks(range(2), ["between dropout passes", "dropout pass and full model"])
        axis.set(title="What dropout does to the output", ylabel=f"symmetric KL\n(nats per {unit})")
        axis.margins(y=0.15 + 0.12 * len(names))  # room for the legend
        axis.legend(loc="upper right")

    heights = [1.7 + 0.3 * len(set(map(kind, rows))) for rows in tables.values()]
    widths = [4.5 + 0.36 * max(map(column, rows)) for rows in tables.values()]
    if effects:
        heights.append(3.5)
    figure = Figure(figsize=(max(9, *widths), sum(heights) + 1), layout="constrained")
    axes = figure.subplots(len(heights), height_ratios=heights, squeeze=False)[:, 0]
    for axis, (title, rows) in zip(axes, tables.items(), strict=False):
        draw_grid(axis, title, rows)
    if effects:
        draw_effects(axes[-1])
    found = {row.place for rows in tables.values() for row in rows}
    patches = [
        Patch(color=to_rgba(color, 0.75), label=f"{place}: {meaning}")
        for place, (color, meaning) in PLACES.items()
        if place in found
    ]
    patches.append(Patch(facecolor="0.93", edgecolor="0.7", label="pale: not active (rate 0)"))
    figure.legend(handles=patches, loc="outside lower center", ncols=2, fontsize=8)
    with writing(path) as (file,):
        figure.savefig(file, format="png", dpi=150)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("models", nargs="+", metavar="CHECKPOINT|ARCH", help="one, or two to compare")
    add("--data", type=Path, help="folder of fairseq-preprocess to measure on; default: only list")
    add("--split", default="valid", help="which part of it; default valid")
    blocks = "blocks of its --tokens-per-sample for a language model"
    add("--sentences", type=int, default=50, help=f"its first examples ({blocks}); default 50")
    add("--passes", type=int, default=4, help="dropout passes per example, >= 2; default 4")
    add("--seed", type=int, default=1, help="seed of the dropout masks; default 1")
    add("--plot", type=Path, help="PNG to draw it to; default: none")
    add("--user-dir", help="package with models and tasks of your own, as for fairseq-train")
    for name in RATES:
        flag = f"--{name.replace('_', '-')}"
        add(flag, type=float, metavar="P", help="rate, for an ARCH; default: the ARCH's own")
    args = parser.parse_args()
    args.rates = {name: rate for name in RATES if (rate := getattr(args, name)) is not None}
    if len(args.models) > 2:
        parser.error(f"takes one model, or two to compare, got {len(args.models)}")
    for name, rate in args.rates.items():
        if not 0 <= rate < 1:
            parser.error(f"--{name.replace('_', '-')} must be in [0, 1), got {rate}")
    if args.sentences < 1:
        parser.error(f"--sentences must be at least 1, got {args.sentences}")
    if args.passes < 2:
        parser.error(f"--passes must be at least 2, to compare them, got {args.passes}")
    if args.data and not args.data.is_dir():
        parser.error(f"no such data folder: {args.data}")
    if args.plot and args.plot.suffix.lower() != ".png":
        parser.error(f"--plot writes a PNG: name it so (dropout.png), got {args.plot}")
    if args.plot and not args.plot.parent.is_dir():
        parser.error(f"no such folder to write to: {args.plot.parent}")
    if args.user_dir and not Path(args.user_dir).is_dir():
        parser.error(f"no such folder: --user-dir {args.user_dir}")
    utils.import_user_module(args)
    for name in args.models:
        if Path(name).is_dir():
            parser.error(f"{name} is a folder: name a checkpoint in it")
        if Path(name).is_file() and args.rates:
            flag = next(iter(args.rates)).replace("_", "-")
            parser.error(f"--{flag} is for an ARCH: the checkpoint {name} has its own rate")
        if not Path(name).is_file() and name not in ARCH_MODEL_REGISTRY:
            near = ", ".join(difflib.get_close_matches(name, ARCH_MODEL_REGISTRY, n=4))
            hint = f"; did you mean {near}?" if near else ""
            parser.error(f"neither a checkpoint nor an architecture of fairseq: {name}{hint}")
        if not Path(name).is_file() and args.data:
            parser.error(f"--data is for checkpoints: the architecture {name} is not trained")
    return args


def main() -> None:
    args = arguments()
    logging.getLogger().setLevel(logging.WARNING)  # fairseq has set it to DEBUG
    warnings.simplefilter("ignore")  # of how fairseq uses hydra
    outlines: list[nn.Module] = []
    models: list[nn.Module] = []
    heads: list[set[str]] = []
    task = None
    for name in args.models:
        if not Path(name).is_file():
            outlines.append(architecture(name, args.rates))
            continue
        overrides = {"load_checkpoint_heads": True}
        if args.data:
            overrides["data"] = str(args.data)
        state = checkpoint_utils.load_checkpoint_to_cpu(name, overrides)
        cfg = convert_namespace_to_omegaconf(state["args"]) if state.get("args") else state["cfg"]
        parts = (key.split(".") for key in state["model"])
        heads.append({part[1] for part in parts if part[0] == "classification_heads"})
        outlines.append(outline(cfg.model, name, sorted(heads[-1])))
        if args.data:
            model, task = load_model(name, state, args.data, task)
            models.append(model)

    tables = {name: rows_of(model) for name, model in zip(args.models, outlines, strict=True)}
    if len(tables) == 2 and len(set(map(tuple, tables.values()))) == 1:
        tables = {" and ".join(tables): next(iter(tables.values()))}
    for title, rows in tables.items():
        print_table(title, rows)
        print()
    for name, model in zip(args.models, outlines, strict=True):
        try:
            print(f"{name}: {require_active_dropout(model.train())}")
        except UsageError:
            fail(
                f"{name} has no active dropout: all its passes are the same, and R-Drop could do "
                "nothing. Train with --dropout, --attention-dropout or --activation-dropout above 0"
            )

    effects, unit = [], ""
    if args.data:
        head = head_to_measure(task, models, heads)
        masked = isinstance(models[0], FairseqEncoderModel)
        unit = "sentence" if head else "masked token" if masked else "target token"
        samples = first_examples(task, models, args)
        if not head and any(sample.get("target") is None for sample in samples):
            fail(
                f"{args.split} in {args.data} has no target side, which the decoder is to be given"
            )
        pad = task.target_dictionary.pad()
        effects = [measure(model, samples, pad, head, args) for model in models]
        print_effects(effects, unit, args)
    if args.plot:
        draw(args.plot, tables, args.models, effects, unit)
        print(f"\ndrawn in {args.plot}")


if __name__ == "__main__":
    main()
