"""Encode text with the tokenizer.json of a Hugging Face model, one text a line.

    python examples/glue/wordpieces.py TOKENIZER_JSON INPUT OUTPUT

No special tokens are added and nothing is cut off: fairseq's task does both. OUTPUT has the
pieces, separated by spaces; it is written under another name and renamed.
"""

import os
import sys
from pathlib import Path

from tokenizers import Tokenizer


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    tokenizer_json, source, target = map(Path, sys.argv[1:])
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
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
