"""The tags that a checkpoint gives to words: what score.py and predict.py share."""

from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from fairseq.data.data_utils import collate_tokens

import rdrop_fairseq  # noqa: F401  (loads checkpoints, registers task, criteria and --arch bert)
from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.labels import label_names


def load(checkpoint: Path, data: Path, cpu: bool) -> tuple[torch.nn.Module, Any]:
    """Model, in evaluation, and task.

    Raises:
        UsageError: there is no such checkpoint, or it was trained on data with other labels.
    """
    if not checkpoint.is_file():
        raise UsageError(f"{checkpoint} does not exist: run train.sh first")
    state = checkpoint_utils.load_checkpoint_to_cpu(str(checkpoint))
    settings = state["cfg"]["task"]
    own, labels = Path(settings["data"], "label", "dict.txt"), data / "label" / "dict.txt"
    name = f"classification_heads.{settings['classification_head_name']}.out_proj.bias"
    classes = len(state["model"][name])
    others = own.is_file() and own.read_bytes() != labels.read_bytes()
    if others or len(label_names(Dictionary.load(str(labels)))) != classes:
        raise UsageError(
            f"{checkpoint} was trained with {classes} labels, those of {own}, and {labels} has "
            "others: give the folder of data that belongs to it"
        )
    settings["data"] = str(data)
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(checkpoint)], state=state
    )
    if torch.cuda.is_available() and not cpu:
        model.cuda()
    return model.eval(), task


@torch.no_grad()
def tags_of(
    model: torch.nn.Module, task: Any, sentences: list[list[list[str]]], batch_size: int
) -> tuple[list[list[str]], int]:
    """The tag of every word of ``sentences``, which are the pieces of each of their words.

    Words that do not fit into the encoder whole, at the end of a long sentence, get O.

    Returns: the tags, and how many words did not fit.
    """
    device = next(model.parameters()).device
    dictionary, names = task.source_dictionary, task.class_names()
    first = [] if task.cfg.init_token is None else [task.cfg.init_token]
    most = task.max_positions() - len(first) - 1
    tags, cut = [["O"] * len(words) for words in sentences], 0
    by_length = sorted(range(len(sentences)), key=lambda row: sum(map(len, sentences[row])))
    for start in range(0, len(by_length), batch_size):
        rows, tokens, beginnings = by_length[start : start + batch_size], [], []
        for row in rows:
            ends = list(accumulate(map(len, sentences[row])))
            kept = sum(end <= most for end in ends)
            cut += len(ends) - kept
            pieces = [piece for word in sentences[row][:kept] for piece in word]
            numbers = [dictionary.index(piece) for piece in pieces]
            tokens.append(torch.tensor([*first, *numbers, dictionary.eos()]))
            beginnings.append([len(first) + begin for begin in [0, *ends][:kept]])
        logits, _ = model(
            src_tokens=collate_tokens(tokens, dictionary.pad()).to(device),
            src_lengths=torch.tensor([len(row) for row in tokens], device=device),
            features_only=True,
            classification_head_name=task.cfg.classification_head_name,
        )
        for row, begins, classes in zip(rows, beginnings, logits.argmax(-1).cpu(), strict=True):
            tags[row][: len(begins)] = [names[index] for index in classes[begins].tolist()]
    return tags, cut
