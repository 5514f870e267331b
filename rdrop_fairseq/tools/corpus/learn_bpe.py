"""Learn a byte-pair encoding of GPT-2's form, for a model that is trained from scratch.

    python scripts/corpus/learn_bpe.py --size 4000 --out DIR TEXT...

DIR gets encoder.json and vocab.bpe, as scripts/corpus/gpt2_bpe.py takes them. It is complete if it
exists: it is written under another name and renamed.
"""

import os

from text_files import argument_parser, command_line, existing_file, new_folder, writing_folder
from tokenizers import ByteLevelBPETokenizer


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("text", type=existing_file, nargs="+", help="files to learn from, UTF-8")
    parser.add_argument(
        "--size", type=int, required=True, help="number of pieces, 256 bytes included"
    )
    parser.add_argument("--out", type=new_folder, required=True, help="folder to write")
    args = parser.parse_args()

    if args.size < 256:
        parser.error(f"--size must be at least 256, one piece for each byte, got {args.size}")
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train([str(path) for path in args.text], vocab_size=args.size, show_progress=False)
    with writing_folder(args.out) as unfinished:
        try:
            vocabulary, merges = tokenizer.save_model(str(unfinished))
        except Exception as error:  # the library has no class for what the system refuses
            raise OSError(str(error)) from None
        os.rename(vocabulary, unfinished / "encoder.json")
        os.rename(merges, unfinished / "vocab.bpe")


if __name__ == "__main__":
    command_line(main)
