"""examples/cnn_dm: the three scripts on small real text, their arguments, their errors."""

import csv
import json
import os
import re
import shutil
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from fairseq.data import Dictionary, data_utils
from fairseq.models import ARCH_CONFIG_REGISTRY
from fairseq.models.bart import BARTModel

import rdrop_fairseq  # noqa: F401  (lets torch load fairseq's checkpoints)

from ..conftest import PROGRAMS, ROOT, corpus_lines
from ..gpt2_bpe import published_bpe
from .conftest import script_of
from .fake import TRAINED, FakePrograms, as_if_stopped, options

HERE = ROOT / "examples" / "cnn_dm"
TINY = (
    "--encoder-layers 1 --encoder-embed-dim 16 --encoder-ffn-embed-dim 16 "
    "--encoder-attention-heads 2 --decoder-layers 1 --decoder-embed-dim 16 "
    "--decoder-ffn-embed-dim 16 --decoder-attention-heads 2 --num-workers 0"
)
script = script_of("cnn_dm")


def write_pairs(folder: Path, **pairs: list[tuple[str, str]]) -> Path:
    folder.mkdir(exist_ok=True)
    for split, rows in pairs.items():
        for side, column in (("source", 0), ("target", 1)):
            text = "".join(f"{row[column]}\n" for row in rows)
            (folder / f"{split}.{side}").write_text(text)
    return folder


