"""--rdrop-interval k: which updates are R-Drop's, what the others are, what is logged."""

import copy
import pickle

import pytest
import torch

from rdrop_fairseq.errors import UsageError

from ..conftest import saved_parameters, train
from ..test_command_line import logged
from .test_rdrop import logged_metrics, step


def update(built, criterion, update_num):
    """One batch of update ``update_num``: what it logs, gradients."""
    criterion.rdrop_interval.update_num = update_num
    return step(criterion, built.model, built.sample)


@pytest.fixture
def built(build):
    return build("transformer", "--dropout 0.3")


def test_by_the_number_of_the_update(built) -> None:
    """However many batches an update has, all are of its kind."""
    criterion = built.criterion("rdrop", rdrop_interval=3)
    batch_sizes = []
    hook = built.model.register_forward_pre_hook(
        lambda _, args, kwargs: batch_sizes.append(len(kwargs["src_tokens"])), with_kwargs=True
    )
    numbers = [0, 0, 1, 2, 2, 2, 3, 4, 5, 6, 6]
    for number in numbers:
        update(built, criterion, number)
    hook.remove()
    size = len(built.sample["target"])
    assert batch_sizes == [size if number % 3 else 2 * size for number in numbers]


@pytest.mark.parametrize("settings", [{}, {"report_accuracy": True, "ignore_prefix_size": 1}])
def test_other_updates_are_fairseqs_criterion(built, settings) -> None:
    """To the last bit: loss, gradients and all that is logged."""
    criterion = built.criterion("rdrop", rdrop_interval=2, **settings)
    ours = update(built, criterion, 1)
    plain = built.criterion("label_smoothed_cross_entropy", **settings)
    theirs = step(plain, built.model, built.sample)
    assert torch.equal(ours.loss, theirs.loss)
    assert ours.sample_size == theirs.sample_size
    for name, gradient in theirs.grads.items():
        assert torch.equal(ours.grads[name], gradient), name
    assert ours.logged == {**theirs.logged, "rdrop_sample_size": 0}


def test_updates_with_rdrop_are_those_without_an_interval(built) -> None:
    ours = update(built, built.criterion("rdrop", rdrop_interval=2), 4)
    plain = update(built, built.criterion("rdrop"), 4)
    assert torch.equal(ours.loss, plain.loss)
    assert ours.logged == {**plain.logged, "rdrop_sample_size": ours.sample_size}


def test_what_is_logged(built) -> None:
    """rdrop_kl is that of R-Drop's updates; rdrop_updates is there with an interval only."""
    criterion = built.criterion("rdrop", rdrop_interval=2)
    with_rdrop, without = update(built, criterion, 0).logged, update(built, criterion, 1).logged
    # update-freq 2, or two workers whose numbers were added up: all of one kind
    total = {key: 2 * value for key, value in with_rdrop.items()}
    one, two, summed, plain = (
        logged_metrics(criterion, *outputs)
        for outputs in ([with_rdrop], [with_rdrop] * 2, [total], [without] * 2)
    )
    assert one["rdrop_updates"] == two["rdrop_updates"] == summed["rdrop_updates"] == 1
    assert float(one["rdrop_kl"]) > 0
    assert float(two["rdrop_kl"]) == pytest.approx(float(one["rdrop_kl"]), abs=2e-3)
    assert float(summed["rdrop_kl"]) == pytest.approx(float(one["rdrop_kl"]), abs=2e-3)
    assert plain["rdrop_updates"] == 0
    assert "rdrop_kl" not in plain
    assert "rdrop_updates" not in logged_metrics(
        criterion, update(built, built.criterion("rdrop"), 0).logged
    )


def test_nobody_told_the_number(built) -> None:
    criterion = built.criterion("rdrop", rdrop_interval=2)
    with pytest.raises(UsageError, match="--rdrop-interval 2 needs the number of the update"):
        criterion(built.model.train(), built.sample)
    criterion(built.model.eval(), built.sample)  # validation needs none


def test_task_is_left_alone(built) -> None:
    """It can be copied and pickled as it could before."""
    before = dict(vars(built.task))
    built.criterion("rdrop", rdrop_interval=2)
    assert vars(built.task) == before


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copy_is_told_anew(built, copied) -> None:
    """It does not take the number of an update long past for the present one's."""
    interval = built.criterion("rdrop", rdrop_interval=2).rdrop_interval
    interval.update_num = 4
    with pytest.raises(UsageError, match="needs the number of the update"):
        copied(interval).is_due()
    assert interval.is_due()


@pytest.fixture(scope="module")
def seven_updates(data, tmp_path_factory):
    """Seven updates of two batches, every third with R-Drop, a checkpoint after four."""
    folder = tmp_path_factory.mktemp("seven")
    flags = ["--rdrop-interval", "3", "--update-freq", "2", "--log-interval", "1"]
    flags += ["--max-update", "7", "--save-interval-updates", "4"]
    return folder, flags, train(data, folder, *flags)


def test_command_line(seven_updates) -> None:
    _, _, result = seven_updates
    assert "R-Drop: 2 passes, alpha 5, in one update of every 3, " in result.stdout
    inner = logged(result, "train_inner")
    assert [float(line["rdrop_updates"]) for line in inner] == [1, 0, 0, 1, 0, 0, 1]
    assert all(float(line["rdrop_kl"]) > 0 for line in inner[::3])


def test_resumed_equals_uninterrupted(data, seven_updates, tmp_path) -> None:
    """Update 5, the first after resuming, is a plain one; the end is the same to the last bit."""
    whole, flags, _ = seven_updates
    (half,) = whole.glob("checkpoint_*_4.pt")
    (tmp_path / "checkpoint_last.pt").write_bytes(half.read_bytes())
    result = train(data, tmp_path, *flags)
    inner = logged(result, "train_inner")
    assert [float(line["rdrop_updates"]) for line in inner] == [0, 0, 1]
    ends = [saved_parameters(folder) for folder in (whole, tmp_path)]
    for name, parameter in ends[0].items():
        assert torch.equal(parameter, ends[1][name]), name
