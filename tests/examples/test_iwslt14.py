"""examples/iwslt14: whole at small size, its hyper-parameters, and what bad input gives."""

import json
import os
import re
import sys

import pytest

from ..conftest import FULL_DISK, PROGRAMS, ROOT, run
from . import raw_archives
from .conftest import option
from .fake import FakePrograms
from .test_wmt14 import SMALL, last_line, prepared, text_as  # noqa: F401

SCRIPTS = ROOT / "examples" / "iwslt14"


def script(name: str, *arguments: str, **kwargs):
    return run(["bash", SCRIPTS / f"{name}.sh", *arguments], **kwargs)


def test_small_from_archive_to_scores(tmp_path) -> None:
    """From English, out of the archive for the other direction, in Moses' tokens."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    text = text_as("de-en", 300)
    text["de"][101] = "<b> " + text["de"][101]  # not a tag of the talks
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
    assert (out / "rdrop" / "updates").read_text() == "2\n"
    assert '"valid_bleu"' in (out / "rdrop" / "train.log").read_text()
    scores = script("evaluate", "en-de", env={**env, "AVERAGE": "1"}).stdout
    assert "tokenised BLEU" in scores
    assert "BLEU|nrefs:1|case:lc|eff:no|tok:none" in scores
    assert "  tokenised BLEU with the paper's 30.72 (baseline 28.57), if" in scores
    assert "  tokenised compound-split BLEU with the same, if that is what" in scores
    # the reference of the tokens is what the model was to write
    tokens = (out / "rdrop" / "ref.tok.txt").read_text()
    assert tokens == pieces.replace("@@ ", "")
    perfect = json.loads((out / "rdrop" / "scores.json").read_text())["perfect"]
    assert perfect["BLEU"] > 90
    assert "No paired bootstrap: there is no" in scores
    assert "@@" not in (out / "rdrop" / "hyp.txt").read_text()
    assert (out / "rdrop" / "ref.txt").read_text().splitlines() == text["de"][:60]


def translated_perfectly(out, tmp_path, pair: str, **env: str) -> str:
    """evaluate.sh's output for a run that writes the very pieces of the test set."""
    target = pair[-2:]
    (out / "rdrop").mkdir()
    for name in ("checkpoint_last.pt", "checkpoint_best.pt"):
        (out / "rdrop" / name).touch()
    join = "s/@@ //g" if env.get("BPE") == "moses" else "s/ //g;s/▁/ /g;s/^ //"
    fake = FakePrograms(
        tmp_path / f"fake.{pair}",
        "fairseq-generate",
        fairseq_generate=f"sed '{join}' {out}/pieces/test.pieces.{target} |"
        ' awk \'{print "D-" NR-1 "\\t-1\\t" $0}\'\n',
    )
    path = f"{fake.folder}:{PROGRAMS}:{os.environ['PATH']}"
    return script("evaluate", pair, env={**env, "PATH": path, "AVERAGE": "0"}).stdout


@pytest.mark.parametrize("pair", ["en-fr", "es-en"])
def test_sets_of_the_other_pairs(tmp_path, pair) -> None:
    """Training, validation and test set as its group has them, cased, punctuation normalised."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    text = text_as(pair, 300)
    other = pair.replace("en", "").strip("-")
    text[other][31] += " “Oui”"
    raw_archives.write("iwslt14", pair, raw, text)
    env = {**SMALL, "RAW_DIR": str(raw), "OUT": str(out), "BPE": "moses"}
    env["SACREBLEU"] = str(raw / "sacrebleu")
    script("prepare", pair, env=env)
    for language, lines in text.items():
        assert (out / "corpora" / f"train.{language}").read_text().splitlines() == lines[60:]
        for split, start in (("valid", 0), ("test", 30)):
            found = (out / "clean" / f"{split}.{language}").read_text().splitlines()
            assert found == lines[start : start + 30]
    kept = json.loads((out / "clean" / "train.clean.json").read_text())["all"]["kept"]
    assert len((out / "clean" / "train.en").read_text().splitlines()) == kept
    pieces = (out / "pieces" / f"test.pieces.{other}").read_text()
    assert pieces != pieces.lower()
    assert "“" not in pieces
    files = json.loads((out / "manifest.json").read_text())["files"]
    archives = {name for name in files if name.endswith(".tgz")}
    assert archives == {path.name for path in raw.glob("*.tgz")}

    scores = translated_perfectly(out, tmp_path, pair, **env)
    assert "tokenised BLEU 100.00" in scores
    assert "BLEU|nrefs:1|case:mixed|eff:no|tok:13a|" in scores
    cell = {"en-fr": "38.0 (baseline 35.9)", "es-en": "43.2 (baseline 40.6)"}[pair]
    assert f"BLEU (sacreBLEU) with the paper's {cell}, if" in scores
    if other == "fr":
        assert "a perfect translation would have BLEU" in scores  # the original has “


def test_chinese(tmp_path) -> None:
    """Han characters for Spanish letters: a sentence is a row of them, without spaces."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    text = text_as("zh-en", 300)
    text["zh"] = [
        "".join(chr(0x4E00 + ord(letter)) for letter in line if letter.isalnum()) + "\uff01"
        for line in text["zh"]  # and a mark that NFKC takes for another
    ]
    raw_archives.write("iwslt14", "en-zh", raw, text)
    env = {**SMALL, "RAW_DIR": str(raw), "OUT": str(out), "SACREBLEU": str(raw / "sacrebleu")}
    # two or three letters a word: more than the usual ratio of lengths, 3
    script("prepare", "en-zh", env={**env, "MAX_RATIO": "6", "VOCAB_SIZE": "500"})
    counts = json.loads((out / "clean" / "train.clean.json").read_text())["all"]
    assert counts["kept"] > 200
    assert (out / "clean" / "test.zh").read_text().splitlines() == text["zh"][30:60]
    pieces = (out / "pieces" / "test.pieces.zh").read_text().split()
    assert 1 < sum(map(len, pieces)) / len(pieces) < 4

    scores = translated_perfectly(out, tmp_path, "en-zh", **env)
    assert "BLEU 100.00" in scores
    assert "BLEU|nrefs:1|case:mixed|eff:no|tok:zh|" in scores
    assert "tokenised BLEU 1" not in scores
    assert "BLEU (sacreBLEU) with the paper's 28.1 (baseline 26.3), if" in scores


