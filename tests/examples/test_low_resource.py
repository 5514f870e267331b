"""examples/low_resource: the split, one small run of its scripts, the commands of its studies."""

import bz2
import gzip
import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools import study
from rdrop_fairseq.tools.state import State, flags_of

from ..conftest import PROGRAMS, ROOT, corpus_lines, run

sys.path.insert(0, str(ROOT / "examples" / "low_resource"))
import debian_corpus
import split_corpus

RECIPE = ROOT / "examples" / "low_resource"
# a tenth of the verses twice, so that some test pairs have a side that is in training
SOURCE = corpus_lines("train", "es")[:400]
TARGET = corpus_lines("train", "en")[:400]


def write(path: Path, lines: list[str]) -> None:
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))


def raw_text(folder: Path) -> Path:
    """400 pairs of 80 documents, and what each rule of the split is to drop."""
    folder.mkdir()
    source = [*SOURCE, "", "lo mismo", "uno " * 81, "uno " * 12, SOURCE[0]]
    target = [*TARGET, "nothing", "lo mismo", "one " * 81, "one two", TARGET[0]]
    write(folder / "sent.es.gz", source)
    write(folder / "sent.en.gz", target)
    write(folder / "sent.pkg.gz", [f"document {i // 5}" for i in range(len(source))])
    return folder


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return raw_text(tmp_path / "raw")


def split(raw: Path, out: Path, train: int = 300) -> None:
    sizes = ["--train", str(train), "--valid", "30", "--test", "40"]
    split_corpus.main(["--raw", str(raw), "--out", str(out), "--languages", "es", "en", *sizes])


