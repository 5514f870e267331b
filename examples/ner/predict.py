"""Tag text with a trained checkpoint.

    echo "Peter Blackburn lives in Brussels." | \
        python examples/ner/predict.py DATA RUN --encoder DIR [FILE]

DATA and RUN are the folders that prepare.sh and train.sh made, --encoder is that of the checkpoint
that was fine-tuned. A sentence a line, from FILE or from standard input; words are made by
sacremoses' tokeniser, unless --tokenised. Prints a word a line with its tag and a blank line after
each sentence, or with --entities a line a sentence, TYPE: words.
"""

import logging
import sys
from contextlib import nullcontext
from pathlib import Path

from conll import write
from pieces import add_encoder, encoder
from sacremoses import MosesTokenizer
from seqeval.metrics.sequence_labeling import get_entities
from tagging import load, tags_of

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import InputError, argument_parser, command_line, existing_file, read_lines


def main() -> None:
    parser = argument_parser(__doc__)
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="folder that prepare.sh made")
    add("run", type=Path, metavar="RUN", help="folder that train.sh made")
    add("file", type=existing_file, nargs="?", metavar="FILE", help="default: standard input")
    add_encoder(parser)
    add("--tokenised", action="store_true", help="words are separated by spaces already")
    add("--language", default="en", help="for the tokeniser; default: en")
    add("--entities", action="store_true", help="print entities instead of words and tags")
    add("--cpu", action="store_true", help="do not use a GPU")
    args = parser.parse_intermixed_args()  # FILE may come after the options
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    logging.getLogger("rdrop_fairseq").setLevel(logging.WARNING)
    name = str(args.file or "standard input")
    with args.file.open("rb") if args.file else nullcontext(sys.stdin.buffer) as lines:
        given = list(read_lines(lines, name))
    to_pieces = encoder(args)
    if args.tokenised:
        sentences = [line.split() for line in given]
    else:
        moses = MosesTokenizer(args.language)
        sentences = [moses.tokenize(line, escape=False) for line in given]
    if (args.encoder / "dict.txt").read_bytes() != (args.data / "input0" / "dict.txt").read_bytes():
        raise InputError(
            f"{args.data} was made with another encoder than {args.encoder}: their dict.txt differ"
        )
    model, task = load(args.run / "checkpoint_best.pt", args.data, args.cpu)
    of_words = [[its or ["<unk>"] for its in pieces] for pieces in to_pieces(sentences)]
    tags, cut = tags_of(model, task, of_words, batch_size=32)
    if cut:
        print(f"note: {cut} words beyond {task.max_positions()} tokens get O", file=sys.stderr)
    if not args.entities:
        rows = [list(zip(*row, strict=True)) for row in zip(sentences, tags, strict=True)]
        print("\n".join(write(rows)))
        return
    for words, its_tags in zip(sentences, tags, strict=True):
        found = [
            f"{kind}: {' '.join(words[first : last + 1])}"
            for kind, first, last in get_entities(its_tags)
        ]
        print("; ".join(found))


if __name__ == "__main__":
    command_line(main)
