"""examples/wikitext103: whole at small size, its commands at full size, what bad input gives."""

import json
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rdrop_fairseq.errors import UsageError

from ..conftest import ROOT, corpus_lines
from .conftest import commands, script_of
from .fake import options

SCRIPTS = ROOT / "examples" / "wikitext103"
TINY = [
    *("--decoder-layers", "1", "--decoder-attention-heads", "2", "--decoder-embed-dim", "16"),
    *("--decoder-input-dim", "16", "--decoder-output-dim", "16", "--decoder-ffn-embed-dim", "16"),
    *("--num-workers", "0"),
]
script = script_of("wikitext103")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for split, number in (("train", 300), ("valid", 30), ("test", 30)):
        lines = corpus_lines(split, "en")[:number]
        (folder / f"wiki.{split}.tokens").write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def out(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What prepare.sh makes at small size."""
    out = tmp_path_factory.mktemp("out")
    script("prepare", arguments=["--small"], OUT=out, RAW_DIR=raw, WORKERS=1)
    return out


@pytest.mark.parametrize("model", ["gpt", "adaptive"])
def test_small_from_text_to_perplexity(raw, out, model) -> None:
    """The README's commands on tiny sizes; the word perplexity is the text's, not the pieces'."""
    script("train", arguments=["--small", *TINY], OUT=out, MODEL=model, UPDATES=2)
    folder = out / f"{model}.rdrop.1"
    log = (folder / "run.log").read_text()
    assert "R-Drop: 2 passes, alpha 1," in log
    assert '"train_num_updates": "2"' in log
    result = script("evaluate", arguments=["--small"], OUT=out, MODEL=model)
    report = json.loads((folder / "test" / "scores.json").read_text())
    pieces = (out / "pieces" / "wiki.test.tokens").read_text()
    text = (raw / "wiki.test.tokens").read_text()
    tokens, words = report["of"]["tokens"], report["of"]["words"]
    assert tokens == len(pieces.split()) + 30  # each line ends in </s>
    assert words == len(text.split()) + 30
    assert tokens > words
    bits = report["bits_per_token"] * tokens  # of the whole text
    assert math.log2(report["word_perplexity"]) * words == pytest.approx(bits)
    assert f"word perplexity {report['word_perplexity']:.2f} (" in result.stdout


def test_other_text(raw, out, tmp_path) -> None:
    """The model's dictionary and the pieces are of one text."""
    for path in raw.iterdir():
        lines = path.read_text().splitlines(keepends=True)
        (tmp_path / path.name).write_text("".join(lines[:10]))
    result = script(
        "prepare", arguments=["--small"], OUT=out, RAW_DIR=tmp_path, WORKERS=1, check=False
    )
    assert result.returncode == 1
    assert f"gpt2_bpe was made with other settings or data: {tmp_path.name} is" in result.stderr
    (tmp_path / "dict.txt").write_text("other 1\n")
    (tmp_path / "model.pt").touch()
    arguments = [tmp_path / "model.pt", "--small"]
    result = script("evaluate", arguments=arguments, OUT=out, check=False)
    assert result.returncode == 1
    assert f"has another dictionary than {tmp_path}/dict.txt" in result.stderr


def test_words_of_wikitext_are_tokens(tmp_path, modules, capsys) -> None:
    """WikiText-103's test set: 245,569 tokens, with the ends of its 4,358 lines (fairseq's README).

    Then the perplexity per word is the one per token: 30.46 in that README's example.
    """
    log = tmp_path / "log"
    measured = (
        "INFO | Evaluated 245,569 tokens in 56.1s (4379.02 tokens/s)\n"
        f"INFO | Loss (base 2): {math.log2(30.46):.4f}, Perplexity: 30.46\n"
    )
    other = "INFO | Evaluated 7 tokens in 1s\nINFO | Loss (base 2): 9, Perplexity: 512\n"
    log.write_text(other + measured)  # of the last start
    main = modules("word_perplexity").main
    main(["--log", str(log)])
    printed = capsys.readouterr().out
    assert printed.startswith("word perplexity 30.46 (245569 words and line ends; 245569 ")
    (tmp_path / "pieces").write_text("1 2 3\n")
    for name in ("encoder.json", "vocab.bpe"):
        (tmp_path / name).touch()
    pieces = ["--pieces", f"{tmp_path}/pieces", "--bpe-dir", str(tmp_path)]
    with pytest.raises(UsageError, match=r"log is not of the text .*pieces: they differ in length"):
        main(["--log", str(log), *pieces])
    log.write_text("INFO | loading model(s)\n")
    with pytest.raises(UsageError, match="word_perplexity: the log lacks fairseq-eval-lm's"):
        main(["--log", str(log)])


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
    "--update-freq": "16",
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
    "--update-freq": "3",
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
def test_training_arguments(model, criterion, expected) -> None:
    """On 8 GPUs: the settings of DESIGN.md and of fairseq's READMEs."""
    (command,) = commands("wikitext103", "train", MODEL=model, CRITERION=criterion, NGPU=8)
    found = options(command)
    for name, value in expected.items():
        assert found.get(name) == value, name
    assert ("--rdrop-alpha" in found) == (criterion == "rdrop")
    assert found["--save-dir"] == f"{ROOT}/runs/wikitext103/{model}.{criterion}.1"


def test_authors_protocol() -> None:
    """As R-Drop's train_lm_adaptive_wiki103_rdrop.sh and evaluate_lm_wiki103.sh have it."""
    readme = (SCRIPTS / "README.md").read_text()
    for line, expected in (
        (
            "MODEL=adaptive UPDATES=320000 bash examples/wikitext103/train.sh "
            "--rdrop-adaptive-kl target",
            {**ADAPTIVE, "--max-update": "320000", "--rdrop-adaptive-kl": "target"},
        ),
        (
            "MODEL=adaptive bash examples/wikitext103/evaluate.sh --tokens-per-sample 512 "
            "--context-window 400",
            {"--tokens-per-sample": "512", "--context-window": "400"},
        ),
    ):
        assert f"    {line}\n" in readme
        before, _, after = line.partition(" bash examples/wikitext103/")
        settings = dict(setting.split("=") for setting in before.split())
        name, *flags = after.split()
        (command,) = commands("wikitext103", name[:-3], *flags, NGPU=8, **settings)
        found = options(command)
        assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("model", "expected"), [("gpt", ["512", "400"]), ("adaptive", ["3072", "2560"])]
)
def test_evaluation_arguments(model, expected) -> None:
    (command,) = commands("wikitext103", "evaluate", "model.pt", MODEL=model, SUBSET="valid")
    found = options(command)
    names = ("--tokens-per-sample", "--context-window", "--batch-size", "--gen-subset", "--path")
    assert [found[name] for name in names] == [*expected, "2", "valid", "model.pt"]