def verse_pairs(split: str, number: int) -> list[tuple[str, str]]:
    """Three verses as a document, the first as its summary."""
    verses = corpus_lines(split, "en")
    return [(" ".join(verses[i : i + 3]), verses[i]) for i in range(0, 3 * number, 3)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_pairs(
        tmp_path_factory.mktemp("pairs"),
        train=verse_pairs("train", 60),
        val=verse_pairs("valid", 8),
        test=[("", "A summary of nothing."), *verse_pairs("test", 10)],
    )
    summaries = (folder / "test.target").read_text()
    (folder / "test.sentences").write_text(summaries.replace(" of nothing", "\tof nothing"))
    documents = folder / "test.source"
    documents.write_text(documents.read_text().removesuffix("\n"))  # as some editors leave it
    return folder


def test_small_from_text_to_rouge(raw, tmp_path) -> None:
    """The README's three commands, on tiny sizes, two of them again."""
    settings = {"SMALL": 1, "CPU": 1, "OUT": tmp_path, "WORKERS": 1}
    result = script("prepare", RAW_DIR=raw, **settings)
    assert "test: 11 pairs, 1 empty documents" in result.stdout
    cut = int(re.search(r"^train.source: (\d+) longer than 64 tokens", result.stdout, re.M)[1])
    encoded = (tmp_path / "bpe" / "train.source").read_text().splitlines()
    lengths = [len(line.split()) for line in encoded]
    assert max(lengths) == 63  # and </s>
    assert 0 < cut <= lengths.count(63)
    cut = (tmp_path / "bpe" / "test.source").read_text().splitlines()
    assert max(len(line.split()) for line in cut) == 63  # so that the search meets the longest
    again = script("prepare", RAW_DIR=raw, **settings)
    assert again.stdout == f"ready to train on: {tmp_path}/bin\n"

    script("train", UPDATES=2, TRAIN_ARGS=TINY, **settings)
    log = (tmp_path / "rdrop" / "train.log").read_text()
    assert "R-Drop: 2 passes, alpha 0.7" in log
    assert "num_updates 2 |" in log

    search = {"BEAM": 2, "MAX_LEN": 12, "BATCH_SIZE": 4, "BASELINE": raw / "test.target"}
    first = script("evaluate", **search, **settings)
    out = tmp_path / "rdrop" / "test"
    assert (out / "ref.txt").read_text() == (raw / "test.target").read_text()
    hypothesis = (out / "hyp.txt").read_bytes().decode().split("\n")
    assert len(hypothesis) == 12  # 11 and the end
    leads = (out / "lead.txt").read_text().split("\n")
    assert leads[0] == ""
    assert leads[1] == re.split(r"(?<=[.!?]) ", verse_pairs("test", 1)[0][0])[0]
    report = json.loads((out / "rouge.json").read_text())
    assert report["how"]["summaries"] == 11
    assert report["how"]["sentences"].endswith("; of references: a highlight")
    assert report["difference_to_baseline"]["ROUGE-1"]["high"] < 0  # it is the reference
    assert f"ROUGE-1 {report['ROUGE-1']['f']:.2f} [" in first.stdout
    assert first.stderr.count("summarising part") == 2

    parts = [(out / f"shard.{n}").read_text().splitlines() for n in (0, 1)]
    assert sum(map(len, parts)) == 11
    assert min(map(len, parts)) > 0
    # a model that has learnt nothing repeats itself, but no three pieces
    summaries = [line.split("\t")[2].split() for line in parts[0] + parts[1]]
    # of shorter ones a symbol may have been stripped, a <s> in the midst of the pieces
    whole = [pieces for pieces in summaries if len(pieces) == search["MAX_LEN"]]
    assert whole
    for pieces in whole:
        triples = list(zip(pieces, pieces[1:], pieces[2:], strict=False))
        assert len(set(triples)) == len(triples)

    other = script("evaluate", **{**search, "BEAM": 1}, **settings, check=False)
    assert other.returncode == 1
    assert "(< then, > now): < beam=2 > beam=1; set DIR to another folder" in other.stderr


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
def prepared(bart: Path, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """prepare.sh with GPT-2's BPE and BART's dictionary; one document of 1,200 tokens."""
    out, bpe, folder = (tmp_path_factory.mktemp(name) for name in ("out", "bpe", "long"))
    shutil.copytree(raw, folder, dirs_exist_ok=True)
    with (folder / "val.source").open() as lines:
        documents = lines.readlines()
    documents[2] = "word " * 1200 + "\n"
    (folder / "val.source").write_text("".join(documents))
    settings = {"GPT2_BPE": published_bpe(bpe), "BART_DIR": bart, "WORKERS": 1}
    result = script("prepare", RAW_DIR=folder, OUT=out, **settings)
    assert "val.source: 1 longer than 1024 tokens, cut to that" in result.stdout
    assert result.stdout.count("longer than") == 1
    return out


def test_fine_tunes_a_published_checkpoint(bart, prepared, tmp_path) -> None:
    """One update with a learning rate of 0 leaves the published weights as they were."""
    lines = (prepared / "bpe" / "val.source").read_text().splitlines()
    assert len(lines[2].split()) == 1023
    script(
        "train",
        **{"OUT": prepared, "BART_DIR": bart, "SAVE_DIR": tmp_path, "CPU": 1, "UPDATES": 1},
        **{"LR": "0", "UPDATE_FREQ": 1, "TRAIN_ARGS": TINY},
    )
    log = (tmp_path / "train.log").read_text()
    assert re.search("impl linear", log)
    assert "num_updates 1 |" in log
    published = torch.load(bart / "model.pt", weights_only=False)["model"]
    tuned = torch.load(tmp_path / "checkpoint_last.pt", weights_only=False)["model"]
    assert tuned.keys() == published.keys()
    for name, value in tuned.items():
        before = published[name].float()
        if name.endswith(("embed_tokens.weight", "output_projection.weight")):
            assert len(before) == len(value) + 1
            before = before[:-1]  # without <mask>
        assert torch.equal(value, before), name


def test_forced_bos_is_what_barts_interface_does(bart, prepared, tmp_path) -> None:
    """FORCE_BOS=1 has documents and pieces of fairseq's BARTModel, which summarize.py calls.

    Without, others: what a model begins with is part of what it goes on from.
    """
    training = {"OUT": prepared, "BART_DIR": bart, "SAVE_DIR": tmp_path, "CPU": 1}
    script("train", UPDATES=1, LR="0", UPDATE_FREQ=1, TRAIN_ARGS=TINY, **training)
    checkpoint = tmp_path / "checkpoint_last.pt"
    search = {"BEAM": 2, "MAX_LEN": 12, "MIN_LEN": 3, "SHARDS": 1, "BATCH_SIZE": 1}
    found = {}
    for forced in (0, 1):
        settings = {"OUT": prepared, "CPU": 1, "FORCE_BOS": forced, **search}
        script("evaluate", arguments=[checkpoint], **settings)
        folder = tmp_path / ("test-bos" if forced else "test")
        lines = (folder / "shard.0").read_text().splitlines()
        rows = [line.removeprefix("H-").split("\t") for line in lines]
        found[forced] = {int(number): pieces.split() for number, _, pieces in rows}

    interface = BARTModel.from_pretrained(
        *(str(tmp_path), checkpoint.name, str(prepared / "bin")),
        bpe="gpt2",
        gpt2_encoder_json=str(prepared / "gpt2_bpe" / "encoder.json"),
        gpt2_vocab_bpe=str(prepared / "gpt2_bpe" / "vocab.bpe"),
    ).eval()
    documents = (prepared / "raw" / "test.source").read_text().split("\n")
    arguments = {"beam": 2, "lenpen": 2.0, "max_len_b": 12, "min_len": 3, "no_repeat_ngram_size": 3}
    dictionary = interface.task.source_dictionary
    source = str(tmp_path / "test-bos" / "bin" / "test.source-target.source")
    source = data_utils.load_indexed_dataset(source, dictionary)
    for number, document in enumerate(documents[:4]):
        assert torch.equal(source[number].long(), interface.encode(document))
        ((best, *_),) = interface.generate([interface.encode(document)], **arguments)
        assert best["tokens"][0] == dictionary.bos()
        assert found[1][number] == dictionary.string(best["tokens"]).split(), number
    assert all(found[0][number] != found[1][number] for number in range(4))


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ((), "ROUGE=files2rouge needs the program files2rouge on PATH: install it"),
        (("files2rouge",), "ROUGE=files2rouge needs java, and Stanford's CoreNLP jar"),
    ],
)
def test_files2rouge_is_looked_for_first(tmp_path, programs, message) -> None:
    """Before the search, which takes hours, and in one sentence. java here finds no such class."""
    fake = FakePrograms(tmp_path / "fake", "java", *programs, java="echo no class >&2; exit 1\n")
    path = f"{fake.folder}:/usr/bin:/bin"
    result = script("evaluate", PATH=path, OUT=tmp_path, ROUGE="files2rouge", check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"cnn_dm/evaluate: {message}")
    assert line.endswith("or leave ROUGE unset")


