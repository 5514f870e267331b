"""Predict a task's labels with a fine-tuned checkpoint, and score those that are known.

    python examples/glue/predict.py TASK DATA RUN

RUN/checkpoint_best.pt (by the metric on the dev set) predicts the dev and test sets. RUN gets
scores.json, SPLIT.predictions.tsv (prediction and true label) for the splits with labels, and
for GLUE's test sets the files that https://gluebenchmark.com takes, in submission/.
"""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq import checkpoint_utils, utils
from glue_tasks import RATING_SCALE, TASKS
from metrics import METRICS
from numpy import ndarray

import rdrop_fairseq  # noqa: F401  (loads checkpoints, registers --arch bert)
from rdrop_fairseq.errors import UsageError

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import command_line, write_json, write_lines  # scripts/corpus/text_files.py


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", help="RTE, for example, or the name of your own data")
    parser.add_argument("data", type=Path, help="folder that prepare.sh made")
    parser.add_argument("run", type=Path, help="folder that train.sh made")
    parser.add_argument("--batch-size", type=int, default=32, help="default: 32")
    parser.add_argument("--cpu", choices=["0", "1"], default="0", help="1: no GPU; default: 0")
    args = parser.parse_args()

    logging.getLogger("fairseq").setLevel(logging.WARNING)
    checkpoint = args.run / "checkpoint_best.pt"
    if not checkpoint.is_file():
        raise UsageError(f"{checkpoint} does not exist: run train.sh first")
    info = json.loads((args.data / "info.json").read_text())
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(checkpoint)], arg_overrides={"data": str(args.data)}
    )
    model.eval()
    if torch.cuda.is_available() and args.cpu == "0":
        model.cuda()
    regression = info["labels"] is None
    metric = "Pearson and Spearman" if regression else "accuracy"
    score = METRICS[TASKS[args.task].metric if args.task in TASKS else metric]

    scores = {}
    for split in [split for split in info["rows"] if split != "train"]:
        outputs, targets = predict(task, model, split, args.batch_size)
        if len(outputs) != info["rows"][split]:
            raise UsageError(
                f"{split}: {len(outputs)} predictions for {info['rows'][split]} rows: "
                f"{args.data} and {checkpoint} do not belong together"
            )
        if regression:
            predicted = outputs[:, 0]
        else:
            labels = _labels(task)
            predicted = np.array([labels[index] for index in outputs.argmax(1)])
            targets = None if targets is None else np.array([labels[index] for index in targets])
        if targets is not None:
            scores[split] = score(*map(_numbers, (predicted, targets)))
            lines = [f"{p}\t{t}" for p, t in zip(predicted, targets, strict=True)]
            write_lines(args.run / f"{split}.predictions.tsv", ["prediction\tlabel", *lines])
        elif args.task in TASKS:
            names = dict(zip(("test", "test1"), TASKS[args.task].submission, strict=False))
            (args.run / "submission").mkdir(exist_ok=True)
            lines = submission(predicted, regression)
            write_lines(args.run / "submission" / names[split], lines)
    write_json(args.run / "scores.json", scores)


@torch.no_grad()
def predict(
    task: Any, model: torch.nn.Module, split: str, batch_size: int
) -> tuple[ndarray, ndarray | None]:
    """The head's outputs, [rows, classes], and the targets if known, in the order of the file."""
    dataset = task.load_dataset(split)
    batches = task.get_batch_iterator(
        dataset, max_sentences=batch_size, max_positions=task.max_positions()
    ).next_epoch_itr(shuffle=False)
    outputs, targets = {}, {}
    for sample in batches:
        if next(model.parameters()).is_cuda:
            sample = utils.move_to_cuda(sample)
        logits, _ = model(
            **sample["net_input"],
            features_only=True,
            classification_head_name=task.cfg.classification_head_name,
        )
        rows = sample["id"].tolist()
        outputs |= zip(rows, logits.float().cpu().numpy(), strict=True)
        if "target" in sample:
            targets |= zip(rows, sample["target"].view(-1).cpu().numpy(), strict=True)
    order = sorted(outputs)
    return (
        np.stack([outputs[row] for row in order]),
        np.stack([targets[row] for row in order]) if targets else None,
    )


def submission(predicted: ndarray, regression: bool) -> list[str]:
    """The lines of a file for GLUE's server; ratings back on GLUE's scale, 0 to 5."""
    if regression:
        cells = [f"{rating:.3f}" for rating in np.clip(predicted * RATING_SCALE, 0, RATING_SCALE)]
    else:
        cells = list(predicted)
    return ["index\tprediction", *(f"{index}\t{cell}" for index, cell in enumerate(cells))]


def _labels(task: Any) -> list[str]:
    labels = task.label_dictionary
    return labels.symbols[labels.nspecial :]


def _numbers(values: ndarray) -> ndarray:
    """``values`` with "0" and "1" as numbers, which F1 and correlations need."""
    try:
        return values.astype(np.float64)
    except ValueError:
        return values


if __name__ == "__main__":
    command_line(main)
