import copy
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.criterions import sentence_prediction
from fairseq.data import data_utils, token_block_dataset
from fairseq.ngram_repeat_block import NGramRepeatBlock
from fairseq.optim import FairseqOptimizer, build_optimizer
from fairseq.sequence_generator import SequenceGenerator
from fairseq.tasks import FairseqTask, setup_task

from rdrop_fairseq.compat import require_fairseq_012
from rdrop_fairseq.errors import INSTALL_FAIRSEQ, UsageError

from .conftest import PAIR, ROOT, USER_DIR, configuration, run, train


def test_numpy_names_only_where_fairseq_misses_them() -> None:
    assert token_block_dataset.np.compat.long is int
    assert data_utils.np.int is int
    assert data_utils.np.arange(3).tolist() == [0, 1, 2]
    assert data_utils.np.percentile([1, 2, 9], 50, interpolation="lower") == 2
    assert not hasattr(np, "int")
    assert data_utils.get_buckets(np.array([3, 1, 8, 5]), 2).tolist() == [3, 8]


@pytest.mark.parametrize("configured", [False, True])
def test_logging_of_the_importing_program_is_its_own(configured) -> None:
    """fairseq sets the root logger to DEBUG as it is imported."""
    program = f"""
import logging
if {configured}:
    logging.basicConfig(level=logging.ERROR, format="mine %(message)s")
from rdrop_fairseq.loss import rdrop_loss
logging.basicConfig(level=logging.ERROR, format="mine %(message)s")
logging.getLogger("other").debug("details")
logging.getLogger("other").error("trouble")
"""
    result = run([sys.executable, "-W", "ignore", "-c", program])
    assert result.stderr == "mine trouble\n"


@pytest.mark.parametrize("multiple", [1, 2, 8])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 100, 667])
def test_no_sentence_is_left_out(count: int, multiple: int) -> None:
    """fairseq's main branch drops an incomplete last batch, hence the longest sentences."""
    sizes = np.sort(np.random.default_rng(count).integers(5, 60, size=count)).astype(np.int64)
    for indices in (np.arange(count), list(range(count))):
        batches = data_utils.batch_by_size(
            indices,
            lambda i: sizes[i],
            num_tokens_vec=sizes,
            max_tokens=600,
            required_batch_size_multiple=multiple,
        )
        assert [i for batch in batches for i in batch] == list(range(count))
        assert all(len(batch) * sizes[batch[-1]] <= 600 for batch in batches)


def test_batches_of_no_sentences_and_of_an_iterator() -> None:
    def batches(indices):
        return data_utils.batch_by_size(
            indices, None, np.array([5, 6, 7]), max_tokens=20, required_batch_size_multiple=2
        )

    assert batches(np.array([], dtype=np.int64)) == []
    assert [batch.tolist() for batch in batches(iter([0, 1, 2]))] == [[0, 1], [2]]


def test_batches_do_not_depend_on_the_epoch_of_resuming(build) -> None:
    """Those made when a training goes on in epoch 3 are those that it began with."""
    task = build("transformer").task
    task.load_dataset("train")

    def made_in(epoch: int, get_batch_iterator=FairseqTask.get_batch_iterator):
        task.dataset_to_epoch_iter.clear()
        return get_batch_iterator(task, task.dataset("train"), max_tokens=600, epoch=epoch)

    def batches(iterator) -> list[list[int]]:
        return [list(batch) for batch in iterator.frozen_batches]

    first, third = made_in(1), made_in(3)
    assert batches(third) == batches(first)
    assert (first.epoch, third.epoch) == (1, 3)
    # fairseq's own: the same for who starts, others for who resumes (else drop our fix)
    fairseqs = FairseqTask.get_batch_iterator.__wrapped__
    assert batches(made_in(1, fairseqs)) == batches(first)
    assert batches(made_in(3, fairseqs)) != batches(first)
    # asked to make them anew every epoch, it still does
    anew = task.get_batch_iterator(
        task.dataset("train"), max_tokens=600, epoch=3, disable_iterator_cache=True
    )
    assert batches(anew) != batches(first)


