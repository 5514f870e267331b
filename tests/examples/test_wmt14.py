"""examples/wmt14: whole at small size, its hyper-parameters, and what bad input gives."""

import gzip
import hashlib
import json
import os
import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from ..conftest import FULL_DISK, PROGRAMS, ROOT, corpus_lines, run
from . import raw_archives
from .conftest import option
from .fake import FakePrograms

SCRIPTS = ROOT / "examples" / "wmt14"
SMALL = {"SMALL": "1", "CPU": "1", "WORKERS": "1"}


def script(name: str, *arguments: str, **kwargs):
    return run(["bash", SCRIPTS / f"{name}.sh", *arguments], **kwargs)


def text_as(pair: str, size: int = 400) -> dict[str, list[str]]:
    """Spanish-English verses passed off as another pair."""
    other = next(language for language in pair.split("-") if language != "en")
    return {other: corpus_lines("train", "es")[:size], "en": corpus_lines("train", "en")[:size]}


def last_line(result) -> str:
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()[-1]


def test_small_from_download_to_scores(server, tmp_path) -> None:
    raw_archives.write("wmt14", "en-fr", server.folder, text_as("en-fr"), server.address)
    out = tmp_path / "out"
    env = {**SMALL, "OUT": str(out), "ARCHIVES": str(server.folder / "archives.tsv")}

    # downloads that fail, each by one clear error and without half a file
    broken = "training-parallel-un.tgz"
    for fault, message in (
        ("404", f"download: http://.*/{broken}: the server answers 404 Not Found"),
        ("truncated", f"{broken} has sha256:.*, expected sha256:.*: removed what was downloaded"),
        ("dropped", r"the connection broke after \d+ bytes .*run it again to go on"),
    ):
        server.faults[broken] = fault
        result = script("prepare", "en-fr", env=env, check=False)
        assert result.returncode == 1
        assert re.search(message, last_line(result)), result.stderr
        assert not (out / "raw" / broken).exists()
        assert not list((out / "corpora").glob("un*"))
    server.faults.clear()
    result = script("prepare", "en-fr", env=env)
    assert "== europarl-v7: done already" in result.stdout
    assert server.ranges[-1:] == [f"bytes={(server.folder / broken).stat().st_size // 2}-"]
    assert not list(out.rglob("*.part"))
    assert not list(out.rglob("*.tmp"))

    # every training sentence is there once, the test sets line by line as they were
    text = text_as("en-fr")
    held_out = raw_archives.HELD_OUT
    for split, start in (("valid", 0), ("test", held_out)):
        for language, lines in text.items():
            found = (out / "clean" / f"{split}.{language}").read_text().splitlines()
            assert found == lines[start : start + held_out]
    cleaned = json.loads((out / "clean" / "train.clean.json").read_text())
    assert set(cleaned) == {
        *("europarl-v7", "commoncrawl", "un", "news-commentary-v9", "giga-fren", "all")
    }
    counts = cleaned["all"]
    assert counts["pairs"] == 400 - 2 * held_out == sum(counts.values()) - counts["pairs"]
    train = (out / "clean" / "train.en").read_text().splitlines()
    assert len(train) == counts["kept"]
    assert set(train) <= set(text["en"][2 * held_out :])

    manifest = json.loads((out / "manifest.json").read_text())
    entry = manifest["files"]["clean/train.en"]
    content = (out / "clean" / "train.en").read_bytes()
    assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert (entry["lines"], entry["tokens"]) == (len(train), len(content.split()))
    assert f"raw/{broken}" in manifest["files"]
    assert "data-bin/train.en-fr.fr.bin" in manifest["files"]
    assert manifest["settings"]["vocab_size"] == "500"

    again = script("prepare", "en-fr", env=env).stdout
    assert [line for line in again.splitlines() if line[:2] == "=="] == [
        line.removesuffix(": done already") + ": done already"
        for line in result.stdout.splitlines()
        if line[:2] == "=="
    ]
    other = script("prepare", "en-fr", env={**env, "VOCAB_SIZE": "600"}, check=False)
    assert (
        "(< then, > now): < vocab_size=500 > vocab_size=600; set OUT to another folder, or"
        in last_line(other)
    )
    # what follows from a stage is not kept beside another version of it
    (out / "clean").rename(out / "moved")
    other = script("prepare", "en-fr", env={**env, "MAX_WORDS": "10"}, check=False)
    assert re.search(
        r"< max_words=\d+ > max_words=10; .* clean and the later ones", last_line(other)
    )
    assert not (out / "clean").exists()
    (out / "moved").rename(out / "clean")

    # train, and resume
    result = script("train", "en-fr", env={**env, "MAX_UPDATE": "2"})
    assert "update-freq 2 (computed) = 1000 tokens" in result.stdout
    result = script("train", "en-fr", env={**env, "MAX_UPDATE": "4"})
    assert "Loaded checkpoint" in result.stdout
    assert '"num_updates": "4"' in result.stdout.replace("train_num_updates", "num_updates")
    assert "R-Drop: 2 passes, alpha 5" in (out / "rdrop" / "train.log").read_text()
    assert list((out / "rdrop" / "tensorboard").rglob("events*"))
    other = script("train", "en-fr", env={**env, "ALPHA": "3"}, check=False)
    assert "< --rdrop-alpha 5 > --rdrop-alpha 3; set RUN to another name" in last_line(other)
    last = (out / "rdrop" / "checkpoint_last.pt").read_bytes()
    again = script("train", "en-fr", env={**env, "MAX_UPDATE": "4"})
    assert "rdrop is trained already, 4 updates" in again.stdout
    assert (out / "rdrop" / "checkpoint_last.pt").read_bytes() == last

    # as if a baseline had been evaluated
    (out / "baseline").mkdir()
    (out / "baseline" / "hyp.txt").write_text("Y\n" * held_out)
    scores = script("evaluate", "en-fr", env=env).stdout
    assert "average of 2" in scores
    assert "paired bootstrap: BLEU" in scores
    assert "tokenised BLEU" in scores
    assert "BLEU|nrefs:1|case:mixed|eff:no|tok:none" in scores
    assert "  nothing with the R-Drop paper's 43.95 (baseline 42.69), and" in scores
    reference = (out / "rdrop" / "ref.txt").read_text().splitlines()
    assert reference == text["fr"][held_out : 2 * held_out]

    # a data folder that was made anew, with another dictionary
    dictionary = out / "data-bin" / "dict.en.txt"
    dictionary.write_text("".join(reversed(dictionary.read_text().splitlines(keepends=True))))
    for name in ("train", "evaluate"):
        result = script(name, "en-fr", env={**env, "MAX_UPDATE": "6"}, check=False)
        assert result.returncode == 1
        assert re.search(
            "dict.en.txt .* is not the dictionary that .* was trained with .* line 1", result.stderr
        )


