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
import sys
import warnings
from pathlib import Path
from typing import Any

from fairseq import checkpoint_utils, utils
from fairseq.models import ARCH_MODEL_REGISTRY
from torch import nn

import rdrop_fairseq  # noqa: F401  (lets torch load fairseq's checkpoints)
from rdrop_fairseq.dropout import require_active_dropout
from rdrop_fairseq.errors import UsageError

sys.path.insert(0, str(Path(__file__).parent / "corpus"))
sys.path.insert(0, str(Path(__file__).parent))
from dropout.effect import Effect, effects_of
from dropout.outline import Row, of_architecture, of_checkpoint, rows_of
from text_files import InputError, argument_parser, command_line

RATES = ("dropout", "attention_dropout", "activation_dropout", "pooler_dropout")


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


def arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
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
            raise InputError(
                f"{name} has no active dropout: all its passes are the same, and R-Drop could do "
                "nothing. Train with --dropout, --attention-dropout or --activation-dropout above 0"
            ) from None

    effects, unit = effects_of(args.models, states, args) if args.data else ([], "")
    if effects:
        print_effects(effects, unit, args)
    if args.plot:
        from dropout.picture import draw  # matplotlib takes a second

        draw(args.plot, tables, args.models, effects, unit)
        print(f"\ndrawn in {args.plot}")


if __name__ == "__main__":
    command_line(main)
