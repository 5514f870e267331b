"""Encode text with the tokenizer.json of a Hugging Face model, one text a line.

    python examples/glue/wordpieces.py TOKENIZER_JSON INPUT OUTPUT

No special tokens are added and nothing is cut off: fairseq's task does both. OUTPUT has the
pieces, separated by spaces; it is written under another name and renamed.
"""

import sys
from pathlib import Path

from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import argument_parser, command_line, whole_lines, write_lines


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("tokenizer_json", type=Path, metavar="TOKENIZER_JSON")
    parser.add_argument("source", type=Path, metavar="INPUT")
    parser.add_argument("target", type=Path, metavar="OUTPUT")
    args = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(args.tokenizer_json))
    tokenizer.no_truncation()  # some models' files ask for both
    tokenizer.no_padding()
    lines = whole_lines(args.source, "input")
    encoded = tokenizer.encode_batch(lines, add_special_tokens=False)
    write_lines(args.target, (" ".join(line.tokens) for line in encoded))


if __name__ == "__main__":
    command_line(main)
