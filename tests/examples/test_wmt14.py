"""examples/wmt14: whole at small size, its commands at full size, and what bad input gives."""

import hashlib
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from sacrebleu import DATASETS

from rdrop_fairseq.tools.corpus import fetch

from ..conftest import PROGRAMS, ROOT, corpus_lines, run
from . import raw_archives
from .conftest import commands, script_of
from .fake import FakePrograms, options

RECIPE = ROOT / "examples" / "wmt14"
script = script_of("wmt14")


def text_as(pair: str, size: int = 300) -> dict[str, list[str]]:
    """Spanish-English verses passed off as another pair."""
    other = next(language for language in pair.split("-") if language != "en")
    return {other: corpus_lines("train", "es")[:size], "en": corpus_lines("train", "en")[:size]}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> SimpleNamespace:
    """en-fr from archives to scores: OUT, its settings, and what the scripts printed."""
    folder = tmp_path_factory.mktemp("wmt14")
    raw, out = folder / "raw", folder / "out"
    raw_archives.write("wmt14", "en-fr", raw, text_as("en-fr"))
    settings = {"OUT": out, "RAW_DIR": raw, "ARCHIVES": raw / "archives.tsv", "WORKERS": 1}

    def start(name: str, *flags: str, **more) -> str:
        return script(name, arguments=["en-fr", "--small", *flags], **settings, **more).stdout

    prepared = [start("prepare"), start("prepare")]
    trained = [start("train", UPDATES=2), start("train", UPDATES=2)]
    copied = start("train", "--dry-run", UPDATES=4)
    trained.append(run(["bash", "-c", copied], cwd=folder).stdout)  # not from the checkout
    (out / "baseline").mkdir()  # as if one had been evaluated
    (out / "baseline" / "hyp.txt").write_text("Y\n" * raw_archives.HELD_OUT)
    scores = start("evaluate", "--beam", "2")
    return SimpleNamespace(
        out=out, settings=settings, prepared=prepared, trained=trained, scores=scores
    )


def test_every_sentence_is_there_once(small) -> None:
    """Those for training in any order, the test sets line by line as they were."""
    text, held_out = text_as("en-fr"), raw_archives.HELD_OUT
    for name, start in (("newstest2013", 0), ("newstest2014", held_out)):
        for language, lines in text.items():
            found = (small.out / "corpora" / f"{name}.{language}").read_text().splitlines()
            assert found == lines[start : start + held_out]
    counts = json.loads((small.out / "clean" / "train.clean.json").read_text())
    assert counts["corpora"].keys() == {
        *("europarl-v7", "commoncrawl", "un", "news-commentary-v9", "giga-fren")
    }
    assert counts["all"]["pairs"] == len(text["en"]) - 2 * held_out
    train = (small.out / "clean" / "train.en").read_text().splitlines()
    assert len(train) == counts["all"]["kept"]
    assert set(train) <= set(text["en"][2 * held_out :])


def test_manifest(small) -> None:
    manifest = json.loads((small.out / "manifest.json").read_text())
    content = (small.out / "clean" / "train.en").read_bytes()
    assert manifest["files"]["clean/train.en"] == {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "lines": content.count(b"\n"),
        "tokens": len(content.split()),
    }
    assert {"corpora/un.fr", "data-bin/train.en-fr.fr.bin"} <= manifest["files"].keys()
    assert manifest["settings"] == {"pair": "en-fr", "bpe": "sentencepiece"}


def test_what_is_made_stays(small) -> None:
    """And is not taken for what other settings would make."""
    for folder in ("corpora", "clean", "pieces", "data-bin"):
        assert f"{small.out}/{folder} is made already" in small.prepared[1]
    assert not list(small.out.rglob("*.tmp"))
    arguments = ["en-fr", "--small"]
    result = script("prepare", check=False, arguments=arguments, VOCAB_SIZE=600, **small.settings)
    assert "pieces was made with other settings or data: --vocab-size 500 then, 600 now" in (
        result.stderr
    )
    result = script("train", check=False, arguments=arguments, ALPHA=3, **small.settings)
    assert "--rdrop-alpha 5 then, 3 now" in result.stderr
    # and not of other data: they are the same size, and read anew, since the time is another
    dictionary = small.out / "data-bin" / "dict.en.txt"
    lines = dictionary.read_text()
    dictionary.write_text("".join(reversed(lines.splitlines(keepends=True))))
    result = script("train", check=False, arguments=arguments, UPDATES=9, **small.settings)
    assert "data-bin is not what it was" in result.stderr
    result = script("evaluate", check=False, arguments=arguments, **small.settings)
    assert "is not the dictionary that" in result.stderr
    dictionary.write_text(lines)


