"""Data sets of Hugging Face."""

from typing import Any

from ...errors import UsageError


def load_from_hub(name: str, configuration: str | None, instead: str) -> Any:
    """A data set of Hugging Face.

    Raises:
        UsageError: it cannot be had; tells the user ``instead``.
    """
    from datasets import load_dataset  # takes seconds

    try:
        return load_dataset(name, configuration)
    except Exception as error:  # what it raises depends on what is wrong and on its version
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"cannot load {name} ({reason}): {instead}, or a machine that reaches huggingface.co"
        ) from None
