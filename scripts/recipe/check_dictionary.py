"""Check that a data folder was made with the dictionaries that a checkpoint was trained with.

    python scripts/recipe/check_dictionary.py DATA CHECKPOINT

DATA is a folder made by fairseq-preprocess; CHECKPOINT a file, or a folder of them, of which the
last one is looked at. The languages are those of --generate-args, else those that the checkpoint
was trained for, else those of DATA if it holds one pair: they are printed, "es en". DATA may hold
other pairs' dictionaries, too.

Where the recipes' train.sh has put the dictionaries (dict.LANGUAGE.txt) beside the checkpoints,
they are compared symbol by symbol. Otherwise only sizes are: embeddings cannot have fewer rows
than the dictionary has symbols. They can have more, since tasks add symbols (the tags of
languages, <mask>); fairseq's translation task adds none.
"""

import argparse
import functools
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "corpus"))
from text_files import InputError, argument_parser, command_line

SPECIAL_SYMBOLS = 4  # <s> <pad> </s> <unk>, which fairseq adds to every dictionary


def symbols(path: Path) -> list[str]:
    """The symbols of a dict.LANGUAGE.txt, without their counts."""
    text = path.read_text(encoding="utf-8")
    return [line.rsplit(" ", 1)[0] for line in text.removesuffix("\n").split("\n")]


def last_of(folder: Path) -> Path:
    """The checkpoint_last.pt of a folder, or the newest one if it has none."""
    last = folder / "checkpoint_last.pt"
    found = sorted(folder.glob("checkpoint*.pt"), key=lambda path: path.stat().st_mtime)
    return last if last.is_file() or not found else found[-1]


@functools.cache
def load(checkpoint: Path) -> tuple[dict, Any]:
    """The parameters of a checkpoint and the configuration of its task.

    Takes time with a large model: only where it is needed. Of what is no checkpoint nothing is
    said: fairseq does that next.
    """
    from fairseq import checkpoint_utils

    import rdrop_fairseq  # noqa: F401  (lets torch load fairseq's checkpoints)

    try:
        state = checkpoint_utils.load_checkpoint_to_cpu(str(checkpoint))
        return state["model"], state["cfg"]["task"]
    except Exception:
        return {}, None


def languages(data: Path, checkpoint: Path, generate_args: str) -> tuple[str, str]:
    """From and into which language is translated.

    Raises:
        InputError: there are several, and nothing says which.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-s", "--source-lang")
    parser.add_argument("-t", "--target-lang")
    given, _ = parser.parse_known_args(generate_args.split())
    source, target = given.source_lang, given.target_lang
    if source and target:
        return source, target
    _, task = load(checkpoint)
    source = source or getattr(task, "source_lang", None)
    target = target or getattr(task, "target_lang", None)
    if source and target:
        return source, target
    pairs = getattr(task, "lang_pairs", None) or []  # of a multilingual task
    if isinstance(pairs, str):
        pairs = pairs.split(",")
    # SPLIT.SOURCE-TARGET.LANGUAGE.bin
    pairs = pairs or {path.name.split(".")[-3] for path in data.glob("*.*-*.*.bin")}
    pairs = sorted({tuple(pair.split("-")) for pair in pairs if pair.count("-") == 1})
    if len(pairs) != 1:
        known = ", ".join("-".join(pair) for pair in pairs) or "no pair that its files name"
        raise InputError(
            f"from and into which language? It may be {known}: name them in GENERATE_ARGS, such "
            "as '-s de -t en'"
        )
    return source or pairs[0][0], target or pairs[0][1]


def compare(data: Path, kept: Path, checkpoint: Path) -> None:
    """Raise InputError where the dictionaries differ."""
    ours, theirs = symbols(data), symbols(kept)
    if ours == theirs:
        return
    same = [a == b for a, b in zip(ours, theirs, strict=False)]
    number = [*same, False].index(False) + 1
    raise InputError(
        f"{data} ({len(ours)} symbols) is not the dictionary that {checkpoint} was trained with "
        f"({len(theirs)} symbols, {kept}): they differ from line {number} on; prepare the data "
        "with the dictionary of the training (fairseq-preprocess --srcdict --tgtdict), or train "
        "into another folder"
    )


def compare_sizes(dictionary: Path, side: str, checkpoint: Path) -> None:
    """Raise InputError where a dictionary cannot be that of the embeddings.

    Args:
        side: "encoder" or "decoder", whose embeddings they are; a model that has none of this
            name (adaptive inputs, several decoders) is not looked into.
    """
    model, task = load(checkpoint)
    name = f"{side}.embed_tokens.weight"
    if name not in model:
        return
    rows, size = len(model[name]), len(symbols(dictionary)) + SPECIAL_SYMBOLS
    adds_none = getattr(task, "_name", None) == "translation"
    if size > rows or (size < rows and adds_none):
        raise InputError(
            f"{dictionary} has {size} symbols ({SPECIAL_SYMBOLS} of them fairseq's), but the "
            f"{side}'s embeddings in {checkpoint} have {rows} rows: the data was made with another "
            "dictionary than the checkpoint"
        )


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("data", type=Path, help="folder made by fairseq-preprocess")
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt, or a folder of them")
    parser.add_argument(
        "--generate-args",
        default="",
        help="fairseq-generate's, which may name languages",
    )
    args = parser.parse_args()

    checkpoint = last_of(args.checkpoint) if args.checkpoint.is_dir() else args.checkpoint
    pair = languages(args.data, checkpoint, args.generate_args)
    for side, language in zip(("encoder", "decoder"), pair, strict=True):
        dictionary = args.data / f"dict.{language}.txt"
        if not dictionary.is_file():
            if getattr(load(checkpoint)[1], "_name", "translation") != "translation":
                continue  # which may have its dictionary elsewhere
            raise InputError(
                f"{args.data} lacks {dictionary.name}, of a translation from {pair[0]} to "
                f"{pair[1]}: is it fairseq-preprocess's, and for this checkpoint? To name other "
                "languages: GENERATE_ARGS='-s de -t en'"
            )
        kept = checkpoint.parent / dictionary.name
        if kept.is_file():
            compare(dictionary, kept, args.checkpoint)
        else:
            compare_sizes(dictionary, side, checkpoint)
    print(*pair)


if __name__ == "__main__":
    command_line(main)
