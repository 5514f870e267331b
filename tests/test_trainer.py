"""RDropTrainer on tiny models of transformers, against the definition in float64."""

import logging
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.huggingface import has_dropout
from rdrop_fairseq.loss import reference_rdrop_loss
from rdrop_fairseq.trainer import RDropSeq2SeqTrainer, RDropTrainer

from .conftest import ROOT, run

V, B, T = 20, 4, 6
README = ROOT / "examples" / "huggingface" / "README.md"
TINY = {
    **{"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": V},
    **{"intermediate_size": 16, "max_position_embeddings": 16},
}
LLAMA = {**TINY, "num_key_value_heads": 2, "attention_dropout": 0.3, "eos_token_id": 2}
BART = {
    **{"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": V, "pad_token_id": 1},
    **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16},
    **{"decoder_ffn_dim": 16, "max_position_embeddings": 16, "decoder_start_token_id": 2},
}
T5 = {
    **{"d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": V},
    "decoder_start_token_id": 0,
}
GPT2 = {
    **{"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": V, "n_positions": 16},
    **{"bos_token_id": 0, "eos_token_id": 0},
}
VIT = {**TINY, "image_size": 8, "patch_size": 4, "hidden_dropout_prob": 0.3}
RATE = {"problem_type": "regression"}
SEVERAL = {"problem_type": "multi_label_classification"}


class Case(NamedTuple):
    """A row of the README's table."""

    head: str
    model: str
    kind: str  #: what the labels are taken for
    impl: str  #: what auto chooses
    config: dict[str, Any]


# fmt: off
CASES = [
    Case("sequence classification", "BertForSequenceClassification", "classes", "logits",
         {**TINY, "num_labels": 3}),
    Case("several labels", "RobertaForSequenceClassification", "several labels", "logits",
         {**TINY, **SEVERAL, "num_labels": 3, "pad_token_id": 1}),
    Case("ratings", "BertForSequenceClassification", "numbers", "logits",
         {**TINY, "num_labels": 1}),
    Case("several ratings", "DebertaV2ForSequenceClassification", "numbers", "logits",
         {**TINY, **RATE, "num_labels": 3}),
    Case("tokens", "BertForTokenClassification", "classes", "logits", {**TINY, "num_labels": 3}),
    Case("images", "ViTForImageClassification", "classes", "logits", {**VIT, "num_labels": 3}),
    Case("multiple choice", "BertForMultipleChoice", "classes", "logits", TINY),
    Case("question answering", "BertForQuestionAnswering", "positions", "logits", TINY),
    Case("masked language model", "BertForMaskedLM", "classes", "linear", TINY),
    Case("masked language model", "RobertaForMaskedLM", "classes", "linear",
         {**TINY, "pad_token_id": 1}),
    Case("encoder-decoder", "BartForConditionalGeneration", "classes", "linear", BART),
    Case("encoder-decoder", "MBartForConditionalGeneration", "classes", "linear", BART),
    Case("encoder-decoder", "MarianMTModel", "classes", "linear", BART),
    Case("encoder-decoder", "M2M100ForConditionalGeneration", "classes", "linear", BART),
    Case("encoder-decoder", "T5ForConditionalGeneration", "classes", "linear", T5),
    Case("causal language model", "GPT2LMHeadModel", "next tokens", "linear", GPT2),
    Case("causal language model", "LlamaForCausalLM", "next tokens", "linear", LLAMA),
    Case("causal language model", "Qwen2ForCausalLM", "next tokens", "linear",
         {**LLAMA, "tie_word_embeddings": True}),
    Case("causal language model, soft cap", "Gemma2ForCausalLM", "next tokens", "logits",
         {**LLAMA, "head_dim": 4, "final_logit_softcapping": 1.0}),
    Case("causal language model, scaled", "CohereForCausalLM", "next tokens", "logits", LLAMA),
]
# fmt: on
IDS = [f"{case.head}-{case.model}" for case in CASES]
LM = next(case for case in CASES if case.model == "LlamaForCausalLM")
TOKENS = next(case for case in CASES if case.model == "BertForTokenClassification")
SUMMARY = next(case for case in CASES if case.model == "BartForConditionalGeneration")
IMAGES = next(case for case in CASES if case.head == "images")
GPT = next(case for case in CASES if case.model == "GPT2LMHeadModel")


def built(case: Case, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    kind = getattr(transformers, case.model)
    model = kind(kind.config_class(**{**case.config, **settings})).double()
    for parameter in model.parameters():  # what is 0 or 1 at first would hide where it is used
        nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.3)
    for name, bias in model.named_buffers():
        if name == "final_logits_bias":  # Marian's pretrained ones have some
            nn.init.normal_(bias)
    return model


