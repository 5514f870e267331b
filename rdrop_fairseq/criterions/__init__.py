"""fairseq criteria with R-Drop. Importing this package registers them."""

from . import (  # noqa: F401
    interval,
    rdrop,
    rdrop_adaptive_loss,
    rdrop_sentence_prediction,
    rdrop_sequence_tagging,
    sequence_tagging,
)

interval.tell_the_update()
