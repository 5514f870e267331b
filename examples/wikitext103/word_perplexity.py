"""The perplexity per word of a text, from what fairseq-eval-lm measured per token.

    python examples/wikitext103/word_perplexity.py --log run.log
    python examples/wikitext103/word_perplexity.py --log run.log --pieces FILE --bpe-dir DIR

A token is what the model predicts: a word, or a piece of one. The probability of the text
does not depend on how it is parted, so

    word perplexity = 2 ^ (bits per token * tokens / words)

where words are what white space separates and, as WikiText counts, each end of a line. If the
model's tokens are words, this is its token perplexity. --pieces names the text in pieces, if they
are not. Perplexities of models with different <unk> are not comparable: an <unk> is easier to
predict than the word it stands for.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import command, existing_file, parser
from rdrop_fairseq.tools.corpus.gpt2_bpe import decode, find_bpe
from rdrop_fairseq.tools.files import write_json
from rdrop_fairseq.tools.text import whole_lines


def measured(log: str) -> tuple[int, float]:
    """Number of tokens and bits per token in fairseq-eval-lm's output, when it was last started."""
    tokens = re.findall(r"Evaluated ([\d,]+) tokens", log)
    losses = re.findall(r"Loss \(base 2\): ([\d.]+)", log)
    if not (tokens and losses):
        raise UsageError("the log lacks fairseq-eval-lm's 'Evaluated ... tokens' or 'Loss'")
    return int(tokens[-1].replace(",", "")), float(losses[-1])


@command("word_perplexity")
def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, "word_perplexity.py")
    add = options.add_argument
    add("--log", type=existing_file, required=True, help="what fairseq-eval-lm printed")
    add("--pieces", type=existing_file, help="the text in pieces, as the model was given it")
    add("--bpe-dir", type=Path, help="folder of their encoding")
    add("--json", type=Path, help="where to write the figures; default: nowhere")
    args = options.parse_args(argv)

    tokens, bits = measured(args.log.read_text())
    words = tokens
    if args.pieces:
        encoding = find_bpe(args.bpe_dir)
        lines = whole_lines(args.pieces)
        if tokens != sum(len(line.split()) + 1 for line in lines):
            raise UsageError(f"{args.log} is not of the text {args.pieces}: they differ in length")
        words = sum(len(decode(line, encoding).split()) + 1 for line in lines)
    scores = {"word_perplexity": 2 ** (bits * tokens / words), "bits_per_token": bits}
    print(
        f"word perplexity {scores['word_perplexity']:.2f} ({words} words and line ends; "
        f"{tokens} tokens of {bits:.4f} bits, perplexity {2**bits:.2f})"
    )
    if args.json:
        write_json(args.json, {**scores, "of": {"tokens": tokens, "words": words}})


if __name__ == "__main__":
    main()