def batch_for(case: Case, size: int = B) -> dict[str, Tensor]:
    torch.manual_seed(1)
    words = torch.randint(3, V, (size, T))
    mask = torch.ones_like(words)
    mask[0, 4:] = 0
    batch = {"input_ids": words, "attention_mask": mask}
    labels = torch.arange(size) % 3
    if case.kind == "several labels":
        labels = torch.randint(2, (size, 3)).double()
    elif case.kind == "numbers":
        labels = torch.randn(size, 3) if case.config["num_labels"] == 3 else torch.randn(size)
    elif case.head == "tokens":
        labels = torch.randint(3, (size, T)).masked_fill(mask.eq(0), -100)
    elif case.head == "images":
        batch = {"pixel_values": torch.randn(size, 3, 8, 8, dtype=torch.float64)}
    elif case.head == "multiple choice":
        batch = {name: values[:, None].repeat(1, 3, 1) for name, values in batch.items()}
        batch["input_ids"][:, 1:, 2] = torch.tensor([3, 7])
    elif case.head == "question answering":
        return {**batch, "start_positions": labels, "end_positions": labels + 1}
    elif case.head != "sequence classification":  # words, after a prompt
        labels = torch.randint(3, V, (size, T)).masked_fill(mask.eq(0), -100)
        if case.kind == "next tokens":
            labels[:, :2] = -100
    return {**batch, "labels": labels}


def rows(batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """A batch as a data set."""
    return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]


def trainer_for(
    model: nn.Module, folder: Path, kind: type = RDropTrainer, alpha: float = 0.7, **settings: Any
) -> Any:
    ours = {name: settings.pop(name) for name in ("passes", "impl") if name in settings}
    data = {name: settings.pop(name) for name in [*settings] if name.endswith("_dataset")}
    settings = {"use_cpu": True, "save_strategy": "no", "disable_tqdm": True, **settings}
    arguments = transformers.TrainingArguments
    if kind is RDropSeq2SeqTrainer:
        arguments = transformers.Seq2SeqTrainingArguments
    args = arguments(str(folder), remove_unused_columns=False, report_to="none", **settings)
    return kind(model, args, alpha=alpha, **ours, **data)


def gradient(loss: Tensor, model: nn.Module) -> Tensor:
    parameters = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return torch.cat([g.flatten() for g in found if g is not None])


def definition(
    case: Case, model: nn.Module, batch: dict[str, Tensor], passes: int, eps: float
) -> Tensor:
    """The mean over the labels, of one pass over the batch several times, with alpha 0.7."""
    names = ("labels", "start_positions", "end_positions")
    labels = [batch[name] for name in names if name in batch]
    seen = {name: torch.cat([x] * passes) for name, x in batch.items() if name not in names}
    if case.head == "encoder-decoder":
        start = torch.full((B, 1), case.config["decoder_start_token_id"])
        shifted = torch.cat([start, labels[0][:, :-1]], dim=1)
        padding = case.config.get("pad_token_id", 0)
        shifted = shifted.masked_fill(shifted.eq(-100), padding)
        if case.model == "MBartForConditionalGeneration":  # begins with the last, the language
            last = labels[0].ne(-100).cumsum(1).argmax(1, keepdim=True)
            filled = labels[0].masked_fill(labels[0].eq(-100), padding)
            shifted = torch.cat([filled.gather(1, last), filled[:, :-1]], dim=1)
        seen["decoder_input_ids"] = torch.cat([shifted] * passes)
    outputs = model(**seen)
    settings = {"alpha": 0.7, "passes": passes}

    def of_classes(logits: Tensor, target: Tensor, eps: float = 0.0) -> Tensor:
        smoothing = eps * (logits.size(-1) - 1) / logits.size(-1)
        settings.update(label_smoothing=smoothing, ignore_index=-100)
        return reference_rdrop_loss(logits, target, **settings).objective / target.ne(-100).sum()

    if case.kind == "positions":
        start, end = outputs.start_logits, outputs.end_logits
        return (of_classes(start, labels[0]) + of_classes(end, labels[1])) / 2
    logits = outputs.logits
    if case.kind == "several labels":
        two = torch.stack([torch.zeros_like(logits), logits], dim=-1)
        return of_classes(two, labels[0].long())
    if case.kind == "numbers":
        f = logits.view(passes, *labels[0].shape)
        errors = (f - labels[0]).square().sum(0)
        pairs = [(f[i] - f[j]).square() for i in range(passes) for j in range(i)]
        return (errors + 0.7 * sum(pairs) / len(pairs)).mean()
    if case.kind == "next tokens":
        return of_classes(logits[:, :-1], labels[0][:, 1:], eps)
    return of_classes(logits, labels[0], eps)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_loss_and_gradient_are_the_definition(case, tmp_path, caplog) -> None:
    """Of the same dropout masks, with every implementation, two passes and three."""
    caplog.set_level(logging.INFO, "rdrop_fairseq.trainer")
    model, batch = built(case), batch_for(case)
    smoothed = case.kind in ("classes", "next tokens")
    for impl, passes, eps in (("auto", 2, 0.0), ("logits", 3, 0.1 if smoothed else 0.0)):
        settings = {"impl": impl, "passes": passes, "label_smoothing_factor": eps}
        trainer = trainer_for(model, tmp_path, **settings)
        model.train()
        trainer.compute_loss(model, dict(batch))  # looks at the model
        torch.manual_seed(2)
        loss = trainer.compute_loss(model, dict(batch))
        torch.manual_seed(2)
        expected = definition(case, model, batch, passes, eps)
        # some of transformers' models compute a part in float32, whose spacing at 1 is 1e-7
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6, check_dtype=False)
        found, wanted = gradient(loss, model), gradient(expected, model)
        assert wanted.abs().max() > 0.01
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
        assert trainer.impl == (case.impl if impl == "auto" else "logits")
        assert f"labels are {case.kind}, impl {trainer.impl}" in caplog.messages[-1]