def test_truncated_download_without_a_checksum(server, tmp_path) -> None:
    """gzip's own finds it, nothing is kept, and running it again succeeds."""
    raw_archives.write("iwslt14", "de-en", server.folder, text_as("de-en", 100))
    command = [
        sys.executable,
        ROOT / "scripts" / "corpus" / "download.py",
        f"{server.address}/de-en.tgz",
    ]
    command += ["--to", tmp_path / "raw" / "de-en.tgz"]
    server.faults["de-en.tgz"] = "truncated"
    result = run(command, check=False)
    assert result.returncode == 1
    assert "de-en.tgz is truncated or not gzip's: removed what was downloaded" in result.stderr
    assert not list((tmp_path / "raw").iterdir())
    server.faults.clear()
    run(command)
    assert (tmp_path / "raw" / "de-en.tgz").read_bytes() == (
        server.folder / "de-en.tgz"
    ).read_bytes()


def test_download_to_a_full_disk_goes_on_later(server, tmp_path) -> None:
    (server.folder / "data.bin").write_bytes(bytes(range(256)) * 400)
    command = [
        sys.executable,
        ROOT / "scripts" / "corpus" / "download.py",
        f"{server.address}/data.bin",
    ]
    command += ["--to", tmp_path / "data.bin"]
    result = run([*FULL_DISK, *command], check=False)
    assert result.returncode == 1
    assert re.search("File too large; .* kept: .*is the disk full.* run it again", result.stderr)
    assert not (tmp_path / "data.bin").exists()
    run(command)
    assert (tmp_path / "data.bin").read_bytes() == (server.folder / "data.bin").read_bytes()
    assert len(server.ranges) == 1


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
    result = script("prepare", "es-en", env={"OUT": str(tmp_path)}, check=False)
    assert result.returncode == 1
    for name in ("iwslt14", "iwslt14-test"):
        line = f"{name}.en-es.tgz  (not to be had at a fixed address: see the README)"
        assert line in result.stderr
    assert last_line(result).endswith("raw lacks the 2 archive(s) above")
    # sacrebleu's test set is not among those
    env = {"OUT": str(tmp_path / "fr"), "RAW_DIR": str(tmp_path)}
    result = script("prepare", "fr-en", env=env, check=False)
    assert "  iwslt17.en-fr.tgz  https://raw.githubusercontent.com/hlt-mt/WIT3/" in result.stderr
    assert last_line(result).endswith("lacks the 1 archive(s) above")


@pytest.mark.parametrize("name", ["prepare", "train", "evaluate"])
def test_unknown_pair_and_help(name) -> None:
    result = script(name, "de-fr", check=False)
    assert result.returncode == 1
    assert re.match(f"iwslt14/{name}: unknown pair de-fr: IWSLT is de, fr, zh", result.stderr)
    assert f"bash examples/iwslt14/{name}.sh SOURCE-TARGET" in script(name, "--help").stdout


def test_chinese_has_no_moses_words(tmp_path) -> None:
    env = {"OUT": str(tmp_path), "BPE": "moses"}
    result = script("prepare", "zh-en", env=env, check=False)
    assert "BPE=moses cannot split Chinese into words" in last_line(result)
