"""Tag the dev and test sets with a trained checkpoint, and score the entities by seqeval.

    python examples/ner/score.py OUT RUN

OUT is the folder that prepare.sh made, RUN the one that train.sh made. RUN/checkpoint_best.pt, the
best by the F1 of the dev set, tags. RUN gets SPLIT.conll, a word a line with its true and its
predicted tag, as CoNLL's evaluation script reads it; SPLIT.examples.tsv, the entities of each
sentence, for rdrop compare; and scores.json: F1, precision and recall of entities, micro-averaged,
in percent; a perfect prediction has 100.
"""

import logging
import warnings
from collections.abc import Sequence

from conll import read, write
from seqeval.metrics import f1_score, precision_score, recall_score
from tagging import load, tags_of

from rdrop_fairseq.criterions.sequence_tagging import count_entities
from rdrop_fairseq.tools.command_line import command, existing_folder, parser, whole
from rdrop_fairseq.tools.files import write_json, write_lines
from rdrop_fairseq.tools.state import State
from rdrop_fairseq.tools.text import whole_lines


@command("score.py")
def main(argv: Sequence[str] | None = None) -> None:
    of = parser(__doc__, "score.py")
    of.add_argument("out", type=existing_folder, metavar="OUT")
    of.add_argument("run", type=existing_folder, metavar="RUN")
    of.add_argument("--batch-size", type=whole(1), default=32, help="default: 32")
    of.add_argument("--cpu", action="store_true", help="do not use a GPU")
    args = of.parse_args(argv)
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    logging.getLogger("rdrop_fairseq").setLevel(logging.WARNING)
    data = args.out / "data-bin"
    State(args.run).check_input(data)
    model, task = load(args.run / "checkpoint_best.pt", data, args.cpu)
    all_scores = {}
    for split in ("valid", "test"):
        pieces = args.out / "pieces" / f"{split}.input0"
        if not pieces.is_file():
            continue
        rows = zip(whole_lines(pieces), whole_lines(pieces.with_suffix(".label")), strict=True)
        predicted, cut = tags_of(model, task, [words_of(*row) for row in rows], args.batch_size)
        if cut:
            print(
                f"{split}: {cut} words at the ends of sentences with more than "
                f"{task.max_positions()} tokens were not tagged and count as O"
            )
        both = [
            [(word.text, word.tag, tag) for word, tag in zip(*row, strict=True)]
            for row in zip(read(args.out / "conll" / f"{split}.conll"), predicted, strict=True)
        ]
        write_lines(args.run / f"{split}.conll", write(both))
        true = [[row[1] for row in sentence] for sentence in both]
        write_lines(args.run / f"{split}.examples.tsv", examples(true, predicted))
        all_scores[split] = scores(true, predicted)
        print(f"{split}:", *(f"{name} {score:.2f}" for name, score in all_scores[split].items()))
    write_json(args.run / "scores.json", all_scores)


def words_of(pieces: str, labels: str) -> list[list[str]]:
    """The pieces of each word of a sentence."""
    words: list[list[str]] = []
    for piece, label in zip(pieces.split(), labels.split(), strict=True):
        if label != "<pad>":
            words.append([])
        words[-1].append(piece)
    return words


def examples(true: list[list[str]], predicted: list[list[str]]) -> list[str]:
    """A line for each sentence: its true, predicted and correct entities."""
    lines = ["sentence\tF1 true\tF1 predicted\tF1 correct"]
    for number, row in enumerate(zip(true, predicted, strict=True), 1):
        lines.append("\t".join(map(str, (number, *count_entities(*([tags] for tags in row))))))
    return lines


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
    main()