def listed() -> str:
    """The heads as a table: what the test above trains."""
    lines = ['| head | model | labels are | `impl="auto"` takes |', "| --- | --- | --- | --- |"]
    lines += [f"| {c.head} | {c.model} | {c.kind} | {c.impl} |" for c in CASES]
    return "".join(f"{line}\n" for line in lines)


def test_the_readme_lists_the_heads() -> None:
    assert listed() in README.read_text(), f"{README} should have this table:\n{listed()}"


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_alpha_0_is_twice_the_plain_loss(case, tmp_path) -> None:
    """The model's own, as evaluation has it: without dropout both passes are the same."""
    model, batch = built(case), batch_for(case)
    for module in model.modules():
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.train()
    assert not has_dropout(model)
    loss = trainer_for(model, tmp_path, alpha=0.0).compute_loss(model, dict(batch))
    plain = model(**batch).loss
    torch.testing.assert_close(loss, 2 * plain, rtol=1e-6, atol=1e-6, check_dtype=False)


@pytest.fixture
def fixed_masks(monkeypatch) -> None:
    fix_masks(monkeypatch.setattr)


def fix_masks(setattr: Callable[[Any, str, Any], None]) -> None:
    """Dropout that depends on the pass alone: not on the example, nor on when it is its turn.

    All but that of attention, which PyTorch's scaled_dot_product_attention has inside.
    """

    def dropout(x: Tensor, p: float, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return x
        generator = torch.Generator().manual_seed(7)
        masks = torch.rand(2, *x.shape[1:], generator=generator).gt(p).to(x.dtype)
        return torch.cat([half * mask for half, mask in zip(x.chunk(2), masks, strict=True)])

    setattr(nn.functional, "dropout", dropout)


def unequal(case: Case, size: int) -> dict[str, Tensor]:
    """A batch whose examples have different numbers of labels."""
    batch = batch_for(case, size)
    batch["labels"][torch.arange(T) > 1 + torch.arange(size)[:, None]] = -100
    return batch


def trained(folder: Path, case: Case, batch: dict[str, Tensor], **settings: Any) -> Tensor:
    """The parameters after one update of SGD with learning rate 1."""
    model = built(case, **settings.pop("config", {}))
    settings = {"max_steps": 1, "learning_rate": 1.0, "optim": "sgd", **settings}
    data = {"train_dataset": rows(batch)}
    trainer = trainer_for(model, folder, alpha=2.0, max_grad_norm=0, **data, **settings)
    trainer.train()
    return nn.utils.parameters_to_vector(model.parameters())


@pytest.mark.parametrize(
    ("case", "no_attention"),
    [
        (TOKENS, {"attention_probs_dropout_prob": 0.0}),
        (SUMMARY, {"attention_dropout": 0.0}),
        (GPT, {"attn_pdrop": 0.0}),
    ],
    ids=lambda value: getattr(value, "model", ""),
)
def test_accumulated_batches_are_one_batch(case, no_attention, tmp_path, fixed_masks) -> None:
    """Also where one has fewer labels than the other, and with label smoothing."""
    batch = unequal(case, 8)
    settings = {"config": no_attention, "label_smoothing_factor": 0.1}
    whole = trained(tmp_path, case, batch, per_device_train_batch_size=8, **settings)
    parts = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    accumulated = trained(tmp_path, case, batch, **parts, **settings)
    before = nn.utils.parameters_to_vector(built(case).parameters())
    assert (whole - before).abs().max() > 0.01
    torch.testing.assert_close(accumulated, whole)


def test_batches_without_a_count_are_averaged(tmp_path, fixed_masks) -> None:
    """Of models that take no num_items_in_batch, as Trainer does it."""
    batch = {name: values[:, :4] for name, values in batch_for(TOKENS, 8).items()}
    config = {"attention_probs_dropout_prob": 0.0}
    whole = trained(tmp_path, TOKENS, batch, config=config, per_device_train_batch_size=8)
    model = built(TOKENS, **config)
    settings = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "alpha": 2.0}
    settings |= {"max_steps": 1, "learning_rate": 1.0, "optim": "sgd", "max_grad_norm": 0}
    trainer = trainer_for(model, tmp_path, train_dataset=rows(batch), **settings)
    trainer.model_accepts_loss_kwargs = False
    trainer.train()
    torch.testing.assert_close(nn.utils.parameters_to_vector(model.parameters()), whole)