def test_files2rouge_gets_tokenised_text(raw, prepared, tmp_path) -> None:
    """What java makes of summaries and references, in this order; the result is kept."""
    fake = FakePrograms(
        *(tmp_path / "fake", "fairseq-generate", "files2rouge", "java"),
        fairseq_generate="for n in {0..10}; do printf 'H-%d\\t-1\\t464 3290\\n' $n; done\n",
        files2rouge='echo "1 ROUGE-1 Average_F: 0.4"; head -n 2 "$1" "$2"\n',
        java="sed 's/\\./ ./g'\n",
    )
    out = tmp_path / "out"
    (out / "bin").mkdir(parents=True)
    (out / "bin" / "test.source-target.source.bin").touch()
    (out / "raw").symlink_to(raw)
    (out / "gpt2_bpe").symlink_to(prepared / "gpt2_bpe")
    (tmp_path / "model.pt").touch()
    path = f"{fake.folder}:{PROGRAMS}:{os.environ['PATH']}"
    settings = {"PATH": path, "OUT": out, "ROUGE": "files2rouge"}
    result = script("evaluate", arguments=[tmp_path / "model.pt"], SHARDS=1, **settings)
    assert fake.calls("java")[-1] == ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines"]
    test = tmp_path / "test"
    assert fake.calls("files2rouge") == [[str(test / "hyp.ptb"), str(test / "ref.ptb")]]
    assert (test / "files2rouge.txt").read_text().startswith("1 ROUGE-1 Average_F: 0.4\n")
    assert "The dog" in (test / "hyp.ptb").read_text()
    assert "A summary of nothing ." in result.stdout
    assert "not comparable" not in result.stdout


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
    "--reset-optimizer": True,
    "--reset-dataloader": True,
    "--reset-meters": True,
    "--seed": "1",
}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {},
            {
                "--criterion": "rdrop",
                "--rdrop-alpha": "0.7",
                "--update-freq": "64",
                "--max-update": "20000",
                "--total-num-update": "20000",
            },
        ),
        (
            {"CRITERION": "baseline", "NGPU": "4"},
            {
                "--criterion": "label_smoothed_cross_entropy",
                "--update-freq": "16",
                "--max-update": "20000",
                "--total-num-update": "20000",
            },
        ),
        (
            {"DATASET": "xsum", "NGPU": "8", "ALPHA": "1", "ENCODER": "once"},
            {
                "--criterion": "rdrop",
                "--rdrop-alpha": "1",
                "--rdrop-encoder": "once",
                "--update-freq": "4",
                "--max-update": "15000",
                "--total-num-update": "15000",
            },
        ),
    ],
)
def test_training_arguments(tmp_path, settings, expected) -> None:
    """What fairseq-train is given: the settings of DESIGN.md and of fairseq's BART README."""
    programs = ("fairseq-train", "torchrun")
    fake = FakePrograms(tmp_path / "fake", *programs, fairseq_train=TRAINED, torchrun=TRAINED)
    (tmp_path / "out" / "bin").mkdir(parents=True)
    model = tmp_path / "model.pt"
    model.touch()
    settings = {
        **{"OUT": tmp_path / "out", "BART_PATH": model, "CPU": 1},
        **{"PATH": f"{fake.folder}:/usr/bin:/bin"},
        **settings,
    }
    result = script("train", **settings)
    program = "torchrun" if "NGPU" in settings else "fairseq-train"
    (arguments,) = fake.calls(program)
    found = options(arguments)
    for name, value in {**EXPECTED, **expected, "--restore-file": str(model)}.items():
        assert found.get(name) == value, name
    assert ("--rdrop-alpha" in found) == (expected["--criterion"] == "rdrop")
    tokens = 32768 if "DATASET" in settings else 65536
    assert f"= {tokens} tokens; the recipe's: {tokens}" in result.stdout

    # a second call goes on from the training's own checkpoint, with nothing reset
    save_dir = Path(found["--save-dir"])
    (save_dir / "checkpoint_last.pt").touch()
    assert "is trained already" in script("train", **settings).stdout
    as_if_stopped(save_dir)
    script("train", **settings)
    again = options(fake.calls(program)[1])
    assert found.keys() - again.keys() == {
        *("--restore-file", "--reset-optimizer", "--reset-dataloader", "--reset-meters"),
        "--reset-lr-scheduler",
    }
    for name, value, message in (
        ("LR", "1e-3", "> --lr 1e-3; set SAVE_DIR to another folder, or remove"),
        ("TRAIN_ARGS", "--dropout 0.3", "> --dropout 0.3; set SAVE_DIR"),
        ("UPDATE_FREQ", "2", "> --tokens-in-update "),
    ):
        result = script("train", **{**settings, name: value}, check=False)
        assert result.returncode == 1
        assert message in result.stderr
    assert len(fake.calls(program)) == 2


