"""Learn a byte-pair encoding of GPT-2's form, for a model that is trained from scratch.

    rdrop corpus learn_bpe --size 4000 --out DIR TEXT...

DIR gets encoder.json and vocab.bpe, as rdrop corpus gpt2_bpe takes them, unless they are there and
were made with the same.
"""

import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from tokenizers import ByteLevelBPETokenizer

from ..command_line import command, existing_file, parser, whole
from ..made import RECORD, is_made, made_with, making_folder
from ..text import raw_lines


@command("rdrop corpus learn_bpe")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "rdrop corpus learn_bpe")
    options.add_argument("text", type=existing_file, nargs="+", help="files to learn from, UTF-8")
    options.add_argument(
        "--size", type=whole(256), required=True, help="number of pieces, 256 bytes included"
    )
    options.add_argument("--out", type=Path, required=True, help="folder to write")
    args = options.parse_args(argv)

    made = made_with(args, args.text)
    if is_made(made, args.out / RECORD, args.out):
        return
    tokenizer = ByteLevelBPETokenizer()
    lines = chain.from_iterable(map(raw_lines, args.text))
    tokenizer.train_from_iterator(lines, vocab_size=args.size, show_progress=False)
    with making_folder(args.out, made) as unfinished:
        try:
            vocabulary, merges = tokenizer.save_model(str(unfinished))
        except Exception as error:  # the library has no class for what the system refuses
            raise OSError(str(error)) from None
        os.rename(vocabulary, unfinished / "encoder.json")
        os.rename(merges, unfinished / "vocab.bpe")


if __name__ == "__main__":
    main()
