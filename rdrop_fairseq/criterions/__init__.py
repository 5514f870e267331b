"""fairseq criteria with R-Drop. Importing this package registers them."""

from . import rdrop, rdrop_sentence_prediction  # noqa: F401
