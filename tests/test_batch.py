from collections import namedtuple

import pytest
import torch

from rdrop_fairseq.batch import repeat_batch, tiled
from rdrop_fairseq.errors import UsageError


def test_tiles_like_the_paper_or_interleaves() -> None:
    x = torch.tensor([[1], [2]])
    assert repeat_batch(x, 2, 2).flatten().tolist() == [1, 2, 1, 2]
    assert repeat_batch(x, 3, 2).flatten().tolist() == [1, 2, 1, 2, 1, 2]
    interleaved = repeat_batch(x, 3, 2, interleave=True)
    assert interleaved.flatten().tolist() == [1, 1, 1, 2, 2, 2]
    assert tiled(interleaved, 3).flatten().tolist() == [1, 2, 1, 2, 1, 2]


def test_nested_and_unchanged() -> None:
    pair = namedtuple("pair", "tokens lengths")
    tokens, lengths = torch.tensor([[5, 6], [7, 8]]), torch.tensor([2, 2])
    batch = {
        "src_tokens": tokens,
        "nested": {"list": [lengths, None], "pair": pair(tokens, "text")},
        "flag": True,
        "none": None,
    }
    repeated = repeat_batch(batch, 2, 2)
    assert repeated["src_tokens"].tolist() == [[5, 6], [7, 8], [5, 6], [7, 8]]
    assert repeated["nested"]["list"][0].tolist() == [2, 2, 2, 2]
    assert repeated["nested"]["list"][1] is None
    assert repeated["nested"]["pair"] == pair(repeated["nested"]["pair"].tokens, "text")
    assert repeated["nested"]["pair"].tokens.shape == (4, 2)
    assert (repeated["flag"], repeated["none"]) == (True, None)
    assert batch["src_tokens"] is tokens
    assert batch["nested"]["list"][0] is lengths
    assert tokens.tolist() == [[5, 6], [7, 8]]


@pytest.mark.parametrize(
    ("wrong", "shape"), [(torch.zeros(3, 2), r"\(3, 2\)"), (torch.tensor(1.0), r"\(\)")]
)
def test_a_first_dimension_that_is_not_the_batch(wrong: torch.Tensor, shape: str) -> None:
    with pytest.raises(UsageError, match=rf"net_input\['a'\]\[1\].*shape {shape}.*batch size 2"):
        repeat_batch({"a": [torch.zeros(2), wrong]}, 2, 2)