def test_trained_and_resumed(small) -> None:
    """The command that --dry-run prints goes on where the script stopped, from any folder."""
    assert "update-freq 2 (computed) = 1000 tokens" in small.trained[0]
    assert "R-Drop: 2 passes, alpha 5" in small.trained[0]
    assert "rdrop is trained already, 2 updates" in small.trained[1]
    assert re.search(r"Loaded checkpoint .*rdrop/checkpoint_last.pt", small.trained[2])
    assert (small.out / "rdrop" / "checkpoint_1_4.pt").is_file()
    assert list((small.out / "rdrop" / "tensorboard").rglob("events*"))


def test_scores(small) -> None:
    assert "average of 2" in small.scores
    assert "paired bootstrap: BLEU" in small.scores
    assert "BLEU|nrefs:1|case:mixed|eff:no|tok:none" in small.scores  # tokenised
    assert "  nothing with the R-Drop paper's 43.95 (baseline 42.69), and" in small.scores
    held_out = raw_archives.HELD_OUT
    reference = (small.out / "rdrop" / "ref.txt").read_text().splitlines()
    assert reference == text_as("en-fr")["fr"][held_out : 2 * held_out]
    assert '"beam": "2"' in (small.out / "rdrop" / "scores.json").read_text()


PAPER = {
    "--arch": "transformer_vaswani_wmt_en_de_big",
    # not at the end of each epoch, of which en-de has one in 250 updates
    "--save-interval-updates": "1500",
    "--validate-interval-updates": "1500",
    "--validate-interval": "1000000000",
    "--save-interval": "1000000000",
    "--no-epoch-checkpoints": True,
    "--criterion": "rdrop",
    "--rdrop-alpha": "5",
    "--label-smoothing": "0.1",
    "--share-all-embeddings": True,
    "--dropout": "0.1",
    "--attention-dropout": "0.1",
    "--relu-dropout": "0.1",
    "--optimizer": "adam",
    "--adam-betas": "(0.9,0.98)",
    "--weight-decay": "0.0",
    "--lr": "1e-3",
    "--lr-scheduler": "inverse_sqrt",
    "--warmup-updates": "6000",
    "--warmup-init-lr": "1e-07",
    "--max-update": "300000",
    "--max-tokens": "4096",
    "--update-freq": "128",
    "--keep-interval-updates": "10",
    "--fp16": True,
}


@pytest.mark.parametrize("pair", ["en-de", "en-fr"])
def test_hyper_parameters(pair) -> None:
    """Those of the authors (dropreg/R-Drop, issue 19), for both pairs."""
    (command,) = commands("wmt14", "train", pair)
    assert command[:2] == ["fairseq-train", f"{ROOT}/runs/wmt14.{pair}/data-bin"]
    given = options(command)
    source, target = pair.split("-")
    expected = PAPER | {"--source-lang": source, "--target-lang": target}
    assert {name: given[name] for name in expected} == expected
    assert given["--save-dir"] == f"{ROOT}/runs/wmt14.{pair}/rdrop"


def test_baseline_differs_in_the_criterion_alone() -> None:
    (ours,) = commands("wmt14", "train", "en-de", RUN="x")
    (baseline,) = commands("wmt14", "train", "en-de", RUN="x", CRITERION="baseline")
    start = ours.index("--criterion")
    assert ours[start + 1 : start + 4] == ["rdrop", "--rdrop-alpha", "5"]
    ours[start + 1 : start + 4] = ["label_smoothed_cross_entropy"]
    assert ours == baseline