def test_batches_of_virtual_epochs(data) -> None:
    """A training that is resumed in any epoch sees those of an undisturbed one."""
    flags = "--lang-pairs es-en,en-es --langs es,en --decoder-langtok --arch transformer"
    flags += " --optimizer adam --sampling-method temperature --sampling-temperature 2"
    flags += " --virtual-data-size 350 --virtual-epoch-size 100"  # a pass takes four epochs
    command = [str(data / "bin"), *flags.split()]
    cfg = configuration("translation_multi_simple_epoch", command)

    def seen(start: int, end: int) -> list[list]:
        """The source sentences of each epoch's batches."""
        task = setup_task(copy.deepcopy(cfg.task))  # it changes its arguments
        task.load_dataset("train", epoch=start)
        epochs = task.get_batch_iterator(task.dataset("train"), max_tokens=2000, epoch=start)
        return [
            [batch["net_input"]["src_tokens"].tolist() for batch in epochs.next_epoch_itr()]
            for _ in range(start, end)
        ]

    undisturbed = seen(1, 8)
    sizes = [sum(map(len, epoch)) for epoch in undisturbed]
    assert sizes == [100, 100, 100, 50, 100, 100, 100]
    for epoch in (2, 4, 5, 7):
        assert seen(epoch, epoch + 1) == undisturbed[epoch - 1 : epoch]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("scripted", [False, True])
def test_ngrams_are_not_repeated(size: int, scripted: bool) -> None:
    """What would complete an n-gram is impossible, all else is as before; room is left over."""
    block = NGramRepeatBlock(size, use_extension=False)
    block = torch.jit.script(block) if scripted else block
    generator = torch.Generator().manual_seed(size)
    for step in range(9):
        tokens = torch.randint(5, (6, 12), generator=generator)
        lprobs = torch.randn(6, 5, generator=generator)
        expected = lprobs.clone()
        for row, hypothesis in enumerate(tokens[:, : step + 1].tolist()):
            seen = [hypothesis[start : start + size] for start in range(len(hypothesis) - size + 1)]
            if size == 1:  # what every hypothesis begins with is what it ends with
                del seen[0]
            for symbol in range(5):
                if [*hypothesis[len(hypothesis) - size + 1 :], symbol] in seen:
                    expected[row, symbol] = -torch.inf
        assert torch.equal(block(tokens, lprobs, 2, 3, step), expected)


def test_generator_for_torchscript(build) -> None:
    """It finds what the search in Python finds; no symbol comes twice."""
    built = build("transformer")
    sample = {"net_input": {**built.sample["net_input"]}}
    del sample["net_input"]["prev_output_tokens"]
    generator = SequenceGenerator(
        [built.model], built.task.target_dictionary, max_len_b=12, no_repeat_ngram_size=1
    ).eval()
    found = generator.generate([built.model], sample)
    for ours, scripted in zip(found, torch.jit.script(generator)(sample), strict=True):
        tokens = ours[0]["tokens"].tolist()
        assert tokens == scripted[0]["tokens"].tolist()
        assert len(set(tokens)) == len(tokens)


@pytest.mark.parametrize(
    ("predictions", "ratings"), [([1.0], [2.0]), ([1.0, 1.0], [2.0, 3.0]), ([1.0, 2.0], [3.0, 3.0])]
)
def test_correlation_that_is_not_defined(predictions, ratings) -> None:
    """After one batch of validation: 0, neither an error nor a NaN that stays the best."""
    correlations = sentence_prediction.pearson_and_spearman(
        np.array(predictions), np.array(ratings)
    )
    assert correlations == {"pearson": 0, "spearmanr": 0, "corr": 0}


def with_copies_for_the_fast_path(state: dict) -> dict:
    """A transformer's checkpoint as fairseq 0.12.2 writes it, with its encoder layers' weights."""
    model = dict(state["model"])
    layers = {name.rpartition("self_attn.")[0] for name in model if "encoder.layers" in name}
    for layer in layers - {""}:
        for kind in ("weight", "bias"):
            projections = [model[f"{layer}self_attn.{part}_proj.{kind}"] for part in "qkv"]
            model[f"{layer}in_proj_{kind}"] = torch.cat(projections)
            model[f"{layer}out_proj_{kind}"] = model[f"{layer}self_attn.out_proj.{kind}"]
            for part in ("fc1", "fc2"):
                model[f"{layer}{part}_{kind}"] = model[f"{layer}{part}.{kind}"]
    return {**state, "model": model}


