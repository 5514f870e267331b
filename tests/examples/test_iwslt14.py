"""examples/iwslt14: whole at small size, its commands at full size, and what bad input gives."""

import json
import re
from types import SimpleNamespace

import pytest

from ..conftest import ROOT
from . import raw_archives
from .conftest import commands, script_of
from .fake import options
from .test_wmt14 import as_if_prepared, text_as

script = script_of("iwslt14")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> SimpleNamespace:
    """From English, out of the archive for the other direction, in Moses' tokens."""
    folder = tmp_path_factory.mktemp("iwslt14")
    raw, out = folder / "raw", folder / "out"
    text = text_as("de-en")
    text["de"][101] = "<b> " + text["de"][101]  # not a tag of the talks
    raw_archives.write("iwslt14", "en-de", raw, text)
    settings = {"OUT": out, "RAW_DIR": raw, "ARCHIVES": raw / "archives.tsv", "WORKERS": 1}

    def start(name: str, **more) -> str:
        return script(name, arguments=["en-de", "--small"], **settings, **more).stdout

    start("prepare", BPE="moses")
    trained = start("train", UPDATES=2)  # no BPE: it is known
    scores = start("evaluate", AVERAGE=1)
    return SimpleNamespace(out=out, text=text, trained=trained, scores=scores)


def test_sets(small) -> None:
    """Titles and sentences of the talks, none of their other tags; every 23rd pair held out."""
    text, out = small.text["de"], small.out
    assert (out / "corpora" / "train.de").read_text().splitlines() == text[60:]
    assert (out / "corpora" / "test.de").read_text().splitlines() == text[:60]
    kept = json.loads((out / "clean" / "train.clean.json").read_text())["all"]["kept"]
    valid = (out / "clean" / "valid.en").read_text().splitlines()
    assert len(valid) == kept // 23
    assert not set(valid) & set((out / "clean" / "train.en").read_text().splitlines())
    pieces = (out / "pieces" / "test.pieces.de").read_text()
    assert pieces == pieces.lower()
    assert "@@ " in pieces


def test_scores(small) -> None:
    assert '"valid_bleu"' in small.trained
    assert "tokenised BLEU" in small.scores
    assert "BLEU|nrefs:1|case:lc|eff:no|tok:none" in small.scores
    assert "  tokenised BLEU with the paper's 30.72 (baseline 28.57), if" in small.scores
    assert "  tokenised compound-split BLEU with the same, if that is what" in small.scores
    assert "No paired bootstrap: there is no" in small.scores
    run = small.out / "rdrop"
    # the reference of the tokens is what the model was to write
    pieces = (small.out / "pieces" / "test.pieces.de").read_text()
    assert (run / "ref.tok.txt").read_text() == pieces.replace("@@ ", "")
    assert json.loads((run / "scores.json").read_text())["perfect"]["BLEU"] > 90
    assert "@@" not in (run / "hyp.txt").read_text()
    assert (run / "ref.txt").read_text().splitlines() == small.text["de"][:60]


PAPER = {
    "--arch": "transformer_iwslt_de_en",
    "--criterion": "rdrop",
    "--rdrop-alpha": "5",
    "--label-smoothing": "0.1",
    "--share-all-embeddings": True,
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
    "--eval-bleu": True,
    "--eval-bleu-args": '{"beam": 5, "max_len_a": 1.2, "max_len_b": 10}',
    "--best-checkpoint-metric": "bleu",
    "--maximize-best-checkpoint-metric": True,
    "--keep-last-epochs": "10",
    "--distributed-world-size": "1",  # one GPU of all, unless NGPU says more
}


@pytest.mark.parametrize("pair", ["de-en", "en-zh", "es-en", "fr-en"])
def test_hyper_parameters(pair) -> None:
    """Those of the authors' run_train.sh (dropreg/R-Drop, translation_rdrop), for all pairs."""
    (command,) = commands("iwslt14", "train", pair)
    given = options(command)
    source, target = pair.split("-")
    paper = PAPER | {"--source-lang": source, "--target-lang": target}
    if target == "zh":  # fairseq's BLEU takes a Chinese sentence for one word
        paper = {name: value for name, value in paper.items() if "bleu" not in name}
        del paper["--maximize-best-checkpoint-metric"]
        paper["--best-checkpoint-metric"] = "loss"
        assert "--eval-bleu" not in given
    assert {name: given[name] for name in paper} == paper


def test_gpus_share_the_tokens() -> None:
    """As the README has it."""
    readme = (ROOT / "examples" / "iwslt14" / "README.md").read_text()
    assert "`NGPU=4 bash examples/iwslt14/train.sh de-en --max-tokens 1024`" in readme
    (command,) = commands("iwslt14", "train", "de-en", "--max-tokens", "1024", NGPU=4)
    given = options(command)
    assert [given[name] for name in ("--update-freq", "--nproc-per-node")] == ["1", "4"]


@pytest.mark.parametrize(
    ("pair", "bpe", "cleaned", "encoded"),
    [
        ("de-en", "sentencepiece", "1.5 --hold-out 23", "sentencepiece"),
        ("en-de", "moses", "1.5 --hold-out 23", "moses --normalise --lowercase"),
        ("es-en", "moses", "1.5", "moses --normalise"),
        ("en-zh", "sentencepiece", "3", "sentencepiece --character-coverage 0.9995"),
    ],
)
def test_prepared_at_full_size(pair, bpe, cleaned, encoded) -> None:
    _, clean, encode, _, _ = commands("iwslt14", "prepare", pair, BPE=bpe)
    out = f"{ROOT}/runs/iwslt14.{pair}"
    assert f"--max-words 175 --max-ratio {cleaned} --" in " ".join(clean)
    assert f"--bpe {encoded} --vocab-size 10000 --" in " ".join(encode)
    held_out = "clean" if "hold-out" in cleaned else "corpora"
    given = options(encode)
    assert (given["--valid"], given["--test"]) == (f"{out}/{held_out}/valid", f"{out}/corpora/test")


@pytest.mark.parametrize(
    ("pair", "bpe", "flags"),
    [
        ("de-en", "sentencepiece", "--tokenised en --pieces"),
        ("en-de", "moses", "--detokenise de --lowercase --pieces"),
        ("en-fr", "moses", "--detokenise fr --pieces"),
        ("en-zh", "sentencepiece", "--language zh --beam"),
    ],
)
def test_evaluation_at_full_size(tmp_path, pair, bpe, flags) -> None:
    as_if_prepared(tmp_path, bpe, *pair.split("-"))
    (command,) = commands("iwslt14", "evaluate", pair, OUT=tmp_path)
    given = options(command)
    assert (given["--beam"], given["--lenpen"], given["--average"]) == ("5", "1.0", "10")
    assert f" {flags} " in " ".join(command)


@pytest.mark.parametrize("name", ["prepare", "train", "evaluate"])
def test_unknown_pair_and_help(name) -> None:
    result = script(name, check=False, arguments=["de-fr"])
    assert result.returncode == 1
    assert re.match(f"iwslt14/{name}.sh: unknown pair de-fr: IWSLT is de, fr, zh", result.stderr)
    printed = script(name, arguments=["--help"]).stdout
    assert f"bash examples/iwslt14/{name}.sh SOURCE-TARGET [--small] [--dry-run]" in printed


def test_chinese_has_no_moses_words() -> None:
    result = script("prepare", check=False, arguments=["zh-en"], BPE="moses")
    assert "BPE=moses cannot split Chinese into words" in result.stderr