TWO = """
import os
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
environment = dict(os.environ)
from tests.test_trainer import trained_of_two
os.environ.update(environment)  # conftest takes MASTER_ADDR for a setting of a recipe
trained_of_two(Path({folder!r}), 2)
"""
# trained tied, and untied with each implementation
OF_TWO = {
    "linear": ({"tie_word_embeddings": True}, {}),
    "logits": ({}, {}),
    "linear, all used": ({}, {"ddp_find_unused_parameters": False}),
}


def trained_of_two(folder: Path, size: int) -> None:
    """Train on four examples; save the parameters and what auto has chosen."""
    fix_masks(setattr)
    for name, (config, settings) in OF_TWO.items():
        model = built(LM, attention_dropout=0.0, **config)
        dropped(model)
        settings = {"max_steps": 2, "learning_rate": 1.0, "optim": "sgd", **settings}
        settings |= {"per_device_train_batch_size": size, "max_grad_norm": 0, "num_train_epochs": 1}
        data = {"train_dataset": rows(unequal(LM, 8))}
        trainer = trainer_for(model, folder / "out", alpha=2.0, **data, **settings)
        trainer.train()
        if trainer.is_world_process_zero():
            parameters = nn.utils.parameters_to_vector(model.parameters())
            torch.save((trainer.impl, parameters.detach()), folder / f"{name}.{size}.pt")


def dropped(model: nn.Module) -> None:
    """Put dropout after the embeddings of a causal model, which has it in attention only."""
    embeddings = model.get_input_embeddings()
    embeddings.dropout = nn.Dropout(0.3)
    embeddings.register_forward_hook(lambda module, args, output: module.dropout(output))


def test_two_processes_are_one(tmp_path, monkeypatch) -> None:
    """With gloo, by torchrun; the mean is over the labels of both."""
    (tmp_path / "two.py").write_text(TWO.format(root=str(ROOT), folder=str(tmp_path)))
    torchrun = ["torchrun", "--nproc_per_node", "2", "--rdzv-backend", "c10d"]
    run([*torchrun, "--rdzv-endpoint", "localhost:0", tmp_path / "two.py"])
    with monkeypatch.context() as patch:
        patch.setattr(nn.functional, "dropout", nn.functional.dropout)  # to be put back
        trained_of_two(tmp_path, 4)
    for name in OF_TWO:
        impl, two = torch.load(tmp_path / f"{name}.2.pt")
        _, one = torch.load(tmp_path / f"{name}.4.pt")
        assert impl == name.partition(",")[0]
        torch.testing.assert_close(two, one)


def test_masked_labels_count_nowhere(tmp_path) -> None:
    for case in (TOKENS, LM):
        model, batch = built(case), batch_for(case)
        trainer = trainer_for(model, tmp_path)
        model.train()
        nothing = {**batch, "labels": torch.full_like(batch["labels"], -100)}
        for items in (None, torch.tensor(0)):  # as Trainer counts them
            loss = trainer.compute_loss(model, nothing, num_items_in_batch=items)
            assert loss.item() == 0
            assert gradient(loss, model).isfinite().all()
        assert trainer._kind == case.kind


@pytest.mark.parametrize("average", [True, False])
def test_several_devices(average, tmp_path, monkeypatch) -> None:
    """The mean over all labels, by Trainer's own count of them for two GPUs or processes."""
    model, batch = built(IMAGES), batch_for(IMAGES)
    trainer = trainer_for(model, tmp_path, average_tokens_across_devices=average)
    model.train()

    def both(items: Tensor) -> tuple[Tensor, Tensor]:
        torch.manual_seed(2)
        loss = trainer.compute_loss(model, dict(batch), num_items_in_batch=items)
        torch.manual_seed(2)
        return loss.mean(), definition(IMAGES, model, batch, 2, 0.0)

    trainer.compute_loss(model, dict(batch))
    monkeypatch.setattr(trainer.args, "_n_gpu", 2)  # DataParallel: logits of both are one
    items = trainer._get_num_items_in_batch([batch, batch], torch.device("cpu"))
    loss, expected = both(items)
    torch.testing.assert_close(loss, expected / 2)  # of two accumulated batches
    monkeypatch.setattr(trainer.args, "_n_gpu", 1)
    # of two processes, each with its own batch; their gradients are averaged
    monkeypatch.setattr(type(trainer.accelerator), "num_processes", 2)
    loss, expected = both(torch.tensor(2 * B if average else B))
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_evaluation_is_one_plain_pass(case, tmp_path) -> None:
    """What a plain Trainer gives, to the last bit, before and after training."""
    model, batch = built(case), batch_for(case)
    sizes, first = [], next(iter(batch))
    model.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(len(kwargs[first])),
        with_kwargs=True,
    )
    trainer = trainer_for(model, tmp_path, per_device_eval_batch_size=B)
    for _ in range(2):
        sizes.clear()
        loss = trainer.evaluate(rows(batch))["eval_loss"]
        assert sizes == [B]
        plain = transformers.Trainer(model, trainer.args)
        assert loss == plain.evaluate(rows(batch))["eval_loss"]
        model.train()
        trainer.compute_loss(model, dict(batch))


