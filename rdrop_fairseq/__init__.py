"""R-Drop (Liang et al., NeurIPS 2021, arXiv 2106.14448) for fairseq.

``fairseq-train --user-dir rdrop_fairseq --criterion rdrop`` imports this file.
It registers the criteria and a model, and teaches torch >= 2.6 to load fairseq's checkpoints.
Without fairseq, only ``rdrop_fairseq.loss`` is of use.
"""

import logging
from importlib.util import find_spec

__version__ = "0.2.0"

if find_spec("fairseq") is not None:
    # one of fairseq's modules calls logging.basicConfig(level=DEBUG) as it is imported, after
    # which a program's own basicConfig does nothing, and every library's debug messages show
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    import fairseq  # noqa: F401

    root.handlers[:] = handlers
    root.setLevel(level)
    del root, handlers, level

    from . import compat

    compat.prepare()  # says so if fairseq is too old for the imports below

    from . import checkpoint

    checkpoint.prepare()

    from . import bert, criterions  # noqa: F401  (importing registers)
