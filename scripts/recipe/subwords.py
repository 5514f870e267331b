"""Say how a model's symbols become text: the value of fairseq-generate's --post-process.

    python scripts/recipe/subwords.py DATA/dict.en.txt
    python scripts/recipe/subwords.py DATA/dict.en.txt --set subword_nmt
    python scripts/recipe/subwords.py --join subword_nmt test.pieces.en

Prints what the symbols of the dictionary show: sentencepiece if they hold its U+2581,
subword_nmt if they end in its @@, none for whole words. With --set, prints that value, unless
it would make something else than text of these symbols. With --join, prints the text of a file
of symbols, as fairseq-generate would.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "corpus"))
from text_files import InputError, argument_parser, command_line, whole_lines

#: how each value of --post-process finds the ends of words, as a symbol shows it
MARKS = {
    "sentencepiece": ("the mark of a word's beginning, U+2581", lambda s: "\u2581" in s),
    "subword_nmt": ("@@ at their end", lambda s: s.endswith("@@")),
    "wordpiece": ("an underscore", lambda s: "_" in s),
    "letter": ("the mark of a word's end, |", lambda s: "|" in s),
    "_EOW": ("_EOW", lambda s: "_EOW" in s),
}
SHOWN = ("sentencepiece", "subword_nmt")  # those whose mark is hardly found in other text
HARMLESS = ("subword_nmt", "silence")  # these leave symbols without their mark as they are
VALUES = ("none", *MARKS, "silence")
# of all tokens; a word of the text may look like a mark once in a while
LEAST = 0.001


def marked(dictionary: Path) -> tuple[dict[str, float], bool]:
    """For each of MARKS the share of the tokens that show it; and are all symbols numbers?

    Raises:
        InputError: there is no such dictionary, or it is empty.
    """
    shares = dict.fromkeys(MARKS, 0.0)
    total, numbers = 0, True
    for line in whole_lines(dictionary, "dictionary"):
        symbol, _, count = line.removesuffix(" #fairseq:overwrite").rpartition(" ")
        tokens = max(1, int(count)) if count.isdecimal() else 1
        total += tokens
        # madeupword0000: how fairseq-preprocess fills a dictionary up to a multiple of 8
        numbers &= symbol.isdecimal() or symbol.startswith("madeupword")
        for name, (_, has_mark) in MARKS.items():
            if has_mark(symbol):
                shares[name] += tokens
    if not total:
        raise InputError(f"the dictionary {dictionary} is empty")
    return {name: count / total for name, count in shares.items()}, numbers


def post_process(dictionary: Path, chosen: str | None) -> str:
    """The value for a dictionary: the chosen one or, if that is None, what the symbols show.

    Raises:
        InputError: the chosen value contradicts the symbols, or is none of fairseq's; or the
            symbols are numbers, whose text only --bpe knows, and nothing was chosen.
    """
    aliases = {"": "none", "@@ ": "subword_nmt"}
    chosen = aliases.get(chosen, chosen)
    if chosen is not None and chosen not in VALUES:
        raise InputError(f"POST_PROCESS must be one of {', '.join(VALUES)}, got {chosen!r}")
    shares, numbers = marked(dictionary)
    if numbers and chosen is None:
        raise InputError(
            f"the symbols of {dictionary} are numbers, as of GPT-2's byte-pair codes: have them "
            "decoded by GENERATE_ARGS='--bpe gpt2 --gpt2-encoder-json FILE --gpt2-vocab-bpe FILE'"
            ", or set POST_PROCESS=none to score the numbers"
        )
    shown = max(SHOWN, key=lambda name: shares[name])
    if shares[shown] < LEAST:
        shown = "none"
    if chosen in (None, shown):
        return shown
    if shown != "none":
        raise InputError(
            f"POST_PROCESS is {chosen!r}, but the symbols of {dictionary} have {MARKS[shown][0]}: "
            f"set POST_PROCESS={shown}, or leave it unset"
        )
    if chosen != "none" and chosen not in HARMLESS and not shares[chosen]:
        raise InputError(
            f"POST_PROCESS is {chosen!r}, but no symbol of {dictionary} has {MARKS[chosen][0]}, so "
            "that it would join all words: set POST_PROCESS=none, or leave it unset"
        )
    return chosen


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("file", type=Path, help="dict.LANGUAGE.txt; with --join, a sentence a line")
    parser.add_argument("--set", metavar="VALUE", help="what the user has chosen")
    parser.add_argument("--join", metavar="VALUE", help="print the text of the file")
    args = parser.parse_args()
    if args.join is None:
        print(post_process(args.file, args.set))
        return
    from fairseq.data import data_utils

    for line in whole_lines(args.file, "pieces"):
        print(data_utils.post_process(line, args.join))


if __name__ == "__main__":
    command_line(main)
