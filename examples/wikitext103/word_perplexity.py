"""The perplexity per word of a text, from what fairseq-eval-lm measured per token.

    python examples/wikitext103/word_perplexity.py --log eval.test.log --text wiki.test.tokens

A token is what the model predicts: a word, or a piece of one. The probability of the text
does not depend on how it is parted, so

    word perplexity = 2 ^ (bits per token * tokens / words)

where words are what white space separates and, as WikiText counts, each end of a line. If the
model's tokens are words, this is its token perplexity. Perplexities of models with different
<unk> are not comparable: an <unk> is easier to predict than the word it stands for.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from text_files import argument_parser, command_line, existing_file, write_json


def measured(log: str) -> tuple[int, float]:
    """Number of tokens and bits per token in fairseq-eval-lm's output."""
    tokens = re.search(r"Evaluated ([\d,]+) tokens", log)
    loss = re.search(r"Loss \(base 2\): ([\d.]+)", log)
    if not (tokens and loss):
        sys.exit(
            "word_perplexity: the log lacks fairseq-eval-lm's 'Evaluated ... tokens' or 'Loss'"
        )
    return int(tokens[1].replace(",", "")), float(loss[1])


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--log", type=existing_file, required=True, help="what fairseq-eval-lm printed"
    )
    parser.add_argument("--text", type=existing_file, required=True, help="the text in words")
    parser.add_argument("--json", type=Path, help="where to write the figures; default: nowhere")
    parser.add_argument(
        "--about", nargs="*", default=[], metavar="NAME=VALUE", help="what to note beside them"
    )
    args = parser.parse_args()

    tokens, bits = measured(args.log.read_text())
    with args.text.open(encoding="utf-8", newline="\n") as lines:
        words = sum(len(line.split()) + 1 for line in lines)
    report = {
        **dict(note.split("=", 1) for note in args.about),
        "tokens": tokens,
        "bits_per_token": bits,
        "token_perplexity": 2**bits,
        "words": words,
        "word_perplexity": 2 ** (bits * tokens / words),
    }
    print(
        "word perplexity {word_perplexity:.2f} ({words} words and line ends; "
        "{tokens} tokens of {bits_per_token:.4f} bits, perplexity {token_perplexity:.2f})".format(
            **report
        )
    )
    if args.json:
        write_json(args.json, report)


if __name__ == "__main__":
    command_line(main)
