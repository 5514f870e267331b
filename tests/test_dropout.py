import pytest
from fairseq.modules import FairseqDropout
from torch import nn

from rdrop_fairseq.dropout import find_dropout, require_active_dropout
from rdrop_fairseq.errors import UsageError


def places(model: nn.Module) -> dict[str, tuple[str, float, bool]]:
    return {d.path: (d.place, d.rate, d.active) for d in find_dropout(model)}


def test_transformer(build) -> None:
    model = build("transformer", "--dropout 0.3 --attention-dropout 0.1").model.train()
    found = places(model)
    assert found["encoder.dropout_module"] == ("embedding", 0.3, True)
    assert found["decoder.dropout_module"] == ("embedding", 0.3, True)
    assert found["decoder.layers.0.encoder_attn.dropout_module"] == ("attention", 0.1, True)
    assert found["encoder.layers.1.activation_dropout_module"] == ("feed-forward", 0.0, False)
    assert found["decoder.layers.1.dropout_module"] == ("output", 0.3, True)
    # embeddings 2, outputs 2 + 2 (a layer's sublayers share one), attention 2 + 2 * 2
    sentence = require_active_dropout(model)
    assert sentence == (
        "12 active dropout modules (embedding 2 at 0.3, attention 6 at 0.1, output 4 at 0.3)"
    )
    assert not any(active for _, _, active in places(model.eval()).values())


def test_lstm_and_fconv(build) -> None:
    found = places(build("lstm", "--dropout 0.2").model.train())
    assert found["encoder.dropout_in_module"] == ("embedding", 0.2, True)
    assert found["encoder.dropout_out_module"] == ("output", 0.2, True)
    assert found["encoder.lstm"] == ("recurrent", 0.2, True)
    found = places(build("fconv", "--dropout 0.2").model.train())
    assert found["decoder.dropout_module"] == ("embedding", 0.2, True)


def test_adaptive_softmax(build) -> None:
    flags = "--adaptive-softmax-cutoff 60 --adaptive-softmax-dropout 0.4 --dropout 0.2"
    found = places(build("transformer_lm", flags).model.train())
    softmax = "decoder.adaptive_softmax"
    assert found[f"{softmax}.dropout_module"] == ("adaptive-softmax", 0.4, True)
    assert found[f"{softmax}.tail.0.1"] == ("adaptive-softmax", 0.4, True)
    assert found["decoder.dropout_module"] == ("embedding", 0.2, True)


def test_roberta_head() -> None:
    model = nn.Module()
    model.classification_heads = nn.ModuleDict({"mnli": nn.Sequential(nn.Dropout(0.1))})
    assert places(model) == {"classification_heads.mnli.0": ("classifier", 0.1, True)}


def test_pytorchs_attention() -> None:
    found = places(nn.ModuleList([nn.MultiheadAttention(4, 2, dropout=0.3)]))
    assert found == {"0": ("attention", 0.3, True)}


def test_kept_at_inference() -> None:
    dropout = FairseqDropout(0.5, "x")
    dropout.apply_during_inference = True
    model = nn.ModuleList([dropout]).eval()
    assert [d.active for d in find_dropout(model)] == [True]


def test_none_active() -> None:
    model = nn.Sequential(nn.Dropout(0.0), nn.LSTM(2, 2, num_layers=1, bias=True), nn.Linear(2, 2))
    with pytest.raises(UsageError, match=r"--dropout, --attention-dropout or --activation-dropout"):
        require_active_dropout(model)
    # frozen, as part of a model that trains
    model = nn.Sequential(nn.Dropout(0.5)).train()
    model[0].eval()
    with pytest.raises(UsageError):
        require_active_dropout(model)