@pytest.mark.parametrize(
    ("dataset", "beam", "lenpen", "longest", "shortest"),
    [("cnn_dm", "4", "2.0", "140", "55"), ("xsum", "6", "1.0", "60", "10")],
)
def test_generation_arguments(tmp_path, dataset, beam, lenpen, longest, shortest) -> None:
    """fairseq-generate gets BART's beam settings, by shards; one that fails is not kept."""
    fake = FakePrograms(
        tmp_path / "fake",
        "fairseq-generate",
        fairseq_generate='[[ "$*" != *"-rank 2"* ]] || { echo no memory >&2; exit 1; }\n',
    )
    out = tmp_path / "out"
    (out / "bin").mkdir(parents=True)
    (out / "bin" / "test.source-target.source.bin").touch()
    write_pairs(out / "raw", test=[("A document.", "A summary.")] * 225)  # eight batches of 32
    (out / "rdrop").mkdir()
    (out / "rdrop" / "checkpoint_best.pt").touch()
    environment = {"PATH": f"{fake.folder}:/usr/bin:/bin", "OUT": out, "DATASET": dataset}
    result = script("evaluate", **environment, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-2] == "no memory"
    assert "fairseq-generate failed: its last line is above" in result.stderr.splitlines()[-1]
    assert len(fake.calls("fairseq-generate")) == 3
    found = options(fake.calls("fairseq-generate")[1])
    for name, value in {
        **{"--beam": beam, "--lenpen": lenpen, "--max-len-b": longest, "--min-len": shortest},
        **{"--no-repeat-ngram-size": "3", "--truncate-source": True, "--fp16": True},
        **{"--distributed-world-size": "8", "--distributed-rank": "1", "--batch-size": "32"},
    }.items():
        assert found[name] == value, name
    assert sorted(path.name for path in (out / "rdrop" / "test").glob("shard.?")) == [
        "shard.0",
        "shard.1",
    ]
    script("evaluate", **environment, check=False)
    assert options(fake.calls("fairseq-generate")[3])["--distributed-rank"] == "2"


