"""The pieces of texts and of words: wordpieces, and GPT-2's BPE of a tiny vocabulary."""

import argparse
from pathlib import Path

from rdrop_fairseq.tools import pieces


def arguments(encoder: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    pieces.add_encoder(parser)
    return parser.parse_args(["--encoder", str(encoder), *more])
