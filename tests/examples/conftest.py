"""Programs that only record their arguments, and a server of archives."""

import json
import os
import shlex
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from fairseq.data.dictionary import Dictionary
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode
from fairseq.models.roberta import RobertaModel

from ..conftest import PROGRAMS, ROOT, run
from ..server import server  # noqa: F401

RECORD = """#!/usr/bin/env bash
{ printf '%s\\n' "$(basename "$0")" "$@"; echo; } >>"$RECORD"
"""


@pytest.fixture
def fake(tmp_path: Path) -> SimpleNamespace:
    """A PATH on which fairseq-train, fairseq-generate and torchrun record their arguments.

    ``env(gpus)`` is the environment, in which torch sees that many GPUs; ``calls()`` gives
    the programs that were run, each with its arguments.
    """
    programs = tmp_path / "fake"
    programs.mkdir()
    for name in ("fairseq-train", "fairseq-generate", "torchrun"):
        (programs / name).write_text(RECORD)
        (programs / name).chmod(0o755)
    (programs / "torch.py").write_text(
        "import os\nclass cuda:\n    device_count = lambda: int(os.environ['GPUS'])\n"
    )
    record = tmp_path / "record"

    def env(gpus: int) -> dict[str, str]:
        return {
            "PATH": f"{programs}:{PROGRAMS}:{os.environ['PATH']}",
            "PYTHONPATH": str(programs),
            "GPUS": str(gpus),
            "RECORD": str(record),
        }

    def calls() -> list[list[str]]:
        text = record.read_text() if record.exists() else ""
        return [call.split("\n") for call in text.split("\n\n") if call.strip()]

    return SimpleNamespace(env=env, calls=calls, programs=programs)


@pytest.fixture(scope="session")
def roberta(tmp_path_factory) -> Path:
    """model.pt, dict.txt and a GPT-2-like BPE of 300 symbols: a tiny random RoBERTa."""
    folder = tmp_path_factory.mktemp("roberta")
    symbols = list(bytes_to_unicode().values())
    merges = [("t", "h"), ("th", "e"), ("a", "n"), ("an", "d"), ("Ġ", "the"), ("Ġ", "and")]
    symbols += ["".join(merge) for merge in merges]
    (folder / "bpe").mkdir()
    encoder = {symbol: number for number, symbol in enumerate(symbols)}
    (folder / "bpe" / "encoder.json").write_text(json.dumps(encoder))
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "bpe" / "vocab.bpe").write_text("\n".join(lines) + "\n", encoding="utf-8")

    dictionary = Dictionary()
    for number in range(len(symbols)):
        dictionary.add_symbol(str(number))
    dictionary.save(str(folder / "dict.txt"))
    dictionary.add_symbol("<mask>")
    args = Namespace(
        arch="roberta_base",
        task="masked_lm",
        encoder_layers=2,
        encoder_embed_dim=16,
        encoder_ffn_embed_dim=32,
        encoder_attention_heads=2,
        max_positions=512,
        tokens_per_sample=512,
    )
    torch.manual_seed(0)
    model = RobertaModel.build_model(args, Namespace(source_dictionary=dictionary))
    checkpoint = {
        "args": args,
        "model": model.state_dict(),
        "optimizer_history": [
            {
                "criterion_name": "MaskedLmLoss",
                "optimizer_name": "FairseqAdam",
                "lr_scheduler_state": {},
                "num_updates": 9,
            }
        ],
        "extra_state": {"train_iterator": {"epoch": 3, "iterations_in_epoch": 0}},
        "last_optimizer_state": None,
    }
    torch.save(checkpoint, folder / "model.pt")
    return folder


def recipe_on(roberta: Path, scripts: Path, out: Path) -> Callable[..., Any]:
    """recipe("prepare", "RTE", ...): run a script of the folder on the tiny RoBERTa."""

    def recipe(script: str, *arguments: str, check: bool = True, **settings: str):
        env = {"ROBERTA_PATH": f"{roberta}/model.pt", "GPT2_BPE": f"{roberta}/bpe"}
        env |= {"OUT": str(out), **settings}
        return run(["bash", scripts / f"{script}.sh", *arguments], check=check, env=env)

    return recipe


@pytest.fixture
def modules(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], ModuleType]]:
    """modules("rows"): a module of the recipe whose folder is SCRIPTS in the file of tests."""
    folder = str(request.module.SCRIPTS)
    monkeypatch.syspath_prepend(folder)
    yield import_module
    for name, module in list(sys.modules.items()):  # another recipe may have one of that name
        if str(getattr(module, "__file__", None)).startswith(folder):
            del sys.modules[name]


def script_of(recipe: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """script("train", UPDATES=2, ...): a recipe's script with these settings."""

    def script(name: str, check: bool = True, arguments: Sequence[Any] = (), **settings: Any):
        environment = {key: str(value) for key, value in settings.items()}
        command = ["bash", ROOT / "examples" / recipe / f"{name}.sh", *arguments]
        return run(command, env=environment, check=check)

    return script


def commands(recipe: str, name: str, *arguments: Any, **settings: Any) -> list[list[str]]:
    """What a recipe's script would start: the words of the commands that --dry-run prints."""
    command = ["bash", ROOT / "examples" / recipe / f"{name}.sh", *arguments, "--dry-run"]
    environment = {key: str(value) for key, value in settings.items()}
    printed = run(command, real=True, env=environment).stdout  # it imports nothing that is slow
    lines = printed.replace(" \\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if not line.startswith("# ")]


def option(call: list[str], name: str) -> str:
    """The value that a recorded call gives to an option; it must give it once."""
    (position,) = [i for i, part in enumerate(call) if part == name]
    return call[position + 1]
