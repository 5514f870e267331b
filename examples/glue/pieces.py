"""Encode the sentences of a task with an encoder's own pieces.

    python examples/glue/pieces.py TEXT --encoder DIR [--bpe-dir BPE] --out PIECES

TEXT is what rows.py has written. PIECES, which must be new, gets each of its SPLIT.inputN in
pieces, separated by spaces. No special tokens are added and nothing is cut off: fairseq's task does
both, and what it will cut off is counted here.
"""

import os
from collections.abc import Sequence
from itertools import islice

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import command, existing_folder, new_folder, parser, whole
from rdrop_fairseq.tools.files import write_lines, writing_folder
from rdrop_fairseq.tools.pieces import add_encoder, has_wordpieces, of_texts
from rdrop_fairseq.tools.text import whole_lines


@command("pieces.py")
def main(argv: Sequence[str] | None = None) -> None:
    of = parser(__doc__, "pieces.py")
    of.add_argument("text", type=existing_folder, metavar="TEXT")
    add_encoder(of)
    of.add_argument("--out", type=new_folder, required=True, metavar="PIECES")
    of.add_argument("--workers", type=whole(1), default=os.cpu_count(), help="default: all CPUs")
    of.add_argument("--max-positions", type=whole(1), default=512, help="to count; default: 512")
    args = of.parse_args(argv)
    files = sorted(args.text.glob("*.input?"))
    if not files:
        raise UsageError(f"{args.text} holds no SPLIT.input0: give what rows.py has written")
    texts = {file.name: whole_lines(file) for file in files}
    # all in one go: to load the encoder takes longer than to encode a small file
    lines = (line for text in texts.values() for line in text)
    encoded = iter(of_texts(args, lines, args.workers))
    pieces = {name: list(islice(encoded, len(text))) for name, text in texts.items()}
    with writing_folder(args.out) as folder:
        for name, rows in pieces.items():
            write_lines(folder / name, rows)
    for name, rows in pieces.items():
        split, _, field = name.partition(".")
        if field == "input0":
            second = pieces.get(f"{split}.input1")
            special = 2  # <s> and </s>, between two sentences [SEP], or of RoBERTa </s></s>
            if second is not None:
                rows = [" ".join(pair) for pair in zip(rows, second, strict=True)]
                special = 3 if has_wordpieces(args.encoder) else 4
            long = sum(len(row.split()) + special > args.max_positions for row in rows)
            print(
                f"{split}: {long} of {len(rows)} examples have more than {args.max_positions} "
                "tokens; train.sh cuts them off"
            )


if __name__ == "__main__":
    main()
