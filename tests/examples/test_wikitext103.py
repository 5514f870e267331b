"""examples/wikitext103: the three scripts on small real text, their arguments, their errors."""

import gzip
import json
import math
import re
import shutil
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT, corpus_lines, run
from .conftest import script_of
from .fake import TRAINED, FakePrograms, as_if_stopped, options

HERE = ROOT / "examples" / "wikitext103"
TINY = (
    "--decoder-layers 1 --decoder-embed-dim 16 --decoder-input-dim 16 --decoder-output-dim 16 "
    "--decoder-ffn-embed-dim 16 --decoder-attention-heads 2 --num-workers 0"
)
script = script_of("wikitext103")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for split, number in (("train", 300), ("valid", 30), ("test", 30)):
        lines = corpus_lines(split, "en")[:number]
        (folder / f"wiki.{split}.tokens").write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.mark.parametrize("model", ["gpt", "adaptive"])
def test_small_from_text_to_perplexity(raw, tmp_path, model) -> None:
    """The README's commands on tiny sizes; the word perplexity is the text's, not the pieces'."""
    settings = {"SMALL": 1, "CPU": 1, "OUT": tmp_path, "MODEL": model}
    script("prepare", RAW_DIR=raw, WORKERS=1, **settings)
    script("train", UPDATES=2, TRAIN_ARGS=TINY, **settings)
    folder = tmp_path / f"{model}.rdrop.1"
    log = (folder / "train.log").read_text()
    assert "R-Drop: 2 passes, alpha 1," in log
    assert "num_updates 2 |" in log
    result = script("evaluate", **settings)
    report = json.loads((folder / "perplexity.test.json").read_text())
    pieces = (tmp_path / "pieces" / "wiki.test.tokens").read_text()
    text = (raw / "wiki.test.tokens").read_text()
    assert report["tokens"] == len(pieces.split()) + 30  # each line ends in </s>
    assert report["words"] == len(text.split()) + 30
    assert report["tokens"] > report["words"]
    assert report["token_perplexity"] == pytest.approx(2 ** report["bits_per_token"])
    bits = report["bits_per_token"] * report["tokens"]  # of the whole text
    assert math.log2(report["word_perplexity"]) * report["words"] == pytest.approx(bits)
    assert f"word perplexity {report['word_perplexity']:.2f} (" in result.stdout


def test_text_that_has_changed(raw, tmp_path) -> None:
    """Words are counted in the text, pieces in the data: they must be of one text."""
    text, out = tmp_path / "text", tmp_path / "out"
    shutil.copytree(raw, text)
    settings = {"SMALL": 1, "RAW_DIR": text, "WORKERS": 1, "OUT": out}
    script("prepare", **settings)
    assert "ready to train on" in script("prepare", **settings).stdout
    lines = (text / "wiki.test.tokens").read_text().splitlines(keepends=True)
    (text / "wiki.test.tokens").write_text("".join(lines[:10]))
    result = script("prepare", check=False, **settings)
    assert result.returncode == 1
    assert re.search(r"other settings .*> checksum=.*set OUT to another folder", result.stderr)
    (tmp_path / "model.pt").touch()
    settings["arguments"] = [tmp_path / "model.pt"]
    result = script("evaluate", check=False, **settings)
    assert result.returncode == 1
    assert f"the text in {out}/raw is not what {out}/bin was made of" in result.stderr


