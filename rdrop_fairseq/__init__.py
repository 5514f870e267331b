"""R-Drop (Liang et al., NeurIPS 2021, arXiv 2106.14448) for fairseq.

``fairseq-train --user-dir rdrop_fairseq --criterion rdrop`` imports this file.
It registers the criteria and a model, and teaches torch >= 2.6 to load fairseq's checkpoints.
Without fairseq, only ``rdrop_fairseq.loss`` is of use.
"""

from importlib.util import find_spec

__version__ = "0.1.0"

if find_spec("fairseq") is not None:
    from . import compat

    compat.prepare()  # says so if fairseq is too old for the imports below

    from . import checkpoint

    checkpoint.prepare()

    from . import bert, criterions  # noqa: F401  (importing registers)
