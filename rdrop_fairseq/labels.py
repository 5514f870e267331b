"""The labels of a classification: what a dictionary of them holds."""

from fairseq.data import Dictionary

from .errors import UsageError


def label_names(labels: Dictionary) -> list[str]:
    """The labels of a dictionary, without what fairseq adds to every dictionary."""
    return [
        symbol
        for symbol in labels.symbols[labels.nspecial :]
        if symbol != "<mask>" and not symbol.startswith("madeupword")
    ]


def check_num_classes(num_classes: int, labels: Dictionary, data: str) -> None:
    """Raise UsageError unless there are as many labels in ``data``/label/dict.txt."""
    names = label_names(labels)
    if num_classes != len(names):
        raise UsageError(
            f"--num-classes {num_classes} does not fit the data: "
            f"{data}/label/dict.txt has {len(names)} labels ({', '.join(names)})"
        )
