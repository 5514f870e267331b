"""The main path of the README: its commands and its program, as they stand but smaller."""

import re

import torch
from torch import nn

from .conftest import ROOT, corpus_lines, run

README = (ROOT / "README.md").read_text()
# what makes the model and the training small, in place of what the README has
SMALL = {
    "--vocab-size 10000": "--vocab-size 300",
    "--reference text/test.en": "--reference text/test.en --beam 1 -- --max-len-b 5",
    "--max-update 300000": (
        "--max-epoch 10 --cpu --num-workers 0 --encoder-layers 1 --decoder-layers 1 "
        "--encoder-embed-dim 16 --decoder-embed-dim 16 --encoder-ffn-embed-dim 16 "
        "--decoder-ffn-embed-dim 16"
    ),
}


def test_train_on_your_data(tmp_path) -> None:
    """From plain text to scores, by the commands of that section."""
    section = README.partition("## Train on your data")[2].partition("\n## ")[0]
    blocks = re.findall(r"((?:^    .*\n)+)", section, re.MULTILINE)
    commands = "".join(re.sub("^    ", "", block, flags=re.MULTILINE) for block in blocks[1:])
    assert blocks[0].startswith("    . .venv/bin/activate")
    assert re.findall(r"^\S+ ?\S*", commands, re.MULTILINE) == [
        "rdrop corpus",
        "fairseq-preprocess -s",
        "fairseq-train data-bin",
        "rdrop evaluate",
    ]
    for given, small in SMALL.items():
        assert commands.count(given) == 1
        commands = commands.replace(given, small)
    for name in ("scripts", "rdrop_fairseq"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "text").mkdir()
    for split, number in (("train", 60), ("valid", 5), ("test", 5)):
        for language, ours in (("de", "es"), ("en", "en")):
            lines = corpus_lines(split, ours)[:number]
            (tmp_path / "text" / f"{split}.{language}").write_text("\n".join([*lines, ""]))
    result = run(["bash", "-euo", "pipefail", "-c", commands], cwd=tmp_path)
    assert "average of 10 in checkpoints/average.pt" in result.stdout
    assert re.search(r"^BLEU \d.* chrF2 \d.* TER \d", result.stdout, re.MULTILINE)
    assert "BLEU|nrefs:1|case:mixed|eff:no|tok:13a" in result.stdout


def test_in_any_other_pytorch_code() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 5))
    known = {"model": model, "x": torch.ones(6, 3), "target": torch.arange(6) % 5}
    exec(program, known)
    assert all(parameter.grad.count_nonzero() for parameter in model.parameters())