def lines_of(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def pairs_of(folder: Path, name: str) -> list[tuple[str, str]]:
    sides = (lines_of(folder / f"{name}.{language}.gz") for language in ("es", "en"))
    return list(zip(*sides, strict=True))


def test_split(raw, tmp_path) -> None:
    out = tmp_path / "out"
    split(raw, out)
    counts = dict(line.split("\t") for line in (out / "counts.tsv").read_text().splitlines())
    assert counts["raw"] == "405"
    for rule in ("empty", "source equals target", "over 80 words", "length ratio", "duplicate"):
        assert counts[f"dropped: {rule}"] == "1"
    document = {pair: i // 5 for i, pair in enumerate(zip(SOURCE, TARGET, strict=True))}
    documents = {}
    for name in ("train", "valid", "test"):
        pairs = pairs_of(out, name)
        assert len(pairs) == int(counts[name])
        documents[name] = {document[pair] for pair in pairs}  # real pairs, not mixed up
    assert len(pairs_of(out, "train")) == 300
    assert not documents["test"] & documents["train"]
    assert not documents["test"] & documents["valid"]
    assert not documents["valid"] & documents["train"]
    # the same again, from the names of the documents alone
    split(raw, tmp_path / "again")
    for path in out.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_nothing_of_the_test_set_is_in_training(raw, tmp_path) -> None:
    """Verses that stand in several documents, with another translation or in capitals."""
    source = SOURCE + [line.upper() for line in SOURCE[:200]]
    target = TARGET + [f"{line} Indeed." for line in TARGET[:200]]
    write(raw / "sent.es.gz", source)
    write(raw / "sent.en.gz", target)
    write(raw / "sent.pkg.gz", [f"document {i // 5}" for i in range(len(source))])
    split(raw, tmp_path / "out")
    seen = {side.casefold() for pair in pairs_of(tmp_path / "out", "train") for side in pair}
    counts = (tmp_path / "out" / "counts.tsv").read_text()
    for name, size in (("test", 40), ("valid", 30)):
        pairs = pairs_of(tmp_path / "out", name)
        assert all(seen.isdisjoint(side.casefold() for side in pair) for pair in pairs)
        assert 0 < len(pairs) < size
        assert f"dropped: {name}: a side is in training\t{size - len(pairs)}\n" in counts


def test_without_documents_each_pair_is_one(raw, tmp_path) -> None:
    (raw / "sent.pkg.gz").unlink()
    split(raw, tmp_path / "out")
    assert len(pairs_of(tmp_path / "out", "test")) == 40


def test_wrong_corpora(raw, tmp_path) -> None:
    good = (raw / "sent.en.gz").read_bytes()
    for content, message in (
        (None, r"no such raw file: .*sent\.en\.gz"),
        (good[:-9], r"sent\.en\.gz is cut off or no \.gz file"),
        (b"plain text", r"sent\.en\.gz is cut off or no \.gz file"),
        (
            gzip.compress(b"caf\xe9\n", mtime=0),
            r"sent\.en\.gz, line 1: byte 0xe9 at position 4 is not UTF-8",
        ),
        (
            gzip.compress(b"one line\n", mtime=0),
            r"same number of lines, .* got sent\.es\.gz 405, sent\.en\.gz 1, sent\.pkg\.gz 405",
        ),
        (good, r"of 400 usable pairs 330 are left for training, not 1,000: ask for fewer"),
    ):
        (raw / "sent.en.gz").unlink(missing_ok=True)
        if content is not None:
            (raw / "sent.en.gz").write_bytes(content)
        with pytest.raises(UsageError, match=message):
            split(raw, tmp_path / "out", train=1000)
        assert not (tmp_path / "out").exists()
    for name in ("sent.es.gz", "sent.en.gz", "sent.pkg.gz"):
        write(raw / name, [])
    with pytest.raises(UsageError, match=r"of at least 1, got sent\.es\.gz 0, sent\.en\.gz 0"):
        split(raw, tmp_path / "out")


def script(name: str, *arguments: str, check: bool = True, **env: str):
    return run(["bash", RECIPE / f"{name}.sh", *arguments], env=env, check=check)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> dict[str, str]:
    """The settings of a run that was prepared, trained for six updates and scored by a study."""
    folder = tmp_path_factory.mktemp("low_resource")
    env = {"RAW_DIR": str(raw_text(folder / "raw")), "OUT": str(folder / "out"), "SRC": "es"}
    env |= {"TGT": "en", "TRAIN_SIZE": "300", "VALID_SIZE": "30", "TEST_SIZE": "40"}
    env |= {"VOCAB_SIZE": "400", "UPDATES": "6"}
    text = (RECIPE / "study.ini").read_text().replace("${here}", str(RECIPE))
    score = f'bash "{RECIPE}/evaluate.sh"'
    # a checkpoint at each update, otherwise at each hundredth; one of them, and an average
    text = text.replace(
        'train.sh"', 'train.sh" --save-interval-updates 1 --keep-interval-updates 9'
    )
    commands = f"score = {score} best --beam 1\ncurve = {score} --beam 1\npoints = 5"
    text = re.sub("score = .*", commands, text)
    (folder / "study.ini").write_text(text)
    command = ["rdrop", "study", folder / "study.ini", "--only", "baseline.1"]
    run(command, env={**env, "PATH": f"{PROGRAMS}:{os.environ['PATH']}"})
    return env


def test_a_small_run(small) -> None:
    out = Path(small["OUT"])
    state = State(out / "baseline.1")
    assert state.updates == 6
    assert state.cpu_seconds() > 0
    count = len((out / "pieces" / "test.en").read_text().splitlines())
    for which in ("best", "until5"):
        assert len((out / "baseline.1" / which / "hyp.txt").read_text().splitlines()) == count
        scores = json.loads((out / "baseline.1" / which / "scores.json").read_text())
        assert scores.keys() >= {"BLEU", "chrF2"}
    assert not list(out.glob("baseline.1/*/average.pt"))
    rows = (out / "results.tsv").read_text().splitlines()
    assert [row.split("\t")[:3] for row in rows[1:]] == [["best", "baseline", "1"]]
    # a loss of the validation at the end, beside the scores of update 5
    curve = [line.split("\t") for line in (out / "curves.tsv").read_text().splitlines()]
    assert {"5", "6"} <= {row[2] for row in curve[1:]}


def test_the_small_run_again(small) -> None:
    """What is done is skipped; other settings, and what cannot be averaged, are refused."""
    out = Path(small["OUT"])
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*") if path.name != "run.json"}
    settings = {**small, "RUN": "baseline.1", "CRITERION": "baseline"}
    script("prepare", **settings)
    assert "is trained already, 6 updates" in script("train", **settings).stdout
    after = {path: path.stat().st_mtime_ns for path in out.glob("*/*") if path.name != "run.json"}
    assert after == before
    for name, changed, message in (
        ("prepare", {"VOCAB_SIZE": "500"}, "--vocab-size 400 then, 500 now"),
        ("train", {"SEED": "2"}, "--seed 1 then, 2 now"),
        ("evaluate", {"UNTIL": "9"}, "has no 5 checkpoints by update with 9 as the last"),
    ):
        result = script(name, check=False, **{**settings, **changed})
        assert result.returncode == 1
        assert message in result.stderr


def commands_of(name: str, capsys) -> dict[str, list[list[str]]]:
    """The calls of train.sh and evaluate.sh in a study, by the run that they are of."""
    study.main([str(RECIPE / f"{name}.ini"), "--dry-run"])
    found: dict[str, list[list[str]]] = {}
    for line in capsys.readouterr().out.splitlines():
        if match := re.search(r"\bRUN=(\S+)", line):
            found.setdefault(match[1], []).append(shlex.split(line))
    return found


def train_flags(call: list[str]) -> dict[str, str]:
    """What fairseq-train is given by such a call."""
    printed = run(["env", *call, "--dry-run"]).stdout
    return flags_of(shlex.split(printed.replace("\\\n", " "), comments=True))


def test_commands_of_the_study(capsys) -> None:
    """The README's settings, and how those of the study differ."""
    calls = commands_of("study", capsys)
    assert len(calls) == 9 * 3 + 6
    assert list(calls)[:8] == [
        *("baseline.1", "alpha1.1", "baseline.2", "alpha1.2", "baseline.3", "alpha1.3"),
        *("baseline-time.1", "baseline-time.2"),
    ]
    baseline, alpha = (train_flags(calls[name][0]) for name in ("baseline.2", "alpha1.2"))
    assert (
        baseline.items()
        >= {
            "--encoder-layers": "2",
            "--decoder-embed-dim": "128",
            "--dropout": "0.1",
            "--label-smoothing": "0.1",
            "--max-tokens": "1200",
            "--max-update": "3000",
            "--lr": "3e-3",
            "--warmup-updates": "200",
            "--save-interval-updates": "100",
            "--keep-interval-updates": "5",
            "--seed": "2",
            "--cpu": "",
        }.items()
    )
    assert baseline["--criterion"] == "label_smoothed_cross_entropy"
    of_rdrop = {"--criterion": "rdrop", "--rdrop-alpha": "1"}
    changed = {"--save-dir": "runs/low_resource/alpha1.2"} | of_rdrop
    assert alpha == baseline | changed
    passes = train_flags(calls["alpha1-once-passes3-long.3"][0])
    changed |= {"--rdrop-encoder": "once", "--rdrop-passes": "3", "--max-update": "6000"}
    changed |= {"--save-dir": "runs/low_resource/alpha1-once-passes3-long.3", "--seed": "3"}
    assert passes == baseline | changed


def test_commands_of_half_the_batch(capsys) -> None:
    """The protocol of the README: 250 updates apart, five averaged, half the tokens."""
    calls = commands_of("half_batch", capsys)
    half, plain = (train_flags(calls[name][0]) for name in ("half-d0.2.1", "baseline-d0.2.1"))
    shared = {
        "--dropout": "0.2",
        "--save-interval-updates": "250",
        "--keep-interval-updates": "-1",
        "--validate-interval": "1000",
        "--save-interval": "1000",
    }
    assert half.items() >= {**shared, "--max-tokens": "600", "--max-update": "13000"}.items()
    assert half["--rdrop-alpha"] == "1"
    assert plain.items() >= {**shared, "--max-tokens": "1200", "--max-update": "12000"}.items()
    scored = [" ".join(call) for call in calls["half.1"][1:]]
    assert sum("SUBSET=valid" in call for call in scored) == 1
    points = [re.search(r"UNTIL=(\d+)", call) for call in scored]
    assert [point[1] for point in points if point] == [str(1500 * n) for n in range(1, 9)]
    call = next(call for call in calls["half.1"] if "UNTIL=3000" in call)
    printed = run(["env", *call, "--dry-run"]).stdout
    assert (
        flags_of(shlex.split(printed.replace("\\\n", " "))).items()
        >= {
            "--average": "5",
            "--until": "3000",
            "--out": "runs/half_batch/half.1/until3000",
            "--reference": "runs/half_batch/pieces/test.de --",
        }.items()
    )


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("prepare", {}, "set RAW_DIR to the folder that holds sent.en.gz"),
        ("prepare", {"RAW_DIR": "/none"}, "/none/sent.en.gz is not there"),
        ("train", {"CRITERION": "mle"}, "CRITERION must be rdrop or baseline, got 'mle'"),
        ("train", {}, "data-bin is not there: make it first (prepare.sh, with the same OUT)"),
        ("evaluate", {"SUBSET": "train"}, "SUBSET must be test or valid, got 'train'"),
    ],
)
def test_wrong_settings(tmp_path, name, settings, message) -> None:
    result = script(name, check=False, **{"OUT": str(tmp_path), **settings})
    assert result.returncode == 1
    assert message in result.stderr