def test_training_data_by_mtdata(server, tmp_path) -> None:
    """The real mtdata, which finds statmt.org behind a proxy that has our archives."""
    text = text_as("en-de", 300)
    raw_archives.write("wmt14", "en-de", server.folder, text)
    sacrebleu = tmp_path / "sacrebleu"
    for folder, name in (("wmt13", "wmt13"), ("wmt14/full", "wmt14_full")):
        (sacrebleu / folder).mkdir(parents=True)
        for field in ("src", "ref", "docid", "genre", "origlang"):
            language = "de" if field == "ref" else "en"
            lines = "".join(f"{line}\n" for line in text[language][:20])
            (sacrebleu / folder / f"{name}.en-de.{field}").write_text(lines)
    # mtdata's own index of Statmt alone: to make that of all its sources takes 20 s
    index = "import sys, pickle; from mtdata.index import Index, statmt; index = Index(); "
    index += "statmt.load_all(index); pickle.dump(index, open(sys.argv[1], 'wb'))"
    (tmp_path / "m").mkdir()
    run([sys.executable, "-c", index, tmp_path / "m" / f"mtdata.index.{version('mtdata')}.pkl"])
    ids = "Statmt-europarl_wmt13-7-deu-eng Statmt-commoncrawl_wmt13-1-deu-eng"
    out = tmp_path / "out"
    env = {**SMALL, "OUT": str(out), "SOURCE": "mtdata", "MTDATA_IDS": ids}
    env |= {"http_proxy": server.address, "MTDATA": str(tmp_path / "m"), "no_proxy": ""}
    env |= {"SACREBLEU": str(sacrebleu), "VOCAB_SIZE": "100000"}  # the rest is tested above
    result = script("prepare", "en-de", env=env, check=False)
    assert "sentencepiece cannot make 100000 pieces of this text" in last_line(result)
    assert not (out / "pieces").exists()
    orders = []
    for language, lines in text.items():
        train = lines[2 * raw_archives.HELD_OUT :]
        found = (out / "corpora" / f"mtdata.{language}").read_text().splitlines()
        europarl, common_crawl = train[0::5], train[1::5]
        # mtdata's choice, which must be the same for both languages
        orders.append([europarl + common_crawl, common_crawl + europarl].index(found))
        for split in ("valid", "test"):
            assert (out / "clean" / f"{split}.{language}").read_text().splitlines() == lines[:20]
    assert orders[0] == orders[1]