def test_checkpoint_of_fairseq_0_12_2(data, trained, tmp_path: Path) -> None:
    """It translates as it does without the copies that fairseq's main branch refuses."""
    paths = [trained[0] / "checkpoint_last.pt", tmp_path / "old.pt"]
    old = with_copies_for_the_fast_path(torch.load(paths[0]))
    assert len(old["model"]) == len(torch.load(paths[0])["model"]) + 2 * 8  # layers, copies
    torch.save(old, paths[1])
    translations = []
    for path in paths:
        command = ["fairseq-generate", data / "bin", *USER_DIR, "--path", path, *PAIR, "--cpu"]
        result = run([*command, "--beam", "2", "--max-len-b", "10", "--max-tokens", "1000"])
        translations.append([x for x in result.stdout.splitlines() if x.startswith("H-")])
    assert len(translations[0]) == 40
    assert translations[0] == translations[1]


@pytest.mark.parametrize(
    "name", ["encoder.layers.0.fc3_weight", "decoder.layers.0.fc1_weight", "encoder.in_proj_bias"]
)
def test_other_names_are_still_refused(build, name: str) -> None:
    model = build("transformer").model
    state = with_copies_for_the_fast_path({"model": model.state_dict()})["model"]
    given = dict(state)
    model.load_state_dict(state, strict=True)
    assert state.keys() == given.keys()  # what was given is left as it is
    with pytest.raises(RuntimeError, match=rf'Unexpected key\(s\) in state_dict: "{name}"\. $'):
        model.load_state_dict({**state, name: torch.zeros(1)}, strict=True)


def test_resuming_a_training_of_fairseq_0_12_2(data, trained, tmp_path: Path) -> None:
    """Its optimizer does not fit; its model can be trained on."""
    state = with_copies_for_the_fast_path(torch.load(trained[0] / "checkpoint_last.pt"))
    (group,) = state["last_optimizer_state"]["param_groups"]
    group["params"] = list(range(len(group["params"]) + 2 * 8))
    torch.save(state, tmp_path / "checkpoint_last.pt")
    result = train(data, tmp_path, "--max-update", "9", check=False)
    assert result.returncode == 1
    message = "optimizer has not the parameters of this model .* give --reset-optimizer to train on"
    assert re.search(message, result.stderr.splitlines()[-1])
    assert "Traceback" not in result.stderr
    result = train(data, tmp_path, "--max-update", "1", "--reset-optimizer")
    assert "Loaded checkpoint" in result.stdout


@pytest.mark.parametrize("name", ["adam", "nag", "adafactor"])
def test_optimizer_of_another_model_in_one_piece(build, name: str) -> None:
    """--fp16 makes one parameter of all: their number is the same, their size is not."""
    flags = configuration("translation", ["data", "--optimizer", name, "--arch", "transformer"])

    def optimizer_of(size: int) -> FairseqOptimizer:
        parameter = torch.nn.Parameter(torch.ones(size))
        parameter.grad = torch.ones(size)
        return build_optimizer(flags.optimizer, [parameter])

    trained = optimizer_of(7)
    trained.step()
    optimizer_of(7).load_state_dict(trained.state_dict())
    with pytest.raises(UsageError, match="give --reset-optimizer"):
        optimizer_of(6).load_state_dict(trained.state_dict())


