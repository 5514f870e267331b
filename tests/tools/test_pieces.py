"""The pieces of texts and of words: wordpieces, and GPT-2's BPE of a tiny vocabulary."""

import argparse
import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools import pieces

from ..gpt2_bpe import bytes_to_unicode


def arguments(encoder: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    pieces.add_encoder(parser)
    return parser.parse_args(["--encoder", str(encoder), *more])