@pytest.mark.parametrize("case", [TOKENS, LM, SUMMARY], ids=lambda case: case.model)
def test_bfloat16(case, tmp_path) -> None:
    """Under autocast the loss is float32, of what is off by bfloat16's 2^-8."""
    model = built(case).float()
    trainer = trainer_for(model, tmp_path, bf16=True)
    wrapped = trainer.accelerator.prepare(model)
    wrapped.train()
    trainer.compute_loss(wrapped, batch_for(case))
    torch.manual_seed(2)
    loss = trainer.compute_loss(wrapped, batch_for(case))
    assert loss.dtype == torch.float32
    torch.manual_seed(2)
    expected = definition(case, wrapped, batch_for(case), 2, 0.0)
    # logits of the linear path are bfloat16's, too: a loss of 7 that is off by a few times 2^-8
    torch.testing.assert_close(loss, expected, rtol=2**-7, atol=0)
    gradient(loss, model)
    assert trainer.impl == case.impl


def test_float16_with_a_loss_scale(tmp_path) -> None:
    """Gradients in float16 are computed where the scale is known, and none is lost."""
    model = built(LM).float()
    trainer = trainer_for(model, tmp_path)
    model.train()
    trainer.compute_loss(model, batch_for(LM))

    def of(scale: float, autocast: bool) -> Tensor:
        torch.manual_seed(2)
        with torch.autocast("cpu", torch.float16, enabled=autocast):
            loss = trainer.compute_loss(model, batch_for(LM), num_items_in_batch=10**6)
        return gradient(loss * scale, model) / scale

    from .needs import float16_autocast_on_the_cpu

    float16_autocast_on_the_cpu()
    exact, scaled = of(1.0, False), of(2.0**16, True)
    # gradients of 1e-7 in units of float16's 6e-8 would be lost without the scale
    error = (scaled - exact).norm() / exact.norm()
    assert error < 2**-6


@pytest.mark.parametrize("settings", [{"gradient_checkpointing": True}, {"torch_compile": True}])
def test_what_must_not_change_the_update(settings, tmp_path) -> None:
    """The graph of torch.compile is run as it is: tracing is what is tested."""
    changed = {**settings}
    if "torch_compile" in settings:
        changed["torch_compile_backend"] = "eager"
    batch = batch_for(LM)
    plain, other = (trained(tmp_path, LM, batch, max_steps=2, **s) for s in ({}, changed))
    assert plain.ne(nn.utils.parameters_to_vector(built(LM).parameters())).any()
    torch.testing.assert_close(other, plain, rtol=1e-6, atol=1e-6)


