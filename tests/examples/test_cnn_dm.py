"""examples/cnn_dm: whole at small size, with weights like BART's, its commands at full size."""

import json
import os
import re
import shutil
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fairseq.data import Dictionary, data_utils
from fairseq.models import ARCH_CONFIG_REGISTRY
from fairseq.models.bart import BARTModel

import rdrop_fairseq  # noqa: F401  (lets torch load fairseq's checkpoints)
from rdrop_fairseq.errors import UsageError

from ..conftest import PROGRAMS, ROOT, corpus_lines
from ..gpt2_bpe import published_bpe
from .conftest import commands, script_of
from .fake import FakePrograms, options

SCRIPTS = ROOT / "examples" / "cnn_dm"
TINY = [
    *("--encoder-layers", "1", "--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "16"),
    *("--decoder-layers", "1", "--decoder-embed-dim", "16", "--decoder-ffn-embed-dim", "16"),
    *("--encoder-attention-heads", "2", "--decoder-attention-heads", "2", "--num-workers", "0"),
]
script = script_of("cnn_dm")


def verse_pairs(split: str, number: int) -> list[tuple[str, str]]:
    """Three verses as a document, the first as its summary."""
    verses = corpus_lines(split, "en")
    return [(" ".join(verses[i : i + 3]), verses[i]) for i in range(0, 3 * number, 3)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of every split a few pairs; the first document of the test set is empty."""
    folder = tmp_path_factory.mktemp("pairs")
    for split, pairs in (
        ("train", verse_pairs("train", 60)),
        ("val", verse_pairs("valid", 8)),
        ("test", [("", "A summary of nothing."), *verse_pairs("test", 10)]),
    ):
        for side, column in (("source", 0), ("target", 1)):
            text = "".join(f"{pair[column]}\n" for pair in pairs)
            (folder / f"{split}.{side}").write_text(text)
    summaries = (folder / "test.target").read_text()
    (folder / "test.sentences").write_text(summaries.replace(" of nothing", "\tof nothing"))
    documents = folder / "test.source"
    documents.write_text(documents.read_text().removesuffix("\n"))  # as some editors leave it
    return folder


SEARCH = ["--small", "--beam", "2", "--max-len-b", "12", "--batch-size", "4"]


@pytest.fixture(scope="module")
def small(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The README's three commands, on tiny sizes: what they printed, where they wrote."""
    out = tmp_path_factory.mktemp("small")
    prepared = script("prepare", arguments=["--small"], OUT=out, RAW_DIR=raw, WORKERS=1)
    script("train", arguments=["--small", *TINY], OUT=out, UPDATES=2)
    scored = script("evaluate", arguments=SEARCH, OUT=out)
    return SimpleNamespace(out=out, prepared=prepared.stdout, scored=scored.stdout)


def test_prepared(small) -> None:
    assert "test: 11 pairs, 1 empty documents" in small.prepared
    cut = int(re.search(r"^train.source: (\d+) longer than 64 tokens", small.prepared, re.M)[1])
    for name in ("train", "test"):  # so that the search meets the longest
        lines = (small.out / "pieces" / f"{name}.source").read_text().splitlines()
        assert max(len(line.split()) for line in lines) == 63  # and </s>
    lines = (small.out / "pieces" / "train.source").read_text().splitlines()
    assert 0 < cut <= sum(len(line.split()) == 63 for line in lines)


def test_summarised_and_scored(raw, small) -> None:
    log = (small.out / "rdrop" / "run.log").read_text()
    assert "R-Drop: 2 passes, alpha 0.7" in log
    test = small.out / "rdrop" / "test"
    assert (test / "ref.txt").read_text() == (raw / "test.target").read_text()
    leads = (test / "lead.txt").read_text().split("\n")
    assert leads[:2] == ["", re.split(r"(?<=[.!?]) ", verse_pairs("test", 1)[0][0])[0]]
    report = json.loads((test / "scores.json").read_text())
    assert report["how"]["summaries"] == 11
    assert report["how"]["sentences"].endswith("; of references: a highlight")
    assert f"ROUGE-1 {report['ROUGE-1']['score']:.2f} [" in small.scored
    assert len((test / "examples.tsv").read_text().splitlines()) == 12

    generated = (test / "generated" / "generate-test.txt").read_text()
    summaries = [line.split("\t")[2].split() for line in re.findall("^H-.*", generated, re.M)]
    assert len(summaries) == 11
    assert len((test / "hyp.txt").read_bytes().decode().split("\n")) == 12  # 11 and the end
    # a model that has learnt nothing repeats itself, but no three pieces; of shorter ones a symbol
    # may have been stripped, a <s> in the midst of the pieces
    whole = [pieces for pieces in summaries if len(pieces) == 12]
    assert whole
    for pieces in whole:
        triples = list(zip(pieces, pieces[1:], pieces[2:], strict=False))
        assert len(set(triples)) == len(triples)


def test_again(raw, small) -> None:
    """What is made is not made anew; neither other settings, other text nor another dictionary."""
    again = script("prepare", arguments=["--small"], OUT=small.out, RAW_DIR=raw, WORKERS=1)
    assert again.stdout.count("is made already") == 2
    other = script("evaluate", arguments=[*SEARCH, "--beam", "1"], OUT=small.out, check=False)
    assert "generated was made with other settings or data: --beam 2 then, 1 now" in other.stderr
    (small.out / "bin" / "dict.source.txt").rename(small.out / "kept")
    try:
        (small.out / "bin" / "dict.source.txt").write_text("other 1\n")
        other = script("evaluate", arguments=SEARCH, OUT=small.out, check=False)
        assert "has another dictionary than" in other.stderr
    finally:
        (small.out / "kept").rename(small.out / "bin" / "dict.source.txt")


def test_files2rouge_gets_tokenised_text(small, tmp_path) -> None:
    """What java makes of summaries and references, in this order; the result is kept."""
    fake = FakePrograms(
        *(tmp_path / "fake", "files2rouge", "java"),
        files2rouge='echo "1 ROUGE-1 Average_F: 0.4"; head -n 2 "$1" "$2"\n',
        java="sed 's/\\./ ./g'\n",
    )
    path = f"{fake.folder}:{PROGRAMS}:{os.environ['PATH']}"
    result = script("evaluate", arguments=SEARCH, PATH=path, OUT=small.out, ROUGE="files2rouge")
    assert fake.calls("java")[-1] == ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines"]
    test = small.out / "rdrop" / "test"
    assert fake.calls("files2rouge") == [[str(test / "hyp.ptb"), str(test / "ref.ptb")]]
    assert (test / "files2rouge.txt").read_text().startswith("1 ROUGE-1 Average_F: 0.4\n")
    assert "A summary of nothing ." in result.stdout
    assert "not comparable" not in result.stdout


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ((), "ROUGE=files2rouge needs the program files2rouge on PATH: install it"),
        (("files2rouge",), "ROUGE=files2rouge needs java, and Stanford's CoreNLP jar"),
    ],
)
def test_files2rouge_is_looked_for_first(tmp_path, programs, message) -> None:
    """Before the search, which takes hours, and in one sentence. java here finds no such class."""
    fake = FakePrograms(
        *(tmp_path / "fake", "java", "rdrop", *programs), java="echo no class >&2; exit 1\n"
    )
    (tmp_path / "model.pt").touch()
    path = f"{fake.folder}:/usr/bin:/bin"
    settings = {"PATH": path, "OUT": tmp_path, "ROUGE": "files2rouge"}
    result = script("evaluate", arguments=[tmp_path / "model.pt"], check=False, **settings)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"cnn_dm/evaluate.sh: {message}")
    assert line.endswith("or leave ROUGE unset")
    assert not fake.calls("rdrop")


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model.pt in the form of the published bart.large, with its dict.txt.

    That form: argparse's Namespace, float16, <mask> after the dictionary's last entry,
    layernorm_embedding, no optimizer state.
    """
    folder = tmp_path_factory.mktemp("bart")
    (folder / "dict.txt").write_text("".join(f"{piece} 1\n" for piece in range(50257)))
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    dictionary.add_symbol("<mask>")
    widths = {"embed_dim": 16, "ffn_embed_dim": 16, "layers": 1, "attention_heads": 2}
    sizes = {f"{side}_{key}": n for side in ("encoder", "decoder") for key, n in widths.items()}
    args = Namespace(arch="bart_large", task="denoising", criterion="cross_entropy", **sizes)
    args.max_source_positions = args.max_target_positions = 1024
    ARCH_CONFIG_REGISTRY["bart_large"](args)
    torch.manual_seed(0)
    task = Namespace(source_dictionary=dictionary, target_dictionary=dictionary)
    model = BARTModel.build_model(args, task)
    assert model.encoder.layernorm_embedding is not None
    state = {
        "args": args,
        "model": {name: value.half() for name, value in model.state_dict().items()},
        "optimizer_history": [
            {
                "criterion_name": "CrossEntropyCriterion",
                "optimizer_name": "FP16Optimizer",
                "lr_scheduler_state": {"best": None},
                "num_updates": 500000,
            }
        ],
        "extra_state": {"train_iterator": {"epoch": 40}, "val_loss": 1.0},
        "last_optimizer_state": None,
    }
    torch.save(state, folder / "model.pt")
    return folder


@pytest.fixture(scope="module")
def tuned(bart: Path, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BART's weights after one update with a learning rate of 0, on GPT-2's pieces.

    A document has 1,200 tokens.
    """
    out, folder = (tmp_path_factory.mktemp(name) for name in ("out", "long"))
    shutil.copytree(raw, folder, dirs_exist_ok=True)
    documents = (folder / "val.source").read_text().splitlines()
    documents[2] = "word " * 1200
    (folder / "val.source").write_text("".join(f"{line}\n" for line in documents))
    (out / "gpt2_bpe").mkdir()
    published_bpe(out / "gpt2_bpe")
    settings = {"OUT": out, "BART_DIR": bart}
    result = script("prepare", RAW_DIR=folder, WORKERS=1, **settings)
    assert re.findall(".*longer than.*", result.stdout) == [
        "val.source: 1 longer than 1024 tokens, cut to that"
    ]
    training = [*TINY, "--lr", "0", "--update-freq", "1", "--cpu"]
    script("train", arguments=training, UPDATES=1, **settings)
    return out


