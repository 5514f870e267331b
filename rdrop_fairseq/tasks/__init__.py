"""fairseq tasks. Importing this package registers them."""

from . import sequence_tagging  # noqa: F401
