"""R-Drop without fairseq: a two-layer MLP on the handwritten digits of scikit-learn.

    python examples/digits_mlp/train.py --plot digits.png

Trains the same network without dropout, with dropout and with R-Drop, over several seeds,
prints train and test accuracy (mean and standard deviation over the seeds) and draws the
learning curves. "two passes" is R-Drop with alpha 0: what the second dropout mask alone
brings. A seed draws the images to train on (all others are the test set), the parameters,
the order of the batches and the dropout masks; the methods share the first three.
"""

import argparse
import logging
import statistics
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rdrop_fairseq.loss import rdrop_loss
from rdrop_fairseq.tools.command_line import command, number, output_png, parser, whole
from rdrop_fairseq.tools.files import writing

IMAGES = 1797  # of 8 x 8 pixels, ten classes
WIDTH, BATCH, LEARNING_RATE = 256, 64, 3e-3
EVALUATE_EVERY = 5  # epochs
METHODS = ("no dropout", "dropout", "two passes", "R-Drop")


class Point(NamedTuple):
    """The full model (no dropout) after an epoch: cross-entropy in nats, accuracy in percent."""

    epoch: int
    train_loss: float
    test_loss: float
    train_accuracy: float
    test_accuracy: float


def mlp(dropout: float) -> nn.Module:
    return nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), nn.Dropout(dropout), nn.Linear(WIDTH, 10))


def training_loss(model: nn.Module, x: Tensor, y: Tensor, alpha: float | None) -> Tensor:
    """Cross-entropy or, given alpha, R-Drop's loss. x: [B, 64], y: [B]"""
    if alpha is None:
        return cross_entropy(model(x), y)
    logits = model(torch.cat([x, x]))  # [2 * B, 10]: two passes, two dropout masks
    return rdrop_loss(logits, y, alpha=alpha, reduction="mean").objective


def train(
    method: str, images: Tensor, labels: Tensor, seed: int, args: argparse.Namespace
) -> list[Point]:
    """Train one network, evaluated on the way and at the end. images: [1797, 64]"""
    split = train_test_split(
        *(images, labels), train_size=args.train, stratify=labels, random_state=seed
    )
    x_train, x_test, y_train, y_test = split
    torch.manual_seed(seed)
    model = mlp(0.0 if method == "no dropout" else args.dropout)
    alpha = {"two passes": 0.0, "R-Drop": args.alpha}.get(method)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    order = torch.Generator().manual_seed(seed)  # of its own: dropout must not change it
    history = []
    for epoch in range(1, args.epochs + 1):
        model.train()
        for batch in torch.randperm(len(x_train), generator=order).split(BATCH):
            optimizer.zero_grad()
            training_loss(model, x_train[batch], y_train[batch], alpha).backward()
            optimizer.step()
        if epoch % EVALUATE_EVERY and epoch < args.epochs:
            continue
        model.eval()
        with torch.no_grad():
            results = [(model(x), y) for x, y in ((x_train, y_train), (x_test, y_test))]
        losses = [cross_entropy(logits, y).item() for logits, y in results]
        accuracies = [100 * (logits.argmax(-1) == y).float().mean().item() for logits, y in results]
        history.append(Point(epoch, *losses, *accuracies))
    return history


def mean_and_deviation(values: list[float]) -> str:
    """With the sample standard deviation (n - 1 in the denominator)."""
    return f"{statistics.mean(values):.2f} +- {statistics.stdev(values):.2f}"