def test_fine_tunes_a_published_checkpoint(bart, tuned) -> None:
    """An update with a learning rate of 0 leaves the published weights as they were."""
    log = (tuned / "rdrop" / "run.log").read_text()
    assert "impl linear" in log
    assert "R-Drop: 2 passes, alpha 0.7" in log
    published = torch.load(bart / "model.pt", weights_only=False)["model"]
    found = torch.load(tuned / "rdrop" / "checkpoint_last.pt", weights_only=False)["model"]
    assert found.keys() == published.keys()
    for name, value in found.items():
        before = published[name].float()
        if name.endswith(("embed_tokens.weight", "output_projection.weight")):
            assert len(before) == len(value) + 1
            before = before[:-1]  # without <mask>
        assert torch.equal(value, before), name


def test_forced_bos_is_what_barts_interface_does(tuned) -> None:
    """FORCE_BOS=1 has documents and pieces of fairseq's BARTModel, which summarize.py calls.

    Without, others: what a model begins with is part of what it goes on from.
    """
    run = tuned / "rdrop"
    search = ["--beam", "2", "--max-len-b", "12", "--min-len", "3", "--batch-size", "1", "--cpu"]
    found = {}
    for forced in (0, 1):
        script("evaluate", arguments=search, OUT=tuned, FORCE_BOS=forced)
        folder = run / ("test-bos" if forced else "test")
        lines = (folder / "generated" / "generate-test.txt").read_text()
        rows = [line.removeprefix("H-").split("\t") for line in re.findall("^H-.*", lines, re.M)]
        found[forced] = {int(number): pieces.split() for number, _, pieces in rows}

    encoding = tuned / "pieces" / "gpt2_bpe"
    interface = BARTModel.from_pretrained(
        *(str(run), "checkpoint_best.pt", str(tuned / "bin")),
        bpe="gpt2",
        gpt2_encoder_json=str(encoding / "encoder.json"),
        gpt2_vocab_bpe=str(encoding / "vocab.bpe"),
    )
    interface = interface.half().eval()
    documents = (tuned / "pieces" / "test.source.txt").read_text().split("\n")
    arguments = {"beam": 2, "lenpen": 2.0, "max_len_b": 12, "min_len": 3, "no_repeat_ngram_size": 3}
    dictionary = interface.task.source_dictionary
    source = str(tuned / "bin-bos" / "test.source-target.source")
    source = data_utils.load_indexed_dataset(source, dictionary)
    for number, document in enumerate(documents[:4]):
        assert torch.equal(source[number].long(), interface.encode(document))
        ((best, *_),) = interface.generate([interface.encode(document)], **arguments)
        assert best["tokens"][0] == dictionary.bos()
        assert found[1][number] == dictionary.string(best["tokens"]).split(), number
    assert all(found[0][number] != found[1][number] for number in range(4))


