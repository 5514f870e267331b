"""Check that a data folder was made with the dictionary that a checkpoint was trained with.

    python scripts/recipe/check_dictionary.py DATA CHECKPOINT

DATA is a folder made by fairseq-preprocess; CHECKPOINT a file, or a folder of them. Where the
recipes' train.sh has put the dictionaries (dict.LANGUAGE.txt) beside the checkpoints, they are
compared symbol by symbol. Otherwise only the sizes of dictionary and embeddings are (of a
folder: those of its checkpoint_last.pt).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "corpus"))
from text_files import InputError, argument_parser, command_line

SPECIAL_SYMBOLS = 4  # <s> <pad> </s> <unk>, which fairseq adds to every dictionary


def symbols(path: Path) -> list[str]:
    """The symbols of a dict.LANGUAGE.txt, without their counts."""
    text = path.read_text(encoding="utf-8")
    return [line.rsplit(" ", 1)[0] for line in text.removesuffix("\n").split("\n")]


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


def compare_sizes(dictionaries: list[Path], checkpoint: Path) -> None:
    """Raise InputError where no dictionary has the size of the checkpoint's embeddings."""
    from fairseq import checkpoint_utils

    import rdrop_fairseq  # noqa: F401  (lets torch load fairseq's checkpoints)

    try:
        model = checkpoint_utils.load_checkpoint_to_cpu(str(checkpoint))["model"]
    except Exception:
        return  # not a checkpoint at all: fairseq says so next
    sizes = {len(tensor) for name, tensor in model.items() if name.endswith("embed_tokens.weight")}
    for path in dictionaries:
        size = len(symbols(path)) + SPECIAL_SYMBOLS
        if sizes and size not in sizes:
            raise InputError(
                f"{path} has {size} symbols ({SPECIAL_SYMBOLS} of them fairseq's), but the "
                f"embeddings in {checkpoint} have {' and '.join(map(str, sorted(sizes)))} rows: "
                "the data was made with another dictionary than the checkpoint"
            )


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("data", type=Path, help="folder made by fairseq-preprocess")
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt, or a folder of them")
    args = parser.parse_args()

    dictionaries = sorted(args.data.glob("dict.*.txt"))
    if not dictionaries:
        raise InputError(f"{args.data} holds no dict.LANGUAGE.txt: is it fairseq-preprocess's?")
    folder, checkpoint = args.checkpoint.parent, args.checkpoint
    if checkpoint.is_dir():
        folder, checkpoint = checkpoint, checkpoint / "checkpoint_last.pt"
    kept = [path for path in dictionaries if (folder / path.name).is_file()]
    for path in kept:
        compare(path, folder / path.name, args.checkpoint)
    if not kept and checkpoint.is_file():
        compare_sizes(dictionaries, checkpoint)


if __name__ == "__main__":
    command_line(main)