STUDY_TRAIN = (
    TRAINED
    + """while (($#)); do [[ $1 != --save-dir ]] || folder=$2; shift; done
loss=5
[[ $folder != */alpha* ]] || loss=4
for value in 9 $loss 7; do
  echo "x | INFO | valid | epoch 001 | valid on 'valid' subset | loss $value | ppl 1$value.5 | wps"
done
[[ ! -e $FAIL ]] || { echo the trouble; exit 1; }
touch "$folder"/checkpoint_{best,last}.pt
"""
)
STUDY_GENERATE = """
[[ $* == */baseline* ]] && cut='s/\t[^\t ]*$/\t1/'  # a one-piece summary for another
awk '{ print "H-" NR - 1 "\t-0.5\t" $0 }' "$1/../bpe/test.target" | sed "${cut:-}"
"""


def test_study(tmp_path) -> None:
    """On real pairs, with programs that only seem to train and to summarise."""
    fake = FakePrograms(
        *(tmp_path / "fake", "fairseq-train", "fairseq-generate"),
        fairseq_train=STUDY_TRAIN,
        fairseq_generate=STUDY_GENERATE,
    )
    splits = (("train", 30), ("val", 4), ("test", 10))
    raw = write_pairs(
        tmp_path / "pairs", **{to: verse_pairs(to.replace("val", "valid"), n) for to, n in splits}
    )
    summaries = (raw / "test.target").read_text().splitlines()
    (raw / "test.target").write_text("".join(f"{text.split()[0]}\n" for text in summaries))
    out, fail = tmp_path / "out", tmp_path / "fail"
    env = {"RAW_DIR": raw, "OUT": out, "WORKERS": 1, "UPDATES": 100, "FAIL": fail}
    env["PATH"] = f"{fake.folder}:{PROGRAMS}:{os.environ['PATH']}"

    def message(**changes: object) -> str:
        result = script("study", **{**env, **changes}, check=False)
        assert result.returncode == 1
        return result.stderr.splitlines()[-1]

    assert "no such setting: alpha1-every2; see --help" in message(RUNS="alpha1-every2:1")
    assert "no such setting: alpha1-time" in message(RUNS="alpha1-time:1")
    assert "RUNS is a list of SETTING:SEED, got alpha1" in message(RUNS="alpha1")
    assert "MAIN must be a setting of R-Drop" in message(MAIN="baseline")
    assert "UPDATES must be a whole number" in message(UPDATES="1e3")
    assert not out.exists()
    missing = message(RUNS="baseline-time:1")
    assert "baseline-time:1 needs baseline:1 earlier in RUNS" in missing
    fail.touch()
    assert "training failed: see " in message(RUNS="baseline:1")
    assert "the trouble" in (out / "runs" / "baseline.1" / "train.log").read_text()
    fail.unlink()
    shutil.rmtree(out / "runs")

    runs = [
        f"{name}:{seed}" for seed in (1, 2) for name in ("baseline", "alpha0.7", "alpha0.7-once")
    ]
    script("study", **env, RUNS=" ".join(runs))
    for run, times in (
        ("baseline.1", "1.0 0.5"),
        ("alpha0.7.1", "3.0 0.35"),
        ("alpha0.7-once.1", "2.0 0.0"),
    ):
        (out / "runs" / run / "cpu_seconds").write_text(f"{times}\n")
    runs += ["baseline-time:1", "alpha0.7-once-time:1"]
    script("study", **env, RUNS=" ".join(runs))
    names = ("--criterion", "--rdrop-alpha", "--rdrop-encoder", "--max-update", "--seed")
    calls = [options(call) for call in fake.calls("fairseq-train")[-8:]]
    plain, rdrop = ("label_smoothed_cross_entropy", None, None), ("rdrop", "0.7", None)
    once = ("rdrop", "0.7", "once")
    assert [tuple(call.get(name) for name in names) for call in calls] == [
        *((*each, "100", "1") for each in (plain, rdrop, once)),
        *((*each, "100", "2") for each in (plain, rdrop, once)),
        (*plain, "223", "1"),  # 100 * 3.35 / 1.5
        (*once, "168", "1"),  # 100 * 3.35 / 2; its schedule, too:
    ]
    assert calls[-1]["--total-num-update"] == "168"

    with (out / "results.tsv").open() as file:
        found = {(row["setting"], row["seed"]): row for row in csv.DictReader(file, delimiter="\t")}
    assert [" ".join(key) for key in found] == [
        *("baseline 1", "baseline 2", "baseline-time 1", "alpha0.7 1", "alpha0.7 2"),
        *("alpha0.7-once 1", "alpha0.7-once 2", "alpha0.7-once-time 1"),
    ]
    main = found["alpha0.7", "1"]
    assert (main["cpu_seconds"], main["valid_ppl"]) == ("3", "14.5")  # the lowest loss
    assert found["baseline", "1"]["valid_ppl"] == "15.5"
    # what the fake model wrote is the reference: a perfect summary has 100
    for name in ("ROUGE-1", "ROUGE-1 low", "ROUGE-1 high", "ROUGE-Lsum"):
        assert main[name] == "100.00"
    assert float(found["baseline", "1"]["ROUGE-1"]) < 100

    with (out / "differences.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [
        " ".join(row[key] for key in ("setting", "minus", "equal", "seed")) for row in rows
    ] == [
        *(f"alpha0.7 baseline updates {seed}" for seed in ("1", "2", "all")),
        *(f"alpha0.7-once baseline updates {seed}" for seed in ("1", "2", "all")),
        *(f"alpha0.7-once alpha0.7 updates {seed}" for seed in ("1", "2", "all")),
        "alpha0.7 baseline-time time 1",
        "alpha0.7-once-time baseline-time time 1",
        "alpha0.7-once-time alpha0.7 time 1",
    ]
    for row in rows:
        expected = sum(
            float(found[row["setting"], seed]["ROUGE-1"])
            - float(found[row["minus"], seed]["ROUGE-1"])
            for seed in (("1", "2") if row["seed"] == "all" else (row["seed"],))
        ) / (2 if row["seed"] == "all" else 1)
        assert float(row["ROUGE-1"]) == pytest.approx(expected, abs=0.0101)  # hundredths
        assert float(row["ROUGE-1 low"]) <= float(row["ROUGE-1"]) <= float(row["ROUGE-1 high"])
    table = (out / "results.md").read_text()
    assert table.count("\n| baseline | ") == 2
    assert f"| alpha0.7 | baseline | updates | all | {rows[2]['ROUGE-1']} [" in table

    # again: nothing is trained or summarised anew
    before = len(fake.calls("fairseq-train")), len(fake.calls("fairseq-generate"))
    script("study", **env, RUNS=" ".join(runs))
    assert (len(fake.calls("fairseq-train")), len(fake.calls("fairseq-generate"))) == before
    assert (out / "results.md").read_text() == table
    assert "made with other settings" in message(UPDATES="50")
    assert "> BEAM=9" in message(BEAM=9)
    # neither other text in the same folder nor other data under the same runs
    kept = (raw / "test.source").read_text()
    (raw / "test.source").write_text(kept.replace("the", "a"))
    assert "> checksum=" in message()
    (raw / "test.source").write_text(kept)
    dictionary = (out / "bin" / "dict.source.txt").read_text()
    (out / "bin" / "dict.source.txt").write_text("other 1\n")
    assert "> data=" in message(RUNS="baseline:2")
    (out / "bin" / "dict.source.txt").write_text(dictionary)
    # a run that --patience has ended: as many updates more as fit into the time, from those it had
    shutil.rmtree(out / "runs" / "baseline-time.1")
    (out / "runs" / "baseline.1" / "updates").write_text("50\n")
    (out / "runs" / "baseline.1" / "ended_early").touch()
    script("study", **env, RUNS="baseline-time:1")
    assert options(fake.calls("fairseq-train")[-1])["--max-update"] == "112"  # 50 * 3.35 / 1.5
    (out / "runs" / "baseline.1" / "cpu_seconds").write_text("1.0 0.5\n1.0 0.5\n")
    assert "was interrupted, and its time is also that of updates" in message(
        RUNS="baseline-time:1"
    )
    (out / "runs" / "baseline.1" / "cpu_seconds").write_text("unknown\n")
    assert "the time of " in message(RUNS="baseline-time:1")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no val", "lacks val.source, val.target: one text a line is expected"),
        ("no test", "lacks test.source, test.target"),
        ("lengths", "train.source has 60 lines but .*train.target has 59"),
        ("empty summary", "val.target has 2 empty summaries, the first in line 3: remove"),
        ("empty file", "test.source is empty: at least one pair"),
        ("latin-1", "train.source is not UTF-8 at byte 0"),
        ("sentences", "test.sentences, line 2 must be the reference with a tab"),
    ],
)
def test_wrong_pairs(raw, tmp_path, case, message) -> None:
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
    else:
        (folder / "train.source").write_bytes(b"\xe9\n" * 60)
    result = script("prepare", SMALL=1, RAW_DIR=folder, OUT=tmp_path / "out", check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert re.match(f"check_pairs: .*{message}", line)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("prepare", {"DATASET": "cnn"}, "DATASET must be cnn_dm or xsum, got 'cnn'"),
        ("prepare", {"SMALL": "yes"}, "SMALL must be 0 or 1, got 'yes'"),
        ("prepare", {"SMALL": 1}, "SMALL=1 needs RAW_DIR; package_descriptions.py can make one"),
        ("prepare", {}, "BART_DIR is not set: unpack https://.*bart.large.tar.gz"),
        ("prepare", {"BART_DIR": "none"}, r"BART_DIR \(none\) holds no dict.txt"),
        ("prepare", {"MAX_TOKENS_OF_TEXT": 1025}, "must be from 2 to 1024 .* got '1025'"),
        ("prepare", {"WORKERS": "x"}, "WORKERS must be a whole number of at least 1, got 'x'"),
        ("prepare", {"arguments": ["--small"]}, "takes no arguments, got --small; see --help"),
        ("train", {"CRITERION": "r3f"}, "CRITERION must be rdrop or baseline, got 'r3f'"),
        ("train", {"ENCODER": "1"}, "ENCODER must be twice or once, got '1'"),
        ("train", {"ALPHA": "-1"}, "ALPHA must be a number >= 0, got '-1'"),
        ("train", {}, "no data in .*/bin: run prepare.sh with the same OUT"),
        ("evaluate", {}, "no such checkpoint: .*/rdrop/checkpoint_best.pt"),
        ("evaluate", {"FORCE_BOS": "yes"}, "FORCE_BOS must be 0 or 1, got 'yes'"),
        ("evaluate", {"ROUGE": "x"}, "ROUGE must be rouge-score or files2rouge, got 'x'"),
        ("evaluate", {"BEAM": "0"}, "BEAM must be a whole number of at least 1, got '0'"),
        ("evaluate", {"arguments": ["--beam"]}, "unknown option --beam; see --help"),
        ("evaluate", {"arguments": ["a", "b"]}, "expected at most one CHECKPOINT, got 2"),
    ],
)
def test_wrong_settings(tmp_path, name, settings, message) -> None:
    result = script(name, OUT=tmp_path / "out", **settings, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert re.match(f"cnn_dm/{name}: .*{message}", line)
    assert not (tmp_path / "out").exists()


def test_no_weights(tmp_path) -> None:
    """fairseq would train from scratch if the file to restore were not there."""
    (tmp_path / "bin").mkdir()
    for settings, message in (
        ({}, "train: BART_PATH is not set: unpack https://"),
        ({"BART_DIR": tmp_path}, f"train: no such checkpoint: BART_PATH={tmp_path}/model.pt"),
    ):
        result = script("train", OUT=tmp_path, CPU=1, **settings, check=False)
        assert result.returncode == 1
        assert result.stderr.startswith(f"cnn_dm/{message}")
