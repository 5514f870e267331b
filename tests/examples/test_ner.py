"""examples/ner: the scripts on made-up sentences, with a tiny random RoBERTa."""

import hashlib
import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from seqeval.metrics import f1_score
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.compare import rows_of

from ..conftest import ROOT
from .conftest import recipe_on

SCRIPTS = ROOT / "examples" / "ner"
NAMES = ["Peter", "Anna Maria", "the Andes", "Rome", "Sara", "New York"]


def sentences(count: int, start: int = 0) -> str:
    """Made-up sentences in CoNLL's columns; people and places are the entities."""
    lines = []
    for number in range(start, start + count):
        person, place = NAMES[number % 6], NAMES[(5 * number + 3) % 6]
        lines += [f"{word} {tag}" for word, tag in (("Then", "O"), *tagged(person, "PER"))]
        lines += ["went O", "to O", *(f"{word} {tag}" for word, tag in tagged(place, "LOC")), ". O"]
        lines.append("")
    return "\n".join(lines) + "\n"


def tagged(name: str, kind: str) -> list[tuple[str, str]]:
    first, *rest = name.split()
    return [(first, f"B-{kind}"), *((word, f"I-{kind}") for word in rest)]


def columns(folder: Path, *texts: str) -> Path:
    """A folder with files of train, valid and test."""
    folder = folder / "given"
    folder.mkdir(exist_ok=True)
    for split, text in zip(("train", "valid", "test"), texts, strict=False):
        (folder / f"{split}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def recipe(roberta: Path, tmp_path: Path):
    return recipe_on(roberta, SCRIPTS, tmp_path / "out")


@pytest.fixture(scope="module")
def mine(roberta: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Data of one's own, prepared, trained on for two epochs of 24 / 8 updates, and scored."""
    folder = tmp_path_factory.mktemp("mine")
    given = columns(folder, sentences(24), sentences(8, 24), sentences(8, 32) + "It B-ORG\n")
    recipe = recipe_on(roberta, SCRIPTS, folder / "out")
    prepared = recipe("prepare", "mine", CONLL_DIR=str(given)).stdout
    train = ("mine", "--cpu", "--num-workers", "0", "--lr", "0.01")
    train += ("--batch-size", "4", "--update-freq", "2")
    recipe("train", *train, UPDATES="6", ALPHA="2")
    scored = recipe("evaluate", "mine").stdout
    return SimpleNamespace(
        given=given,
        out=folder / "out",
        run=folder / "out" / "rdrop",
        recipe=recipe,
        train=train,
        prepared=prepared,
        scored=scored,
    )


def test_scores_are_those_of_the_tags(mine) -> None:
    """Of the words that were given; a tag that training lacks counts as wrong."""
    line = (mine.given / "test.txt").read_text().splitlines().index("It B-ORG") + 1
    assert f"test.txt has the tag B-ORG (line {line}), which the training set" in mine.prepared
    log = (mine.run / "run.log").read_text()
    assert "num_updates: 6 >= max_update: 6" in log
    assert "rdrop_kl" in log
    scores = json.loads((mine.run / "scores.json").read_text())
    for split in ("valid", "test"):
        text = (mine.run / f"{split}.conll").read_text().strip()
        rows = [[line.split(" ") for line in part.split("\n")] for part in text.split("\n\n")]
        given = (mine.given / f"{split}.txt").read_text().strip().split("\n\n")
        assert [[row[:2] for row in words] for words in rows] == [
            [line.split(" ") for line in text.split("\n")] for text in given
        ]
        true, found = ([[row[column] for row in words] for words in rows] for column in (1, 2))
        assert scores[split]["F1"] == pytest.approx(100 * f1_score(true, found))
        assert f"{split}: F1 {scores[split]['F1']:.2f} precision" in mine.scored
        # what rdrop compare reads: F1 of the sums over sentences
        table = rows_of(mine.run / f"{split}.examples.tsv")
        sums = [sum(int(row[f"F1 {name}"]) for row in table) for name in ("true", "predicted")]
        correct = sum(int(row["F1 correct"]) for row in table)
        assert len(table) == len(rows)
        assert scores[split]["F1"] == pytest.approx(200 * correct / sum(sums))
    # what was chosen by is what is scored, to the log's two decimals
    best = float(log.split("best_f1 ")[-1].split()[0])
    assert scores["valid"]["F1"] == pytest.approx(best, abs=0.006)


def test_a_run_keeps_its_settings_and_its_best_checkpoint(mine) -> None:
    """What is done is not done again; other settings are refused."""
    assert {path.name for path in mine.run.glob("*.pt")} == {"checkpoint_best.pt"}
    state = torch.load(mine.run / "checkpoint_best.pt", weights_only=True)
    assert state["last_optimizer_state"] is None
    again = mine.recipe("train", *mine.train, UPDATES="6", ALPHA="2").stdout
    assert "rdrop is trained already, 6 updates" in again
    again = mine.recipe("prepare", "mine", CONLL_DIR=str(mine.given)).stdout
    assert again.count("is made already") == 4  # conll, pieces, input0, label
    other = mine.recipe("train", *mine.train, UPDATES="6", ALPHA="3", check=False)
    assert other.returncode == 1
    assert "made with other settings or data: --rdrop-alpha 2 then, 3 now" in other.stderr


def test_changed_data_are_neither_prepared_nor_scored(mine, roberta, tmp_path) -> None:
    out = tmp_path / "out"
    shutil.copytree(mine.out, out)
    recipe = recipe_on(roberta, SCRIPTS, out)
    given = columns(tmp_path, sentences(24), sentences(9, 24))
    result = recipe("prepare", "mine", CONLL_DIR=str(given), check=False)
    assert result.returncode == 1
    assert "out/conll was made with other settings or data: " in result.stderr
    shutil.copy(out / "data-bin" / "label" / "valid.bin", out / "data-bin" / "label" / "train.bin")
    result = recipe("evaluate", "mine", check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "out/rdrop was made with other data than" in line


TOKENS = ["Then", "Peter", "went", "to", "Rome", "."]


def test_tags_of_raw_text(mine, modules, roberta, tmp_path, capsys, monkeypatch) -> None:
    predict = modules("predict")
    data = mine.out / "data-bin"
    command = [str(data), str(mine.run), "--cpu", "--encoder", str(roberta)]
    command += ["--bpe-dir", str(roberta / "bpe")]

    def predicted(text: str, *more: str) -> list[str]:
        (tmp_path / "raw.txt").write_text(text, encoding="utf-8")
        predict.main([*command, *more, str(tmp_path / "raw.txt")])
        return capsys.readouterr().out.split("\n")

    text = "Then Peter went to Rome.\n\nSara.\n"
    lines = predicted("\ufeff" + text)  # a byte order mark is no text
    assert [line.split(" ")[0] for line in lines[:7]] == [*TOKENS, ""]
    entities = predicted(text, "--entities")
    assert len(entities) == 4
    # a line ends where a file's does: at a newline only
    assert predicted("Then Peter\u2028went\x0cto Rome.\n\nSara.\n", "--entities") == entities
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    predict.main([*command, "--entities"])
    assert capsys.readouterr().out.split("\n") == entities
    assert predicted("Then Peter went to Rome .\n", "--tokenised")[:6] == lines[:6]

    (tmp_path / "bad.txt").write_bytes(b"Rome\nZ\xfcrich\n")
    with pytest.raises(UsageError, match=r"bad.txt, line 2: byte 0xfc at position 2 is not UTF-8"):
        predict.main([*command, str(tmp_path / "bad.txt")])
    # neither data of other labels nor another encoder
    other = tmp_path / "data"
    shutil.copytree(data, other)
    (other / "label" / "dict.txt").write_text("B-LOC 1\nO 1\n")
    with pytest.raises(UsageError, match=r"was trained with 6 labels, those of "):
        predict.main([str(other), *command[1:], str(tmp_path / "raw.txt")])
    (tmp_path / "dict.txt").write_text("1 1\n")
    with pytest.raises(UsageError, match=f"was made with another encoder than {tmp_path}"):
        predict.main([*command, "--encoder", str(tmp_path), str(tmp_path / "raw.txt")])


def test_pieces_and_labels(modules, tmp_path, capsys) -> None:
    """A word's tag on its first piece; a word of which nothing is left is unknown, and said."""
    vocabulary = ["[UNK]", "pet", "##er", "rome", "##s", "!"]
    tokenizer = Tokenizer(
        models.WordPiece({piece: n for n, piece in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    text = "Peter B-PER\n\ufe0f I-PER\nRomes B-LOC\n!! O\n\nyes O\n"
    given = columns(tmp_path, text, text)
    modules("conll").main([str(given), "--out", str(tmp_path / "conll")])
    assert (tmp_path / "conll" / "train.conll").read_text() == f"{text}\n"
    labels = (tmp_path / "conll" / "labels.txt").read_text()
    assert labels == "B-LOC 1\nB-PER 1\nI-PER 1\nO 1\n"
    arguments = [str(tmp_path / "conll"), "--encoder", str(tmp_path)]
    modules("pieces").main([*arguments, "--out", str(tmp_path / "out")])
    line, label = "pet ##er <unk> rome ##s ! !", "B-PER <pad> I-PER B-LOC <pad> O <pad>"
    assert (tmp_path / "out" / "train.input0").read_text() == f"{line}\n[UNK]\n"
    assert (tmp_path / "out" / "valid.label").read_text() == f"{label}\nO\n"
    said = capsys.readouterr().out
    assert f"train: of 1 word(s) (line 2 of {tmp_path}/conll/train.conll) the encoder's tok" in said
    words = [["pet", "##er"], ["<unk>"], ["rome", "##s"], ["!", "!"]]
    assert modules("score").words_of(line, label) == words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Peter B-PER\nwent\n", "line 2: expected a word and its tag, got only 'went'"),
        ("Peter B-PER\nwent VBD O\n", "line 2: 3 columns where the lines before have 2"),
        ("Peter S-PER\n", "line 1: 'S-PER' is not a BIO tag"),
        ("New York\tB-LOC\nis\tO\n", "line 1: 'New York' has a space in it: give each word a"),
        # blanks in the first line, which is no word's, and tabs below
        ("-DOCSTART- -X- O\n\nNew York\tB-LOC\n", "line 3: 'New York' has a space in it"),
        ("Peter I-PER\n", "line 1: I-PER after O.*set TAGS=iob1"),
        ("Peter B-PER\nRome I-LOC\n", "line 2: I-LOC after B-PER"),
        ("a B-PER\n\nb I-PER\n", "line 3: I-PER after O"),  # a sentence begins anew
        ("\n\n-DOCSTART- O\n", "has no sentences"),
        ("1\tRome\tB-LOC\n2\tis\tO\n\n1-2\tGo\tO\n", "the first column has numbers only"),
    ],
)
def test_what_is_not_conll(modules, tmp_path, text, message) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(UsageError, match=message):
        modules("conll").read(tmp_path / "file")


def test_reading(modules, tmp_path) -> None:
    """Tabs or spaces, separators of a tab, as many blank lines as one likes, a byte order mark."""
    conll = modules("conll")
    text = "-DOCSTART- -X- -X- O\n\nU.N. NNP I-NP B-ORG\nofficial NN I-NP O\n\t\n\n"
    text += "7 NNP I-NP B-PER"
    (tmp_path / "plain").write_text(text, encoding="utf-8-sig")
    (tmp_path / "tabs").write_text(text.replace(" ", "\t").replace("\n", "\r\n"))
    (tmp_path / "header").write_text(text.replace(" ", "\t").replace("\t-X-", " -X-"))
    for name in ("plain", "tabs", "header"):
        first, second = conll.read(tmp_path / name)
        assert first == [("U.N.", "B-ORG", 3), ("official", "O", 4)]
        assert second == [("7", "B-PER", 7)]


def test_iob1_becomes_bio(modules, tmp_path) -> None:
    tags = ["I-LOC", "I-LOC", "B-LOC", "I-LOC", "O", "I-PER", "I-ORG", "B-ORG"]
    text = "".join(f"w {tag}\n" for tag in tags)
    given = columns(tmp_path, text, text)
    out = tmp_path / "out"
    modules("conll").main([str(given), "--tags", "iob1", "--out", str(out)])
    expected = ["B-LOC", "I-LOC", "B-LOC", "I-LOC", "O", "B-PER", "B-ORG", "B-ORG"]
    lines = (out / "valid.conll").read_text().split("\n\n")[0].split("\n")
    assert lines == [f"w {tag}" for tag in expected]


def test_names_of_files(modules, tmp_path) -> None:
    """Without .txt, packed, and as the shared tasks name them; the test set need not be there."""
    find = modules("conll").find
    for name in ("train", "eng.testa", "emerging.test.annotated.gz"):
        (tmp_path / name).touch()
    assert {split: path.name for split, path in find(tmp_path).items()} == {
        "train": "train",
        "valid": "eng.testa",
        "test": "emerging.test.annotated.gz",
    }
    (tmp_path / "emerging.test.annotated.gz").unlink()
    assert list(find(tmp_path)) == ["train", "valid"]
    (tmp_path / "eng.testa").rename(tmp_path / "validation.txt")
    with pytest.raises(
        UsageError, match=r"has no valid set: expected a file valid.txt, valid, dev"
    ):
        find(tmp_path)


def test_no_entities(modules, tmp_path) -> None:
    """A training set without any: the tags may be in another column."""
    given = columns(tmp_path, "a O\n", "b O\n")
    with pytest.raises(UsageError, match=r"train.txt has no entities: all tags are O"):
        modules("conll").main([str(given), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("script", "arguments", "settings", "message"),
    [
        ("prepare", ["mine"], {}, "unknown task mine: expected conll2003, conll2003-hub or wnut17"),
        ("prepare", ["mine"], {"TAGS": "iobes"}, "TAGS must be bio or iob1, got 'iobes'"),
        ("prepare", ["mine"], {"CONLL_DIR": "/none"}, "no such folder: /none"),
        ("prepare", [], {}, "expected one task, such as conll2003, got 0 arguments"),
        (
            "train",
            ["mine"],
            {},
            "out/pieces/train.input0 does not exist: run prepare.sh mine first",
        ),
        ("train", ["mine"], {"UPDATES": "0"}, "UPDATES must be a whole number of at least 1, got"),
        ("train", ["mine"], {"ROBERTA_PATH": "/none/m.pt"}, "ROBERTA_PATH: /none/m.pt does not"),
    ],
)
def test_wrong_arguments(recipe, script, arguments, settings, message) -> None:
    result = recipe(script, *arguments, check=False, **settings)
    assert result.returncode
    assert message in result.stderr.splitlines()[-1]


def test_settings_of_train(recipe, tmp_path) -> None:
    """The numbers of README.md, whatever the number of GPUs."""

    def flags(*arguments: str, **settings: str) -> dict[str, str]:
        printed = recipe("train", *arguments, "--dry-run", **settings).stdout
        lines = [line.strip(" \\") for line in printed.splitlines()]
        return {flag: value for flag, _, value in (line.partition(" ") for line in lines)}

    full = flags("conll2003", "--batch-size", "4", ALPHA="4", NGPU="2")
    expected = {
        "--max-update": "4390",  # 5 epochs of 878
        "--warmup-updates": "263",
        "--lr": "2e-5",
        "--update-freq": "2",  # x 2 GPUs x 4 = 16
        "--criterion": "rdrop_sequence_tagging",
        "--rdrop-alpha": "4",
        "--best-checkpoint-metric": "f1",
        "--encoder-layers": "2",
    }
    assert {flag: full[flag] for flag in expected} == expected
    (tmp_path / "out" / "pieces").mkdir(parents=True)
    (tmp_path / "out" / "pieces" / "train.input0").write_text("1\n" * 100)
    for task, updates in (("conll2003", "1756"), ("wnut17", "850"), ("mine", "65")):
        small = flags(task, "--small", CRITERION="baseline")
        # 1, 2 and 5 epochs of sentences / 8
        assert (small["--max-update"], small["--lr"], small["--batch-size"]) == (
            updates,
            "2e-4",
            "8",
        )
        assert small["--criterion"] == "sequence_tagging"


class Tagger(torch.nn.Module):
    """Gives every token the class that its number says."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, src_tokens, **_):
        return torch.nn.functional.one_hot(src_tokens % 3, 3).float(), None


def test_tags_are_those_of_the_first_pieces(modules) -> None:
    """Sentences of all lengths, in one order; words that do not fit whole get O."""
    task = SimpleNamespace(
        source_dictionary=SimpleNamespace(index=int, eos=lambda: 2, pad=lambda: 1),
        class_names=lambda: ["B-X", "I-X", "O"],
        cfg=SimpleNamespace(init_token=0, classification_head_name="tags"),
        max_positions=lambda: 7,  # <s>, five pieces, </s>
    )
    sentences = [
        [["3", "5"], ["4"], ["8"]],
        [["7"]],
        [["3", "3"], ["4", "4"], ["6", "6"]],  # the third word would need a sixth piece
    ]
    tags, cut = modules("tagging").tags_of(Tagger(), task, sentences, batch_size=2)
    assert tags == [["B-X", "I-X", "O"], ["I-X"], ["B-X", "I-X", "O"]]
    assert cut == 1


def test_a_perfect_prediction_has_100(modules) -> None:
    score = modules("score")
    true = [["B-X", "I-X", "O"], ["O"]]
    assert score.scores(true, true) == {"F1": 100.0, "precision": 100.0, "recall": 100.0}
    nothing = [["O"] * 3, ["O"]]
    assert score.scores(true, nothing) == {"F1": 0.0, "precision": 0.0, "recall": 0.0}


def test_fetching_checks_what_it_gets(modules, server, monkeypatch) -> None:
    fetch = modules("fetch")
    contents = {name: sentences(2).encode() for name in fetch.WNUT_SHA256}
    for name, content in contents.items():
        (server.folder / name).write_bytes(content)
    with pytest.raises(UsageError, match=r"expected sha256:.*: removed what was downloaded"):
        fetch.wnut17(f"{server.address}/")
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(fetch, "WNUT_SHA256", sums)
    assert list(fetch.wnut17(f"{server.address}/")) == ["train", "valid", "test"]
    server.faults["emerging.dev.conll"] = "404"
    with pytest.raises(UsageError, match=r"emerging.dev.conll.*CONLL_DIR"):
        fetch.wnut17(f"{server.address}/")


@pytest.mark.parametrize("names", [True, False])
def test_hugging_face(modules, monkeypatch, names, tmp_path) -> None:
    """Rows of words and numbers of tags, in the order of CoNLL-2003's copy there."""
    import datasets

    tags = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC"]
    kind = datasets.ClassLabel(names=tags) if names else datasets.Value("int64")
    features = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "ner_tags": datasets.List(kind)}
    )
    rows = {"tokens": [["EU", "rejects", "German"], ["Peter", "Blackburn"]]}
    rows["ner_tags"] = [[3, 0, 7], [1, 2]]
    loaded = datasets.Dataset.from_dict(rows, features=features)
    splits = {"train": loaded, "validation": loaded.select([1]), "test": loaded.select([0])}
    monkeypatch.setattr(datasets, "load_dataset", lambda name, configuration: splits)
    fetch = modules("fetch")
    files = fetch.conll2003_of_hub()
    assert list(files) == ["train", "valid", "test"]
    assert files["train"].decode() == (
        "EU B-ORG\nrejects O\nGerman B-MISC\n\nPeter B-PER\nBlackburn I-PER\n\n"
    )
    assert files["valid"].decode() == "Peter B-PER\nBlackburn I-PER\n\n"
    if names:
        monkeypatch.setattr(fetch, "HUB_TAGS", fetch.HUB_TAGS[::-1])
        with pytest.raises(UsageError, match=r"lhoestq/conll2003 has the tags O, B-PER, .*"):
            fetch.conll2003_of_hub()
