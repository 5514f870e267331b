"""fairseq criteria with R-Drop. Importing this package registers them."""

from . import interval, rdrop, rdrop_adaptive_loss, rdrop_sentence_prediction  # noqa: F401

interval.tell_the_update()
