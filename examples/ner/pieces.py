"""From files in CoNLL's columns to the lines that fairseq-preprocess binarises.

    python examples/ner/pieces.py --encoder DIR --out TEXT train=FILE valid=FILE [test=FILE]

DIR is the encoder's folder; with a tokenizer.json there words become wordpieces, else pieces of
GPT-2's BPE (--bpe-dir), each word with a space before it. TEXT gets, whole or not at all, for each
split SPLIT.input0 (the pieces), SPLIT.label (a word's tag on its first piece, <pad> on the others)
and SPLIT.conll (words and tags), labels.txt (the tags of the training set), and info.json.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from conll import Word, read, write

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "corpus"))
from gpt2_bpe import encode, find_bpe
from text_files import (
    InputError,
    argument_parser,
    command_line,
    setting,
    write_json,
    write_lines,
    writing_folder,
)

Encode = Callable[[list[list[str]]], list[list[list[str]]]]
UNKNOWN = "<unk>"


def main() -> None:
    parser = argument_parser(__doc__)
    add_encoder(parser)
    parser.add_argument("--iob1", action="store_true", help="the tags are IOB1, not BIO")
    parser.add_argument("--out", type=Path, required=True, metavar="TEXT")
    parser.add_argument("files", type=setting, nargs="+", metavar="SPLIT=FILE")
    args = parser.parse_args()
    files = {split: Path(path) for split, path in args.files}
    sentences = {split: read(path, args.iob1) for split, path in files.items()}
    labels = sorted({word.tag for words in sentences["train"] for word in words})
    if labels == ["O"]:
        raise InputError(
            f"{files['train']} has no entities: all tags are O. Is the tag the last column?"
        )
    for split, path in files.items():
        require_known(sentences[split], labels, path)

    to_pieces = encoder(args)
    with writing_folder(args.out) as folder:
        info: dict = {"rows": {}, "words": {}, "longest": {}, "words_without_pieces": {}}
        for split, rows in sentences.items():
            of_words = to_pieces([[word.text for word in words] for words in rows])
            empty = [
                word.line
                for words, pieces in zip(rows, of_words, strict=True)
                for word, its in zip(words, pieces, strict=True)
                if not its
            ]
            if empty:
                what, where = ("word", "line") if len(empty) == 1 else ("words", "lines")
                print(
                    f"{split}: of {len(empty)} {what} ({where} {', '.join(map(str, empty))} of "
                    f"{files[split]}) the encoder's tokenizer leaves nothing: taken for {UNKNOWN}"
                )
            encoded = [as_lines(*row) for row in zip(rows, of_words, strict=True)]
            write_lines(folder / f"{split}.input0", [line for line, _ in encoded])
            write_lines(folder / f"{split}.label", [line for _, line in encoded])
            write_lines(folder / f"{split}.conll", write([[w[:2] for w in row] for row in rows]))
            info["rows"][split] = len(rows)
            info["words"][split] = sum(map(len, rows))
            info["longest"][split] = max(len(line.split()) for line, _ in encoded)
            info["words_without_pieces"][split] = len(empty)
        write_lines(folder / "labels.txt", labels)
        write_json(folder / "info.json", info)


def add_encoder(parser: argparse.ArgumentParser) -> None:
    """The arguments that `encoder` takes."""
    add = parser.add_argument
    add("--encoder", type=Path, required=True, help="folder of model.pt and dict.txt")
    add("--bpe-dir", type=Path, help="folder of GPT-2's encoder.json and vocab.bpe, for RoBERTa")
    add("--published", action="store_true", help="refuse another BPE than GPT-2's own")


def encoder(args: argparse.Namespace) -> Encode:
    """A function from words, for each sentence, to the pieces of each word.

    Raises:
        InputError: --bpe-dir is needed.
    """
    file = args.encoder / "tokenizer.json"
    if not file.is_file():
        if args.bpe_dir is None:
            raise InputError(
                f"{file} is not there: an encoder without it (RoBERTa) needs --bpe-dir, the "
                "folder of GPT-2's BPE (prepare.sh's GPT2_BPE, by default runs/ner/gpt2_bpe)"
            )
        paths = find_bpe(args.bpe_dir, args.published)
        # all words as inside a sentence, with a space before them (Hugging Face's
        # add_prefix_space); gpt2_bpe.encode strips it from the first
        first = encode("x", paths)

        def by_bpe(sentences: list[list[str]]) -> list[list[list[str]]]:
            return [
                [encode(f"x {word}", paths).removeprefix(first).split() for word in words]
                for words in sentences
            ]

        return by_bpe

    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()  # some models' files ask for both
    tokenizer.no_padding()

    def by_wordpieces(sentences: list[list[str]]) -> list[list[list[str]]]:
        encoded = tokenizer.encode_batch(sentences, is_pretokenized=True, add_special_tokens=False)
        found = []
        for words, encoding in zip(sentences, encoded, strict=True):
            found.append([[] for _ in words])
            for piece, word in zip(encoding.tokens, encoding.word_ids, strict=True):
                found[-1][word].append(piece)
        return found

    return by_wordpieces


def as_lines(words: list[Word], pieces: list[list[str]]) -> tuple[str, str]:
    """The lines of input0 and label of a sentence."""
    filled = [its or [UNKNOWN] for its in pieces]
    labels = [
        label
        for word, its in zip(words, filled, strict=True)
        for label in [word.tag, *["<pad>"] * (len(its) - 1)]
    ]
    return " ".join(piece for its in filled for piece in its), " ".join(labels)


def require_known(sentences: list[list[Word]], labels: list[str], path: Path) -> None:
    """Raise InputError for a tag that training lacks."""
    for word in (word for words in sentences for word in words):
        if word.tag not in labels:
            raise InputError(
                f"{path}, line {word.line}: the tag {word.tag} does not occur in the training set, "
                f"which has {', '.join(labels)}: correct it, or leave its sentence out"
            )


if __name__ == "__main__":
    command_line(main)