def test_bad_raw_folder(tmp_path) -> None:
    raw = tmp_path / "raw"
    text = text_as("en-de", 100)
    raw_archives.write("wmt14", "en-de", raw, text)
    env = {**SMALL, "RAW_DIR": str(raw), "OUT": str(tmp_path / "out")}

    def fails(message: str, **settings: str) -> None:
        result = script("prepare", "en-de", env={**env, **settings}, check=False)
        assert result.returncode == 1
        assert re.search(message, last_line(result)), result.stderr
        assert not list(tmp_path.rglob("*.tmp"))

    # all archives that are missing, at once, with their addresses
    empty = tmp_path / "empty"
    empty.mkdir()
    fails("empty lacks the 5 archive", RAW_DIR=str(empty))
    result = script("prepare", "en-de", env={**env, "RAW_DIR": str(empty)}, check=False)
    addresses = re.findall(r"^  \S+  (http\S+)$", result.stderr, re.M)
    assert "http://www.statmt.org/wmt13/training-parallel-europarl-v7.tgz" in addresses
    assert len(addresses) == 5
    fails("no such folder: RAW_DIR=", RAW_DIR=str(tmp_path / "none"))

    # truncated: the checksum finds it or, where there is none, the archive's own
    crawl = raw / "training-parallel-commoncrawl.tgz"
    whole = crawl.read_bytes()
    crawl.write_bytes(whole[: len(whole) // 2])
    fails("commoncrawl.tgz has sha256:.*, expected sha256:.*truncated or another version")
    table = raw / "archives.tsv"
    table.write_text(re.sub("sha256:[0-9a-f]+", "-", table.read_text()))
    fails("commoncrawl.tgz is truncated or not an archive")

    train = {language: lines[60:] for language, lines in text.items()}
    name = "commoncrawl.de-en."

    def members(german: list[str]) -> dict[str, str]:
        english = raw_archives.plain(train["en"])
        return {f"{name}en": english, f"{name}de": raw_archives.plain(german)}

    raw_archives.write_archive(crawl, members(train["de"][:-3]))
    fails(r"commoncrawl.de-en.en has 40 sentences but commoncrawl.de-en.de has 37: they must match")
    raw_archives.write_archive(crawl, members([]))
    fails("commoncrawl.de-en.de is empty")
    raw_archives.write_archive(crawl, {f"{name}en": "x\n"})
    fails("commoncrawl.tgz holds no commoncrawl.de-en.de: is it the original archive")
    # in latin-1, as a file that somebody has converted
    train["de"][10] = "Müller"
    raw_archives.write_archive(crawl, members(train["de"]))
    content = gzip.decompress(crawl.read_bytes())
    crawl.write_bytes(gzip.compress(content.replace("ü".encode(), b"\xfc ")))
    fails("commoncrawl.de-en.de, line 11: byte 0xfc at position 2 is not UTF-8")


def test_no_space_left(tmp_path) -> None:
    raw = tmp_path / "raw"
    raw_archives.write("wmt14", "en-de", raw, text_as("en-de", 3000))
    env = {**SMALL, "RAW_DIR": str(raw), "OUT": str(tmp_path / "out")}
    command = [*FULL_DISK, "bash", SCRIPTS / "prepare.sh", "en-de"]
    result = run(command, env=env, check=False)
    assert result.returncode == 1
    assert re.search("extract_text: .*File too large; nothing was left half-written", result.stderr)
    assert not list((tmp_path / "out" / "corpora").iterdir())

    # a test set as it is copied
    where = tmp_path / "out" / "clean"
    where.mkdir(exist_ok=True)
    (tmp_path / "out" / "corpora" / "big.en").write_text("x" * 10000)
    program = "source scripts/recipe/stages.sh; source scripts/recipe/prepare_parallel.sh; "
    program += "recipe=x splits=(test) corpora=(big) source=en target=de; copy_split test"
    result = run([*FULL_DISK, "bash", "-c", program], env=env, check=False)
    assert result.returncode == 1
    assert last_line(result) == f"x: cannot write {where}/test.en"
    assert not list(where.iterdir())


@pytest.mark.parametrize(
    ("pair", "languages", "identifiers"),
    [
        (
            "en-de",
            "eng-deu",
            "Statmt-europarl_wmt13-7-deu-eng Statmt-commoncrawl_wmt13-1-deu-eng "
            "OPUS-news_commentary-v9.0-deu-eng",
        ),
        (
            "en-fr",
            "eng-fra",
            "Statmt-europarl_wmt13-7-fra-eng Statmt-commoncrawl_wmt13-1-fra-eng "
            "OPUS-news_commentary-v9.0-eng-fra OPUS-multiun-v1-eng-fra OPUS-giga_fren-v2-eng-fra",
        ),
    ],
)
def test_identifiers_of_mtdata(tmp_path, pair, languages, identifiers) -> None:
    """Those of the README; all are in the index of mtdata 0.5.1."""
    fake = FakePrograms(tmp_path / "fake", "mtdata", mtdata="exit 1\n")
    env = {**SMALL, "SOURCE": "mtdata", "OUT": str(tmp_path / "out")}
    env["PATH"] = f"{fake.folder}:{PROGRAMS}:{os.environ['PATH']}"
    script("prepare", pair, env=env, check=False)
    (call,) = fake.calls("mtdata")
    assert call[:4] == ["get", "-l", languages, "-tr"]
    assert call[4 : call.index("--merge")] == identifiers.split()
    readme = (SCRIPTS / "README.md").read_text()
    for name in identifiers.split():
        assert f"`{name}`" in readme or f"`{name.replace('fra', 'deu')}`" in readme


def test_other_corpora_are_not_mixed(tmp_path) -> None:
    """Text that mtdata got for other identifiers is not taken for what is asked for now."""
    out = tmp_path / "out"
    env = {**SMALL, "SOURCE": "mtdata", "OUT": str(out), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    (tmp_path / "mtdata").write_text("#!/bin/sh\nexit 1\n")  # no network
    (tmp_path / "mtdata").chmod(0o755)
    for ids in ("A B", "A C"):  # nothing was got: they may change
        result = script("prepare", "en-de", env={**env, "MTDATA_IDS": ids}, check=False)
        assert "mtdata failed" in last_line(result)
    (out / "corpora" / "mtdata.de").write_text("of A and C\n")
    result = script("prepare", "en-de", env={**env, "MTDATA_IDS": "A D"}, check=False)
    assert "< mtdata=A,C > mtdata=A,D; set OUT to another folder, or remove" in last_line(result)


def test_other_archives_are_not_mixed(tmp_path) -> None:
    """Nor is their checksum taken for that of those which the text is from."""
    text = text_as("en-de", 150)
    for folder in ("raw", "other"):
        raw_archives.write("wmt14", "en-de", tmp_path / folder, text)
    env = {**SMALL, "OUT": str(tmp_path / "out"), "VOCAB_SIZE": "400"}
    (tmp_path / "raw" / "test-full.tgz").rename(tmp_path / "kept")
    script("prepare", "en-de", env={**env, "RAW_DIR": str(tmp_path / "raw")}, check=False)
    (tmp_path / "kept").rename(tmp_path / "raw" / "test-full.tgz")
    script("prepare", "en-de", env={**env, "RAW_DIR": str(tmp_path / "raw")})
    other = script("prepare", "en-de", env={**env, "RAW_DIR": str(tmp_path / "other")}, check=False)
    message = f": < raw_dir={tmp_path}/raw > raw_dir={tmp_path}/other; set OUT to another folder"
    assert message in last_line(other)
    # a folder of archives in OUT moves with it
    (tmp_path / "raw").rename(tmp_path / "out" / "raw")
    settings = tmp_path / "out" / "corpora.settings"
    settings.write_text(settings.read_text().replace(f"{tmp_path}/raw", "raw"))
    (tmp_path / "out").rename(tmp_path / "moved")
    env |= {"OUT": str(tmp_path / "moved"), "RAW_DIR": str(tmp_path / "moved" / "raw")}
    script("prepare", "en-de", env=env)
    # an archive that was removed to make room
    (tmp_path / "moved" / "manifest.json").unlink()
    (tmp_path / "moved" / "raw" / "test-full.tgz").unlink()
    result = script("prepare", "en-de", env=env)
    assert "test-full.tgz is not there any more: the manifest is without" in result.stdout
    manifest = json.loads((tmp_path / "moved" / "manifest.json").read_text())
    assert {"raw/test.tgz", "clean/test.en"} <= manifest["files"].keys()
    assert "raw/test-full.tgz" not in manifest["files"]


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """What the shell scripts look at of a prepared folder."""
    (tmp_path / "out" / "data-bin").mkdir(parents=True)
    for language in ("en", "de", "fr"):
        (tmp_path / "out" / "data-bin" / f"dict.{language}.txt").write_text("a 1\n")
    return tmp_path / "out"


PAPER = {
    "--arch": "transformer_vaswani_wmt_en_de_big",
    # not at the end of each epoch, of which en-de has one in 250 updates
    "--save-interval-updates": "1500",
    "--validate-interval-updates": "1500",
    "--validate-interval": "1000000000",
    "--save-interval": "1000000000",
    "--criterion": "rdrop",
    "--rdrop-alpha": "5",
    "--label-smoothing": "0.1",
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
    "--keep-interval-updates": "10",
}


@pytest.mark.parametrize("pair", ["en-de", "en-fr"])
def test_hyper_parameters(fake, prepared, pair) -> None:
    """Those of the authors (dropreg/R-Drop, issue 19), for both pairs."""
    script("train", pair, env={**fake.env(1), "OUT": str(prepared)})
    (call,) = fake.calls()
    assert call[:2] == ["fairseq-train", str(prepared / "data-bin")]
    for name, value in PAPER.items():
        assert option(call, name) == value, name
    source, target = pair.split("-")
    assert (option(call, "--source-lang"), option(call, "--target-lang")) == (source, target)
    assert option(call, "--user-dir") == str(ROOT / "rdrop_fairseq")
    assert option(call, "--save-dir") == str(prepared / "rdrop")
    assert {"--share-all-embeddings", "--fp16", "--no-epoch-checkpoints"} <= set(call)
    assert (prepared / "rdrop" / "dict.en.txt").is_file()


def test_epochs_are_no_end(fake, prepared) -> None:
    """Nothing is saved when one is over."""
    env = {**fake.env(1), "OUT": str(prepared), "TRAIN_ARGS": "--max-epoch 2"}
    result = script("train", "en-de", env=env, check=False)
    assert last_line(result).endswith("not at the end of an epoch: set MAX_UPDATE")
    assert not fake.calls()


def test_baseline_differs_in_the_criterion_alone(fake, prepared) -> None:
    env = {**fake.env(1), "OUT": str(prepared), "RUN": "x"}
    script("train", "en-de", env=env)
    shutil.rmtree(prepared / "x")
    script("train", "en-de", env={**env, "CRITERION": "baseline"})
    (prepared / "x" / "checkpoint_last.pt").touch()
    for changed in ({"TRAIN_ARGS": "--lr 1"}, {"UPDATE_FREQ": "2"}):
        other = script(
            "train", "en-de", env={**env, "CRITERION": "baseline", **changed}, check=False
        )
        assert "x was made with other settings" in last_line(other)
    ours, baseline = fake.calls()
    start = ours.index("--criterion")
    assert ours[start + 1 : start + 4] == ["rdrop", "--rdrop-alpha", "5"]
    ours[start + 1 : start + 4] = ["label_smoothed_cross_entropy"]
    assert ours == baseline
    assert option(baseline, "--user-dir") == str(ROOT / "rdrop_fairseq")


@pytest.mark.parametrize(
    ("gpus", "machines", "max_tokens", "update_freq", "effective"),
    [
        (1, 1, 4096, 128, 524288),
        (4, 1, 4096, 32, 524288),
        (8, 1, 4096, 16, 524288),
        (8, 2, 4096, 8, 524288),
        (3, 1, 3000, 59, 531000),
        (8, 16, 8192, 1, 1048576),
    ],
)
def test_effective_batch(
    fake, prepared, gpus, machines, max_tokens, update_freq, effective
) -> None:
    env = {**fake.env(gpus), "OUT": str(prepared), "MAX_TOKENS": str(max_tokens)}
    env |= {"NNODES": str(machines), "MASTER_ADDR": "first"}
    result = script("train", "en-de", env=env)
    assert f"update-freq {update_freq} (computed) = {effective} tokens" in result.stdout
    assert "the recipe's: 524288" in result.stdout
    assert ("note: one batch" in result.stdout) == (effective > 2 * 500_000)
    (call,) = fake.calls()
    assert option(call, "--update-freq") == str(update_freq)
    assert option(call, "--max-tokens") == str(max_tokens)
    assert option(call, "--distributed-world-size") == str(gpus * machines)


@pytest.mark.parametrize(
    ("recipe", "beam", "lenpen"), [("wmt14", "4", "0.6"), ("iwslt14", "5", "1.0")]
)
def test_evaluate_arguments(fake, prepared, recipe, beam, lenpen) -> None:
    """The papers' search; the fake generates nothing, which is an error. Ten are averaged."""
    run_folder = prepared / "rdrop"
    run_folder.mkdir()
    (run_folder / "checkpoint_last.pt").touch()
    (run_folder / "checkpoint_best.pt").touch()
    (prepared / "pieces.settings").write_text("bpe=moses\n")
    (prepared / "data-bin" / "dict.de.txt").write_text("a@@ 1\n")
    for language in ("en", "de"):
        (prepared / "data-bin" / f"test.en-de.{language}.bin").write_text("x")
    for name in ("clean/test.de", "pieces/test.pieces.de"):
        (prepared / name).parent.mkdir()
        (prepared / name).write_text("x\n")
    command = ["bash", ROOT / "examples" / recipe / "evaluate.sh", "en-de"]
    env = {**fake.env(1), "PYTHONPATH": "", "OUT": str(prepared), "AVERAGE": "0"}
    result = run(command, env=env, check=False)
    assert "printed no translations" in result.stderr
    (call,) = fake.calls()
    assert option(call, "--path") == str(run_folder / "checkpoint_best.pt")
    assert (option(call, "--beam"), option(call, "--lenpen")) == (beam, lenpen)
    assert option(call, "--post-process") == "subword_nmt"
    result = run(command, env={"OUT": str(prepared)}, check=False)
    assert "holds 0 checkpoints" in last_line(result)
    assert "fewer than 10: ask for fewer or for a single checkpoint, or train on" in last_line(
        result
    )


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
def test_headline_number_of_the_paper(fake, prepared, bpe, said) -> None:
    """En-De is scored by compound-split BLEU, and the output says what that compares with."""
    (prepared / "pieces.settings").write_text(f"bpe={bpe}\n")
    (prepared / "rdrop").mkdir()
    for name in ("checkpoint_last.pt", "checkpoint_best.pt", "dict.de.txt"):
        shutil.copy(prepared / "data-bin" / "dict.de.txt", prepared / "rdrop" / name)
    for language in ("en", "de"):
        (prepared / "data-bin" / f"test.en-de.{language}.bin").write_text("x")
    (prepared / "clean").mkdir()
    (prepared / "pieces").mkdir()
    lines = ["Er ist ein Rind-Vieh und auch kein schöner Hund .", "Das ist ein kluger Kopf ."]
    for name in ("clean/test.de", "pieces/test.pieces.de"):
        (prepared / name).write_text("".join(f"{line}\n" for line in lines))
    with (fake.programs / "fairseq-generate").open("a") as program:
        program.writelines(f"printf 'D-{i}\\t-1\\t{line}\\n'\n" for i, line in enumerate(lines))
    env = {**fake.env(1), "PYTHONPATH": "", "OUT": str(prepared), "AVERAGE": "0"}
    scores = script("evaluate", "en-de", env=env).stdout
    assert "tokenised compound-split BLEU 100.00" in scores
    assert said in scores


@pytest.mark.parametrize(
    ("recipe", "pair", "bpe", "size", "words", "ratio"),
    [
        ("wmt14", "en-de", "sentencepiece", 32000, 250, "2"),
        ("wmt14", "en-fr", "sentencepiece", 32000, 250, "2"),
        ("wmt14", "en-de", "moses", 32000, 250, "2"),
        ("wmt14", "en-fr", "moses", 40000, 250, "2"),
        ("iwslt14", "de-en", "sentencepiece", 10000, 175, "1.5"),
        ("iwslt14", "de-en", "moses", 10000, 175, "1.5"),
        ("iwslt14", "en-zh", "sentencepiece", 10000, 175, "3"),
    ],
)
def test_settings_of_the_full_recipe(tmp_path, recipe, pair, bpe, size, words, ratio) -> None:
    env = {"OUT": str(tmp_path / "out"), "RAW_DIR": str(tmp_path), "BPE": bpe}
    command = ["bash", ROOT / "examples" / recipe / "prepare.sh", pair]
    assert "lacks the" in last_line(run(command, env=env, check=False))
    kept = (tmp_path / "out" / "pieces.settings").read_text()
    sample = " sample=2000000" if recipe == "wmt14" else ""
    assert kept == f"bpe={bpe} vocab_size={size}{sample}\n"
    kept = (tmp_path / "out" / "clean.settings").read_text()
    assert kept == f"max_words={words} max_ratio={ratio}\n"


@pytest.mark.parametrize("name", ["prepare", "train", "evaluate"])
@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ([], {}, "expected a language pair, en-de or en-fr, got 0 arguments"),
        (["de-fr"], {}, "unknown pair de-fr: WMT14 is en-de or en-fr here"),
    ],
)
def test_wrong_arguments(name, arguments, settings, message) -> None:
    result = script(name, *arguments, env=settings, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(f"wmt14/{name}: {message}")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("prepare", {"BPE": "words"}, "BPE must be sentencepiece or moses, got 'words'"),
        ("prepare", {"SOURCE": "opus"}, "SOURCE must be archives or mtdata, got 'opus'"),
        ("prepare", {"WORKERS": "x"}, "WORKERS must be a whole number of at least 1, got 'x'"),
        ("train", {"CRITERION": "ce"}, "CRITERION must be rdrop or baseline, got 'ce'"),
        ("train", {"MAX_TOKENS": "4k"}, "MAX_TOKENS must be a whole number .* got '4k'"),
        ("train", {"OUT": "/nowhere"}, "no data in /nowhere/data-bin: run prepare.sh first"),
        ("evaluate", {"OUT": "/nowhere"}, "no data in /nowhere/data-bin: run prepare.sh first"),
    ],
)
def test_wrong_settings(fake, tmp_path, name, settings, message) -> None:
    env = {**fake.env(1), "OUT": str(tmp_path / "out"), **settings}
    result = script(name, "en-de", env=env, check=False)
    assert result.returncode == 1
    assert re.search(message, last_line(result)), result.stderr
    assert fake.calls() == []
