"""examples/iwslt14: whole at small size, its hyper-parameters, and what bad input gives."""

import json
import re

import pytest

from ..conftest import ROOT, run
from . import raw_archives
from .conftest import option
from .test_wmt14 import SMALL, last_line, prepared, text_as  # noqa: F401

SCRIPTS = ROOT / "examples" / "iwslt14"


def script(name: str, *arguments: str, **kwargs):
    return run(["bash", SCRIPTS / f"{name}.sh", *arguments], **kwargs)


def test_small_from_archive_to_scores(tmp_path) -> None:
    """From English, out of the archive for the other direction, in Moses' tokens."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    text = text_as("de-en", 300)
    raw_archives.write("iwslt14", "en-de", raw, text)
    env = {**SMALL, "RAW_DIR": str(raw), "OUT": str(out), "BPE": "moses", "MAX_UPDATE": "2"}
    script("prepare", "en-de", env=env)
    # titles and sentences of the talks, none of their other tags
    assert (out / "corpora" / "train.de").read_text().splitlines() == text["de"][60:]
    assert (out / "clean" / "test.de").read_text().splitlines() == text["de"][:60]
    kept = json.loads((out / "clean" / "train.clean.json").read_text())["all"]["kept"]
    valid = (out / "clean" / "valid.en").read_text().splitlines()
    assert len(valid) == kept // 23
    assert not set(valid) & set((out / "clean" / "train.en").read_text().splitlines())
    pieces = (out / "pieces" / "test.pieces.de").read_text()
    assert pieces == pieces.lower()
    assert "@@ " in pieces

    script("train", "en-de", env=env)
    assert '"valid_bleu"' in (out / "rdrop" / "train.log").read_text()
    scores = script("evaluate", "en-de", env={**env, "AVERAGE": "1"}).stdout
    assert "tokenised BLEU" in scores
    assert "BLEU|nrefs:1|case:lc|eff:no|tok:none" in scores
    assert "with the paper's (de-en: 37.25; baseline 34.64)" in scores
    assert "No paired bootstrap: there is no" in scores
    assert "@@" not in (out / "rdrop" / "hyp.txt").read_text()
    assert (out / "rdrop" / "ref.txt").read_text().splitlines() == text["de"][:60]


PAPER = {
    "--arch": "transformer_iwslt_de_en",
    "--criterion": "rdrop",
    "--rdrop-alpha": "5",
    "--label-smoothing": "0.1",
    "--dropout": "0.3",
    "--optimizer": "adam",
    "--adam-betas": "(0.9,0.98)",
    "--weight-decay": "0.0001",
    "--lr": "5e-4",
    "--lr-scheduler": "inverse_sqrt",
    "--warmup-updates": "4000",
    "--warmup-init-lr": "1e-07",
    "--max-update": "300000",
    "--max-tokens": "4096",
    "--update-freq": "1",
    "--seed": "64",
    "--eval-bleu-args": '{"beam": 5, "max_len_a": 1.2, "max_len_b": 10}',
    "--best-checkpoint-metric": "bleu",
    "--keep-last-epochs": "10",
}


@pytest.mark.parametrize(
    "pair", [f"{x}-en" for x in ("de", "fr", "zh", "es")] + ["en-de", "en-fr", "en-zh", "en-es"]
)
def test_hyper_parameters(fake, prepared, pair) -> None:  # noqa: F811
    """Those of the authors' run_train.sh (dropreg/R-Drop, translation_rdrop), for all pairs."""
    for language in ("zh", "es"):
        (prepared / "data-bin" / f"dict.{language}.txt").write_text("a 1\n")
    script("train", pair, env={**fake.env(8), "OUT": str(prepared)})
    (call,) = fake.calls()
    assert call[0] == "fairseq-train"
    paper = dict(PAPER)
    if pair == "en-zh":  # fairseq's BLEU takes a Chinese sentence for one word
        del paper["--eval-bleu-args"]
        paper["--best-checkpoint-metric"] = "loss"
        assert "--eval-bleu" not in call
    else:
        assert {"--eval-bleu", "--maximize-best-checkpoint-metric"} <= set(call)
    for name, value in paper.items():
        assert option(call, name) == value, name
    assert [option(call, "--source-lang"), option(call, "--target-lang")] == pair.split("-")
    # one GPU of the eight, unless NGPU says more
    assert option(call, "--distributed-world-size") == "1"
    assert "--share-all-embeddings" in call


@pytest.mark.parametrize(
    ("gpus", "machines", "max_tokens", "effective"),
    [(1, 1, 4096, 4096), (3, 1, 1366, 4098), (4, 1, 1024, 4096), (8, 2, 256, 4096)],
)
def test_effective_batch(fake, prepared, gpus, machines, max_tokens, effective) -> None:  # noqa: F811
    env = {**fake.env(gpus), "OUT": str(prepared), "NGPU": str(gpus)}
    result = script("train", "de-en", env={**env, "NNODES": str(machines), "MASTER_ADDR": "a"})
    assert f"update-freq 1 (computed) = {effective} tokens; the recipe's: 4096" in result.stdout
    (call,) = fake.calls()
    assert option(call, "--max-tokens") == str(max_tokens)


def test_archives_that_cannot_be_downloaded(tmp_path) -> None:
    result = script("prepare", "fr-en", env={"OUT": str(tmp_path)}, check=False)
    assert result.returncode == 1
    assert "fr-en.tgz  (not to be had at a fixed address: see the README)" in result.stderr
    assert last_line(result).endswith("raw lacks the 1 archive(s) above")


@pytest.mark.parametrize("name", ["prepare", "train", "evaluate"])
def test_unknown_pair_and_help(name) -> None:
    result = script(name, "de-fr", check=False)
    assert result.returncode == 1
    assert re.match(f"iwslt14/{name}: unknown pair de-fr: IWSLT14 is de, fr, zh", result.stderr)
    assert f"bash examples/iwslt14/{name}.sh SOURCE-TARGET" in script(name, "--help").stdout


def test_chinese_has_no_moses_words(tmp_path) -> None:
    env = {"OUT": str(tmp_path), "BPE": "moses"}
    result = script("prepare", "zh-en", env=env, check=False)
    assert "BPE=moses cannot split Chinese into words" in last_line(result)
