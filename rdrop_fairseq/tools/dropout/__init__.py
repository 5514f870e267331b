"""Show a model's dropout: where it is, at which rate, and what it does to the output.

    rdrop dropout roberta_base --pooler-dropout 0.1 --plot dropout.png
    rdrop dropout checkpoints/checkpoint_best.pt
    rdrop dropout baseline.pt rdrop.pt --data data-bin --split valid --plot kl.png

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
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ..command_line import command, existing_folder, number, output_png, parser, whole

if TYPE_CHECKING:
    from torch import nn

    from .effect import Effect
    from .outline import Row

RATES = ("dropout", "attention_dropout", "activation_dropout", "pooler_dropout")


def print_table(title: str, rows: "list[Row]") -> None:
    width = max([len(row.path) for row in rows], default=0)
    print(f"{title}\n{'module path':{width}}  place         rate   training  inference")
    for row in rows:
        active = ["active" if on else "-" for on in (row.in_training, row.at_inference)]
        cells = f"{row.path:{width}}  {row.place:12}  {row.rate:<5g}  {active[0]:8}  {active[1]}"
        print(cells)


def print_effects(effects: "list[Effect]", unit: str, args: argparse.Namespace) -> None:
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


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    cli = parser(__doc__, "rdrop dropout")
    add = cli.add_argument
    add("models", nargs="+", metavar="CHECKPOINT|ARCH", help="one, or two to compare")
    add("--data", type=existing_folder, help="made by fairseq-preprocess, to measure on")
    add("--split", default="valid", help="which part of it; default valid")
    blocks = "blocks of its --tokens-per-sample for a language model"
    help = f"its first examples ({blocks}); default 50"
    add("--sentences", type=whole(1), default=50, help=help)
    add("--passes", type=whole(2), default=4, help="dropout passes per example; default 4")
    add("--seed", type=int, default=1, help="seed of the dropout masks; default 1")
    add("--plot", type=output_png, help="PNG to draw it to; default: none")
    add(
        "--user-dir",
        type=existing_folder,
        help="package with models and tasks of your own, as for fairseq-train",
    )
    for name in RATES:
        flag = f"--{name.replace('_', '-')}"
        add(flag, type=number(0, 1), metavar="P", help="rate, for an ARCH; default: its own")
    args = cli.parse_args(argv)
    args.rates = {name: rate for name in RATES if (rate := getattr(args, name)) is not None}
    if len(args.models) > 2:
        cli.error(f"takes one model, or two to compare, got {len(args.models)}")
    for name in args.models:
        if Path(name).is_dir():
            cli.error(f"{name} is a folder: name a checkpoint in it")
        if Path(name).is_file() and args.rates:
            flag = next(iter(args.rates)).replace("_", "-")
            cli.error(f"--{flag} is for an ARCH: the checkpoint {name} has its own rate")
    return args


def require_known(args: argparse.Namespace) -> None:
    """Raise UsageError unless each name is that of a checkpoint or of an architecture."""
    from fairseq.models import ARCH_MODEL_REGISTRY

    for name in args.models:
        if Path(name).is_file():
            continue
        if name not in ARCH_MODEL_REGISTRY:
            near = ", ".join(difflib.get_close_matches(name, ARCH_MODEL_REGISTRY, n=4))
            hint = f"; did you mean {near}?" if near else ""
            raise UsageError(f"neither a checkpoint nor an architecture of fairseq: {name}{hint}")
        if args.data:
            raise UsageError(f"--data is for checkpoints: the architecture {name} is not trained")


@command("rdrop dropout")
def main(argv: Sequence[str] | None = None) -> None:
    args = arguments(argv)
    warnings.simplefilter("ignore")  # of how fairseq uses hydra
    from fairseq import checkpoint_utils, utils

    from ...dropout import require_active_dropout
    from .effect import effects_of
    from .outline import of_architecture, of_checkpoint, rows_of

    utils.import_user_module(args)
    require_known(args)
    outlines: list[nn.Module] = []
    states: list[dict[str, Any]] = []
    overrides = {"load_checkpoint_heads": True} | ({"data": str(args.data)} if args.data else {})
    for name in args.models:
        if Path(name).is_file():
            states.append(checkpoint_utils.load_checkpoint_to_cpu(name, overrides))
            outlines.append(of_checkpoint(name, states[-1]))
        else:
            outlines.append(of_architecture(name, args.rates))

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
            raise UsageError(
                f"{name} has no active dropout: all its passes are the same, and R-Drop could do "
                "nothing. Train with --dropout, --attention-dropout or --activation-dropout above 0"
            ) from None

    effects, unit = effects_of(args.models, states, args) if args.data else ([], "")
    if effects:
        print_effects(effects, unit, args)
    if args.plot:
        from .picture import draw  # matplotlib takes a second

        draw(args.plot, tables, args.models, effects, unit)
        print(f"\ndrawn in {args.plot}")
