"""fairseq criteria with R-Drop. Importing this package registers them."""

from . import rdrop, rdrop_adaptive_loss  # noqa: F401