def test_optimizer_whose_state_has_other_shapes(build) -> None:
    """torch's Adafactor, which keeps rows and columns of a matrix."""
    flags = configuration("translation", ["data", "--optimizer", "adam", "--arch", "transformer"])

    def adafactor() -> FairseqOptimizer:
        parameter = torch.nn.Parameter(torch.ones(4, 3))
        parameter.grad = torch.ones(4, 3)
        optimizer = build_optimizer(flags.optimizer, [parameter])
        optimizer._optimizer = torch.optim.Adafactor([parameter])
        return optimizer

    trained, fresh = adafactor(), adafactor()
    trained.step()
    fresh.load_state_dict(trained.state_dict())
    (state,) = fresh.optimizer.state.values()
    assert state["row_var"].shape == (4, 1)


def test_patches_survive_the_wrappers_of_others() -> None:
    """A program may have wrapped fairseq's functions with functools.wraps before."""
    program = """
import functools, numpy
from fairseq.data import data_utils
def logged(function):
    return functools.wraps(function)(lambda *args, **kwargs: function(*args, **kwargs))
data_utils.batch_by_size = logged(data_utils.batch_by_size)
import rdrop_fairseq
from rdrop_fairseq import compat
ours = data_utils.batch_by_size
data_utils.batch_by_size = logged(ours)
compat.keep_last_batch()  # once is enough
assert data_utils.batch_by_size.__wrapped__ is ours
sizes = numpy.full(13, 5)
batches = data_utils.batch_by_size(
    numpy.arange(13), None, sizes, max_tokens=60, required_batch_size_multiple=8
)
print(sum(map(len, batches)))
"""
    result = run([sys.executable, "-W", "ignore", "-c", program])
    assert result.stdout == "13\n"


def test_bart_translates_and_trains_on(build) -> None:
    """A search sets its attention up for a beam; a training that follows has none."""
    built = build("bart_base")
    model, five = built.model, [row[:5] for row in built.sample["net_input"].values()]
    five = dict(zip(built.sample["net_input"], five, strict=True))
    attention = model.decoder.layers[0].encoder_attn
    dictionary = model.decoder.dictionary
    alone, _ = model.eval()(**five)
    # as a task makes one, of a model in training mode, which fairseq-validate then evaluates
    SequenceGenerator([model.train()], dictionary, beam_size=5)
    assert not model.training
    torch.testing.assert_close(model(**five)[0], alone, rtol=0, atol=0)
    # as fairseq-generate has it
    SequenceGenerator([model], dictionary, beam_size=5)
    assert attention.beam_size == 5
    assert not torch.equal(model(**five)[0], alone)
    model.train()
    assert attention.beam_size == 1
    assert "reorder_encoder_out" not in vars(model.encoder)


def imported(tmp_path: Path, code: str, **files: str):
    """``code`` run beside a folder named fairseq with ``files``, the only fairseq to be found."""
    (tmp_path / "fairseq").mkdir()
    for name, text in files.items():
        (tmp_path / "fairseq" / f"{name}.py").write_text(text)
    hide = "import sys; sys.path[:] = [p for p in sys.path if not p.endswith('-packages')]"
    torch_alone = f"{hide}; sys.path.append({str(tmp_path / 'site')!r})"
    (tmp_path / "site").mkdir()
    for package in Path(torch.__file__).parents[1].iterdir():
        if package.name != "fairseq":
            (tmp_path / "site" / package.name).symlink_to(package)
    return run(
        [sys.executable, "-c", f"{torch_alone}; {code}"],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        check=False,
        cwd=tmp_path,
    )


LOSS = "from rdrop_fairseq.loss import rdrop_loss; print('found')"


def test_loss_beside_a_clone_of_fairseq(tmp_path: Path) -> None:
    """The clone's folder is called fairseq, too, and is no package."""
    result = imported(tmp_path, LOSS)
    assert (result.stdout, result.stderr) == ("found\n", "")


def test_criteria_beside_a_clone_of_fairseq(tmp_path: Path) -> None:
    """One sentence says what to install."""
    result = imported(tmp_path, "import rdrop_fairseq.criterions")
    missing = "R-Drop's criteria need fairseq (No module named 'fairseq.dataclass'): "
    assert result.stderr.splitlines()[-1] == f"ImportError: {missing}{INSTALL_FAIRSEQ}"


