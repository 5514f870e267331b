"""examples/ner: the scripts on made-up sentences, with a tiny random RoBERTa."""

import gzip
import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from seqeval.metrics import f1_score

from ..conftest import ROOT, run
from .conftest import option

NER = ROOT / "examples" / "ner"
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


@pytest.fixture
def columns(tmp_path):
    """columns(train, valid, test): a folder with these files."""

    def columns(*texts: str) -> Path:
        folder = tmp_path / "conll"
        folder.mkdir(exist_ok=True)
        for split, text in zip(("train", "valid", "test"), texts, strict=False):
            (folder / f"{split}.txt").write_text(text, encoding="utf-8")
        return folder

    return columns


@pytest.fixture
def recipe(on_tiny_roberta):
    """recipe("prepare", "mine", ...): run a script of the recipe on the tiny RoBERTa."""

    return on_tiny_roberta(NER)


@pytest.fixture
def modules(monkeypatch):
    """The recipe's modules, by name."""
    monkeypatch.syspath_prepend(str(NER))

    def module(name: str):
        sys.modules.pop(name, None)
        return __import__(name)

    yield module
    for name in ("conll", "pieces", "fetch", "score", "tagging", "compare"):
        sys.modules.pop(name, None)


def test_from_columns_to_scores_and_tags(recipe, columns, tmp_path, roberta) -> None:
    """Two settings, a seed each; everything is skipped the second time."""
    folder = columns(sentences(24), sentences(8, 24), sentences(8, 32))
    recipe("prepare", "mine", CONLL_DIR=str(folder))
    data, runs = tmp_path / "out" / "mine" / f"{roberta.name}-data", tmp_path / "out" / "mine"
    runs /= roberta.name
    short = {"EPOCHS": "2", "LR": "0.01", "BATCH": "8", "MAX_SENTENCES": "4"}
    recipe("train", "mine", ALPHA="2", **short)
    recipe("train", "mine", CRITERION="baseline", **short)
    output = recipe("evaluate", "mine").stdout
    for setting in ("baseline", "rdrop-2"):
        run_folder = runs / setting / "seed1"
        log = (run_folder / "train.log").read_text()
        assert "num_updates: 6 >= max_update: 6" in log  # 2 epochs of 24 / 8
        assert ("rdrop_kl" in log) == (setting != "baseline")
        # no optimizer's state is kept
        assert {path.name for path in run_folder.glob("*.pt")} == {"checkpoint_best.pt"}
        state = torch.load(run_folder / "checkpoint_best.pt", weights_only=True)
        assert state["last_optimizer_state"] is None
        scores = json.loads((run_folder / "scores.json").read_text())
        for split in ("valid", "test"):
            rows = [
                [line.split(" ") for line in text.split("\n")]
                for text in (run_folder / f"{split}.conll").read_text().strip().split("\n\n")
            ]
            given = (folder / f"{split}.txt").read_text().strip().split("\n\n")
            assert [[row[:2] for row in words] for words in rows] == [
                [line.split(" ") for line in text.split("\n")] for text in given
            ]
            true, found = ([[row[column] for row in words] for words in rows] for column in (1, 2))
            assert scores[split]["F1"] == pytest.approx(100 * f1_score(true, found))
        # what was chosen by is what is scored, to the log's two decimals
        best = float(log.split("best_f1 ")[-1].split()[0])
        assert scores["valid"]["F1"] == pytest.approx(best, abs=0.006)
    assert "| mine | valid | F1 | rdrop-2 | 1 |" in output
    assert "| test | rdrop-2 | 1 | " in output

    again = recipe("train", "mine", ALPHA="2", **short).stdout
    assert "is trained already" in again
    assert "training" not in again
    longer = recipe("train", "mine", ALPHA="2", check=False, **{**short, "EPOCHS": "3"})
    assert longer.returncode == 1
    assert "was made with other settings (< then, > now)" in longer.stderr

    positions = recipe("train", "mine", ALPHA="3", check=False, MAX_POSITIONS="128", **short)
    assert positions.returncode == 1
    assert "model.pt has 512 positions, MAX_POSITIONS is 128" in positions.stderr

    command = [sys.executable, NER / "predict.py", data, runs / "rdrop-2" / "seed1", "--cpu"]
    command += ["--encoder", roberta, "--bpe-dir", roberta / "bpe"]
    (tmp_path / "raw.txt").write_text("Then Peter went to Rome.\n\nSara.\n")
    printed = run([*command, tmp_path / "raw.txt"]).stdout
    words = [line.split(" ")[0] for line in printed.split("\n")]
    assert words[:7] == ["Then", "Peter", "went", "to", "Rome", ".", ""]
    entities = run([*command, "--entities", tmp_path / "raw.txt"]).stdout
    assert len(entities.splitlines()) == 3
    # a line ends where a file's does: at a newline only
    piped = run(
        [*command, "--entities"], input="Then Peter\u2028went\x0cto Rome.\n\nSara.\n"
    ).stdout
    assert piped == entities
    words = "Then Peter went to Rome ."
    (tmp_path / "words.txt").write_text(f"{words}\n")
    printed = run([*command, "--tokenised", tmp_path / "words.txt"]).stdout
    assert [line.split(" ")[0] for line in printed.splitlines()[:6]] == words.split()

    # neither data of other labels nor another encoder
    recipe("prepare", "other", CONLL_DIR=str(columns(*["Rome B-LOC\nis O\n"] * 3)))
    other = tmp_path / "out" / "other" / data.name
    result = run([*command[:2], other, *command[3:], tmp_path / "raw.txt"], check=False)
    assert result.returncode == 1
    assert "was trained with 5 labels, those of " in result.stderr.splitlines()[-1]
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "dict.txt").write_text("1 1\n")
    result = run([*command, "--encoder", encoder, tmp_path / "raw.txt"], check=False)
    assert result.returncode == 1
    assert f"was made with another encoder than {encoder}" in result.stderr.splitlines()[-1]

    # a run is not scored on data that have changed since
    shutil.rmtree(data)
    (tmp_path / "out" / "mine" / f"{roberta.name}.settings").unlink()
    changed = sentences(24).replace("Rome B-LOC", "Rome B-PER", 1)
    recipe("prepare", "mine", CONLL_DIR=str(columns(changed, sentences(8, 24), sentences(8, 32))))
    result = recipe("train", "mine", ALPHA="2", check=False, **short)
    assert "was made with other settings (< then, > now): < " in result.stderr
    result = recipe("evaluate", "mine", check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert f"was trained with other data than {data} holds now: remove it, or prepare its" in line


def test_pieces_and_labels(modules, roberta, tmp_path, capsys) -> None:
    """Every word as inside a sentence, its tag on its first piece."""
    pieces = modules("pieces")
    from argparse import Namespace

    to_pieces = pieces.encoder(Namespace(encoder=roberta, bpe_dir=roberta / "bpe", published=False))
    (first, second) = to_pieces([["the", "and", "Rome"], ["Rome"]])
    bpe = json.loads((roberta / "bpe" / "encoder.json").read_text())
    assert first[0] == [str(bpe["\u0120the"])]  # with the space before it, though it comes first
    assert first[2] == second[0]
    assert [list(bpe)[int(piece)] for piece in first[2]] == ["\u0120", "R", "o", "m", "e"]
    words = [modules("conll").Word(text, tag, 1) for text, tag in (("the", "O"), ("Rome", "B-LOC"))]
    line, labels = pieces.as_lines(words, [first[0], first[2]])
    assert labels == "O B-LOC <pad> <pad> <pad> <pad>"
    assert len(line.split()) == 6
    assert pieces.as_lines(words, [["5"], []]) == ("5 <unk>", "O B-LOC")
    assert modules("score").words_of(line, labels) == [first[0], first[2]]


def test_wordpieces_and_words_without_any(modules, tmp_path, capsys) -> None:
    """As of MiniLM's tokenizer, which leaves nothing of a variation selector."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    vocabulary = ["[UNK]", "pet", "##er", "rome", "##s", "!"]
    tokenizer = Tokenizer(
        models.WordPiece({piece: n for n, piece in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    tokenizer.save(str(encoder / "tokenizer.json"))
    text = "Peter B-PER\n\ufe0f I-PER\nRomes B-LOC\n!! O\n\nyes O\n"
    for split in ("train", "valid"):
        (tmp_path / split).write_text(text, encoding="utf-8")
    pieces, out = modules("pieces"), tmp_path / "out"
    arguments = ["pieces.py", "--encoder", str(encoder), "--out", str(out)]
    arguments += [f"{split}={tmp_path / split}" for split in ("train", "valid")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        pieces.main()
    assert (out / "train.input0").read_text() == "pet ##er <unk> rome ##s ! !\n[UNK]\n"
    assert (out / "train.label").read_text() == "B-PER <pad> I-PER B-LOC <pad> O <pad>\nO\n"
    assert (out / "labels.txt").read_text().split() == ["B-LOC", "B-PER", "I-PER", "O"]
    assert json.loads((out / "info.json").read_text())["words_without_pieces"]["valid"] == 1
    said = capsys.readouterr().out
    assert (
        f"train: of 1 word (line 2 of {tmp_path / 'train'}) the encoder's tokenizer leaves" in said
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Peter B-PER\nwent\n", "line 2: expected a word and its tag, got only 'went'"),
        ("Peter B-PER\nwent VBD O\n", "line 2: 3 columns where the lines before have 2"),
        ("Peter S-PER\n", "line 1: 'S-PER' is not a BIO tag"),
        ("New York\tB-LOC\nis\tO\n", "line 1: 'New York' has a space in it: give each word a"),
        ("Peter I-PER\n", "line 1: I-PER after O.*set TAGS=iob1"),
        ("Peter B-PER\nRome I-LOC\n", "line 2: I-LOC after B-PER"),
        ("a B-PER\n\nb I-PER\n", "line 3: I-PER after O"),  # a sentence begins anew
        ("\n\n-DOCSTART- O\n", "has no sentences"),
    ],
)
def test_what_is_not_conll(modules, tmp_path, text, message) -> None:
    conll = modules("conll")
    (tmp_path / "file").write_text(text)
    with pytest.raises(conll.InputError, match=message):
        conll.read(tmp_path / "file")


def test_a_damaged_file(modules, tmp_path) -> None:
    conll = modules("conll")
    packed = bytearray(gzip.compress(b"Peter B-PER\n" * 50))
    packed[len(packed) // 2] ^= 255
    (tmp_path / "file.gz").write_bytes(packed)
    with pytest.raises(conll.InputError, match=r"file.gz: not text in UTF-8, or not a whole .gz"):
        conll.read(tmp_path / "file.gz")


def test_reading(modules, tmp_path) -> None:
    """Tabs or spaces, packed or not, separators of a tab, as many blank lines as one likes."""
    conll = modules("conll")
    text = "-DOCSTART- -X- -X- O\n\nU.N. NNP I-NP B-ORG\nofficial NN I-NP O\n\t\n\n"
    text += "Ekeus NNP I-NP B-PER"
    (tmp_path / "plain").write_text(text)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(text.replace(" ", "\t").encode()))
    for name in ("plain", "packed.gz"):
        first, second = conll.read(tmp_path / name)
        assert first == [("U.N.", "B-ORG", 3), ("official", "O", 4)]
        assert second == [("Ekeus", "B-PER", 7)]


def test_a_byte_order_mark_is_no_part_of_the_first_word(modules, tmp_path) -> None:
    conll = modules("conll")
    (tmp_path / "file").write_text("Peter B-PER\n", encoding="utf-8-sig")
    assert conll.read(tmp_path / "file") == [[("Peter", "B-PER", 1)]]


def test_iob1_becomes_bio(modules, tmp_path) -> None:
    conll = modules("conll")
    tags = ["I-LOC", "I-LOC", "B-LOC", "I-LOC", "O", "I-PER", "I-ORG", "B-ORG"]
    (tmp_path / "file").write_text("".join(f"w {tag}\n" for tag in tags))
    (words,) = conll.read(tmp_path / "file", iob1=True)
    expected = ["B-LOC", "I-LOC", "B-LOC", "I-LOC", "O", "B-PER", "B-ORG", "B-ORG"]
    assert [word.tag for word in words] == expected


def test_a_tag_that_training_lacks(recipe, columns) -> None:
    folder = columns(sentences(6), "Venus B-PLANET\n")
    result = recipe("prepare", "mine", check=False, CONLL_DIR=str(folder))
    assert result.returncode == 1
    assert "valid.txt, line 1: the tag B-PLANET does not occur in the training set" in result.stderr


def test_no_entities(recipe, columns) -> None:
    """A training set without any: the tags may be in another column."""
    result = recipe("prepare", "mine", check=False, CONLL_DIR=str(columns("a O\n", "b O\n")))
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if "pieces:" in line]
    assert "train.txt has no entities: all tags are O" in line


def test_changed_files_are_not_taken_for_the_prepared_ones(recipe, columns) -> None:
    folder = columns(sentences(6), sentences(2))
    recipe("prepare", "mine", CONLL_DIR=str(folder))
    assert "is there already" in recipe("prepare", "mine", CONLL_DIR=str(folder)).stdout
    columns(sentences(6), sentences(3))
    result = recipe("prepare", "mine", check=False, CONLL_DIR=str(folder))
    assert result.returncode == 1
    assert "was made with other settings (< then, > now): < checksum=" in result.stderr


def test_text_that_is_not_utf8_is_not_tagged(tmp_path) -> None:
    (tmp_path / "raw.txt").write_bytes(b"Rome\nZ\xfcrich\n")
    command = [sys.executable, NER / "predict.py", tmp_path, tmp_path, "--encoder", tmp_path]
    result = run([*command, tmp_path / "raw.txt"], check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "raw.txt, line 2: byte 0xfc at position 2 is not UTF-8" in line


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (["mine"], {}, "unknown task mine: expected conll2003 or wnut17, or set CONLL_DIR"),
        (["wnut17"], {"TAGS": "iob1"}, "TAGS=iob1 is for files of your own"),
        (["wnut17"], {"HUB": "1"}, "HUB=1 is for conll2003 without CONLL_DIR"),
        (["mine"], {"TAGS": "iobes", "CONLL_DIR": "."}, "TAGS must be bio or iob1, got 'iobes'"),
        (["mine"], {"CONLL_DIR": "/nowhere"}, "/nowhere has no train set: expected one of"),
        ([], {}, "name a task"),
    ],
)
def test_wrong_settings_of_prepare(recipe, arguments, settings, message) -> None:
    result = recipe("prepare", *arguments, check=False, **settings)
    assert result.returncode == 1
    assert message in result.stderr


def test_small_leaves_another_encoder_alone(recipe, columns, tmp_path, roberta) -> None:
    """RoBERTa, exported for the full size, is taken, and said; where it is not, nothing is put."""
    folder = str(columns(sentences(6), sentences(2)))
    result = recipe("prepare", "--small", "mine", CONLL_DIR=folder)
    assert f"note: --small with ROBERTA_PATH={roberta}/model.pt: that encoder, not" in result.stderr
    missing = str(tmp_path / "none" / "model.pt")
    arguments = ("prepare", "--small", "mine")
    result = recipe(*arguments, check=False, CONLL_DIR=folder, ROBERTA_PATH=missing)
    assert result.returncode == 1
    assert "none/model.pt does not exist" in result.stderr
    assert not (tmp_path / "none").exists()


def test_settings_of_train(fake, roberta, tmp_path) -> None:
    """Full size: the numbers of README.md, whatever the number of GPUs."""
    out = tmp_path / "out"
    data = out / "conll2003" / f"{roberta.name}-data"
    for folder in (data / "text", data / "input0", data / "label"):
        folder.mkdir(parents=True)
    (data / "text" / "train.input0").write_text("1\n" * 14041)
    (data / "text" / "info.json").write_text('{"longest": {"train": 273}}')  # and <s>, </s>
    (data / "input0" / "dict.txt").write_bytes((roberta / "dict.txt").read_bytes())
    (data / "input0" / "train.bin").touch()
    env = fake.env(gpus=2) | {"ROBERTA_PATH": str(roberta / "model.pt"), "OUT": str(out)}
    env["PYTHONPATH"] = str(ROOT)  # the real torch reads the checkpoint
    env |= {"NGPU": "1", "CPU": "1", "ALPHA": "4"}
    assert "note: " not in run(["bash", NER / "train.sh", "conll2003"], env=env).stderr
    (call,) = fake.calls()
    assert option(call, "--max-update") == "4390"  # 5 epochs of 878
    assert option(call, "--warmup-updates") == "263"
    assert option(call, "--lr") == "2e-5"
    assert option(call, "--batch-size") == "16"
    assert option(call, "--criterion") == "rdrop_sequence_tagging"
    assert option(call, "--rdrop-alpha") == "4"
    assert option(call, "--best-checkpoint-metric") == "f1"
    for task, updates in (("conll2003", 1756), ("wnut17", 3512), ("mine", 8780)):
        (out / task).mkdir(exist_ok=True)
        if task != "conll2003":
            (out / task / data.name).symlink_to(data)
        run(["bash", NER / "train.sh", "--small", task], env=env)
        small = fake.calls()[-1]
        assert option(small, "--max-update") == str(updates)  # 1, 2 and 5 epochs
        assert option(small, "--lr") == "2e-4"
        assert option(small, "--batch-size") == "8"
    result = run(
        ["bash", NER / "train.sh", "conll2003"], env=env | {"MAX_SENTENCES": "5"}, check=False
    )
    assert "BATCH (16) must be a multiple of MAX_SENTENCES x GPUs" in result.stderr
    # where batches of 16 do not hold 16
    (data / "text" / "info.json").write_text('{"longest": {"train": 700}}')
    result = run(["bash", NER / "train.sh", "conll2003"], env=env | {"ALPHA": "5"})
    assert (
        "note: batches of sentences with more than 275 tokens hold fewer than 16" in result.stderr
    )
    assert "less than EPOCHS=5: set MAX_TOKENS to 8192 or, if memory is short, a" in result.stderr


class Tagger(torch.nn.Module):
    """Gives every token the class that its number says."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, src_tokens, **_):
        return torch.nn.functional.one_hot(src_tokens % 3, 3).float(), None


def test_tags_are_those_of_the_first_pieces(modules) -> None:
    """Sentences of all lengths, in one order; words that do not fit whole get O."""
    from types import SimpleNamespace

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


def conll_files(runs: Path, setting: str, predicted: list[str], seed: int = 1) -> None:
    folder = runs / setting / f"seed{seed}"
    folder.mkdir(parents=True)
    text = "\n\n".join(f"w B-X {tag}" for tag in predicted)
    for split in ("valid", "test"):
        (folder / f"{split}.conll").write_text(text + "\n")
    (folder / "scores.json").write_text("{}")


def test_differences(modules, tmp_path) -> None:
    """Equal systems differ by 0 beyond doubt, one that is always right by what the other lacks."""
    half = ["B-X", "O"] * 50
    conll_files(tmp_path, "baseline", half)
    conll_files(tmp_path, "rdrop-1", half)
    conll_files(tmp_path, "rdrop-4", ["B-X"] * 100)
    conll_files(tmp_path, "rdrop-4", ["O"] * 100, seed=2)  # the baseline lacks this seed
    output = run([sys.executable, NER / "compare.py", tmp_path]).stdout
    rows = [line.strip("| ").split(" | ") for line in output.splitlines() if "rdrop" in line]
    assert rows[0] == ["valid", "rdrop-1", "1", "+0.00", "[+0.00, +0.00]"]
    assert rows[1][:3] == ["valid", "rdrop-4", "1"]
    assert float(rows[1][3]) == pytest.approx(100 - 200 * 50 / 150, abs=0.01)
    low, high = map(float, rows[1][4].strip("[]").split(", "))
    assert low < float(rows[1][3]) < high
    # F1 = 2 p / (1 + p) for a share p of 100 drawn: 95% of p within 0.5 +- 0.098
    ends = [100 - 200 * p / (1 + p) for p in (0.598, 0.402)]
    assert (low, high) == pytest.approx(ends, abs=2)
    conll_files(tmp_path, "rdrop-5", half[1:])
    result = run([sys.executable, NER / "compare.py", tmp_path], check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "were scored on different sets of sentences (valid)" in line


def test_mean_over_seeds(modules) -> None:
    counts = np.array([[[4, 4, 4], [4, 4, 2]], [[4, 4, 2], [0, 0, 0]]])  # seeds, systems
    assert modules("compare").mean_f1(counts).tolist() == [75.0, 25.0]


def test_fetching_checks_what_it_gets(modules, server, monkeypatch) -> None:
    fetch = modules("fetch")
    contents = {name: sentences(2).encode() for name in fetch.WNUT_SHA256}
    for name, content in contents.items():
        (server.folder / name).write_bytes(content)
    with pytest.raises(fetch.InputError, match=r"expected sha256:.*: removed what was downloaded"):
        fetch.wnut17(f"{server.address}/")
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(fetch, "WNUT_SHA256", sums)
    assert list(fetch.wnut17(f"{server.address}/")) == ["train", "valid", "test"]
    server.faults["emerging.dev.conll"] = "404"
    with pytest.raises(fetch.InputError, match=r"emerging.dev.conll.*CONLL_DIR"):
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
        with pytest.raises(fetch.InputError, match=r"lhoestq/conll2003 has the tags O, B-PER, .*"):
            fetch.conll2003_of_hub()


def test_study_goes_on_where_it_stopped(recipe, columns, tmp_path) -> None:
    """Settings x seeds; what is done is skipped, what is missing is made."""
    folder = columns(sentences(24), sentences(8, 24), sentences(8, 32))
    settings = {"CONLL_DIR": str(folder), "SETTINGS": "baseline 1", "SEEDS": "2", "UPDATES": "1"}
    first = recipe("study", "mine", **settings)
    assert first.stdout.count("done training") == 2
    table = (tmp_path / "out" / "mine" / "study.md").read_text()
    assert [line.split(" | ")[3:5] for line in table.splitlines() if "| valid | F1 |" in line] == [
        ["baseline", "1"],
        ["rdrop-1", "1"],
    ]
    (lost,) = (tmp_path / "out" / "mine").glob("*/rdrop-1/seed2")
    shutil.rmtree(lost)
    again = recipe("study", "mine", **settings)
    assert again.stdout.count("done training") == 1
    assert again.stdout.count("is trained already") == 1
    assert (tmp_path / "out" / "mine" / "study.md").read_text() == table


def test_wrong_settings_of_the_study(fake, roberta, tmp_path) -> None:
    """Told before anything is prepared."""
    env = fake.env(gpus=1) | {"ROBERTA_PATH": str(roberta / "model.pt")}
    env["OUT"] = str(tmp_path / "out")
    for wrong in ({"SETTINGS": "baseline x"}, {"SEEDS": "1 b"}):
        result = run(["bash", NER / "study.sh", "mine"], env=env | wrong, check=False)
        assert result.returncode == 1
        assert "must be" in result.stderr
    assert not (tmp_path / "out").exists()