def test_words_of_wikitext_are_tokens(tmp_path) -> None:
    """WikiText-103's test set: 245,569 tokens, with the ends of its 4,358 lines (fairseq's README).

    Then the perplexity per word is the one per token: 30.46 in that README's example.
    """
    (tmp_path / "log").write_text(
        "INFO | Evaluated 245,569 tokens in 56.1s (4379.02 tokens/s)\n"
        f"INFO | Loss (base 2): {math.log2(30.46):.4f}, Perplexity: 30.46\n"
    )
    words = [55] * 4358
    words[0] += 245569 - 4358 - sum(words)
    (tmp_path / "text").write_text("".join(" w" * n + " \n" for n in words))
    command = [sys.executable, HERE / "word_perplexity.py", "--text", tmp_path / "text"]
    result = run([*command, "--log", tmp_path / "log"])
    assert result.stdout.startswith("word perplexity 30.46 (245569 words and line ends; 245569 ")
    (tmp_path / "log").write_text("INFO | loading model(s)\n")
    result = run([*command, "--log", tmp_path / "log"], check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("word_perplexity: the log lacks fairseq-eval-lm's")


GPT = {
    "--task": "language_modeling",
    "--sample-break-mode": "none",
    "--arch": "transformer_lm_gpt",
    "--share-decoder-input-output-embed": True,
    "--dropout": "0.1",
    "--tokens-per-sample": "512",
    "--optimizer": "adam",
    "--adam-betas": "(0.9, 0.98)",
    "--weight-decay": "0.01",
    "--lr": "5e-4",
    "--lr-scheduler": "inverse_sqrt",
    "--warmup-updates": "4000",
    "--max-update": "50000",
    "--max-tokens": "2000",
    "--update-freq": "128",
}
ADAPTIVE = {
    "--task": "language_modeling",
    "--sample-break-mode": "none",
    "--arch": "transformer_lm_wiki103",
    "--tokens-per-sample": "3072",
    "--optimizer": "nag",
    "--clip-norm": "0.1",
    "--lr": "1.0",
    "--lr-scheduler": "cosine",
    "--t-mult": "2",
    "--lr-period-updates": "270000",
    "--lr-shrink": "0.75",
    "--warmup-updates": "16000",
    "--warmup-init-lr": "1e-07",
    "--stop-min-lr": "1e-09",
    "--min-lr": "0.0001",
    "--max-update": "286000",
    "--max-tokens": "3072",
    "--update-freq": "24",
    "--ddp-backend": "legacy_ddp",
}


@pytest.mark.parametrize(
    ("model", "criterion", "expected"),
    [
        ("gpt", "rdrop", {**GPT, "--criterion": "rdrop", "--rdrop-alpha": "1"}),
        ("gpt", "baseline", {**GPT, "--criterion": "cross_entropy"}),
        (
            "adaptive",
            "rdrop",
            {**ADAPTIVE, "--criterion": "rdrop_adaptive_loss", "--rdrop-alpha": "1"},
        ),
        ("adaptive", "baseline", {**ADAPTIVE, "--criterion": "adaptive_loss"}),
    ],
)
def test_training_arguments(tmp_path, model, criterion, expected) -> None:
    """What fairseq-train is given: the settings of DESIGN.md and of fairseq's READMEs."""
    programs = ("fairseq-train", "torchrun")
    fake = FakePrograms(tmp_path / "fake", *programs, fairseq_train=TRAINED, torchrun=TRAINED)
    (tmp_path / "out" / "bin").mkdir(parents=True)
    (tmp_path / "out" / "bin" / "dict.txt").touch()
    settings = {"PATH": f"{fake.folder}:/usr/bin:/bin", "OUT": tmp_path / "out", "CPU": 1}
    settings |= {"MODEL": model, "CRITERION": criterion}
    result = script("train", **settings)
    (arguments,) = fake.calls("fairseq-train")
    found = options(arguments)
    for name, value in expected.items():
        assert found.get(name) == value, name
    assert ("--rdrop-alpha" in found) == (criterion == "rdrop")
    tokens = {"gpt": 256000, "adaptive": 73728}[model]
    assert f"= {tokens} tokens; the recipe's: {tokens}" in result.stdout
    assert "is trained already" in script("train", NGPU=8, **settings).stdout
    as_if_stopped(tmp_path / "out" / f"{model}.{criterion}.1")
    script("train", NGPU=8, **settings)
    (arguments,) = fake.calls("torchrun")
    assert options(arguments)["--update-freq"] == {"gpt": "16", "adaptive": "3"}[model]
    folder = tmp_path / "out" / f"{model}.{criterion}.1"
    (folder / "checkpoint_last.pt").touch()
    # fewer tokens than a sample has, or another text
    result = script("train", MAX_TOKENS=500, check=False, **settings)
    assert result.returncode == 1
    sample = {"gpt": 512, "adaptive": 3072}[model]
    assert f"MAX_TOKENS must be at least {sample}, the tokens of a sample" in result.stderr
    (folder / "dict.txt").write_text("other 1\n")
    result = script("train", check=False, **settings)
    assert result.returncode == 1
    assert "was trained on other text than " in result.stderr
    (folder / "dict.txt").unlink()
    result = script("train", TRAIN_ARGS="--dropout 0.3", UPDATES=10, check=False, **settings)
    assert result.returncode == 1
    for message in ("> --max-update 10 ", "> --dropout 0.3; set SAVE_DIR to another folder"):
        assert message in result.stderr


def test_authors_protocol(tmp_path) -> None:
    """What R-Drop's train_lm_adaptive_wiki103_rdrop.sh has and its baseline's script has not."""
    fake = FakePrograms(tmp_path / "fake", "fairseq-train", "torchrun", fairseq_train=TRAINED)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dict.txt").touch()
    settings = {"PATH": f"{fake.folder}:/usr/bin:/bin", "OUT": tmp_path, "CPU": 1}
    settings |= {"PROTOCOL": "authors", "MODEL": "adaptive"}
    script("train", **settings)
    folder = tmp_path / "adaptive.rdrop.1.authors"
    as_if_stopped(folder)
    for name in ("checkpoint_best.pt", "checkpoint_last.pt"):
        (folder / name).touch()
    script("train", **settings)
    script("train", CRITERION="baseline", **settings)
    script("train", **{**settings, "MODEL": "gpt"})
    first, resumed, baseline, gpt = map(options, fake.calls("fairseq-train"))
    for name, value in {**ADAPTIVE, "--max-update": "320000"}.items():
        assert first.get(name) == value, name
    assert first["--rdrop-adaptive-kl"] == "target"
    assert "--restore-file" not in first
    assert resumed == {**first, "--restore-file": str(folder / "checkpoint_best.pt")}
    # their other trainings are the recipe's
    for found, expected in ((baseline, ADAPTIVE), (gpt, GPT)):
        assert {name: found.get(name) for name in expected} == expected
        assert not {"--rdrop-adaptive-kl", "--restore-file"} & found.keys()
        assert not found["--save-dir"].endswith("authors")


@pytest.mark.parametrize(
    ("model", "protocol", "expected"),
    [
        ("gpt", "recipe", {"--tokens-per-sample": "512", "--context-window": "400"}),
        ("gpt", "authors", {"--tokens-per-sample": "512", "--context-window": "400"}),
        ("adaptive", "recipe", {"--tokens-per-sample": "3072", "--context-window": "2560"}),
        ("adaptive", "authors", {"--tokens-per-sample": "512", "--context-window": "400"}),
    ],
)
def test_evaluation_arguments(raw, tmp_path, model, protocol, expected) -> None:
    fake = FakePrograms(
        tmp_path / "fake", "fairseq-eval-lm", fairseq_eval_lm="echo no memory >&2; exit 1\n"
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dict.txt").touch()
    (tmp_path / "bin" / "test.bin").write_text("x")
    (tmp_path / "raw").symlink_to(raw)
    (tmp_path / "model.pt").touch()
    settings = {"PATH": f"{fake.folder}:/usr/bin:/bin", "OUT": tmp_path, "MODEL": model}
    settings |= {"PROTOCOL": protocol}
    expected = {**expected, "--batch-size": "2"}
    result = script("evaluate", arguments=[tmp_path / "model.pt"], check=False, **settings)
    (arguments,) = fake.calls("fairseq-eval-lm")
    found = options(arguments)
    for name, value in {**expected, "--path": str(tmp_path / "model.pt")}.items():
        assert found.get(name) == value, name
    assert result.returncode == 1
    assert result.stderr.splitlines()[0] == "no memory"
    assert "evaluate: fairseq-eval-lm failed" in result.stderr
    assert not list(tmp_path.glob("perplexity*"))
    name = "test.authors" if (model, protocol) == ("adaptive", "authors") else "test"
    assert (tmp_path / f"eval.{name}.log.tmp").exists()


def test_novels_are_not_mixed(tmp_path) -> None:
    starts = ["EMMA", "NORTHANGER ABBEY", "Sir Walter Elliot, of Kellynch Hall, in Somersetshire, "]
    starts[2] += "was a man who,"
    starts.append("PRIDE AND PREJUDICE")
    novels = [f"{start}\nline of {n}\n\n\nmore   of {n}\n" for n, start in enumerate(starts)]
    (tmp_path / "text").write_bytes(gzip.compress("\n".join(novels).encode()))
    command = [sys.executable, HERE / "austen_novels.py", "--text", tmp_path / "text", "--out"]
    run([*command, tmp_path / "out"])
    for split, expected in (("train", [0, 3]), ("valid", [1]), ("test", [2])):
        lines = (tmp_path / "out" / f"wiki.{split}.tokens").read_text().splitlines()
        wanted = [row for n in expected for row in (f"{starts[n]} line of {n}", f"more of {n}")]
        assert lines == wanted
    (tmp_path / "text").write_bytes(gzip.compress(b"EMMA\n"))
    result = run([*command, tmp_path / "none"], check=False)
    assert result.returncode == 1
    assert "has no line 'NORTHANGER ABBEY': expected all six novels" in result.stderr


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("prepare", {"SMALL": 1}, "SMALL=1 needs RAW_DIR; austen_novels.py can make one"),
        ("prepare", {"RAW_DIR": "none"}, r"RAW_DIR \(none\) lacks wiki.train.tokens, or it is"),
        ("prepare", {"WORKERS": 0}, "WORKERS must be a whole number of at least 1, got '0'"),
        ("train", {}, "no data in .*/bin: run prepare.sh with the same OUT and SMALL"),
        ("train", {"MODEL": "gpt3"}, "MODEL must be gpt or adaptive, got 'gpt3'"),
        ("train", {"CRITERION": "x"}, "CRITERION must be rdrop or baseline, got 'x'"),
        ("train", {"PROTOCOL": "x"}, "PROTOCOL must be recipe or authors, got 'x'"),
        ("train", {"SEED": "x"}, "SEED must be a whole number of at least 0, got 'x'"),
        ("train", {"ALPHA": "x"}, "ALPHA must be a number >= 0, got 'x'"),
        ("evaluate", {}, "no such checkpoint: .*/gpt.rdrop.1/checkpoint_best.pt"),
        ("evaluate", {"SUBSET": "dev"}, "SUBSET must be test or valid, got 'dev'"),
        ("evaluate", {"CONTEXT_WINDOW": 512}, r"must be below TOKENS_PER_SAMPLE \(512\), got"),
        ("evaluate", {"arguments": ["-x"]}, "unknown option -x; see --help"),
    ],
)
def test_wrong_settings(tmp_path, name, settings, message) -> None:
    result = script(name, OUT=tmp_path / "out", **settings, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert re.match(f"wikitext103/{name}: .*{message}", line)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("split", ["valid", "test"])
def test_missing_split(raw, tmp_path, split) -> None:
    for path in raw.iterdir():
        if split not in path.name:
            (tmp_path / path.name).symlink_to(path)
    result = script("prepare", RAW_DIR=tmp_path, OUT=tmp_path / "out", check=False)
    assert result.returncode == 1
    assert f"lacks wiki.{split}.tokens, or it is empty" in result.stderr
    assert not (tmp_path / "out").exists()