EXPECTED = {
    "--task": "translation",
    "--source-lang": "source",
    "--target-lang": "target",
    "--truncate-source": True,
    "--arch": "bart_large",
    "--layernorm-embedding": True,
    "--share-all-embeddings": True,
    "--share-decoder-input-output-embed": True,
    "--label-smoothing": "0.1",
    "--dropout": "0.1",
    "--attention-dropout": "0.1",
    "--weight-decay": "0.01",
    "--clip-norm": "0.1",
    "--optimizer": "adam",
    "--adam-betas": "(0.9, 0.999)",
    "--adam-eps": "1e-08",
    "--lr": "3e-5",
    "--lr-scheduler": "polynomial_decay",
    "--warmup-updates": "500",
    "--max-tokens": "1024",
    "--seed": "1",
    "--fp16": True,
    "--finetune-from-model": "bart.large/model.pt",
}


@pytest.mark.parametrize(
    ("settings", "flags", "expected"),
    [
        ({}, [], "--criterion rdrop --rdrop-alpha 0.7 --update-freq 64 --max-update 20000"),
        (
            {"CRITERION": "baseline", "NGPU": "4"},
            [],
            "--criterion label_smoothed_cross_entropy --update-freq 16 --total-num-update 20000",
        ),
        (
            {"DATASET": "xsum", "NGPU": "8", "ALPHA": "1"},
            ["--rdrop-encoder", "once"],
            "--rdrop-alpha 1 --rdrop-encoder once --update-freq 4 --total-num-update 15000",
        ),
    ],
)
def test_training_arguments(settings, flags, expected) -> None:
    """What fairseq-train is given: the settings of DESIGN.md and of fairseq's BART README."""
    (command,) = commands("cnn_dm", "train", *flags, **settings)
    found = options(command)
    for name, value in {**EXPECTED, **options(expected.split())}.items():
        assert found.get(name) == value, name
    assert ("--rdrop-alpha" in found) == (settings.get("CRITERION") != "baseline")
    assert (command[0] == "torchrun") == ("NGPU" in settings)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("cnn_dm", "--beam 4 --lenpen 2.0 --max-len-b 140 --min-len 55"),
        ("xsum", "--beam 6 --lenpen 1.0 --max-len-b 60 --min-len 10"),
    ],
)
def test_generation_arguments(dataset, expected) -> None:
    """BART's, as fairseq's README and summarize.py have them."""
    binarise, generate = commands("cnn_dm", "evaluate", DATASET=dataset, FORCE_BOS=1)
    assert binarise[0] == "fairseq-preprocess"
    expected += " --no-repeat-ngram-size 3 --truncate-source --fp16 --prefix-size 1"
    found = options(generate)
    for name, value in options(expected.split()).items():
        assert found[name] == value, name