@pytest.mark.parametrize(
    ("init", "reason"),
    [
        ("__version__ = '0.10.2'", "rdrop_fairseq needs fairseq 0.12 or newer, found 0.10.2"),
        ("", "no attribute '__version__'"),
    ],
)
def test_loss_beside_a_fairseq_that_does_not_work(tmp_path: Path, init: str, reason: str) -> None:
    """A warning says why the criteria are missing; whoever imports such a fairseq can go on."""
    result = imported(tmp_path, f"{LOSS}; import fairseq; print('and fairseq')", __init__=init)
    assert result.stdout == "found\nand fairseq\n"
    assert "R-Drop's criteria cannot be used, only rdrop_fairseq.loss can: " in result.stderr
    assert reason in result.stderr


def test_fairseq_that_cannot_be_imported_says_why(tmp_path: Path) -> None:
    code = f"{LOSS}; import fairseq"
    result = imported(tmp_path, code, __init__="raise ImportError('libcudart is missing')")
    assert result.stdout == "found\n"
    assert result.stderr.splitlines()[-1] == "ImportError: libcudart is missing"


def test_error_of_an_old_fairseq_comes_first(tmp_path: Path) -> None:
    """fairseq 0.10, of which most that the plugin imports is missing; it loads the plugin."""
    result = imported(
        tmp_path, "import fairseq, rdrop_fairseq", __init__='__version__ = "0.10.2"\n'
    )
    assert result.returncode == 1
    assert result.stderr.startswith("rdrop_fairseq needs fairseq 0.12 or newer, found 0.10.2")


@pytest.mark.parametrize("version", ["0.9.0", "0.10.2"])
def test_old_fairseq(version: str) -> None:
    message = re.escape(f"0.12 or newer, found {version}: {INSTALL_FAIRSEQ}")
    with pytest.raises(UsageError, match=message):
        require_fairseq_012(version)


@pytest.mark.parametrize("version", ["0.12.2", "0.12.3", "1.0.0a0+abc"])
def test_new_fairseq(version: str) -> None:
    require_fairseq_012(version)


def test_old_main(monkeypatch) -> None:
    """Main before 0.12 called itself 1.0.0a0, as it did after."""
    monkeypatch.delattr("fairseq.modules.transformer_layer.TransformerEncoderLayerBase")
    with pytest.raises(UsageError, match=r"0\.12 or newer, found 1\.0\.0a0"):
        require_fairseq_012("1.0.0a0+6f6461b")


def plugin_is_found(cwd: Path, user_dir: str, before: str = "pass", **env: str) -> bool:
    """Whether fairseq-train knows the plugin's flags, in a process of its own."""
    code = f"import sys; {before}; from fairseq_cli.train import cli_main; cli_main()"
    arguments = ["data", "--user-dir", user_dir, "--arch", "transformer", "--criterion", "rdrop"]
    command = [sys.executable, "-c", code, *arguments, "--rdrop-impl", "fast"]
    result = run(command, cwd=cwd, env=env, check=False)
    assert result.returncode
    return "argument --rdrop-impl: invalid choice: 'fast'" in result.stderr


def test_from_the_checkout_and_by_path(tmp_path: Path) -> None:
    assert plugin_is_found(ROOT, "rdrop_fairseq")
    assert plugin_is_found(ROOT, "rdrop_fairseq/")
    assert plugin_is_found(ROOT, "rdrop_fairseq", "import rdrop_fairseq")
    # the README's command that prints the path to give
    command = [sys.executable, "-c", "import rdrop_fairseq; print(rdrop_fairseq.__path__[0])"]
    path = run(command, cwd=tmp_path).stdout.strip().splitlines()[-1]
    assert plugin_is_found(tmp_path, path)
    assert plugin_is_found(tmp_path, f"{path}/")


def test_a_process_of_torchrun_does_not_train_alone(data, tmp_path) -> None:
    """What fairseq does on one GPU or none if nobody spells out the group."""
    env = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
    result = train(data, tmp_path, "--max-update", "1", env=env, check=False)
    assert result.returncode == 1
    assert "WORLD_SIZE is 2, but this process would train a model on its own" in result.stderr
    assert not list(tmp_path.iterdir())
