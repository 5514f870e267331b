"""Learn joint subwords on a parallel corpus and encode the corpus with them.

    python scripts/corpus/encode_corpus.py --corpus DIR --languages es en \\
        --vocab-size 4000 --out OUT

DIR holds {train,valid,test}.LANGUAGE, or the same with .gz. OUT gets the plain text of what was
gzipped, the pieces ({train,...}.pieces.LANGUAGE) and what they were made with:

  --bpe sentencepiece  spm.model: one sentencepiece model for both languages, on raw text (with
                       sentencepiece's nmt_nfkc normalisation, but none if a language is zh)
  --bpe moses          codes: joint byte-pair codes of subword-nmt, on text that is tokenised as
                       Moses does (sacremoses), as in the papers that report tokenised BLEU

OUT is complete if it exists: it is written under another name and renamed.
"""

import argparse
import gzip
import io
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sentencepiece
from text_files import (
    InputError,
    argument_parser,
    command_line,
    new_folder,
    parallel_map,
    read_lines,
    write_lines,
    writing_folder,
)

SPLITS = ("train", "valid", "test")

# what a process of parallel_map does to a line, once one of the functions below has set it
_convert: Callable[[str], str]


def convert(line: str) -> str:
    return _convert(line)


def set_tokeniser(language: str, normalise: bool, lowercase: bool) -> None:
    import sacremoses  # this and subword-nmt: of the extra "recipes"

    global _convert
    normaliser = sacremoses.MosesPunctNormalizer(language)
    tokenise = sacremoses.MosesTokenizer(language).tokenize

    def _convert(line: str) -> str:
        tokens = tokenise(normaliser.normalize(line) if normalise else line, return_str=True)
        return tokens.lower() if lowercase else tokens


def set_codes(path: Path) -> None:
    from subword_nmt.apply_bpe import BPE

    global _convert
    with path.open(encoding="utf-8") as codes:
        _convert = BPE(codes).process_line


def set_sentencepieces(path: Path) -> None:
    global _convert
    encoder = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def _convert(line: str) -> str:
        return " ".join(encoder.encode(line, out_type=str))


def lines_of(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        yield from read_lines(file, str(path))


def convert_file(
    source: Path, output: Path, workers: int, prepare: Callable[..., None], *arguments: Any
) -> None:
    """Write what ``prepare(*arguments)`` makes of each line, by ``workers`` processes."""
    lines = parallel_map(convert, lines_of(source), workers, prepare, arguments)
    write_lines(output, lines)


def sample(paths: list[Path], most: int) -> Iterator[str]:
    """The lines of all files or, if these are more than ``most``, every k-th.

    Not at random: sentencepiece's own sample is another one in every run.
    """
    lines = itertools.chain.from_iterable(map(lines_of, paths))
    if not most:
        return lines
    total = sum(1 for path in paths for _ in lines_of(path))
    return itertools.islice(lines, 0, None, max(1, math.ceil(total / most)))


def encode_sentencepiece(text: dict[str, Path], folder: Path, args: argparse.Namespace) -> None:
    """Write the pieces of ``text`` to ``folder``, by a sentencepiece model trained on it."""
    sides = [text[f"train.{language}"] for language in args.languages]
    model = io.BytesIO()  # a model made from files would hold their paths
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sample(sides, args.sample),
            model_writer=model,
            vocab_size=args.vocab_size,
            character_coverage=args.character_coverage,
            # the usual rule turns Chinese punctuation into ASCII, which no reference has
            normalization_rule_name="identity" if "zh" in args.languages else "nmt_nfkc",
            minloglevel=1,
        )
    except RuntimeError as error:
        raise InputError(
            f"sentencepiece cannot make {args.vocab_size} pieces of this text ({error}): "
            "change --vocab-size"
        ) from None
    (folder / "spm.model").write_bytes(model.getvalue())
    for split in SPLITS:
        for language in args.languages:
            source, pieces = text[f"{split}.{language}"], folder / f"{split}.pieces.{language}"
            convert_file(source, pieces, args.workers, set_sentencepieces, folder / "spm.model")


def encode_moses(text: dict[str, Path], folder: Path, args: argparse.Namespace) -> None:
    """Write the pieces of ``text`` to ``folder``, by byte-pair codes learnt on it, tokenised."""
    from subword_nmt.learn_bpe import learn_bpe

    words: Counter[str] = Counter()
    for split in SPLITS:
        for language in args.languages:
            source, path = text[f"{split}.{language}"], folder / f"{split}.tokens.{language}"
            how = language, args.normalise, args.lowercase
            convert_file(source, path, args.workers, set_tokeniser, *how)
            if split == "train":
                for line in lines_of(path):
                    words.update(line.split())
    with (folder / "codes").open("w", encoding="utf-8") as codes:
        learn_bpe(
            (f"{word} {count}" for word, count in sorted(words.items())),
            codes,
            num_symbols=args.vocab_size,
            is_dict=True,
        )
    for split in SPLITS:
        for language in args.languages:
            path = folder / f"{split}.tokens.{language}"
            pieces = folder / f"{split}.pieces.{language}"
            convert_file(path, pieces, args.workers, set_codes, folder / "codes")
            path.unlink()


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--languages", nargs=2, required=True, help="source and target")
    parser.add_argument("--vocab-size", type=int, required=True, help="pieces, or merges of codes")
    parser.add_argument("--out", type=new_folder, required=True, help="folder to write")
    parser.add_argument(
        "--bpe", choices=("sentencepiece", "moses"), default="sentencepiece", help="see above"
    )
    parser.add_argument(
        "--normalise", action="store_true", help="normalise punctuation first, moses only"
    )
    parser.add_argument("--lowercase", action="store_true", help="lower-case text, moses only")
    parser.add_argument(
        "--character-coverage", type=float, default=1.0, help="of sentencepiece; default: 1"
    )
    parser.add_argument(
        "--sample",
        type=int,
        default=0,
        help="most sentences to learn sentencepieces on, evenly spaced; default: all",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes; default: 1")
    args = parser.parse_args()
    if (args.lowercase or args.normalise) and args.bpe != "moses":
        parser.error("--lowercase and --normalise go with --bpe moses only")

    corpus, missing = {}, []
    for split in SPLITS:
        for language in args.languages:
            plain = args.corpus / f"{split}.{language}"
            packed = plain.with_name(plain.name + ".gz")
            corpus[plain.name] = plain if plain.is_file() else packed
            if not corpus[plain.name].is_file():
                missing.append(str(packed))
    if missing:
        parser.error(f"the corpus lacks {', '.join(missing)}")
    with writing_folder(args.out) as unfinished:
        for name, path in corpus.items():
            if path.suffix == ".gz":
                with gzip.open(path) as file:
                    write_lines(unfinished / name, read_lines(file, str(path)))
                corpus[name] = unfinished / name
        encode = encode_moses if args.bpe == "moses" else encode_sentencepiece
        encode(corpus, unfinished, args)


if __name__ == "__main__":
    command_line(main)
