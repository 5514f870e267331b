"""Classify the test images with a trained model, and score it.

    python examples/vit/evaluate.py --data data.json RUN

Writes to RUN scores.json, accuracy in percent with its 95% interval by bootstrap over the images
(scipy, percentiles of 2,000 resamples) and cross-entropy in nats, and examples.tsv: for each image
its name, the numbers of its class and of the predicted one, and its part of the two scores. One
plain pass, without dropout. A model that predicts every class has 100%, from 100 to 100.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy
import torch
from images import Images, open_split, read_data
from scipy.stats import bootstrap
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import rdrop_fairseq.trainer  # noqa: F401  (before transformers)
from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import command, parser, whole
from rdrop_fairseq.tools.files import write_json, write_lines

# isort: split
from transformers import ViTForImageClassification, ViTImageProcessorPil, logging


@command("evaluate")
def main(argv: Sequence[str] | None = None) -> None:
    cli = parser(__doc__, "evaluate.py")
    cli.add_argument("run", type=Path, help="what train.py was given as output_dir")
    cli.add_argument("--data", type=Path, required=True, help="what images.py has written")
    cli.add_argument("--batch-size", type=whole(1), default=64, help="images at once; default 64")
    cli.add_argument("--workers", type=whole(0), default=0, help="processes that load; default 0")
    args = cli.parse_args(argv)
    data, folder = read_data(args.data), args.run / "model"
    if not folder.is_dir():
        raise UsageError(f"{args.run} holds no model: run train.sh first")
    if read_data(folder / "data.json") != data:
        raise UsageError(
            f"{args.run} was trained with other images than {args.data} names now: remove it, or "
            "prepare its images again"
        )
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = ViTForImageClassification.from_pretrained(folder)
    processor = ViTImageProcessorPil.from_pretrained(folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.eval().to(device)
    examples = open_split(data, data["test_split"])
    images = Images(
        examples, lambda image: processor(images=image, return_tensors="pt")["pixel_values"][0]
    )
    batches = DataLoader(images, batch_size=args.batch_size, num_workers=args.workers)
    with torch.inference_mode():
        found = [model(batch["pixel_values"].to(device)).logits.float().cpu() for batch in batches]
    logits, labels = torch.cat(found), torch.tensor(examples.labels)
    predicted = logits.argmax(-1)
    accuracy = 100 * predicted.eq(labels).double().numpy()
    losses = cross_entropy(logits, labels, reduction="none")
    low, high = bootstrap(
        (accuracy,),
        numpy.mean,
        n_resamples=2000,
        batch=100,
        method="percentile",  # a set without a mistake has no other kind of interval
        rng=1,
    ).confidence_interval
    scores = {
        "set": {"split": data["test_split"], "images": len(accuracy)},
        "accuracy": {"score": float(accuracy.mean()), "low": float(low), "high": float(high)},
        "cross-entropy": losses.double().mean().item(),
    }
    columns = (examples.names, labels.tolist(), predicted.tolist(), accuracy, losses.tolist())
    rows = ["\t".join(map(str, row)) for row in zip(*columns, strict=True)]
    head = "image\tlabel\tpredicted\taccuracy\tcross-entropy"
    write_lines(args.run / "examples.tsv", [head, *rows])
    write_json(args.run / "scores.json", scores)
    print(f"{args.run}: accuracy {accuracy.mean():.2f} [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main()
