"""fairseq's tasks that R-Drop trains, by the real command line: the list in the README."""

import re
import shutil
import subprocess
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy
import pytest
import torch
from fairseq import tasks
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.tasks import TASK_REGISTRY

from rdrop_fairseq.batch import repeat_batch, tiled
from rdrop_fairseq.criterions.model import logits_of
from rdrop_fairseq.loss import reference_rdrop_loss

from .conftest import (
    ARCHS,
    PAIR,
    ROBERTA,
    ROOT,
    USER_DIR,
    configuration,
    run,
    saved_parameters,
)
from .criterions.test_rdrop import assert_same_grads
from .test_command_line import assert_one_clear_error, logged

README = ROOT / "rdrop_fairseq" / "README.md"


class Case(NamedTuple):
    """A row of the list, or one architecture of a row."""

    task: str
    arch: str
    impl: str  #: what auto chooses; empty where the criterion has only one
    data: str  #: see `folders`
    flags: str  #: of the task
    sizes: str  #: what makes the model tiny
    criterion: str = "rdrop"


TRANSFORMER = ARCHS["transformer"]
UNTIED = ARCHS["transformer-untied"]
CONVOLUTIONS = (
    f"{UNTIED} --encoder-conv-dim 16 --encoder-kernel-size-list [3,7] "
    "--decoder-conv-dim 16 --decoder-kernel-size-list [3,7]"
)
LM = ARCHS["transformer_lm"]
BART = ARCHS["bart_base"]
BERT = ROBERTA.removeprefix("--arch roberta_base ")
SPEECH = f"{UNTIED} --conv-channels 16 --conv-kernel-sizes 5,5"
BERARD = (
    "--input-layers [8] --conv-layers [(4,3,2)] --num-blstm-layers 2 --lstm-size 8 "
    "--decoder-embed-dim 8 --decoder-hidden-dim 16 --attention-dim 8 --output-layer-dim 8"
)
ES_EN = " ".join(PAIR)
BOTH = "--lang-pairs es-en,en-es --encoder-langtok tgt"
UNITS = "--target-is-code --target-code-size 20 --n-frames-per-step 2"
TOKENS = "--tokens-per-sample 50"
CLASSES = "--num-classes 2 --report-mcc"

# fmt: off
CASES = [
    Case("translation", "transformer", "linear", "bin", ES_EN, TRANSFORMER),
    Case("translation", "transformer_align", "logits", "bin", ES_EN, TRANSFORMER),
    Case("translation", "lightconv", "logits", "bin", ES_EN, CONVOLUTIONS),
    Case("translation", "fconv", "logits", "bin", ES_EN, ARCHS["fconv"]),
    Case("translation", "lstm", "logits", "bin", ES_EN, ARCHS["lstm"]),
    Case("translation_from_pretrained_bart", "mbart_base", "linear", "bin",
         f"{ES_EN} --langs es,en --prepend-bos", BART),
    Case("translation_multi_simple_epoch", "transformer", "linear", "bin",
         f"{BOTH} --langs es,en --decoder-langtok", TRANSFORMER),
    Case("multilingual_translation", "multilingual_transformer", "logits", "bin",
         BOTH, f"{UNTIED} --share-encoders"),
    Case("online_backtranslation", "transformer", "linear", "languages",
         "--mono-langs es,en --valid-lang-pairs es-en", TRANSFORMER),
    Case("language_modeling", "transformer_lm", "linear", "lm", TOKENS, LM),
    Case("language_modeling", "transformer_lm", "", "lm", f"{TOKENS} --ddp-backend legacy_ddp",
         f"{LM} --adaptive-softmax-cutoff 60,150", "rdrop_adaptive_loss"),
    Case("multilingual_language_modeling", "transformer_lm", "linear", "languages",
         f"{TOKENS} --multilang-sampling-alpha 0.5", LM),
    Case("denoising", "bart_base", "linear", "lm", TOKENS, BART),
    Case("multilingual_denoising", "mbart_base", "linear", "languages",
         f"{TOKENS} --langs en,es", BART),
    Case("span_masked_lm", "bart_base", "linear", "lm", TOKENS, BART),
    Case("masked_lm", "roberta", "logits", "lm", TOKENS, BERT),
    Case("multilingual_masked_lm", "roberta", "logits", "languages", TOKENS, BERT),
    Case("speech_to_text", "s2t_transformer", "logits", "speech", "", SPEECH),
    Case("speech_to_text", "s2t_berard", "logits", "speech", "", BERARD),
    Case("speech_to_speech", "s2ut_transformer", "logits", "speech", UNITS, SPEECH),
    Case("sentence_prediction", "roberta", "", "classes", CLASSES, BERT,
         "rdrop_sentence_prediction"),
    Case("sentence_prediction_adapters", "xmod_base_13", "", "classes", CLASSES, BERT,
         "rdrop_sentence_prediction"),
    Case("sequence_tagging", "roberta", "", "tagged", "--init-token 0", BERT,
         "rdrop_sequence_tagging"),
    Case("sequence_tagging", "bert", "", "tagged", "--init-token 0", BERT,
         "rdrop_sequence_tagging"),
]
# fmt: on


