"""--task sequence_tagging: what a batch holds, whole words, and labels that do not fit."""

import logging
import shutil

import pytest
import torch
from fairseq import tasks

from rdrop_fairseq.errors import UsageError

from ..conftest import ROBERTA, configuration, run


def loaded(data, split="valid", flags=""):
    command = [str(data), *ROBERTA.split(), "--criterion", "sequence_tagging"]
    command += ["--optimizer", "adam", "--init-token", "0", *flags.split()]
    cfg = configuration("sequence_tagging", command)
    task = tasks.setup_task(cfg.task)
    return task, task.load_dataset(split)


@pytest.fixture
def small(data, tmp_path):
    """small(pieces, labels): data of these lines, for training and validation alike."""

    def small(pieces, labels, dictionary=None):
        for field, lines in (("input0", pieces), ("label", labels)):
            text = tmp_path / f"{field}.txt"
            text.write_text("".join(f"{line}\n" for line in lines))
            command = ["fairseq-preprocess", "--only-source", "--destdir", tmp_path / "new" / field]
            command += ["--trainpref", text, "--validpref", text]
            if field == "input0":
                command += ["--srcdict", data / "bin" / "dict.en.txt"]
            elif dictionary is not None:
                (tmp_path / "labels.txt").write_text("".join(f"{name} 1\n" for name in dictionary))
                command += ["--srcdict", tmp_path / "labels.txt"]
            run(command)
        return tmp_path / "new"

    return small


def test_a_batch_has_every_label_at_its_words_first_piece(tagged) -> None:
    task, dataset = loaded(tagged)
    pieces = (tagged / "valid.input0").read_text().splitlines()
    labels = (tagged / "valid.label").read_text().splitlines()
    sample = dataset.collater([dataset[row] for row in range(len(dataset))])
    assert sample["nwords"] == sum(label != "<pad>" for row in labels for label in row.split())
    assert sample["target"].shape == sample["net_input"]["src_tokens"].shape
    names = task.class_names()
    assert sorted(names) == ["B-NAME", "I-NAME", "O"]
    for row, index in enumerate(sample["id"].tolist()):
        length = sample["net_input"]["src_lengths"][row]
        tokens = sample["net_input"]["src_tokens"][row, :length]
        assert tokens[0] == 0
        assert tokens[-1] == task.dictionary.eos()
        expected = task.dictionary.encode_line(pieces[index], add_if_not_exist=False)
        assert torch.equal(tokens[1:], expected.long())
        found = [
            "<pad>" if target == task.ignore_index else names[target]
            for target in sample["target"][row].tolist()
        ]
        assert found[0] == "<pad>"
        assert found[1 : length - 1] == labels[index].split()
        assert set(found[length - 1 :]) == {"<pad>"}


def test_sentences_of_like_length_share_a_batch(tagged) -> None:
    _, dataset = loaded(tagged)
    lengths = dataset.sizes[0][dataset.ordered_indices()]
    assert (lengths[1:] >= lengths[:-1]).all()


def test_long_sentences_end_with_a_whole_word(small, caplog) -> None:
    # <s> and </s> leave 4 pieces: 2 words of 2 pieces, the first 2 of 3 words, and all
    pieces = ["▁the ing ▁of ing", "▁the ▁of ing ▁and ing", "▁the ▁of ▁and ▁of"]
    labels = ["O <pad> B-X <pad>", "O B-X <pad> O <pad>", "O O O O"]
    data = small(pieces, labels)
    with caplog.at_level(logging.INFO):
        task, dataset = loaded(data, flags="--max-positions 6")
    assert "1 of 3 sentences have more than 6 tokens (--max-positions): 1 words" in caplog.text
    sample = dataset.collater([dataset[row] for row in range(3)])
    assert sample["net_input"]["src_lengths"].tolist() == [6, 5, 6]
    assert sample["nwords"] == 2 + 2 + 4
    kept = sample["target"][1].ne(task.ignore_index).tolist()
    assert kept == [False, True, True, False, False, False]


def test_a_split_without_labels(tagged, tmp_path) -> None:
    """Told before anything is trained: fairseq-train loads the validation set first."""
    data = tmp_path / "data"
    shutil.copytree(tagged / "input0", data / "input0")
    for suffix in ("bin", "idx"):
        shutil.copy(data / "input0" / f"valid.{suffix}", data / "input0" / f"test.{suffix}")
    shutil.copytree(tagged / "label", data / "label")
    with pytest.raises(UsageError, match=r"label/test.bin is not there: prepare the data with"):
        loaded(data, "test")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["O B-X", "O"], "label/valid: row 2 has 1 labels for 2 pieces"),
        (["O B-X", "<pad> O"], "row 2 begins with <pad>"),
        (["O B-X", "O I-Y"], "row 2 has <unk> for word 2 where one of the labels O, B-X of dict"),
        (["O B-X", "O </s>"], "row 2 has </s> for word 2"),
    ],
)
def test_labels_that_do_not_fit(small, labels, message) -> None:
    data = small(["▁the ▁of", "▁the ▁of"], labels, dictionary=["O", "B-X"])
    with pytest.raises(UsageError, match=message):
        loaded(data)


def test_rows_that_do_not_match(small) -> None:
    with pytest.raises(UsageError, match=r"label/valid has 1 rows, .*input0/valid has 2"):
        loaded(small(["▁the ▁of", "▁the"], ["O O"]))


def test_an_empty_sentence(small) -> None:
    with pytest.raises(UsageError, match=r"input0/valid: row 2 is empty"):
        loaded(small(["▁the", "", "▁of"], ["O", "", "O"]))


def test_a_word_longer_than_the_encoder(small) -> None:
    data = small(["▁the ing ing ing ▁of"], ["O <pad> <pad> <pad> O"])
    with pytest.raises(UsageError, match="the first word of row 1 has more than 3 pieces"):
        loaded(data, flags="--max-positions 5")


def test_folders_that_are_missing(tagged, tmp_path) -> None:
    with pytest.raises(UsageError, match=r"input0/dict.txt is not there"):
        loaded(tmp_path)
    with pytest.raises(UsageError, match=r"input0/test.bin is not there"):
        loaded(tagged, "test")


def test_number_of_classes(tagged) -> None:
    with pytest.raises(UsageError, match=r"--num-classes 2 does not fit the data: .* has 3 labels"):
        loaded(tagged, flags="--num-classes 2")
    task, _ = loaded(tagged, flags="--num-classes 3")
    assert task.cfg.num_classes == 3