def test_novels_are_not_mixed(tmp_path, modules) -> None:
    starts = ["EMMA", "NORTHANGER ABBEY", "Sir Walter Elliot, of Kellynch Hall, in Somersetshire, "]
    starts[2] += "was a man who,"
    starts.append("PRIDE AND PREJUDICE")
    novels = [f"{start}\nline of {n}\n\n\nmore   of {n}\n" for n, start in enumerate(starts)]
    text = tmp_path / "text"
    text.write_text("\n".join(novels))
    main = modules("austen_novels").main
    main(["--text", str(text), "--out", str(tmp_path / "out")])
    for split, expected in (("train", [0, 3]), ("valid", [1]), ("test", [2])):
        lines = (tmp_path / "out" / f"wiki.{split}.tokens").read_text().splitlines()
        wanted = [row for n in expected for row in (f"{starts[n]} line of {n}", f"more of {n}")]
        assert lines == wanted
    text.write_text("EMMA\n")
    with pytest.raises(UsageError, match="has no line 'NORTHANGER ABBEY': expected all six novels"):
        main(["--text", str(text), "--out", str(tmp_path / "none")])


def test_export(tmp_path, monkeypatch, modules) -> None:
    """The rows of `datasets` are lines; their newline comes with them unless they are empty."""
    rows = {"text": ["", " = A = \n", " word \n"]}

    def load_dataset(*what: str) -> dict[str, dict[str, list[str]]]:
        assert what == ("Salesforce/wikitext", "wikitext-103-v1")
        return dict.fromkeys(("train", "validation", "test"), rows)

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    modules("export_dataset").main(["--out", f"{tmp_path}/out"])
    found = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    names = [f"wiki.{split}.tokens" for split in ("train", "valid", "test")]
    assert found == dict.fromkeys(names, "\n = A = \n word \n")


@pytest.mark.parametrize(
    ("name", "arguments", "settings", "message"),
    [
        ("prepare", ["--small"], {}, "--small needs RAW_DIR; austen_novels.py can make one"),
        ("prepare", [], {"RAW_DIR": "none"}, r"RAW_DIR \(none\) lacks wiki.train.tokens, or it is"),
        ("train", [], {"MODEL": "gpt3"}, "MODEL must be gpt or adaptive, got 'gpt3'"),
        ("train", [], {"CRITERION": "x"}, "CRITERION must be rdrop or baseline, got 'x'"),
        ("evaluate", [], {}, "no such checkpoint: .*/gpt.rdrop.1/checkpoint_best.pt"),
        ("evaluate", [], {"SUBSET": "dev"}, "SUBSET must be test or valid, got 'dev'"),
    ],
)
def test_wrong_settings(tmp_path, name, arguments, settings, message) -> None:
    result = script(name, arguments=arguments, OUT=tmp_path / "out", **settings, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert re.match(f"wikitext103/{name}.sh: .*{message}", line)
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