@pytest.mark.parametrize(
    ("gpus", "machines", "max_tokens", "update_freq"),
    [(8, 1, 4096, 16), (8, 2, 4096, 8), (3, 1, 3000, 59)],
)
def test_effective_batch(gpus, machines, max_tokens, update_freq) -> None:
    group = {"NGPU": gpus, "NNODES": machines, "MASTER_ADDR": "first"}
    (command,) = commands("wmt14", "train", "en-de", "--max-tokens", str(max_tokens), **group)
    given = options(command)
    assert given["--update-freq"] == str(update_freq)
    assert given["--max-tokens"] == str(max_tokens)
    assert given["--distributed-world-size"] == str(gpus * machines)


def test_slurm_job(tmp_path) -> None:
    """train.sbatch, with an srun that runs the command once and a scontrol that names hosts."""
    fake = FakePrograms(
        tmp_path / "fake",
        *("srun", "scontrol"),
        srun='shift 2\nexec "$@"\n',
        scontrol="printf 'n1\\nn2\\n'\n",
    )
    env = {"PATH": f"{fake.folder}:{PROGRAMS}:{os.environ['PATH']}", "NGPU": "8"}
    env |= {"SLURM_NNODES": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]"}
    env |= {"SLURM_NODEID": "1", "SLURM_CPUS_PER_TASK": "32"}
    printed = run(["bash", RECIPE / "train.sbatch", "en-de", "--dry-run"], env=env).stdout
    assert fake.calls("srun")[0][:2] == ["--cpus-per-task=32", "--kill-on-bad-exit=1"]
    for words in (
        *("--nnodes 2", "--nproc-per-node 8", "--node-rank 1"),
        *("--master-addr n1", "--master-port 20007", "--update-freq 8"),
    ):
        assert f"    {words} \\\n" in printed


@pytest.mark.parametrize(
    ("pair", "bpe", "size"),
    [
        ("en-de", "sentencepiece", "32000"),
        ("en-fr", "moses", "40000"),
    ],
)
def test_prepared_at_full_size(pair, bpe, size) -> None:
    _, clean, encode, preprocess, _ = commands("wmt14", "prepare", pair, BPE=bpe)
    cleaned, encoded = options(clean), options(encode)
    assert (cleaned["--max-words"], cleaned["--max-ratio"]) == ("250", "2")
    assert (encoded["--bpe"], encoded["--vocab-size"]) == (bpe, size)
    assert encoded.get("--normalise", False) == (bpe == "moses")
    assert encoded.get("--sample") == (None if bpe == "moses" else "2000000")
    assert {"fairseq-preprocess", "--joined-dictionary"} <= set(preprocess)


def as_if_prepared(out: Path, bpe: str, *languages: str) -> None:
    """A dictionary of the pieces that prepare.sh makes with BPE, by which the scripts know it."""
    (out / "data-bin").mkdir(parents=True)
    for language in languages:
        piece = "a@@ 1\n" if bpe == "moses" else "▁a 1\n"
        (out / "data-bin" / f"dict.{language}.txt").write_text(piece)


@pytest.mark.parametrize(
    ("bpe", "said"),
    [
        (
            "moses",
            "tokenised compound-split BLEU (the same reference) with the R-Drop paper's 30.91",
        ),
        ("sentencepiece", "nothing with the R-Drop paper's 30.91 (baseline 29.12)"),
    ],
)
def test_evaluation_at_full_size(tmp_path, bpe, said) -> None:
    """The paper's search; and, after it, which number compares with the paper's."""
    as_if_prepared(tmp_path, bpe, "en", "de")
    (command,) = commands("wmt14", "evaluate", "en-de", OUT=tmp_path)
    assert command[:4] == ["rdrop", "evaluate", f"{tmp_path}/data-bin", f"{tmp_path}/rdrop"]
    given = options(command)
    assert (given["--beam"], given["--lenpen"], given["--average"]) == ("4", "0.6", "10")
    assert given["--reference"] == f"{tmp_path}/corpora/newstest2014.de"
    tokens = "--detokenise" if bpe == "moses" else "--tokenised"
    assert given[tokens] == "de"
    fake = FakePrograms(tmp_path / "fake", "rdrop")
    path = f"{fake.folder}:{os.environ['PATH']}"
    printed = script("evaluate", arguments=["en-de"], OUT=tmp_path, AVERAGE=0, PATH=path).stdout
    assert said in printed
    assert fake.calls("rdrop")[0][2] == f"{tmp_path}/rdrop/checkpoint_best.pt"