def test_evaluate(tmp_path) -> None:
    """All three checkpoints; flags go to rdrop evaluate, what stands after -- to fairseq."""
    shown = script("evaluate", "best", "--beam", "4", "--dry-run", OUT=str(tmp_path)).stdout
    assert [line.strip(" \\") for line in shown.splitlines()[-3:]] == [
        *("--beam 4 --", "--max-len-a 1.5", "--max-len-b 20"),
    ]
    own = script(
        "evaluate", "best", "--dry-run", "--", "--max-len-b", "9", OUT=str(tmp_path)
    ).stdout
    assert "--max-len-b 9" in own
    assert "--max-len-a" not in own
    every = script("evaluate", "--dry-run", OUT=str(tmp_path)).stdout
    assert re.findall(r"--out \S+/rdrop/(\w+)", every) == ["best", "last", "average"]
    assert "checkpoint_best.pt" in every
    assert "checkpoint_last.pt" in every
    result = script("evaluate", "first", check=False, OUT=str(tmp_path))
    assert "which must be best or last or average, got 'first'" in result.stderr


TRANSLATIONS = {
    "en": """Package: chess3
Description-md5: 1
Description-en: Play chess across  3 boards!
 There are three boards, e.g. One.  It is hard. A second
 sentence ends here.
 .
 This paragraph is whole. The other side has it in one.
  * a list
    that goes on
  * the same

Package: chess3-data
Description-md5: 2
Description-en: Play chess across 3 boards!
 No translation of this paragraph.

Package: other
Description-md5: 3
Description-en: Not translated
""",
    "de": """Package: chess3
Description-md5: 1
Description-de: Schach auf 3 Brettern!
 Es gibt drei Bretter, z.B. Eins. Es ist schwer. Ein zweiter
 Satz endet hier.
 .
 Dieser Absatz ist ganz, die andere Seite hat zwei Sätze.
  * eine Liste, die
    weitergeht
  * the same

Package: chess3-data
Description-md5: 2
Description-de: Schach auf 3 Brettern!

Package: other
Description-md5: 4
Description-de: Von einer anderen Fassung
""",
}


