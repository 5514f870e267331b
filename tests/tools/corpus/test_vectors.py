"""rdrop corpus vectors: words and their translations get close vectors."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq import utils

from rdrop_fairseq.tools.corpus.vectors import main

from ...conftest import corpus_lines


def flags(folder: Path, dim: int = 8, languages: str = "es en") -> list[str]:
    return [
        *("--text", str(folder / "train"), "--languages", *languages.split()),
        *("--dim", str(dim), "--out", str(folder / "out")),
    ]


def write(folder: Path, es: list[str], en: list[str]) -> None:
    for language, lines in (("es", es), ("en", en)):
        (folder / f"train.{language}").write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture(scope="module")
def vectors(tmp_path_factory) -> dict[str, dict[str, torch.Tensor]]:
    """Of the real verses' words, read as fairseq reads them for --encoder-embed-path."""
    folder = tmp_path_factory.mktemp("vectors")
    es, en = corpus_lines("train", "es")[:2000], corpus_lines("train", "en")[:2000]
    write(folder, ["\ufeff" + es[0], *es[1:]], en)
    main(flags(folder, 64))
    return {name: utils.parse_embedding(folder / "out" / f"{name}.vec") for name in ("es", "en")}


def test_every_word_has_a_vector_of_length_1(vectors) -> None:
    for language, found in vectors.items():
        words = {word for line in corpus_lines("train", language)[:2000] for word in line.split()}
        assert found.keys() == words
        # 64 numbers, each rounded by at most 5e-5: the length is off by at most sqrt(64) * 5e-5
        for vector in found.values():
            assert vector.shape == (64,)
            assert abs(vector.norm().item() - 1) < 5e-4


def test_names_are_near_each_other(vectors) -> None:
    """A name that both languages spell alike is among the 10 of 5,000 words that are nearest."""
    es, en = vectors["es"], vectors["en"]
    names = [name for name in es if name in en and re.fullmatch("[A-Z][a-z]{4,}", name)]
    assert len(names) > 20
    table = torch.stack(list(en.values()))
    ranks = [(table @ es[name] > en[name] @ es[name]).sum().item() for name in names]
    # by chance 0.2% would be; 86% are
    assert sum(rank < 10 for rank in ranks) > len(names) / 2


def test_words_of_the_same_pairs_have_the_same_vector(tmp_path) -> None:
    """What is known exactly: two words that stand in the same pairs cannot be told apart."""
    numbers = np.random.default_rng(0).integers(20, size=(200, 6))
    sides = [[" ".join(f"{side}{n}" for n in row) for row in numbers] for side in "ab"]
    write(tmp_path, *sides)
    main(flags(tmp_path))
    es, en = (utils.parse_embedding(tmp_path / "out" / f"{name}.vec") for name in ("es", "en"))
    assert len(es) == 20
    for word, vector in es.items():
        # each number is rounded to four digits
        assert torch.allclose(vector, en[word.replace("a", "b")], atol=1.01e-4, rtol=0)


def test_wrong_input(refused, tmp_path) -> None:
    write(tmp_path, ["a b", "b c"], ["x y"])
    assert "--dim: must be a whole number of at least 1, got 0" in refused(
        main, *flags(tmp_path, 0)
    )
    assert "two languages, got es twice" in refused(main, *flags(tmp_path, 8, "es es"))
    for change, message in (
        (lambda: None, "train.es has 2 lines but {}/train.en has 1: they must match line by line"),
        (lambda: write(tmp_path, ["a b"], ["x y"]), "4 words in 1 pairs are too few for --dim 8"),
        (lambda: write(tmp_path, [], []), "{}/train.es and {}/train.en are empty"),
        (lambda: (tmp_path / "train.en").unlink(), "no such text file: {}/train.en"),
        (lambda: (tmp_path / "out").mkdir(), "out is there already: remove it first"),
    ):
        change()
        assert message.replace("{}", str(tmp_path)) in refused(main, *flags(tmp_path))
        assert not list(tmp_path.glob("out*/*"))