def test_a_batch_that_does_not_fit_is_halved(tmp_path) -> None:
    model = built(LM)
    sizes = []

    def forward(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        sizes.append(len(kwargs["input_ids"]))
        if sizes[-1] > 4:
            raise RuntimeError("CUDA out of memory.")

    model.register_forward_pre_hook(forward, with_kwargs=True)
    settings = {"auto_find_batch_size": True, "per_device_train_batch_size": 4, "max_steps": 2}
    trainer_for(model, tmp_path, train_dataset=rows(batch_for(LM)), **settings).train()
    assert sizes == [1, 1, 8, 6, 4, 4]  # the looks at one example, then twice 4, 3, and 2


def test_other_columns_are_removed(tmp_path) -> None:
    datasets = pytest.importorskip("datasets")
    columns = {name: values.tolist() for name, values in batch_for(LM).items()}
    data = datasets.Dataset.from_dict({**columns, "text": ["a"] * B}).with_format("torch")
    model = built(LM)
    args = transformers.TrainingArguments(
        str(tmp_path), use_cpu=True, max_steps=1, report_to="none", save_strategy="no"
    )
    trainer = RDropTrainer(model, args, alpha=1.0, train_dataset=data, eval_dataset=data)
    assert trainer.train().training_loss > 0
    assert trainer.evaluate()["eval_loss"] > 0


def test_summaries_are_generated(tmp_path) -> None:
    """RDropSeq2SeqTrainer: training, and evaluation with predict_with_generate."""
    model, batch = built(SUMMARY).float(), batch_for(SUMMARY)
    model.generation_config.max_length = 5
    settings = {"predict_with_generate": True, "max_steps": 2}
    data = {"train_dataset": rows(batch), "eval_dataset": rows(batch)}
    trainer = trainer_for(model, tmp_path, RDropSeq2SeqTrainer, **settings, **data)
    seen = []
    trainer.compute_metrics = lambda found: seen.append(found.predictions.shape) or {}
    trainer.train()
    loss = trainer.evaluate()["eval_loss"]
    model.eval()
    assert loss == pytest.approx(model(**batch).loss.item())
    assert seen == [(B, 5)]


def test_decoder_inputs_of_the_batch_are_kept(tmp_path) -> None:
    """As DataCollatorForSeq2Seq(model=model) gives them."""
    model, batch = built(SUMMARY), batch_for(SUMMARY)
    trainer = trainer_for(model, tmp_path)
    model.train()
    trainer.compute_loss(model, dict(batch))
    losses = []
    shifted = model.prepare_decoder_input_ids_from_labels(batch["labels"])
    for more in ({}, {"decoder_input_ids": shifted}, {"decoder_input_ids": shifted.flip(1)}):
        torch.manual_seed(2)
        losses.append(trainer.compute_loss(model, {**batch, **more}).item())
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("case", [TOKENS, SUMMARY], ids=lambda case: case.model)
def test_resumed_training_is_the_same(case, tmp_path) -> None:
    batch = batch_for(case, 8)

    def run_to(folder: str, steps: int, resume: bool = False) -> nn.Module:
        model = built(case).float()
        settings = {"save_strategy": "steps", "save_steps": 2, "max_steps": steps}
        settings |= {"lr_scheduler_type": "constant", "per_device_train_batch_size": 4}
        trainer = trainer_for(model, tmp_path / folder, train_dataset=rows(batch), **settings)
        trainer.train(resume_from_checkpoint=resume)
        return model

    whole = run_to("whole", 4)
    run_to("parts", 2)
    resumed = run_to("parts", 4, resume=True)
    torch.testing.assert_close(dict(resumed.state_dict()), dict(whole.state_dict()), rtol=0, atol=0)


class Pairs(nn.Module):
    """A model of one's own, whose inputs are a list and a dict of tensors, and numbers."""

    def __init__(self, loss: Callable[..., Tensor] = cross_entropy) -> None:
        super().__init__()
        self.layer, self.dropout, self.loss = nn.Linear(4, 3), nn.Dropout(0.5), loss

    def forward(self, both: list[Tensor], more: dict[str, Any], labels: Tensor | None = None):
        logits = self.dropout(self.layer(both[0] + both[1] * more["scale"])) + more["shift"]
        outputs = {"logits": logits}
        if labels is not None and self.loss is not None:
            outputs["loss"] = self.loss(logits, labels)
        return outputs


def pairs(labels: Tensor) -> dict[str, Any]:
    torch.manual_seed(3)
    both, shift = [torch.randn(B, 4), torch.randn(B, 4)], torch.randn(B, 3)
    return {"both": both, "more": {"scale": 2.0, "shift": shift}, "labels": labels}


def test_a_model_of_ones_own(tmp_path) -> None:
    model, batch = Pairs(), pairs(torch.tensor([0, 2, 1, 1]))
    trainer = trainer_for(model, tmp_path)
    model.train()
    loss = trainer.compute_loss(model, dict(batch))
    assert trainer._kind == "classes"
    torch.manual_seed(2)
    loss = trainer.compute_loss(model, dict(batch))
    torch.manual_seed(2)
    x = batch["both"][0] + 2.0 * batch["both"][1]
    logits = model.dropout(model.layer(torch.cat([x, x])))
    logits = logits + batch["more"]["shift"].repeat(2, 1)
    expected = reference_rdrop_loss(logits, batch["labels"], alpha=0.7).objective / B
    torch.testing.assert_close(loss, expected)


def test_embeddings_that_were_resized(tmp_path) -> None:
    model = built(SUMMARY)
    model.resize_token_embeddings(V + 5)
    batch = batch_for(SUMMARY)
    batch["labels"][0, 2] = V + 3
    trainer = trainer_for(model, tmp_path)
    model.train()
    trainer.compute_loss(model, dict(batch))
    assert trainer.impl == "linear"
    torch.manual_seed(2)
    loss = trainer.compute_loss(model, dict(batch))
    torch.manual_seed(2)
    torch.testing.assert_close(loss, definition(SUMMARY, model, batch, 2, 0.0))
    assert model(**batch).logits.shape[-1] == V + 5  # nothing is left replaced


def test_linear_never_makes_the_logits(tmp_path, monkeypatch) -> None:
    model, batch = built(LM), batch_for(LM)
    trainer = trainer_for(model, tmp_path)
    model.train()
    trainer.compute_loss(model, dict(batch))

    def product(*args: Any) -> Tensor:
        raise AssertionError("the output projection was called")

    monkeypatch.setattr(type(model.lm_head), "forward", product)
    model.model.layers = nn.ModuleList()  # whose projections are nn.Linear as well
    trainer.compute_loss(model, dict(batch))
    with pytest.raises(AssertionError, match="was called"):  # who wants outputs gets logits
        trainer.compute_loss(model, dict(batch), return_outputs=True)


def mixture(**settings: Any) -> nn.Module:
    config = {**LLAMA, "num_local_experts": 2, "num_experts_per_tok": 1, **settings}
    return transformers.MixtralForCausalLM(transformers.MixtralConfig(**config))


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (lambda: built(LM), {"alpha": -1.0}, "alpha must be a finite number >= 0, got -1.0"),
        (lambda: built(LM), {"alpha": float("nan")}, "alpha must be .*, got nan"),
        (lambda: built(LM), {"passes": 1}, "passes must be at least 2, got 1"),
        (lambda: built(LM), {"impl": "fast"}, "impl must be one of auto, linear, logits, got 'fa"),
        (
            lambda: built(LM, attention_dropout=0.0),
            {},
            "LlamaForCausalLM has none: set attention_dropout to a rate > 0 .* LoRA adapter",
        ),
        (
            lambda: built(IMAGES, hidden_dropout_prob=0.0),
            {},
            "has none: set hidden_dropout_prob or attention_probs_dropout_prob to",
        ),
    ],
)
def test_what_the_trainer_refuses(model, settings, message, tmp_path) -> None:
    with pytest.raises(UsageError, match=message):
        trainer_for(model(), tmp_path, **settings)