def test_prepared_at_full_size() -> None:
    export, encode, binarise = commands("cnn_dm", "prepare", DATASET="xsum")[:3]
    assert options(export)["--dataset"] == "xsum"
    found = options(encode)
    assert (found["--longest"], found["--dictionary"]) == ("1024", "bart.large/dict.txt")
    assert options(binarise)["--srcdict"] == "bart.large/dict.txt"


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no val", "lacks val.source, val.target: one text a line is expected"),
        ("no test", "lacks test.source, test.target"),
        ("lengths", "train.source has 60 lines but .*train.target has 59"),
        ("empty summary", "val.target has 2 empty summaries, the first in line 3: remove"),
        ("empty file", "test.source is empty: at least one pair"),
        ("latin-1", "train.source, line 2: byte 0xe9 at position 1 is not UTF-8"),
        ("sentences", "test.sentences, line 2 must be the reference with a tab"),
        ("longest", "LONGEST must be from 2 to 1024, the model's positions, got 1025"),
    ],
)
def test_wrong_pairs(raw, tmp_path, modules, case, message) -> None:
    folder = Path(shutil.copytree(raw, tmp_path / "raw"))
    if case in ("no val", "no test", "empty file"):
        for path in folder.glob(f"{'val' if case == 'no val' else 'test'}.*"):
            path.write_text("") if case == "empty file" else path.unlink()
    elif case == "lengths":
        lines = (folder / "train.target").read_text().splitlines(keepends=True)
        (folder / "train.target").write_text("".join(lines[:-1]))
    elif case == "empty summary":
        lines = (folder / "val.target").read_text().splitlines()
        lines[2] = lines[5] = " "
        (folder / "val.target").write_text("\n".join(lines) + "\n")
    elif case == "sentences":
        lines = (folder / "test.target").read_text().splitlines()
        lines[1] += "\tMore."
        (folder / "test.sentences").write_text("\n".join(lines) + "\n")
    elif case == "latin-1":
        (folder / "train.source").write_bytes(b"e\n" + b"\xe9\n" * 59)
    arguments = ["--corpus", str(folder), "--learn", "300", "--out", str(tmp_path / "out")]
    arguments += ["--longest", "1025"] if case == "longest" else []
    with pytest.raises(UsageError, match=f"^encode_pairs: .*{message}"):
        modules("encode_pairs").main(arguments)
    assert not list(tmp_path.glob("out*"))


