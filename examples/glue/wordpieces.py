"""Encode text with the tokenizer.json of a Hugging Face model, one text a line.

    python examples/glue/wordpieces.py TOKENIZER_JSON INPUT OUTPUT

No special tokens are added and nothing is cut off: fairseq's task does both. OUTPUT has the
pieces, separated by spaces; it is written under another name and renamed.
"""

import argparse
import os
from pathlib import Path

from tokenizers import Tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tokenizer_json", type=Path, metavar="TOKENIZER_JSON")
    parser.add_argument("source", type=Path, metavar="INPUT")
    parser.add_argument("target", type=Path, metavar="OUTPUT")
    args = parser.parse_args()
    source, target = args.source, args.target
    tokenizer = Tokenizer.from_file(str(args.tokenizer_json))
    tokenizer.no_truncation()  # some models' files ask for both
    tokenizer.no_padding()
    lines = source.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    encoded = tokenizer.encode_batch(lines, add_special_tokens=False)
    unfinished = target.with_name(target.name + ".tmp")
    unfinished.write_text(
        "".join(" ".join(line.tokens) + "\n" for line in encoded), encoding="utf-8"
    )
    os.replace(unfinished, target)


if __name__ == "__main__":
    main()
