"""rdrop dropout, against torch.distributions in float64 with the same masks."""

import contextlib
import io
import itertools
import math
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import matplotlib.colors
import matplotlib.image
import numpy
import pytest
import torch
from fairseq import checkpoint_utils
from torch import Tensor, nn
from torch.distributions import Categorical, kl_divergence

from rdrop_fairseq.tools.dropout import main

from ..conftest import ARCHS, USER_DIR, run

SEED, PASSES, SENTENCES = 7, 3, 5
MEASURING = ["--seed", SEED, "--passes", PASSES, "--sentences", SENTENCES]
ROBERTA = (
    "--arch roberta_base --encoder-layers 2 --encoder-embed-dim 16 --encoder-ffn-embed-dim 32 "
    "--encoder-attention-heads 2 --dropout 0.2 --attention-dropout 0.1 --pooler-dropout 0.3"
)


def show(*arguments: object) -> tuple[str, str | int | None]:
    """What is printed, and what it ends with."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main([*map(str, arguments)])
        except SystemExit as stopped:
            return printed.getvalue(), stopped.code
    return printed.getvalue(), None


def table(output: str) -> dict[str, list[str]]:
    """Of each module path: place, rate, active in training, active at inference."""
    cells = (line.split() for line in output.splitlines())
    return {line[0]: line[1:] for line in cells if len(line) == 5 and "." in line[0]}


def measured(output: str, unit: str) -> tuple[int, list[list[float]]]:
    """How many positions and, for each checkpoint, the two divergences in nats."""
    pattern = rf"^mean symmetric KL per {unit}: (\d+) {unit}s of valid in .*, 3 passes, seed 7$"
    (positions,) = re.findall(pattern, output, re.MULTILINE)
    found = [re.findall(r"(\S+) nats \((\S+) bits\)", line) for line in output.splitlines()]
    for nats, bits in itertools.chain(*found):
        # both are printed to four digits, each is off by up to 5e-4 of its value
        assert float(bits) == pytest.approx(float(nats) / math.log(2), rel=1.1e-3)
    return int(positions), [[float(nats) for nats, _ in line] for line in found if line]


Forward = Callable[[nn.Module, dict, int], Tensor]


def expected(
    checkpoint: Path, data: Path, forward: Forward, indices: Iterable[int] = range(SENTENCES)
) -> tuple[int, list[float]]:
    """Positions and divergences by their definition.

    Args:
        forward: of a model, a batch of one example and how many times to repeat it: what the
            log-softmax is taken of, [times, positions, V].
    """
    models, _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(checkpoint)], {"data": str(data)}
    )
    task.load_dataset("valid")
    between, to_full, model = [], [], models[0]
    torch.manual_seed(SEED)
    for index in indices:
        sample = task.dataset("valid").collater([task.dataset("valid")[index]])
        with torch.no_grad():
            full = Categorical(logits=forward(model.eval(), sample, 1)[0].double())
            passes = [
                Categorical(logits=logits.double())
                for logits in forward(model.train(), sample, PASSES)
            ]

        def symmetric(p: Categorical, q: Categorical) -> Tensor:
            return (kl_divergence(p, q) + kl_divergence(q, p)) / 2

        pairs = itertools.combinations(passes, 2)
        between.append(torch.stack([symmetric(p, q) for p, q in pairs]).mean(0))
        to_full.append(torch.stack([symmetric(p, full) for p in passes]).mean(0))
    return len(torch.cat(between)), [torch.cat(kls).mean().item() for kls in (between, to_full)]


def agrees(found: tuple[int, list[float]], reference: tuple[int, list[float]]) -> None:
    assert found[0] == reference[0] > 0
    # four digits are printed; the script computes in float32
    assert found[1] == pytest.approx(reference[1], rel=1e-3)


def train(save_dir: Path, data: Path, *flags: str) -> Path:
    command = ["fairseq-train", data, "--save-dir", save_dir, "--cpu", "--max-update", "3"]
    command += ["--optimizer", "adam", "--lr", "0.01", "--batch-size", "8", "--num-workers", "0"]
    command += USER_DIR
    run([*command, *(part for flag in flags for part in flag.split())])
    return save_dir / "checkpoint_last.pt"


def sentences(data: Path, folder: Path) -> Path:
    """A data folder for sentence_prediction: verses, and whether they have an even length."""
    for split, size in (("train", 100), ("valid", 20)):
        pieces = (data / f"{split}.en").read_text().splitlines()[:size]
        labels = [str(len(line.split()) % 2) for line in pieces]
        for name, lines in (("input0", pieces), ("label", labels)):
            (folder / f"{split}.{name}").write_text("".join(f"{line}\n" for line in lines))
    for name, flags in (("input0", ["--srcdict", data / "lm" / "dict.txt"]), ("label", [])):
        command = ["fairseq-preprocess", "--only-source", "--destdir", folder / name, *flags]
        run(
            [
                *command,
                "--trainpref",
                folder / f"train.{name}",
                "--validpref",
                folder / f"valid.{name}",
            ]
        )
    return folder


def repeated(sample: dict, times: int, *names: str) -> list[Tensor]:
    return [sample["net_input"][name].repeat_interleave(times, 0) for name in names]


def translation(model: nn.Module, sample: dict, times: int) -> Tensor:
    names = ("src_tokens", "src_lengths", "prev_output_tokens")
    return model(*repeated(sample, times, *names))[0]  # one sentence has no padding


def test_translation_checkpoints_compared(data, trained, tmp_path) -> None:
    folder, _ = trained
    both = [folder / "checkpoint_1_4.pt", folder / "checkpoint_last.pt"]
    plot = tmp_path / "dropout.png"
    output, error = show(*both, "--data", data / "bin", *MEASURING, "--plot", plot)
    assert error is None
    positions, values = measured(output, "target token")
    for checkpoint, found in zip(both, values, strict=True):
        agrees((positions, found), expected(checkpoint, data / "bin", translation))
    (ratios,) = re.findall(r"^second / first +(\S+) +(\S+)$", output, re.MULTILINE)
    for ratio, first, second in zip(ratios, *values, strict=True):
        assert float(ratio) == pytest.approx(second / first, rel=6e-3)  # three digits

    assert output.count("module path") == 1  # both have the same dropout
    found = table(output)
    assert len(found) == 16
    assert found["decoder.dropout_module"] == ["embedding", "0.2", "active", "-"]
    assert found["encoder.layers.1.dropout_module"] == ["output", "0.2", "active", "-"]
    assert found["encoder.layers.0.self_attn.dropout_module"] == ["attention", "0", "-", "-"]
    assert "checkpoint_last.pt: 6 active dropout modules (embedding 2 at 0.2" in output

    image = matplotlib.image.imread(plot)
    colors = {tuple(color) for color in numpy.unique(image.reshape(-1, 4) * 255, axis=0).round()}
    for color, alpha in (("C0", 0.75), ("C3", 0.75), ("C1", 0.12), ("C8", 1), ("C9", 1)):
        mixed = [round(255 * (1 + alpha * (c - 1))) for c in matplotlib.colors.to_rgb(color)]
        assert any(numpy.abs(numpy.subtract(c[:3], mixed)).max() <= 1 for c in colors), color
    assert [path.name for path in tmp_path.iterdir()] == ["dropout.png"]


def test_language_model_with_adaptive_softmax(data, tmp_path) -> None:
    checkpoint = train(
        *(tmp_path, data / "lm", "--task language_modeling --tokens-per-sample 24"),
        *("--arch transformer_lm", ARCHS["transformer_lm"], "--dropout 0.3"),
        "--criterion adaptive_loss --ddp-backend legacy_ddp --adaptive-softmax-cutoff 100,200",
        "--adaptive-softmax-dropout 0.1",
    )

    def forward(model: nn.Module, sample: dict, times: int) -> Tensor:
        net_output = model(*repeated(sample, times, "src_tokens"))
        return model.get_normalized_probs(net_output, log_probs=True)

    output, _ = show(checkpoint, "--data", data / "lm", *MEASURING)
    positions, (found,) = measured(output, "target token")
    assert positions == 24 * SENTENCES
    agrees((positions, found), expected(checkpoint, data / "lm", forward))
    assert table(output)["decoder.adaptive_softmax.tail.0.1"] == [
        "adaptive-softmax",
        "0.1",
        "active",
        "-",
    ]


def test_masked_language_model(data, tmp_path) -> None:
    """Also that sentences too long for the model, of which the first is one, are left out."""
    checkpoint = train(
        *(tmp_path, data / "lm", "--task masked_lm --criterion masked_lm", ROBERTA),
        "--tokens-per-sample 64 --sample-break-mode eos --skip-invalid-size-inputs-valid-test",
    )
    lines = (data / "valid.en").read_text().splitlines()
    short = [index for index, line in enumerate(lines) if len(line.split()) + 2 <= 64]
    assert short[0] > 0

    def forward(model: nn.Module, sample: dict, times: int) -> Tensor:
        logits = model(*repeated(sample, times, "src_tokens"))[0]  # of every token
        return logits[:, sample["target"][0] != model.encoder.dictionary.pad()]

    output, _ = show(checkpoint, "--data", data / "lm", *MEASURING)
    positions, (found,) = measured(output, "masked token")
    reference = expected(checkpoint, data / "lm", forward, short[:SENTENCES])
    agrees((positions, found), reference)


def test_classification_head(data, tmp_path) -> None:
    folder = sentences(data, tmp_path)
    checkpoint = train(
        *(tmp_path / "save", folder, "--task sentence_prediction --criterion sentence_prediction"),
        *(ROBERTA, "--num-classes 2 --init-token 0 --classification-head-name verse"),
    )

    def forward(model: nn.Module, sample: dict, times: int) -> Tensor:
        (tokens,) = repeated(sample, times, "src_tokens")
        head = {"features_only": True, "classification_head_name": "verse"}
        return model(tokens, **head)[0].unsqueeze(1)

    output, _ = show(checkpoint, "--data", folder, *MEASURING)
    positions, (found,) = measured(output, "sentence")
    assert positions == SENTENCES
    agrees((positions, found), expected(checkpoint, folder, forward))
    # without the data, from the checkpoint's settings alone, the same table
    assert table(show(checkpoint)[0]) == table(output)
    assert table(output)["classification_heads.verse.dropout"] == [
        "classifier",
        "0.3",
        "active",
        "-",
    ]
    # a language model's folder has no dictionaries where this task looks for them
    _, error = show(checkpoint, "--data", data / "lm")
    assert error.startswith(f"rdrop dropout: {data / 'lm'} does not fit {checkpoint}: give the")


def test_roberta_base() -> None:
    """Its three places, and which flag sets which rate."""
    rates = ["--dropout", "0.2", "--attention-dropout", "0.3", "--activation-dropout", "0.4"]
    output, _ = show("roberta_base", *rates, "--pooler-dropout", "0.5")
    found = table(output)
    encoder = "encoder.sentence_encoder"
    assert found.pop(f"{encoder}.dropout_module") == ["embedding", "0.2", "active", "-"]
    for layer in range(12):
        path = f"{encoder}.layers.{layer}"
        attention = found.pop(f"{path}.self_attn.dropout_module")
        assert attention == ["attention", "0.3", "active", "-"]
        feed_forward = found.pop(f"{path}.activation_dropout_module")
        assert feed_forward == ["feed-forward", "0.4", "active", "-"]
        assert found.pop(f"{path}.dropout_module") == ["output", "0.2", "active", "-"]
    ((path, head),) = found.items()
    assert path == "classification_heads.sentence_classification_head.dropout"
    assert head == ["classifier", "0.5", "active", "-"]


def test_two_architectures() -> None:
    """The largest one of fairseq, and one whose adaptive softmax wants a large vocabulary."""
    output, _ = show("transformer_lm_gpt3_175", "transformer_lm_wiki103", "--dropout", "0.4")
    assert "transformer_lm_gpt3_175: 97 active dropout modules" in output  # 1 + 96 layers
    assert "transformer_lm_wiki103: 52 active dropout modules (embedding 1 at 0.4, " in output
    assert "adaptive-softmax 3 at 0.2" in output


def test_data_that_do_not_fit(data, trained, tmp_path) -> None:
    folder, _ = trained
    checkpoint = folder / "checkpoint_last.pt"
    _, error = show(checkpoint, "--data", data / "bin", "--split", "dev")
    where = f"{data / 'bin'}, which holds test, train, valid: give another --split ["
    assert error.startswith(f"rdrop dropout: cannot load dev from {where}")
    shutil.copytree(data / "bin", tmp_path / "bin")
    for file in (tmp_path / "bin").glob("test.es-en.en.*"):
        file.unlink()
    _, error = show(checkpoint, "--data", tmp_path / "bin", "--split", "test")
    assert error.startswith(f"rdrop dropout: test in {tmp_path / 'bin'} has no target side")
    # another dictionary
    for language in ("es", "en"):
        with (tmp_path / "bin" / f"dict.{language}.txt").open("a") as dictionary:
            dictionary.write("more 1\nwords 1\n")
    _, error = show(checkpoint, "--data", tmp_path / "bin")
    assert error.startswith(f"rdrop dropout: {tmp_path / 'bin'} does not fit {checkpoint}: ")
    assert "size mismatch for encoder.embed_tokens.weight" in error


def test_architecture_of_ones_own(trained, tmp_path) -> None:
    folder = tmp_path / "dropout_user_dir"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from fairseq.models import register_model_architecture\n"
        "from fairseq.models.transformer.transformer_legacy import base_architecture\n"
        "register_model_architecture('transformer', 'my_transformer')(base_architecture)\n"
    )
    state = torch.load(trained[0] / "checkpoint_last.pt")
    state["cfg"]["model"].arch = state["cfg"]["model"]._name = "my_transformer"
    checkpoint = tmp_path / "my.pt"
    torch.save(state, checkpoint)
    _, error = show(checkpoint)
    what = f"the architecture my_transformer of {checkpoint}"
    assert error == f"rdrop dropout: {what} is none of fairseq's: give its --user-dir"
    output, error = show(checkpoint, "--user-dir", folder)
    assert error is None
    assert table(output)["decoder.dropout_module"] == ["embedding", "0.2", "active", "-"]
    assert len(table(show("my_transformer")[0])) == 44  # the base size; registered by now


def test_no_active_dropout() -> None:
    output, error = show("transformer_iwslt_de_en", "--dropout", "0")
    assert error.startswith("rdrop dropout: transformer_iwslt_de_en has no active dropout: ")
    assert table(output)["encoder.dropout_module"] == ["embedding", "0", "-", "-"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["roberta_bas"], "fairseq: roberta_bas; did you mean roberta_base, "),
        (["no/such.pt"], "neither a checkpoint nor an architecture of fairseq: no/such.pt"),
        (["transformer"] * 3, "takes one model, or two to compare, got 3"),
        (["."], ". is a folder: name a checkpoint in it"),
        (["transformer", "--pooler-dropout", "0.1"], "transformer has no --pooler-dropout"),
        (["roberta", "--dropout", "2"], "--dropout: must be a number from 0 to 1, got 2"),
        (["file.pt", "--dropout", "0.1"], "--dropout is for an ARCH: the checkpoint file.pt has"),
        (["file.pt"], "cannot read file.pt (5 bytes): it is truncated or not a fairseq checkpoint"),
        (["file.pt", "--data", "no"], "--data: no such folder: no"),
        (["transformer", "--data", "."], "--data is for checkpoints: the architecture transformer"),
        (["transformer", "--passes", "1"], "--passes: must be a whole number of at least 2, got 1"),
        (
            ["transformer", "--sentences", "0"],
            "--sentences: must be a whole number of at least 1, got 0",
        ),
        (["transformer", "--user-dir", "no"], "--user-dir: no such folder: no"),
        (["transformer", "--plot", "a.svg"], "--plot: a PNG is written: name it a.png, got a.svg"),
        (["transformer", "--plot", "no/a.png"], "--plot: no such folder to write to: no"),
        (["s2t_transformer"], "cannot build s2t_transformer from its settings alone: "),
    ],
)
def test_wrong_input(arguments, message, tmp_path, monkeypatch) -> None:
    (tmp_path / "file.pt").write_text("empty")
    monkeypatch.chdir(tmp_path)
    output, code = show(*arguments)
    said = output.splitlines()[-1] if code == 2 else code
    assert message in said
    assert [path.name for path in tmp_path.iterdir()] == ["file.pt"]
