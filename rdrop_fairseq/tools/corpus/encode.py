"""Learn joint subwords on a parallel corpus and encode the corpus with them.

    rdrop corpus encode --corpus DIR --languages es en --vocab-size 4000 --out OUT
    rdrop corpus encode --train DIR/train --valid news2013 --test news2014 ...

DIR holds {train,valid,test}.LANGUAGE, or the same with .gz. OUT gets the plain text of what was
gzipped, the pieces ({train,...}.pieces.LANGUAGE) and what they were made with:

  --bpe sentencepiece  spm.model: one sentencepiece model for both languages, on raw text (with
                       sentencepiece's nmt_nfkc normalisation, but none if a language is zh)
  --bpe moses          codes: joint byte-pair codes of subword-nmt, on text that is tokenised as
                       Moses does (sacremoses), as in the papers that report tokenised BLEU

An OUT that is there, made of the same text with the same settings, stays.
"""

import argparse
import contextlib
import io
import itertools
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sentencepiece

from ...errors import UsageError
from ..command_line import add_languages, command, moses_language, number, parser, whole
from ..files import write_lines
from ..made import RECORD, is_made, made_with, making_folder
from ..parallel import parallel_map
from ..text import lines_of, read_pairs

SPLITS = ("train", "valid", "test")
LONGEST_LINE = 4192  # bytes; sentencepiece leaves out longer ones
MOST_PIECES = 1023  # with the end of the sentence, the positions of fairseq's transformers

Text = dict[str, Path]  # of "train.es" and so on

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


def converted(
    source: Path, workers: int, prepare: Callable[..., None], *arguments: Any
) -> Iterator[str]:
    """What ``prepare(*arguments)`` makes of each line, by ``workers`` processes."""
    return parallel_map(convert, lines_of(source), workers, prepare, arguments)


def write_pieces(path: Path, lines: Iterable[str]) -> None:
    """Write the lines, and say how many have more pieces than fairseq's models take."""
    long = 0

    def counted() -> Iterator[str]:
        nonlocal long
        for line in lines:
            long += line.count(" ") >= MOST_PIECES
            yield line

    write_lines(path, counted())
    if long:
        print(
            f"note: {long} lines of {path.name} have more than {MOST_PIECES} pieces, the most that "
            "fairseq's models take unless --max-source-positions and --max-target-positions say "
            "more: fairseq-train leaves them out in training, and stops at them in validation "
            "unless --skip-invalid-size-inputs-valid-test is given",
            file=sys.stderr,
        )


def find_text(args: argparse.Namespace) -> Text:
    """The files of all splits and languages."""
    text, missing = {}, []
    for split in SPLITS:
        prefix = getattr(args, split) or args.corpus / split
        for language in args.languages:
            plain, packed = Path(f"{prefix}.{language}"), Path(f"{prefix}.{language}.gz")
            text[f"{split}.{language}"] = plain if plain.is_file() else packed
            if not text[f"{split}.{language}"].is_file():
                missing.append(str(plain))
    if missing:
        raise UsageError(f"no such text: {', '.join(missing)}, nor the same with .gz")
    return text


def check_text(text: Text, languages: Sequence[str], bpe: str) -> int:
    """Gives the number of training pairs.

    Raises:
        UsageError: a text is empty or damaged, or has not as many lines as its translation;
            sentencepiece can learn from none of the lines.
    """
    pairs = usable = 0
    for split in SPLITS:
        for pair in read_pairs([text[f"{split}.{language}"] for language in languages]):
            if split == "train":
                pairs += 1
                usable += any(0 < len(line.encode()) <= LONGEST_LINE for line in pair)
    if not usable and bpe == "sentencepiece":
        raise UsageError(
            f"all lines of {text[f'train.{languages[0]}']} and its translation are empty or have "
            f"more than {LONGEST_LINE:,} bytes, the most that sentencepiece learns from: write one "
            "sentence on a line"
        )
    return pairs


def sample(lines: Iterable[str], total: int, most: int) -> Iterator[str]:
    """All ``total`` lines or, if these are more than ``most``, every k-th; 0 for no limit.

    Not at random: sentencepiece's own sample is another one in every run.
    """
    return itertools.islice(lines, 0, None, max(1, math.ceil(total / most)) if most else 1)


def learn_sentencepieces(lines: Iterator[str], args: argparse.Namespace) -> bytes:
    """A sentencepiece model of the lines."""
    model = io.BytesIO()  # a model made from files would hold their paths
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines,
            model_writer=model,
            vocab_size=args.vocab_size,
            character_coverage=args.character_coverage,
            # the usual rule turns Chinese punctuation into ASCII, which no reference has
            normalization_rule_name="identity" if "zh" in args.languages else "nmt_nfkc",
            minloglevel=1,
        )
    except RuntimeError as error:
        raise UsageError(
            f"sentencepiece cannot make {args.vocab_size} pieces of this text ({error}): "
            "change --vocab-size"
        ) from None
    return model.getvalue()


