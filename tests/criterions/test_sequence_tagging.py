"""--criterion sequence_tagging: the loss of words alone, and seqeval's scores of entities."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fairseq import tasks
from fairseq.logging import metrics
from seqeval.metrics import f1_score, precision_score, recall_score

from rdrop_fairseq.criterions.sequence_tagging import (
    SequenceTaggingCriterion,
    SequenceTaggingCriterionConfig,
    are_bio,
    count_entities,
    scores,
)
from rdrop_fairseq.errors import UsageError

from ..conftest import ROBERTA, configuration
from .test_rdrop_sentence_prediction import logged_metrics


@pytest.fixture
def built(tagged):
    """built(flags): task, model, criterion and a batch of 8 sentences."""

    def built(flags="", criterion="sequence_tagging"):
        command = [str(tagged), *ROBERTA.split(), "--criterion", criterion, "--init-token", "0"]
        cfg = configuration("sequence_tagging", [*command, "--optimizer", "adam", *flags.split()])
        task = tasks.setup_task(cfg.task)
        dataset = task.load_dataset("valid")
        torch.manual_seed(0)
        model = task.build_model(cfg.model)
        for parameter in model.parameters():  # fairseq's start is too close to uniform
            torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.3)
        sample = dataset.collater([dataset[row] for row in range(8)])
        return task, model, task.build_criterion(cfg.criterion), sample

    return built


def test_the_loss_is_that_of_the_words(built) -> None:
    task, model, criterion, sample = built()
    model.eval()
    loss, sample_size, logged = criterion(model, sample)
    logits = criterion.logits(model, sample["net_input"]).double()
    expected, correct, words = 0.0, 0, 0
    for row, column in sample["target"].ne(task.ignore_index).nonzero().tolist():
        target = sample["target"][row, column]
        expected -= F.log_softmax(logits[row, column], 0)[target]
        correct += int(logits[row, column].argmax() == target)
        words += 1
    assert sample_size == words == sample["nwords"]
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)
    shown = logged_metrics(criterion, logged)
    assert shown["loss"] == pytest.approx(expected.item() / words / math.log(2), abs=1e-3)
    assert shown["accuracy"] == pytest.approx(100 * correct / words, abs=0.01)


def test_entities_are_seqevals_whatever_the_batches(built, tagged) -> None:
    """In one batch, in two, and from two processes whose outputs are added up."""
    task, model, criterion, _ = built()
    dataset = task.dataset("valid")
    model.eval()
    whole = dataset.collater([dataset[row] for row in range(40)])
    halves = [dataset.collater([dataset[r] for r in range(*ends)]) for ends in ((0, 25), (25, 40))]
    logged = [criterion(model, batch)[2] for batch in (whole, *halves)]
    predicted = criterion.logits(model, whole["net_input"]).argmax(-1)
    is_word = whole["target"].ne(task.ignore_index)
    true_tags = criterion.tags(whole["target"], is_word)
    text = (tagged / "valid.label").read_text().replace(" <pad>", "").splitlines()
    assert true_tags == [text[row].split() for row in whole["id"]]
    tags = (true_tags, criterion.tags(predicted, is_word))
    expected = {
        "precision": 100 * precision_score(*tags),
        "recall": 100 * recall_score(*tags),
        "f1": 100 * f1_score(*tags),
    }
    assert 0 < expected["f1"] < 100
    assert criterion.logging_outputs_can_be_summed()
    summed = {key: logged[1][key] + logged[2][key] for key in logged[1]}
    for outputs in ([logged[0]], logged[1:], [summed]):
        shown = logged_metrics(criterion, *outputs)
        assert {key: shown[key] for key in expected} == pytest.approx(expected, abs=0.006)
    with metrics.aggregate(new_root=True) as valid:  # as fairseq's trainer does, batch by batch
        for output in logged[1:]:
            criterion.reduce_metrics([output])
    shown = valid.get_smoothed_values()
    assert shown["f1"] == pytest.approx(expected["f1"], abs=0.006)


def test_the_ends_of_the_scale() -> None:
    true = [["B-X", "I-X", "O"], ["O", "B-Y"]]
    assert scores(*count_entities(true, true)) == (100.0, 100.0, 100.0)
    nothing = [["O"] * len(row) for row in true]
    assert scores(*count_entities(true, nothing)) == (0.0, 0.0, 0.0)
    assert scores(*count_entities(nothing, nothing)) == (0.0, 0.0, 0.0)
    # another type, another end: neither is the entity
    assert count_entities(true, [["B-X", "O", "O"], ["O", "B-X"]]) == (2, 2, 0)


def test_counts_are_seqevals_on_random_tags() -> None:
    numbers = np.random.default_rng(0)
    names = np.array(["O", "B-X", "I-X", "B-Y", "I-Y"])
    for _ in range(20):
        true, predicted = (
            [list(names[numbers.integers(5, size=length)]) for length in (1, 4, 9)]
            for _ in range(2)
        )
        found = scores(*count_entities(true, predicted))
        expected = [100 * f(true, predicted) for f in (precision_score, recall_score, f1_score)]
        assert found == pytest.approx(expected, abs=0.006)


def test_no_entities_in_training_or_for_other_labels(built, caplog) -> None:
    _, model, criterion, sample = built()
    assert "entities" not in criterion(model.train(), sample)[2]
    criterion.has_entities = False
    _, _, logged = criterion(model.eval(), sample)
    assert "f1" not in logged_metrics(criterion, logged)


def test_which_labels_are_bio() -> None:
    assert are_bio(["O", "B-PER", "I-PER"])
    assert not are_bio(["NOUN", "VERB", "O"])
    with pytest.raises(UsageError, match="'E-PER' is not a BIO tag"):
        are_bio(["O", "B-PER", "E-PER"])


def test_other_tasks_are_refused(build) -> None:
    with pytest.raises(UsageError, match="need --task sequence_tagging, got translation"):
        SequenceTaggingCriterion(SequenceTaggingCriterionConfig(), build("transformer").task)
