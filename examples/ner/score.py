"""Tag the dev and test sets with a trained checkpoint, and score the entities by seqeval.

    python examples/ner/score.py DATA RUN

RUN/checkpoint_best.pt (by the F1 of the dev set) tags. RUN gets SPLIT.conll, a word a line with
its true and its predicted tag, as CoNLL's evaluation script reads it, and scores.json: F1,
precision and recall of entities, micro-averaged, in percent; a perfect prediction has 100.
"""

import logging
import sys
import warnings
from pathlib import Path

from conll import read, write
from seqeval.metrics import f1_score, precision_score, recall_score
from tagging import load, tags_of

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import argument_parser, command_line, whole_lines, write_json, write_lines


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("data", type=Path, metavar="DATA", help="folder that prepare.sh made")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder that train.sh made")
    parser.add_argument("--batch-size", type=int, default=32, help="default: 32")
    parser.add_argument("--cpu", choices=["0", "1"], default="0", help="1: no GPU; default: 0")
    args = parser.parse_args()
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    logging.getLogger("rdrop_fairseq").setLevel(logging.WARNING)
    model, task = load(args.run / "checkpoint_best.pt", args.data, args.cpu == "1")
    all_scores = {}
    for split in ("valid", "test"):
        text = args.data / "text"
        if not (text / f"{split}.input0").is_file():
            continue
        pieces = whole_lines(text / f"{split}.input0", f"{split} pieces")
        labels = whole_lines(text / f"{split}.label", f"{split} labels")
        sentences = [words_of(*row) for row in zip(pieces, labels, strict=True)]
        predicted, cut = tags_of(model, task, sentences, args.batch_size)
        if cut:
            print(
                f"{split}: {cut} words at the ends of sentences with more than "
                f"{task.max_positions()} tokens were not tagged and count as O"
            )
        both = [
            [(word.text, word.tag, tag) for word, tag in zip(*row, strict=True)]
            for row in zip(read(text / f"{split}.conll"), predicted, strict=True)
        ]
        write_lines(args.run / f"{split}.conll", write(both))
        true = [[row[1] for row in sentence] for sentence in both]
        all_scores[split] = scores(true, predicted)
    write_json(args.run / "scores.json", all_scores)


def words_of(pieces: str, labels: str) -> list[list[str]]:
    """The pieces of each word of a sentence."""
    words: list[list[str]] = []
    for piece, label in zip(pieces.split(), labels.split(), strict=True):
        if label != "<pad>":
            words.append([])
        words[-1].append(piece)
    return words


def scores(true: list[list[str]], predicted: list[list[str]]) -> dict[str, float]:
    """F1, precision and recall of entities in percent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where nothing is predicted they are 0
        return {
            name: 100 * float(score(true, predicted))
            for name, score in (
                ("F1", f1_score),
                ("precision", precision_score),
                ("recall", recall_score),
            )
        }


if __name__ == "__main__":
    command_line(main)
