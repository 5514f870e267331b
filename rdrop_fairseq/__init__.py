"""R-Drop (Liang et al., NeurIPS 2021, arXiv 2106.14448) for fairseq.

``fairseq-train --user-dir rdrop_fairseq --criterion rdrop`` imports this file.
It registers criteria, a task and a model, and teaches torch >= 2.6 to load fairseq's checkpoints.
Without fairseq, only ``rdrop_fairseq.loss`` is of use.
"""

import logging
import sys
import warnings
from importlib.util import find_spec

__version__ = "0.2.0"


def _register() -> None:
    """Import fairseq, mend what it needs, and register criteria, models and tasks."""
    # one of fairseq's modules calls logging.basicConfig(level=DEBUG) as it is imported, after
    # which a program's own basicConfig does nothing, and every library's debug messages show
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    import fairseq  # noqa: F401

    root.handlers[:] = handlers
    root.setLevel(level)

    from . import compat

    compat.prepare()  # says so if fairseq is too old for the imports below

    from . import checkpoint

    checkpoint.prepare()

    from . import bert, criterions, tasks  # noqa: F401  (importing registers)


_found = find_spec("fairseq")
if _found is not None and _found.origin is not None:  # not any folder of that name
    _in_use = "fairseq" in sys.modules  # as by --user-dir
    try:
        _register()
    except Exception as error:
        if _in_use:
            raise
        warnings.warn(f"fairseq cannot be used, only rdrop_fairseq.loss can: {error}", stacklevel=2)