def test_dictionary_without_the_pieces(raw, tmp_path, modules) -> None:
    (tmp_path / "dict.txt").write_text("1 1\n")
    arguments = ["--corpus", str(raw), "--learn", "300", "--out", str(tmp_path / "out")]
    with pytest.raises(UsageError, match=r"pieces of val.source: it is not BART's dictionary"):
        modules("encode_pairs").main([*arguments, "--dictionary", str(tmp_path / "dict.txt")])
    assert not list(tmp_path.glob("out*"))


def test_summaries_of_another_test_set(tmp_path, modules) -> None:
    (tmp_path / "test.source.txt").write_text("One.\nTwo.\n")
    (tmp_path / "log").write_text("H-1\t-0.5\t7\nH-0\t-0.5\t7\nH-2\t-0.5\t7\n")
    arguments = ["--generated", "log", "--pieces", ".", "--lead", "1", "--out", "."]
    with pytest.raises(UsageError, match="of 3 documents, the test set has 2: remove its folder"):
        modules("summaries").main([str(tmp_path / a) if a in "log." else a for a in arguments])


@pytest.mark.parametrize(
    ("name", "arguments", "settings", "message"),
    [
        ("prepare", [], {"DATASET": "cnn"}, "DATASET must be cnn_dm or xsum, got 'cnn'"),
        ("prepare", ["--small"], {}, "--small needs RAW_DIR; package_descriptions.py can make one"),
        ("prepare", [], {}, "BART_DIR is not set: unpack https://.*bart.large.tar.gz"),
        ("prepare", ["--beam"], {}, "unknown argument --beam; see --help"),
        ("train", [], {"CRITERION": "r3f"}, "CRITERION must be rdrop or baseline, got 'r3f'"),
        ("train", [], {}, "BART_DIR is not set: unpack https://.*bart.large.tar.gz"),
        ("train", ["--small"], {"UPDATES": "1e3"}, "UPDATES must be a whole number .* got '1e3'"),
        ("evaluate", [], {}, "no such checkpoint: .*/rdrop/checkpoint_best.pt"),
        ("evaluate", [], {"FORCE_BOS": "yes"}, "FORCE_BOS must be 0 or 1, got 'yes'"),
        ("evaluate", [], {"ROUGE": "x"}, "ROUGE must be rouge-score or files2rouge, got 'x'"),
        ("evaluate", ["a", "b"], {}, "expected at most one CHECKPOINT, got 2"),
    ],
)
def test_wrong_settings(tmp_path, name, arguments, settings, message) -> None:
    result = script(name, arguments=arguments, OUT=tmp_path / "out", **settings, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert re.match(f"cnn_dm/{name}.sh: .*{message}", line)
    assert not (tmp_path / "out").exists()


def test_no_data(tmp_path) -> None:
    """fairseq would train from scratch if the file to restore were not there."""
    for arguments, settings, message in (
        (["--small"], {}, "out/bin is not there: make it first"),
        ([], {"BART_DIR": "none", "OUT": tmp_path}, "none/model.pt is not there: make it first"),
    ):
        (tmp_path / "bin").mkdir(exist_ok=True)
        settings = {"OUT": tmp_path / "out", **settings}
        result = script("train", arguments=[*arguments, "--cpu"], check=False, **settings)
        assert result.returncode == 1
        assert message in result.stderr
