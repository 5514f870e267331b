"""What an encoder reads: BERT's wordpieces (tokenizer.json), or of RoBERTa GPT-2's BPE."""

import argparse
import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .corpus.gpt2_bpe import encode, find_bpe
from .parallel import parallel_map

PUBLISHED = 50260  # lines of a dict.txt that is that of the published RoBERTa

Words = Sequence[str]


def add_encoder(parser: argparse.ArgumentParser) -> None:
    """The arguments that say whose pieces: --encoder and --bpe-dir."""
    add = parser.add_argument
    add("--encoder", type=Path, required=True, metavar="DIR", help="of model.pt and dict.txt")
    add("--bpe-dir", type=Path, help="of GPT-2's encoder.json and vocab.bpe, for RoBERTa")


def has_wordpieces(encoder: Path) -> bool:
    return (encoder / "tokenizer.json").is_file()


def of_texts(args: argparse.Namespace, texts: Iterable[str], workers: int) -> list[str]:
    """The pieces of each text, separated by spaces; no special tokens, and nothing is cut off."""
    if has_wordpieces(args.encoder):
        encoded = _tokenizer(args.encoder).encode_batch(list(texts), add_special_tokens=False)
        return [" ".join(text.tokens) for text in encoded]
    return list(parallel_map(functools.partial(encode, paths=_bpe(args)), texts, workers))


def of_words(args: argparse.Namespace) -> Callable[[Sequence[Words]], list[list[list[str]]]]:
    """A function from sentences of words to the pieces of each word."""
    if has_wordpieces(args.encoder):
        return functools.partial(_wordpieces, _tokenizer(args.encoder))
    paths = _bpe(args)
    # all words as inside a sentence, with a space before them (Hugging Face's add_prefix_space);
    # encode strips it from the first
    first = encode("x", paths)
    return lambda sentences: [
        [encode(f"x {word}", paths).removeprefix(first).split() for word in words]
        for words in sentences
    ]


def _wordpieces(tokenizer: Any, sentences: Sequence[Words]) -> list[list[list[str]]]:
    encoded = tokenizer.encode_batch(sentences, is_pretokenized=True, add_special_tokens=False)
    found: list[list[list[str]]] = []
    for words, encoding in zip(sentences, encoded, strict=True):
        found.append([[] for _ in words])
        for piece, word in zip(encoding.tokens, encoding.word_ids, strict=True):
            found[-1][word].append(piece)
    return found


def _tokenizer(encoder: Path) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    tokenizer.no_truncation()  # some models' files ask for both
    tokenizer.no_padding()
    return tokenizer


def _bpe(args: argparse.Namespace) -> tuple[Path, Path]:
    if args.bpe_dir is None:
        raise UsageError(
            f"{args.encoder}/tokenizer.json is not there: an encoder without it (RoBERTa) needs "
            "--bpe-dir, the folder of GPT-2's BPE (prepare.sh's GPT2_BPE, by default runs/gpt2_bpe)"
        )
    # another BPE than the published encoder's would fit in size, not in meaning
    with (args.encoder / "dict.txt").open(encoding="utf-8") as lines:
        published = sum(1 for _ in lines) >= PUBLISHED
    return find_bpe(args.bpe_dir, published)