def plain(criterion: str) -> str:
    """The criterion of fairseq that ``criterion`` extends."""
    if criterion == "rdrop":
        return "label_smoothed_cross_entropy"
    return criterion.removeprefix("rdrop_")


@pytest.fixture(scope="session")
def folders(data, pairs, tagged, tmp_path_factory) -> dict[str, Path]:
    """Where each kind of data is, by the names that the cases use."""
    folder = tmp_path_factory.mktemp("tasks")
    return {
        "bin": data / "bin",
        "lm": data / "lm",
        "classes": pairs / "classes",
        "tagged": tagged,
        "languages": by_language(data / "bin", folder / "languages"),
        "speech": speech(data, folder / "speech"),
    }


def by_language(parallel: Path, folder: Path) -> Path:
    """Each language's side of parallel data in a folder of its own, with one dictionary."""
    for language in ("es", "en"):
        (folder / language).mkdir(parents=True)
    shutil.copy(parallel / "dict.en.txt", folder / "dict.txt")
    for path in parallel.glob("*.es-en.*"):
        split, _, language, suffix = path.name.split(".")
        (folder / language / f"{split}.{suffix}").symlink_to(path)
        if split == "valid":
            (folder / path.name).symlink_to(path)
    return folder


def speech(data: Path, folder: Path) -> Path:
    """Log spectrograms of made clips, for real sentences; and units, for speech_to_speech.

    A tone for each letter, shorter than in life: 60 to 200 frames of 8 numbers.
    """
    (folder / "features").mkdir(parents=True)
    shutil.copy(data / "bin" / "dict.en.txt", folder / "dict.txt")
    (folder / "config.yaml").write_text("input_feat_per_channel: 8\ninput_channels: 1\n")
    numbers = numpy.random.default_rng(1)
    for split, size in (("train", 48), ("valid", 8)):
        rows = []
        for sentence in (data / f"{split}.en").read_text().splitlines()[:size]:
            audio = folder / "features" / f"{split}{len(rows)}.npy"
            frames = 60 + 3 * len(rows)
            numpy.save(audio, spectrogram(sentence, frames))
            units = " ".join(map(str, numbers.integers(20, size=frames // 4)))
            rows.append(
                {"id": audio.stem, "audio": audio, "n_frames": frames, "tgt_text": sentence}
                | {"src_audio": audio, "src_n_frames": frames}
                | {"tgt_audio": units, "tgt_n_frames": frames // 4}
            )
        lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def spectrogram(sentence: str, frames: int) -> numpy.ndarray:
    """[frames, 8], of tones that a sentence's letters stand for, at 16 kHz, 10 ms a frame."""
    letters = numpy.frombuffer(sentence.encode(), numpy.uint8)
    pitch = letters[numpy.arange(160 * frames + 240) * len(letters) // (160 * frames + 240)]
    wave = numpy.sin(numpy.cumsum(2 * numpy.pi * (200 + 20.0 * pitch) / 16000))
    windows = numpy.lib.stride_tricks.sliding_window_view(wave, 400)[::160] * numpy.hanning(400)
    power = numpy.abs(numpy.fft.rfft(windows)) ** 2
    bands = numpy.stack([band.mean(1) for band in numpy.array_split(power[:, 1:], 8, axis=1)], 1)
    return numpy.log(bands + 1e-6).astype("float32")


def trained(
    case: Case, data: Path, save_dir: Path, *flags: object, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Four updates, the second and the last validated and saved."""
    command = ["fairseq-train", *of_task(case, data), "--criterion", case.criterion]
    command += ["--arch", case.arch, *case.sizes.split(), "--dropout", "0.3"]
    command += ["--optimizer", "adam", "--lr", "0.03", "--max-update", "4"]
    command += ["--save-interval-updates", "2", "--save-dir", save_dir]
    return run([*command, *flags], check=check)


def of_task(case: Case, data: Path) -> list[object]:
    """What fairseq-train and fairseq-validate are told of task and criterion."""
    common = [data, *USER_DIR, "--cpu", "--task", case.task, *case.flags.split()]
    if plain(case.criterion) == "label_smoothed_cross_entropy":
        common += ["--label-smoothing", "0.1"]
    common += ["--max-tokens", "1000", "--log-format", "json"]
    # all in one thread: by default one loads ahead, and noise is drawn from numpy's one generator,
    # which it then shares with the thread that loads for the validation
    return [*common, "--num-workers", "0", "--data-buffer-size", "0"]


def measured(valid: dict[str, str]) -> dict[str, str]:
    """What a validation logged of the model, without what it logs of time and training."""
    names = ("loss", "nll_loss", "ppl", "accuracy", "mcc")
    return {name: valid[f"valid_{name}"] for name in names if f"valid_{name}" in valid}


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.task}-{case.arch}-{case.criterion}"
)
def test_trains_validates_as_the_plain_criterion_and_resumes(folders, tmp_path, case) -> None:
    data, whole, rest = folders[case.data], tmp_path / "whole", tmp_path / "rest"
    result = trained(case, data, whole)
    impl = re.search(
        r"R-Drop: 2 passes, .* active dropout .*?(?:; impl (\w+).*)?$", result.stdout, re.M
    )
    assert impl
    assert (impl[1] or "") == case.impl
    assert "train_rdrop_kl" in logged(result, "train")[-1]
    valid = measured(logged(result, "valid")[-1])

    command = ["fairseq-validate", *of_task(case, data), "--criterion", plain(case.criterion)]
    validated = run([*command, "--path", whole / "checkpoint_last.pt"])
    assert "loss" in valid
    assert measured(logged(validated, "valid")[0]) == valid

    assert_resumes(case, data, whole, rest, valid)


def assert_resumes(
    case: Case, data: Path, whole: Path, rest: Path, valid: dict[str, str], *flags: object
) -> None:
    """From the second update of ``whole``, to the same end."""
    (half,) = whole.glob("checkpoint_*_2.pt")
    rest.mkdir()
    shutil.copy(half, rest / "checkpoint_last.pt")
    resumed = trained(case, data, rest, *flags)
    assert "Loaded checkpoint" in resumed.stdout
    assert measured(logged(resumed, "valid")[-1]) == valid
    ends = [torch.load(folder / "checkpoint_last.pt")["model"] for folder in (whole, rest)]
    assert ends[0].keys() == ends[1].keys()
    for name, parameter in ends[0].items():
        # bit by bit: fairseq's dynamic convolution has a parameter that it neither sets nor uses,
        # and a NaN in it is not equal to itself
        assert parameter.numpy().tobytes() == ends[1][name].numpy().tobytes(), name


def with_encoder() -> list[Case]:
    """One case of each architecture of encoder and decoder."""
    by_arch = {case.arch: case for case in reversed(CASES) if case.criterion == "rdrop"}
    del by_arch["transformer_lm"], by_arch["roberta"]
    return list(by_arch.values())


@pytest.mark.parametrize("case", with_encoder(), ids=lambda case: case.arch)
def test_encoder_once(folders, tmp_path, case) -> None:
    """With other flags that decide what is passed on, and how often."""
    data, whole, rest = folders[case.data], tmp_path / "whole", tmp_path / "rest"
    flags = ["--rdrop-encoder", "once", "--rdrop-passes", "3"]
    flags += ["--rdrop-interval", "2", "--update-freq", "2"]
    result = trained(case, data, whole, *flags)
    assert "R-Drop: 3 passes through the decoder, alpha 1, in one update of every 2, " in (
        result.stdout
    )
    assert float(logged(result, "train")[-1]["train_rdrop_kl"]) > 0
    valid = measured(logged(result, "valid")[-1])
    assert_resumes(case, data, whole, rest, valid, *flags)


@pytest.mark.parametrize(
    "case",
    [case for case in with_encoder() if "multi" not in case.arch],
    ids=lambda case: case.arch,
)
def test_encoder_once_against_the_definition(folders, case) -> None:
    """With dropout in the decoder alone, it is the whole model on [x1, x1, x2, x2]."""
    command = [*of_task(case, folders[case.data])[:1], *case.flags.split(), "--dropout", "0.3"]
    command += ["--arch", case.arch, *case.sizes.split(), "--optimizer", "adam", "--cpu"]
    cfg = configuration(case.task, [str(part) for part in command])
    task = tasks.setup_task(cfg.task)
    task.load_dataset("valid")
    batches = task.get_batch_iterator(task.dataset("valid"), max_tokens=1000)
    sample = next(batches.next_epoch_itr(shuffle=False))
    torch.manual_seed(0)
    model = task.build_model(cfg.model).train()
    model.encoder.eval()
    settings = {"sentence_avg": False, "label_smoothing": 0.1, "rdrop_alpha": 5}
    criterion = CRITERION_REGISTRY["rdrop"](task, rdrop_encoder="once", **settings)

    rows = []
    hook = model.encoder.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len([*args, *kwargs.values()][0])),
        with_kwargs=True,
    )
    torch.manual_seed(1)
    loss, *_ = criterion(model, sample)
    loss.backward()
    hook.remove()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert rows == [len(sample["target"])]

    model.zero_grad()
    torch.manual_seed(1)
    net_input = repeat_batch(sample["net_input"], 2, len(sample["target"]), interleave=True)
    logits = logits_of(model, model(**net_input))
    expected = reference_rdrop_loss(
        tiled(logits, 2),
        sample["target"],
        alpha=5,
        label_smoothing=0.1,
        ignore_index=task.target_dictionary.pad(),
    )
    expected.objective.backward()
    torch.testing.assert_close(loss, expected.objective, rtol=1e-5, atol=0)
    assert_same_grads(
        found, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    )


@pytest.mark.parametrize(
    ("criterion", "flags"),
    [
        ("label_smoothed_cross_entropy", ""),
        ("rdrop", ""),
        ("rdrop", "--rdrop-encoder once"),
    ],
)
def test_bart_that_is_validated_by_bleu(folders, tmp_path, criterion, flags) -> None:
    """Translating twice leaves the training as it is: fairseq sets BART up for a beam."""
    case = Case("translation", "bart_base", "linear", "bin", ES_EN, BART, criterion)
    bleu = ["--eval-bleu", "--eval-bleu-args", '{"beam": 5, "min_len": 8, "max_len_b": 9}']
    bleu += ["--eval-bleu-remove-bpe", "sentencepiece", "--eval-bleu-print-samples"]
    ends = []
    for more in ([], bleu):
        folder = tmp_path / str(len(more))
        # two beams of five sentences
        result = trained(case, folders["bin"], folder, "--batch-size", "10", *flags.split(), *more)
        ends.append(saved_parameters(folder))
    assert len(logged(result, "valid")) == 2
    assert result.stdout.count("example hypothesis") >= 2
    for name, parameter in ends[0].items():
        assert torch.equal(parameter, ends[1][name]), name


@pytest.mark.parametrize("arch", ["transformer_lm", "roberta"])
def test_no_encoder_to_run_once(folders, tmp_path, arch) -> None:
    (case, *_) = [case for case in CASES if case.arch == arch and case.criterion == "rdrop"]
    flags = ["--rdrop-encoder", "once", "--num-workers", "1"]
    result = trained(case, folders[case.data], tmp_path, *flags, check=False)
    assert_one_clear_error(result, "has no encoder and decoder: use --rdrop-encoder twice")


def listed() -> str:
    """The list as a table: what the test above trains, and the impl that it sees logged."""
    lines = ["| task | architectures tried | `--criterion` | impl |", "| --- | --- | --- | --- |"]
    for (task, criterion, impl), cases in groupby(
        CASES, lambda case: (case.task, case.criterion, case.impl)
    ):
        archs = ", ".join(f"`{case.arch}`" for case in cases)
        lines.append(f"| `{task}` | {archs} | `{criterion}` | {impl} |")
    return "\n".join(lines) + "\n"


def section() -> str:
    """What the README says of fairseq's tasks."""
    return README.read_text().partition("\n## Tasks\n")[2].partition("\n## ")[0]


def test_the_list_in_the_readme() -> None:
    rows = re.findall(r"^\|.*\n", section(), re.M)
    assert "".join(rows) == listed(), f"{README} should have this list:\n{listed()}"


def test_no_task_is_passed_over() -> None:
    """What is not in the list is named below it, with the reason."""
    ours = ("fairseq.", "rdrop_fairseq.")
    tasks = {name for name, task in TASK_REGISTRY.items() if task.__module__.startswith(ours)}
    assert tasks - set(re.findall(r"`(\w+)`", section())) == set()


PLAIN = CASES[0]._replace(criterion="label_smoothed_cross_entropy")
RESET = ["--reset-optimizer", "--reset-lr-scheduler", "--reset-meters", "--reset-dataloader"]


@pytest.fixture(scope="session")
def plain_run(folders, tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """The checkpoint of a training without R-Drop, and what its validation measured."""
    folder = tmp_path_factory.mktemp("plain")
    result = trained(PLAIN, folders["bin"], folder)
    return folder / "checkpoint_last.pt", measured(logged(result, "valid")[-1])


@pytest.mark.parametrize("way", ["--finetune-from-model", "--restore-file"])
def test_from_a_plain_checkpoint_and_back(folders, plain_run, tmp_path, way) -> None:
    """With a learning rate of 0 every validation is that of the parameters at the start."""
    checkpoint, valid = plain_run
    flags = ["--lr", "0", *(RESET if way == "--restore-file" else [])]
    for case in (CASES[0], PLAIN):
        start, folder = checkpoint, tmp_path / case.criterion
        result = trained(case, folders["bin"], folder, way, start, *flags)
        assert f"Loaded checkpoint {start} " in result.stdout
        assert [measured(each) for each in logged(result, "valid")] == [valid, valid]
        assert logged(result, "valid")[-1]["valid_num_updates"] == "4"
        checkpoint = folder / "checkpoint_last.pt"
    # the same command again resumes, or begins again
    again = trained(case, folders["bin"], folder, way, start, *flags, "--max-update", "5")
    loaded = checkpoint if way == "--finetune-from-model" else start
    assert f"Loaded checkpoint {loaded} " in again.stdout


def test_the_folder_of_a_plain_training(folders, plain_run, tmp_path) -> None:
    """R-Drop does not go on there with an optimizer that another criterion has used."""
    shutil.copy(plain_run[0], tmp_path)
    result = trained(CASES[0], folders["bin"], tmp_path, check=False)
    assert_one_clear_error(
        result,
        "checkpoint_last.pt is from a training with LabelSmoothedCrossEntropyCriterion, this one "
        "has RDropCriterion: .* --finetune-from-model .*checkpoint_last.pt and another --save-dir",
    )


def test_not_autoregressive(folders, tmp_path) -> None:
    case = Case("translation_lev", "levenshtein_transformer", "", "bin", ES_EN, TRANSFORMER)
    # without a worker, fairseq's loading thread aborts the process once the error is out
    result = trained(case, folders["bin"], tmp_path, "--num-workers", "1", check=False)
    assert_one_clear_error(
        result, "cannot train LevenshteinTransformerModel, .*not autoregressive.* nat_loss"
    )
    assert not list(tmp_path.iterdir())
