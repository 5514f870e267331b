"""Real data and small models that the tests share."""

import contextlib
import copy
import functools
import gzip
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest
import sentencepiece
import torch
from fairseq import options, tasks
from fairseq.data import iterators
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import DictConfig

import rdrop_fairseq  # noqa: F401  (registers the criteria, lets torch load checkpoints)
from rdrop_fairseq.compat import FAST_PATH_COPIES

from . import fork_server

# a run of the suite is a function of the code; scripts/test.sh --fuzz looks for new examples
hypothesis.settings.register_profile(
    "suite", max_examples=60, derandomize=True, deadline=None, database=None
)
hypothesis.settings.register_profile(
    "fuzz", max_examples=150, deadline=None, database=None, print_blob=True
)
hypothesis.settings.load_profile("suite")

# PyTorch's cache of compiled code does not tell apart what ATEN_CPU_CAPABILITY asks for, nor CPUs:
# code of AVX2 that is taken for AVX-512 writes beyond its arrays
_CAPABILITY = re.findall(r"CPU capability usage: (\w+)", torch.__config__.show())
# matplotlib's settings and cache are not the user's, whose home may be read-only
for _variable, _folder in (
    ("TORCHINDUCTOR_CACHE_DIR", f"inductor-{'-'.join(_CAPABILITY)}"),
    ("MPLCONFIGDIR", "matplotlib"),
):
    os.environ[_variable] = os.path.join(tempfile.gettempdir(), f"rdrop-{os.getuid()}", _folder)
    os.makedirs(os.environ[_variable], exist_ok=True)

ROOT = Path(__file__).parent.parent
# no setting of a recipe comes from outside, as WORKERS does, which is one of scripts/test.sh, too
for _script in [*ROOT.glob("scripts/**/*.sh"), *ROOT.glob("examples/*/*.sh")]:
    for _setting in re.findall(r"\$\{([A-Z][A-Z_0-9]+):?[-+]", _script.read_text()):
        if _setting not in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "PYTHONWARNINGS", "CXX"):
            os.environ.pop(_setting, None)