def test_corpus_of_debian(tmp_path, capsys) -> None:
    """A made-up sample in the format of Debian's Translation files."""
    files = [tmp_path / "Translation-en.bz2", tmp_path / "Translation-de"]
    files[0].write_bytes(bz2.compress(TRANSLATIONS["en"].encode()))
    files[1].write_text(TRANSLATIONS["de"])

    def corpus(out: str, *names: Path) -> None:
        words = ["--languages", "en", "de", "--out", tmp_path / out, *names]
        debian_corpus.main([str(word) for word in words])

    corpus("raw", *files)
    assert capsys.readouterr().out == f"{tmp_path}/raw: 6 pairs of 1 packages\n"
    assert [lines_of(tmp_path / "raw" / f"sent.{name}.gz") for name in ("en", "de", "pkg")] == [
        [
            "Play chess across 3 boards!",
            "There are three boards, e.g. One.",
            "It is hard.",
            "A second sentence ends here.",
            "This paragraph is whole. The other side has it in one.",
            "a list that goes on",
        ],
        [
            "Schach auf 3 Brettern!",
            "Es gibt drei Bretter, z.B. Eins.",
            "Es ist schwer.",
            "Ein zweiter Satz endet hier.",
            "Dieser Absatz ist ganz, die andere Seite hat zwei Sätze.",
            "eine Liste, die weitergeht",
        ],
        ["chess3"] * 6,
    ]
    before = (tmp_path / "raw" / "sent.en.gz").read_bytes()
    (tmp_path / "short.bz2").write_bytes(files[0].read_bytes()[:50])
    (tmp_path / "another").write_text(TRANSLATIONS["de"].replace("md5: ", "md5: 9"))
    for names, message in (
        ([tmp_path / "short.bz2", files[1]], "short.bz2 is cut off or no .bz2 file"),
        (files[::-1], "Translation-de holds no package with a Description-en: is it Debian's"),
        ([files[0], tmp_path / "another"], "no description of .* is translated in .*same release"),
    ):
        with pytest.raises(UsageError, match=message):
            corpus("new", *names)
        assert not (tmp_path / "new").exists()
    for out, names, message in (
        ("raw", files, "raw is there already: remove it first"),
        ("new", [files[0], tmp_path / "none"], "no such file: .*none"),
    ):
        with pytest.raises(SystemExit):
            corpus(out, *names)
        assert re.search(message, capsys.readouterr().err)
    assert (tmp_path / "raw" / "sent.en.gz").read_bytes() == before