def test_a_loss_function_is_refused(tmp_path) -> None:
    args = transformers.TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    with pytest.raises(UsageError, match="has a loss of its own"):
        RDropTrainer(built(LM), args, alpha=1.0, compute_loss_func=max)


@pytest.mark.parametrize(
    ("model", "batch", "settings", "message"),
    [
        (
            lambda: mixture(output_router_logits=True),
            batch_for(LM),
            {},
            "auxiliary loss of MixtralForCausalLM's experts: set output_router_logits",
        ),
        (lambda: built(LM), {"input_ids": torch.ones(2, 3)}, {}, r"labels \(labels\), got only in"),
        (
            lambda: built(IMAGES),
            batch_for(IMAGES),
            {"impl": "linear"},
            "impl='linear' is not possible for ViTForImageClassification: it does not end in",
        ),
        (
            lambda: built(CASES[-1]),
            batch_for(LM),
            {"impl": "linear"},
            "'linear' is not possible for CohereForCausalLM: its logits are more than its output",
        ),
        (
            lambda: built(CASES[1]),
            batch_for(CASES[1]),
            {"label_smoothing_factor": 0.1},
            "",
        ),
        (
            lambda: built(CASES[2]),
            batch_for(CASES[2]),
            {"label_smoothing_factor": 0.1},
            "label_smoothing_factor is for classes, and labels are numbers: set it to 0",
        ),
        (lambda: Pairs(None), pairs(torch.ones(B).long()), {}, "Pairs gives no loss for its labe"),
        (
            lambda: Pairs(lambda x, y: 2 * cross_entropy(x, y)),
            pairs(torch.ones(B).long()),
            {},
            "the loss of Pairs is none that R-Drop is for",
        ),
        (
            lambda: built(LM),
            {**batch_for(LM), "cu_seq_lens_q": torch.arange(2)},
            {},
            r"cannot repeat inputs\['cu_seq_lens_q'\] .* batch size 4",
        ),
    ],
)
def test_batches_that_the_trainer_refuses(model, batch, settings, message, tmp_path) -> None:
    model = model()
    trainer = trainer_for(model, tmp_path, **settings)
    model.train()
    if not message:  # Trainer has said that it smooths nothing
        assert trainer.compute_loss(model, dict(batch)) > 0
        return
    with pytest.raises(UsageError, match=message):
        trainer.compute_loss(model, dict(batch))


class Peeking(transformers.LlamaForCausalLM):
    """Computes something else when it sees labels."""

    def forward(self, input_ids: Tensor, attention_mask=None, labels=None):
        if labels is not None:
            input_ids = input_ids.flip(1)
        return super().forward(input_ids, attention_mask, labels=labels)


def test_what_depends_on_labels_is_refused(tmp_path) -> None:
    model = Peeking(transformers.LlamaConfig(**LLAMA))
    trainer = trainer_for(model, tmp_path)
    model.train()
    with pytest.raises(UsageError, match="Peeking computes something else when it sees labels"):
        trainer.compute_loss(model, batch_for(LM))


def test_dropout_is_found() -> None:
    """As a module, or as a rate that attention hands to a function."""
    assert not has_dropout(built(IMAGES, hidden_dropout_prob=0.0))
    assert has_dropout(built(IMAGES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.1))
    assert has_dropout(built(IMAGES))
    layer_drop = {"dropout": 0.0, "encoder_layerdrop": 0.5}
    assert not has_dropout(built(SUMMARY, **layer_drop))