def learn_codes(lines: Iterable[str], merges: int) -> str:
    """Byte-pair codes of tokenised lines."""
    from subword_nmt.learn_bpe import learn_bpe

    words = Counter(word for line in lines for word in line.split())
    codes = io.StringIO()
    dictionary = (f"{word} {count}" for word, count in sorted(words.items()))
    with contextlib.suppress(ValueError):  # its max() of no pairs
        learn_bpe(dictionary, codes, num_symbols=merges, is_dict=True)
    if codes.getvalue().count("\n") < 2:  # the first line is a version
        raise UsageError(
            "no two characters stand side by side twice in the words of the training text: it is "
            "too little for byte-pair codes"
        )
    return codes.getvalue()


def encode_sentencepiece(text: Text, pairs: int, folder: Path, args: argparse.Namespace) -> None:
    """Write the pieces of ``text`` to ``folder``, by a sentencepiece model trained on it."""
    sides = [lines_of(text[f"train.{language}"]) for language in args.languages]
    lines = sample(itertools.chain(*sides), 2 * pairs, args.sample)
    model = folder / "spm.model"
    model.write_bytes(learn_sentencepieces(lines, args))
    for name, path in text.items():
        pieces = folder / name.replace(".", ".pieces.", 1)
        write_pieces(pieces, converted(path, args.workers, set_sentencepieces, model))


def encode_moses(text: Text, folder: Path, args: argparse.Namespace) -> None:
    """Write the pieces of ``text`` to ``folder``, by byte-pair codes learnt on it, tokenised."""
    tokens = {}
    for name, path in text.items():
        tokens[name] = folder / name.replace(".", ".tokens.", 1)
        how = name.split(".", 1)[1], args.normalise, args.lowercase
        write_lines(tokens[name], converted(path, args.workers, set_tokeniser, *how))
    sides = [lines_of(tokens[f"train.{language}"]) for language in args.languages]
    codes = folder / "codes"
    codes.write_text(learn_codes(itertools.chain(*sides), args.vocab_size), encoding="utf-8")
    for name, path in tokens.items():
        pieces = folder / name.replace(".", ".pieces.", 1)
        write_pieces(pieces, converted(path, args.workers, set_codes, codes))
        path.unlink()


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    options = parser(__doc__, "rdrop corpus encode")
    options.add_argument("--corpus", type=Path, help="folder of the corpus")
    for split in SPLITS:
        options.add_argument(
            f"--{split}", type=Path, help=f"files without .LANGUAGE; default: CORPUS/{split}"
        )
    add_languages(options)
    options.add_argument(
        "--vocab-size", type=whole(1), required=True, help="pieces, or merges of codes"
    )
    options.add_argument("--out", type=Path, required=True, help="folder to write")
    options.add_argument(
        "--bpe", choices=("sentencepiece", "moses"), default="sentencepiece", help="see above"
    )
    options.add_argument(
        "--normalise", action="store_true", help="normalise punctuation first, moses only"
    )
    options.add_argument("--lowercase", action="store_true", help="lower-case text, moses only")
    options.add_argument(
        "--character-coverage",
        type=number(0.98, 1),  # what sentencepiece takes
        default=1.0,
        help="of sentencepiece; default: 1",
    )
    options.add_argument(
        "--sample",
        type=whole(1),
        help="most sentences to learn sentencepieces on, evenly spaced; default: all",
    )
    options.add_argument("--workers", type=whole(1), default=1, help="processes; default: 1")
    args = options.parse_args(argv)
    if args.bpe == "moses":
        if args.sample or args.character_coverage != 1:
            options.error("--sample and --character-coverage go with --bpe sentencepiece only")
        try:
            for language in args.languages:
                moses_language(language)
        except argparse.ArgumentTypeError as error:
            options.error(f"{error}: choose --bpe sentencepiece")
    elif args.lowercase or args.normalise:
        options.error("--lowercase and --normalise go with --bpe moses only")
    if not args.corpus and not all(getattr(args, split) for split in SPLITS):
        options.error("give --corpus, or --train, --valid and --test")
    return args


@command("rdrop corpus encode")
def main(argv: Sequence[str] | None = None) -> None:
    args = parse(argv)
    text = find_text(args)
    made = made_with(args, text.values())
    if is_made(made, args.out / RECORD, args.out):
        return
    pairs = check_text(text, args.languages, args.bpe)
    with making_folder(args.out, made) as unfinished:
        for name, path in text.items():
            if path.suffix == ".gz":
                write_lines(unfinished / name, lines_of(path))
        if args.bpe == "moses":
            encode_moses(text, unfinished, args)
        else:
            encode_sentencepiece(text, pairs, unfinished, args)


if __name__ == "__main__":
    main()
