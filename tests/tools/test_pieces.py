"""The pieces of texts and of words: wordpieces, and GPT-2's BPE of a tiny vocabulary."""

import argparse
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools import pieces
from rdrop_fairseq.tools.corpus.gpt2_bpe import decode

from ..gpt2_bpe import small_bpe


def arguments(encoder: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    pieces.add_encoder(parser)
    return parser.parse_args(["--encoder", str(encoder), *more])


@pytest.fixture
def wordpieces(tmp_path: Path) -> argparse.Namespace:
    """As MiniLM's tokenizer, which leaves nothing of a variation selector."""
    vocabulary = ["[UNK]", "pet", "##er", "rome", "##s", "!"]
    tokenizer = Tokenizer(
        models.WordPiece({piece: n for n, piece in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return arguments(tmp_path)


@pytest.fixture
def bpe(tmp_path: Path) -> argparse.Namespace:
    (tmp_path / "dict.txt").write_text("".join(f"{number} 1\n" for number in range(300)))
    small_bpe(tmp_path / "bpe", ["the Rome and the sea and the Rome"] * 9, 270)
    return arguments(tmp_path, "--bpe-dir", str(tmp_path / "bpe"))


def test_wordpieces_whole_and_alone(wordpieces) -> None:
    """Whatever the file says of lengths, and without special tokens."""
    texts = ["Peter, Romes!!", "", "\ufe0f"]
    assert pieces.of_texts(wordpieces, texts, 1) == ["pet ##er [UNK] rome ##s ! !", "", ""]
    words = [["Peter", "\ufe0f", "Romes"], [], ["yes"]]
    assert pieces.of_words(wordpieces)(words) == [
        [["pet", "##er"], [], ["rome", "##s"]],
        [],
        [["[UNK]"]],
    ]


def test_bpe_of_texts_and_of_words(bpe) -> None:
    """Each word as inside a sentence, with a space before it, also the first."""
    paths = (bpe.bpe_dir / "encoder.json", bpe.bpe_dir / "vocab.bpe")
    texts = ["the Rome and Rome", "sea"]
    encoded = pieces.of_texts(bpe, texts, 1)
    assert [decode(line, paths) for line in encoded] == texts
    ((the, rome, again), (first,)) = pieces.of_words(bpe)([["the", "Rome", "Rome"], ["Rome"]])
    assert rome == again == first
    assert " ".join([*rome, *the]) in pieces.of_texts(bpe, ["x Rome the"], 1)[0]
    assert encoded[0].split()[-len(rome) :] == rome
    assert encoded[0].split()[: len(the)] != the  # the first of a text has no space before it


def test_roberta_needs_its_bpe(bpe) -> None:
    with pytest.raises(UsageError, match=r"an encoder without it \(RoBERTa\) needs --bpe-dir"):
        pieces.of_words(arguments(bpe.encoder))
    # the published encoder's dictionary is one of GPT-2's own pieces
    (bpe.encoder / "dict.txt").write_text("".join(f"{number} 1\n" for number in range(50260)))
    with pytest.raises(UsageError, match=r"encoder.json is not GPT-2's published one"):
        pieces.of_words(bpe)