def draw(histories: dict[str, list[list[Point]]], args: argparse.Namespace) -> None:
    """The learning curves: means over the seeds, one standard deviation around the test's."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    axes = figure.subplots(1, 2)
    columns = ((1, 2, "cross-entropy (nats)", "log"), (3, 4, "accuracy (%)", "linear"))
    for axis, (train_column, test_column, label, scale) in zip(axes, columns, strict=True):
        for color, (method, runs) in zip(("C7", "C0", "C2", "C1"), histories.items(), strict=True):
            curves = numpy.array(runs)  # [seeds, epochs, 5]
            epochs = curves[0, :, 0]
            mean, deviation = curves.mean(0), curves.std(0, ddof=1)[:, test_column]
            test = mean[:, test_column]
            axis.plot(epochs, test, color=color, label=f"{method}, test")
            axis.plot(epochs, mean[:, train_column], "--", color=color, label=f"{method}, train")
            axis.fill_between(epochs, test - deviation, test + deviation, color=color, alpha=0.15)
        axis.set(xlabel="epoch", ylabel=label, yscale=scale, title=label.split(" (")[0])
        axis.grid(alpha=0.3)
    axes[1].set_ylim(bottom=90)
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(
        f"Two-layer MLP, {args.train} digits to train on: mean over {args.seeds} seeds, "
        "bands: one standard deviation"
    )
    with writing(args.plot) as (file,):
        figure.savefig(file, format="png", dpi=150)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    options = parser(__doc__, "train.py")
    add = options.add_argument
    add("--alpha", type=number(0), default=1.0, help="weight of R-Drop's KL term; default 1")
    add("--dropout", type=float, default=0.5, help="rate after the hidden layer; default 0.5")
    add("--train", type=int, default=400, help="images to train on, 10 to 1787; default 400")
    add("--epochs", type=whole(1), default=150, help="times these are gone through; default 150")
    add("--seeds", type=whole(2), default=5, help="seeds 1 to this number; default 5")
    add("--plot", type=output_png, help="PNG to write the learning curves to; default: none")
    args = options.parse_args(argv)
    most = IMAGES - 10  # one image of each class, at least, on either side
    if not 0 < args.dropout < 1:
        options.error(f"--dropout must be above 0 and below 1, got {args.dropout}")
    if not 10 <= args.train <= most:
        options.error(f"--train must be 10 to {most} of the {IMAGES} images, got {args.train}")
    return args


@command("train")
def main(argv: Sequence[str] | None = None) -> None:
    args = arguments(argv)
    logging.getLogger().setLevel(logging.WARNING)  # fairseq, if installed, has set it to DEBUG
    torch.set_num_threads(1)  # the matrices are too small to share
    start = time.perf_counter()
    images, labels = load_digits(return_X_y=True)
    tensors = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    print(f"{args.train} images to train on, {IMAGES - args.train} to test on, ", end="")
    print(f"dropout {args.dropout:g}, alpha {args.alpha:g}, ", end="")
    print(f"{args.epochs} epochs, seeds 1 to {args.seeds}\n")
    print(f"{'method':12} {'train accuracy (%)':>18} {'test accuracy (%)':>18}")
    histories: dict[str, list[list[Point]]] = {}
    for method in METHODS:
        seeds = range(1, args.seeds + 1)
        histories[method] = [train(method, *tensors, seed, args) for seed in seeds]
        last = [run[-1] for run in histories[method]]
        on_train = mean_and_deviation([point.train_accuracy for point in last])
        on_test = mean_and_deviation([point.test_accuracy for point in last])
        print(f"{method:12} {on_train:>18} {on_test:>18}", flush=True)
    print("\ndifference in test accuracy with the same seed (points)")
    for one, other in (("dropout", "no dropout"), ("R-Drop", "dropout"), ("R-Drop", "two passes")):
        pairs = zip(histories[one], histories[other], strict=True)
        gains = [a[-1].test_accuracy - b[-1].test_accuracy for a, b in pairs]
        each = " ".join(f"{gain:+.2f}" for gain in gains)
        print(f"{f'{one} - {other}':20} {mean_and_deviation(gains):>14}   each seed: {each}")
    if args.plot:
        draw(histories, args)
        print(f"\nlearning curves in {args.plot}")
    print(f"\n{time.perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
