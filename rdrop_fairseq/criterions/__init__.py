"""fairseq criteria with R-Drop. Importing this package registers them."""

from . import rdrop, rdrop_adaptive_loss, rdrop_sentence_prediction  # noqa: F401
