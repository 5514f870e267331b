"""Classify the test images with a trained model, and score it.

    python examples/vit/evaluate.py --data data.json RUN

Writes to RUN predictions.tsv, a line for each image (its name, its class, the predicted one, their
numbers), and scores.json: accuracy in percent with its 95 % interval by bootstrap over
the images (scipy, percentiles of 2,000 resamples), and cross-entropy in nats. One plain pass,
without dropout. A model that predicts every class has 100 %, with an interval from 100 to 100.
"""

import sys
from pathlib import Path

import rdrop_trainer  # noqa: F401  (before transformers)
import torch
from images import Images, open_split, read_data
from results import interval
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from transformers import ViTForImageClassification, ViTImageProcessorPil, logging

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import InputError, argument_parser, command_line, write_json, write_lines


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("run", type=Path, help="what train.py was given as output_dir")
    parser.add_argument("--data", type=Path, required=True, help="what images.py has written")
    parser.add_argument("--batch-size", type=int, default=64, help="images at once; default 64")
    parser.add_argument("--workers", type=int, default=0, help="processes that load; default 0")
    args = parser.parse_args()
    data = read_data(args.data)
    if not (args.run / "model").is_dir():
        raise InputError(f"{args.run} holds no model: run train.sh first")
    model = ViTForImageClassification.from_pretrained(args.run / "model")
    processor = ViTImageProcessorPil.from_pretrained(args.run / "model")
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
    correct = predicted.eq(labels).numpy()
    low, high = interval(correct)
    scores = {
        **{"split": data["test_split"], "images": len(correct)},
        **{"accuracy": 100 * float(correct.mean()), "low": low, "high": high},
        "cross_entropy": cross_entropy(logits, labels).item(),
    }
    rows = zip(examples.names, labels.tolist(), predicted.tolist(), strict=True)
    lines = [f"{name}\t{label}\t{guess}" for name, label, guess in rows]
    write_lines(args.run / "predictions.tsv", ["image\tlabel\tpredicted", *lines])
    write_json(args.run / "scores.json", scores)
    print(f"{args.run}: accuracy {scores['accuracy']:.2f} [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    command_line(main)