def test_other_corpora(tmp_path, monkeypatch) -> None:
    """The README's commands, with an mtdata that needs no network."""
    readme = (RECIPE / "README.md").read_text()
    section = readme.partition("**Other corpora**")[2]
    lines = re.search(r"(?:^    .*\n)+", section, re.MULTILINE)[0]
    text = text_as("en-de", 70)
    fake = FakePrograms(
        tmp_path / "fake",
        *("mtdata", "bash"),
        mtdata='mkdir -p "$6"\nfor code in eng deu; do echo "$code" >"$6/train.$code"; done\n',
    )
    (tmp_path / "fake" / "bash").rename(tmp_path / "fake" / "no-bash")  # prepare.sh is below
    commands_only = lines.replace("bash examples", "no-bash examples")
    env = {"PATH": f"{fake.folder}:{os.environ['PATH']}"}
    run(["bash", "-euc", commands_only], env=env, cwd=tmp_path)
    (call,) = fake.calls("mtdata")
    assert call[:4] == ["get", "-l", "eng-deu", "--merge"]
    made = tmp_path / "runs" / "mtdata"
    for name, file in (("wmt13", "wmt13"), ("wmt14/full", "wmt14_full")):
        raw_archives.write_sacrebleu_set(tmp_path / "sacrebleu", file, "en-de", text)
        # sacrebleu reads $SACREBLEU as it is imported
        monkeypatch.setattr(DATASETS[name], "_outdir", str(tmp_path / "sacrebleu" / file))
    # what prepare.sh does with them
    given = {"ARCHIVES": made / "archives.tsv", "RAW_DIR": made, "CORPORA": "mtdata"}
    words = commands("wmt14", "prepare", "en-de", OUT=tmp_path / "out", **given)[0]
    fetch.main(words[3:])
    assert (tmp_path / "out" / "corpora" / "mtdata.de").read_text() == "deu\n"
    found = (tmp_path / "out" / "corpora" / "newstest2014.de").read_text().splitlines()
    assert found == text["de"][raw_archives.HELD_OUT : 2 * raw_archives.HELD_OUT]


@pytest.mark.parametrize(
    ("name", "arguments", "settings", "message"),
    [
        *(
            (name, arguments, {}, message)
            for name in ("prepare", "train", "evaluate")
            for arguments, message in (
                ([], "expected a language pair, en-de or en-fr, got 0 arguments; see --help"),
                (["de-fr"], "unknown pair de-fr: WMT14 is en-de or en-fr here"),
            )
        ),
        ("prepare", ["en-de", "--lr"], {}, "unknown argument --lr; see --help"),
        ("prepare", ["en-de"], {"BPE": "w"}, "BPE must be sentencepiece or moses, got 'w'"),
        ("train", ["en-de"], {"CRITERION": "ce"}, "CRITERION must be rdrop or baseline, got 'ce'"),
        # nothing is saved when an epoch is over
        ("train", ["en-de", "--max-epoch", "2"], {}, ".*: set UPDATES, not --max-epoch"),
        ("train", ["en-de", "--cpu"], {}, "/.*/data-bin is not there: make it first.*"),
        ("evaluate", ["en-de"], {}, "argument DATA: no such folder: /.*/data-bin"),
    ],
)
def test_refused(tmp_path, name, arguments, settings, message) -> None:
    settings = {"OUT": tmp_path / "out", **settings}
    result = script(name, check=False, arguments=arguments, **settings)
    assert result.returncode
    last = result.stderr.splitlines()[-1]
    assert re.fullmatch(f"(wmt14/{name}.sh|rdrop run|rdrop evaluate: error): {message}", last)
    assert not (tmp_path / "out").exists()
