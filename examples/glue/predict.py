"""Predict a task's labels with a fine-tuned checkpoint, and score those that are known.

    python examples/glue/predict.py TASK DATA RUN

DATA is the data-bin that prepare.sh made, RUN the folder that train.sh made. The best checkpoint by
the metric on the dev set, RUN/checkpoint_best.pt, predicts the dev and test sets. RUN gets
scores.json, SPLIT.examples.tsv (a row, its label, the prediction, and what rdrop compare reads) for
the splits with labels, and for GLUE's test sets the files that https://gluebenchmark.com takes, in
submission/.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from fairseq import checkpoint_utils, utils
from glue_tasks import RATING_SCALE, TASKS
from metrics import METRICS
from numpy import ndarray

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.labels import label_names
from rdrop_fairseq.tools.command_line import command, existing_folder, parser, whole
from rdrop_fairseq.tools.files import write_json, write_lines
from rdrop_fairseq.tools.state import State


@command("predict.py")
def main(argv: Sequence[str] | None = None) -> None:
    of = parser(__doc__, "predict.py")
    of.add_argument("task", help="RTE, for example, or the name of your own data", metavar="TASK")
    of.add_argument("data", type=existing_folder, metavar="DATA")
    of.add_argument("run", type=existing_folder, metavar="RUN")
    of.add_argument("--batch-size", type=whole(1), default=32, help="default: 32")
    of.add_argument("--cpu", action="store_true", help="do not use a GPU")
    args = of.parse_args(argv)

    logging.getLogger("fairseq").setLevel(logging.WARNING)
    checkpoint = args.run / "checkpoint_best.pt"
    if not checkpoint.is_file():
        raise UsageError(f"{checkpoint} does not exist: run train.sh first")
    State(args.run).check_input(args.data)
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(checkpoint)], arg_overrides={"data": str(args.data)}
    )
    model.eval()
    if torch.cuda.is_available() and not args.cpu:
        model.cuda()
    regression = task.cfg.regression_target
    names = np.array(label_names(task.label_dictionary))
    metric = "Pearson and Spearman" if regression else "accuracy"
    score = METRICS[TASKS[args.task].metric if args.task in TASKS else metric]

    scores = {}
    for split in ("valid", "valid1", "test", "test1"):
        if not (args.data / "input0" / f"{split}.bin").is_file():
            continue
        predicted, target = predict(task, model, split, args.batch_size)
        if not regression:
            predicted, target = (
                names[predicted.argmax(1)],
                target if target is None else names[target],
            )
        if target is not None:
            scores[split] = score(predicted, target)
            print(f"{split}:", *(f"{name} {value:.2f}" for name, value in scores[split].items()))
            lines = examples(predicted, target, list(scores[split]))
            write_lines(args.run / f"{split}.examples.tsv", lines)
        elif args.task in TASKS:
            file = dict(zip(("test", "test1"), TASKS[args.task].submission, strict=False))[split]
            (args.run / "submission").mkdir(exist_ok=True)
            write_lines(args.run / "submission" / file, submission(predicted, regression))
    write_json(args.run / "scores.json", scores)


@torch.no_grad()
def predict(
    task: Any, model: torch.nn.Module, split: str, batch_size: int
) -> tuple[ndarray, ndarray | None]:
    """The head's outputs, [rows, classes] (of a regression, [rows]), and the targets, classes or
    numbers, if they are known; in the order of the file."""
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
    order = range(len(dataset))
    predicted = np.stack([outputs[row] for row in order])
    return (
        predicted[:, 0] if task.cfg.regression_target else predicted,
        np.stack([targets[row] for row in order]) if targets else None,
    )


def examples(predicted: ndarray, target: ndarray, names: list[str]) -> list[str]:
    """A line for each row with what it adds to those of the scores that are sums over rows."""
    columns = {"row": range(1, len(target) + 1), "label": target, "prediction": predicted}
    if "accuracy" in names:
        columns["accuracy"] = 100 * (predicted == target)
    if "F1" in names:
        columns |= {"F1 true": 1 * (target == "1"), "F1 predicted": 1 * (predicted == "1")}
        columns["F1 correct"] = columns["F1 true"] * columns["F1 predicted"]
    lines = zip(*columns.values(), strict=True)
    return ["\t".join(columns), *("\t".join(map(str, line)) for line in lines)]


def submission(predicted: ndarray, regression: bool) -> list[str]:
    """The lines of a file for GLUE's server; ratings back on GLUE's scale, 0 to 5."""
    cells = predicted.tolist()
    if regression:
        cells = [f"{rating:.3f}" for rating in np.clip(predicted * RATING_SCALE, 0, RATING_SCALE)]
    return ["index\tprediction", *(f"{index}\t{cell}" for index, cell in enumerate(cells))]


if __name__ == "__main__":
    main()
