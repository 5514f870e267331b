"""fairseq criteria with R-Drop. Importing this package registers them."""

from ..errors import INSTALL_FAIRSEQ

try:
    import fairseq.dataclass  # noqa: F401
except ModuleNotFoundError as error:
    if str(error.name).partition(".")[0] != "fairseq":
        raise
    raise ImportError(f"R-Drop's criteria need fairseq ({error}): {INSTALL_FAIRSEQ}") from None

from . import (  # noqa: F401
    interval,
    rdrop,
    rdrop_adaptive_loss,
    rdrop_sentence_prediction,
    rdrop_sequence_tagging,
    sequence_tagging,
)

interval.tell_the_update()
