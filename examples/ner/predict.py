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
from collections.abc import Sequence
from contextlib import nullcontext

from conll import write
from pieces import UNKNOWN
from sacremoses import MosesTokenizer
from seqeval.metrics.sequence_labeling import get_entities
from tagging import load, tags_of

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import (
    command,
    existing_file,
    existing_folder,
    moses_language,
    parser,
)
from rdrop_fairseq.tools.pieces import add_encoder, of_words
from rdrop_fairseq.tools.text import read_lines


@command("predict.py")
def main(argv: Sequence[str] | None = None) -> None:
    of = parser(__doc__, "predict.py")
    add = of.add_argument
    add("data", type=existing_folder, metavar="DATA", help="data-bin that prepare.sh made")
    add("run", type=existing_folder, metavar="RUN", help="folder that train.sh made")
    add("file", type=existing_file, nargs="?", metavar="FILE", help="default: standard input")
    add_encoder(of)
    add("--tokenised", action="store_true", help="words are separated by spaces already")
    add("--language", type=moses_language, default="en", help="for the tokeniser; default: en")
    add("--entities", action="store_true", help="print entities instead of words and tags")
    add("--cpu", action="store_true", help="do not use a GPU")
    args = of.parse_intermixed_args(argv)  # FILE may come after the options
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    logging.getLogger("rdrop_fairseq").setLevel(logging.WARNING)
    name = str(args.file or "standard input")
    with args.file.open("rb") if args.file else nullcontext(sys.stdin.buffer) as lines:
        given = list(read_lines(lines, name))
    to_pieces = of_words(args)
    if args.tokenised:
        sentences = [line.split() for line in given]
    else:
        moses = MosesTokenizer(args.language)
        sentences = [moses.tokenize(line, escape=False) for line in given]
    if (args.encoder / "dict.txt").read_bytes() != (args.data / "input0" / "dict.txt").read_bytes():
        raise UsageError(
            f"{args.data} was made with another encoder than {args.encoder}: their dict.txt differ"
        )
    model, task = load(args.run / "checkpoint_best.pt", args.data, args.cpu)
    filled = [[its or [UNKNOWN] for its in pieces] for pieces in to_pieces(sentences)]
    tags, cut = tags_of(model, task, filled, batch_size=32)
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
    main()