def tokenizer(folder: Path) -> None:
    words = {
        name: number for number, name in enumerate(["<s>", "<pad>", "</s>", "<unk>", "a", "b", "c"])
    }
    backend = Tokenizer(models.WordLevel(words, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(
        folder
    )


def program(number: int, **seen: Any) -> Any:
    """The trainer of one of the README's programs, which has run."""
    text = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)[number]
    assert len(text.splitlines()) <= 15
    # TRL asks for a GPU, or to be told that there is none
    exec(text.replace("max_length=512", "max_length=512, use_cpu=True"), seen)
    trainer = seen["trainer"]
    assert trainer.state.global_step == 3  # epochs of a batch
    return trainer


@pytest.fixture
def pretrained(tmp_path, monkeypatch) -> None:
    """Tiny models by the names that the README has for large ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tokens = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    roberta = transformers.RobertaConfig(**TINY, **tokens)
    bart = transformers.BartConfig(**{**BART, **tokens}, forced_eos_token_id=2)
    qwen = transformers.Qwen3Config(**{**LLAMA, **tokens, "attention_dropout": 0.0}, head_dim=4)
    for name, kind, config in (
        ("FacebookAI/roberta-base", transformers.RobertaForMaskedLM, roberta),
        ("facebook/bart-base", transformers.BartForConditionalGeneration, bart),
        ("Qwen/Qwen3-0.6B", transformers.Qwen3ForCausalLM, qwen),
    ):
        kind(config).save_pretrained(name)
        tokenizer(tmp_path / name)


def test_the_readmes_classifier(pretrained) -> None:
    datasets = pytest.importorskip("datasets")
    sentences = {"sentence": ["a b", "c", "a b c", "b"], "label": [0, 1, 0, 1]}
    data = datasets.Dataset.from_dict(sentences)
    trainer = program(0, train=data, valid=data)
    assert trainer.state.log_history[-1]["train_loss"] == pytest.approx(2 * math.log(2), rel=0.3)


def test_the_readmes_summaries(pretrained) -> None:
    texts = [{"input_ids": [0, 4, 5, 6, 2][: 3 + n], "labels": [4, 2]} for n in range(4)]
    trainer = program(1, texts=texts)
    assert trainer.impl == "linear"
    assert trainer.predict(texts).predictions.shape[0] == 4


def test_the_readmes_adapter(pretrained) -> None:
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("peft")
    pytest.importorskip("trl")
    rows = {"prompt": ["a b"] * 4, "completion": [" c", " a b", " b", " c a"]}
    trainer = program(2, chats=datasets.Dataset.from_dict(rows))
    assert (trainer._kind, trainer.impl) == ("next tokens", "linear")
    changed = {name for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert changed
    assert all("lora" in name for name in changed)
    # two cross-entropies of a model that knows nothing yet
    loss = trainer.state.log_history[-1]["train_loss"]
    assert loss == pytest.approx(2 * math.log(V), rel=0.1)
    assert trainer.evaluate(trainer.train_dataset)["eval_loss"] == pytest.approx(loss / 2, rel=0.1)


def test_an_adapter_is_trained_by_the_definition(tmp_path) -> None:
    """LoRA on a causal model whose own rates are 0, and on its output projection."""
    peft = pytest.importorskip("peft")
    for targets, impl in ((["q_proj", "v_proj"], "linear"), (["q_proj", "lm_head"], "logits")):
        model = built(LM, attention_dropout=0.0)
        lora = peft.LoraConfig(lora_dropout=0.3, target_modules=targets, init_lora_weights=False)
        model = peft.get_peft_model(model, lora)
        trainer = trainer_for(model, tmp_path)
        model.train()
        trainer.compute_loss(model, batch_for(LM))
        assert trainer.impl == impl
        torch.manual_seed(2)
        loss = trainer.compute_loss(model, batch_for(LM))
        torch.manual_seed(2)
        expected = definition(LM, model, batch_for(LM), 2, 0.0)
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
        found, wanted = gradient(loss, model), gradient(expected, model)
        assert wanted.abs().max() > 0.01
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_the_readmes_several_labels(pretrained) -> None:
    topics = [{"input_ids": [0, 4, 2], "labels": [0.0, 1.0, 1.0]}] * 4
    trainer = program(3, topics=topics)
    assert trainer._kind == "several labels"
    assert trainer.state.log_history[-1]["train_loss"] == pytest.approx(2 * math.log(2), rel=0.3)


def test_without_fairseq() -> None:
    """Nothing but torch, transformers and accelerate is imported, as after --no-deps."""
    code = (
        "import sys\n"
        "from rdrop_fairseq.trainer import RDropTrainer\n"
        "names = {'fairseq', 'sacrebleu', 'seqeval', 'omegaconf', 'hydra'}\n"
        "print(RDropTrainer.__mro__[1].__module__, names & {*sys.modules})"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout == "transformers.trainer set()\n", output.stderr