CORPUS = ROOT / "scripts" / "quickstart_data"
BIN = Path(sys.executable).parent
# what tests put first on PATH: programs that start fast, then the real ones
STAND_INS = fork_server.folder_of_stand_ins()
PROGRAMS = f"{STAND_INS}:{BIN}"
USER_DIR = ["--user-dir", "rdrop_fairseq"]
# before a command: a limit on the size of files, 8 KiB, stands for a full disk
FULL_DISK = ["bash", "-c", 'ulimit -f 8; exec "$@"', "bash"]


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """The same within this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


PAIR = ["-s", "es", "-t", "en"]

# arguments that make a model tiny, for each architecture that is tested
_WIDTHS = "--encoder-embed-dim 16 --decoder-embed-dim 16"
ROBERTA = (
    "--arch roberta_base --encoder-layers 2 --encoder-embed-dim 16 --encoder-ffn-embed-dim 32 "
    "--encoder-attention-heads 2 --max-positions 256"
)
_LAYERS = f"{_WIDTHS} --encoder-layers 2 --decoder-layers 2"
_TRANSFORMER = (
    f"{_LAYERS} --encoder-ffn-embed-dim 32 --decoder-ffn-embed-dim 32 "
    "--encoder-attention-heads 2 --decoder-attention-heads 2"
)
ARCHS = {
    "transformer": f"{_TRANSFORMER} --share-all-embeddings",
    "transformer-untied": _TRANSFORMER,
    "lstm": f"{_WIDTHS} --encoder-layers 2 --decoder-layers 2 --encoder-bidirectional "
    "--encoder-hidden-size 16 --decoder-hidden-size 16 --decoder-out-embed-dim 16",
    "fconv": f"{_WIDTHS} --encoder-layers [(16,3)] --decoder-layers [(16,3)] "
    "--decoder-out-embed-dim 16",
    "bart_base": f"{_TRANSFORMER} --max-source-positions 128 --max-target-positions 128 "
    "--share-all-embeddings",
    "transformer_lm": "--decoder-layers 2 --decoder-embed-dim 16 --decoder-ffn-embed-dim 32 "
    "--decoder-attention-heads 2 --decoder-input-dim 16 --decoder-output-dim 16",
}


def pytest_configure(config: pytest.Config) -> None:
    """Start the fork server, one for all processes of pytest-xdist."""
    # a shell starts what runs in the background with Ctrl-C ignored, and so would all programs here
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        config.add_cleanup(fork_server.listen(Path(STAND_INS)))


def corpus_lines(split: str, language: str) -> list[str]:
    with gzip.open(CORPUS / f"{split}.{language}.gz", "rt", encoding="utf-8") as lines:
        return lines.read().splitlines()


def tracked(*paths: str) -> list[Path]:
    """The files of the project: those that git tracks, below ``paths`` if given."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout, to tell the project's files from others")
    # whoever the checkout belongs to
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", *paths]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def run(
    command: Sequence[Any], check: bool = True, real: bool = False, **kwargs: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command line as a user would, from the checkout unless ``cwd`` is given.

    ``real``: not forked, see fork_server.py; once for each program is enough.
    """
    programs = str(BIN) if real else PROGRAMS
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    environment |= {"OMP_NUM_THREADS": "1", **kwargs.pop("env", {})}
    python = sys.executable if real else f"{STAND_INS}/python"
    result = subprocess.run(
        [python if part == sys.executable else str(part) for part in command],
        capture_output=True,
        text=True,
        env=environment,
        **{"cwd": ROOT, **kwargs},
    )
    if check and result.returncode:
        ending = "\n".join((result.stdout + result.stderr).splitlines()[-15:])
        raise AssertionError(f"{command} gave {result.returncode}: ...\n{ending}")
    return result


def train(data: Path, save_dir: Path, *flags: str, arch: str = "transformer", **kwargs):
    command = ["fairseq-train", data / "bin", *PAIR, *USER_DIR, "--save-dir", save_dir]
    command += ["--arch", arch, *ARCHS[arch].split(), "--criterion", "rdrop", "--cpu"]
    command += ["--rdrop-alpha", "5", "--label-smoothing", "0.1", "--dropout", "0.2"]
    command += ["--optimizer", "adam", "--lr", "0.01", "--max-tokens", "1500"]
    command += ["--num-workers", "0", "--log-format", "json"]
    return run([*command, *flags], **kwargs)


def saved_parameters(save_dir: Path) -> dict[str, torch.Tensor]:
    """Those of the last checkpoint in ``save_dir``."""
    saved = torch.load(save_dir / "checkpoint_last.pt")["model"]
    # the first is never set, any memory; the others are 0 until a checkpoint is loaded
    idle = ("_float_tensor", *FAST_PATH_COPIES)
    return {name: value for name, value in saved.items() if name.rpartition(".")[2] not in idle}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300/40/40 real sentence pairs, in sentencepieces and binarised; bin/ and lm/."""
    folder = tmp_path_factory.mktemp("data")
    sizes = {"train": 300, "valid": 40, "test": 40}
    text = {}
    for split, size in sizes.items():
        verses = zip(corpus_lines(split, "es"), corpus_lines(split, "en"), strict=True)
        short = (pair for pair in verses if all(len(line.split()) <= 25 for line in pair))
        text[split, "es"], text[split, "en"] = map(list, zip(*islice(short, size), strict=True))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text["train", "es"] + text["train", "en"]),
        model_prefix=str(folder / "spm"),
        vocab_size=400,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    for (split, language), lines in text.items():
        encoded = "".join(" ".join(line) + "\n" for line in pieces.encode(lines, out_type=str))
        (folder / f"{split}.{language}").write_text(encoded)
        (folder / f"raw.{split}.{language}").write_text("".join(f"{line}\n" for line in lines))
    preprocess = ["fairseq-preprocess"]
    for split, flag in (("train", "--trainpref"), ("valid", "--validpref"), ("test", "--testpref")):
        preprocess += [flag, folder / split]
    run([*preprocess, "-s", "es", "-t", "en", "--joined-dictionary", "--destdir", folder / "bin"])
    for split, flag in (("train", "--trainpref"), ("valid", "--validpref"), ("test", "--testpref")):
        preprocess[preprocess.index(flag) + 1] = folder / f"{split}.en"
    run([*preprocess, "--only-source", "--destdir", folder / "lm"])
    return folder


def binarise(folder: Path, dictionary: Path, fields: dict[str, list[str]], *splits: str) -> None:
    """Sentence prediction's data: input0/, input1/ and label/ below ``folder``.

    Args:
        fields: lines of each field, the same number for every split.
    """
    for field, lines in fields.items():
        text = folder / f"{field}.txt"
        text.write_text("".join(f"{line}\n" for line in lines))
        command = ["fairseq-preprocess", "--only-source", "--destdir", folder / field]
        for split in splits:
            command += [f"--{split}pref", text]
        run(command if field == "label" else [*command, "--srcdict", dictionary])


