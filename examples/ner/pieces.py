"""Encode words with an encoder's own pieces, to the lines that fairseq-preprocess binarises.

    python examples/ner/pieces.py CONLL --encoder DIR [--bpe-dir BPE] --out PIECES

CONLL is what conll.py has written. PIECES, which must be new, gets for each split SPLIT.input0, the
pieces, and SPLIT.label, a word's tag on its first piece, <pad> on the others.
"""

from collections.abc import Sequence

from conll import Word, read

from rdrop_fairseq.tools.command_line import command, existing_folder, new_folder, parser
from rdrop_fairseq.tools.files import write_lines, writing_folder
from rdrop_fairseq.tools.pieces import add_encoder, of_words

UNKNOWN = "<unk>"


@command("pieces.py")
def main(argv: Sequence[str] | None = None) -> None:
    of = parser(__doc__, "pieces.py")
    of.add_argument("conll", type=existing_folder, metavar="CONLL")
    add_encoder(of)
    of.add_argument("--out", type=new_folder, required=True, metavar="PIECES")
    args = of.parse_args(argv)
    to_pieces = of_words(args)
    with writing_folder(args.out) as folder:
        for path in sorted(args.conll.glob("*.conll")):
            rows = read(path)
            of_rows = to_pieces([[word.text for word in words] for words in rows])
            empty = [
                word
                for words, pieces in zip(rows, of_rows, strict=True)
                for word, its in zip(words, pieces, strict=True)
                if not its
            ]
            if empty:
                lines = ", ".join(str(word.line) for word in empty)
                print(
                    f"{path.stem}: of {len(empty)} word(s) (line {lines} of {path}) the encoder's "
                    f"tokenizer leaves nothing: taken for {UNKNOWN}"
                )
            encoded = [as_lines(*row) for row in zip(rows, of_rows, strict=True)]
            write_lines(folder / f"{path.stem}.input0", [line for line, _ in encoded])
            write_lines(folder / f"{path.stem}.label", [line for _, line in encoded])


def as_lines(words: list[Word], pieces: list[list[str]]) -> tuple[str, str]:
    """The lines of input0 and label of a sentence."""
    filled = [its or [UNKNOWN] for its in pieces]
    labels = [
        label
        for word, its in zip(words, filled, strict=True)
        for label in [word.tag, *["<pad>"] * (len(its) - 1)]
    ]
    return " ".join(piece for its in filled for piece in its), " ".join(labels)


if __name__ == "__main__":
    main()
