"""fairseq criteria with R-Drop. Importing this package registers them."""

from . import rdrop  # noqa: F401