@pytest.fixture(scope="session")
def pairs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 pairs of an English and a Spanish verse. classes/: is one the translation of the
    other, 1 or 0? ratings/: the ratio of their lengths."""
    folder = tmp_path_factory.mktemp("pairs")
    english = (data / "train.en").read_text().splitlines()[:160]
    spanish = (data / "train.es").read_text().splitlines()[:160]
    same = [str(row % 2) for row in range(160)]
    other = [spanish[row if row % 2 else (row + 7) % 160] for row in range(160)]
    ratio = [f"{len(a.split()) / len(b.split()):.4f}" for a, b in zip(english, other, strict=True)]
    for name in ("classes", "ratings"):
        (folder / name).mkdir()
        fields = {"input0": english, "input1": other}
        if name == "classes":
            fields["label"] = same
        binarise(folder / name, data / "bin" / "dict.en.txt", fields, "train", "valid")
    (folder / "ratings" / "label").mkdir()
    for split in ("train", "valid"):
        (folder / "ratings" / "label" / f"{split}.label").write_text("\n".join(ratio) + "\n")
    return folder


@pytest.fixture(scope="session")
def tagged(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120/40 real English sentences whose capitalised words are tagged, for sequence_tagging."""
    folder = tmp_path_factory.mktemp("tagged")
    lines = (data / "train.en").read_text().splitlines()[:160]
    split_of = {"train": lines[:120], "valid": lines[120:]}
    for field in ("input0", "label"):
        command = ["fairseq-preprocess", "--only-source", "--destdir", folder / field]
        for split, rows in split_of.items():
            text = folder / f"{split}.{field}"
            if field == "label":
                rows = [" ".join(tags_of_pieces(row.split())) for row in rows]
            text.write_text("".join(f"{row}\n" for row in rows))
            command += [f"--{split}pref", text]
        run(command if field == "label" else [*command, "--srcdict", data / "bin" / "dict.en.txt"])
    return folder


def tags_of_pieces(pieces: list[str]) -> list[str]:
    """Capitalised words in a row are a name; <pad> where a piece goes on with a word."""
    tags, before = [], "O"
    for piece in pieces:
        if not piece.startswith("\N{LOWER ONE EIGHTH BLOCK}"):
            tags.append("<pad>")
            continue
        name = "B-NAME" if before == "O" else "I-NAME"
        before = name if piece[1:2].isupper() else "O"
        tags.append(before)
    return tags


def configuration(task: str, command: Sequence[str]) -> DictConfig:
    """What fairseq-train makes of the arguments ``command``."""
    return copy.deepcopy(_configuration(task, *command))


@functools.cache  # it takes longer than most that is tested with it
def _configuration(task: str, *command: str) -> DictConfig:
    parser = options.get_training_parser(task)
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, list(command)))


@pytest.fixture(scope="session")
def build(data: Path) -> Callable[..., SimpleNamespace]:
    """build("transformer", "--dropout 0.1", criterion="rdrop", ...): what fairseq-train builds.

    Gives task, model, criterion(name, **settings) and a batch of real sentences.
    """
    task_of = {}

    def build(arch: str, flags: str = "") -> SimpleNamespace:
        lm = arch == "transformer_lm"
        command = [
            *(str(data / ("lm" if lm else "bin")), "--arch", arch.removesuffix("-untied")),
            *ARCHS[arch].split(),
            *flags.split(),
            *("--optimizer", "adam", "--max-tokens", "600"),
        ]
        command += ["--tokens-per-sample", "32"] if lm else ["-s", "es", "-t", "en"]
        cfg = configuration("language_modeling" if lm else "translation", command)
        if lm not in task_of:
            task_of[lm] = tasks.setup_task(cfg.task)
            task_of[lm].load_dataset("valid")
        task = task_of[lm]
        batches: iterators.EpochBatchIterator = task.get_batch_iterator(
            task.dataset("valid"), max_tokens=600
        )
        torch.manual_seed(0)
        model = task.build_model(cfg.model)
        for parameter in model.parameters():  # fairseq leaves some biases at 0
            if parameter.dim() == 1:
                torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.1)

        def criterion(name: str, **settings: Any) -> torch.nn.Module:
            args = {"sentence_avg": False, "label_smoothing": 0.1, **settings}
            from fairseq.criterions import CRITERION_REGISTRY

            return CRITERION_REGISTRY[name](task, **args)

        sample = next(batches.next_epoch_itr(shuffle=False))
        return SimpleNamespace(task=task, model=model, sample=sample, criterion=criterion)

    return build


@pytest.fixture(scope="session")
def trained(data, tmp_path_factory):
    """Eight updates, a checkpoint after four, BLEU of the valid set at the end."""
    folder = tmp_path_factory.mktemp("trained")
    result = train(
        *(data, folder, "--max-update", "8", "--save-interval-updates", "4"),
        *("--eval-bleu", "--eval-bleu-remove-bpe", "sentencepiece", "--report-accuracy"),
        *("--eval-bleu-args", '{"beam": 2, "max_len_b": 20}', "--update-freq", "2"),
    )
    return folder, result
