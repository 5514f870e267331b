"""R-Drop (Liang et al., NeurIPS 2021, arXiv 2106.14448) for fairseq.

``fairseq-train --user-dir rdrop_fairseq --criterion rdrop`` imports this file. It registers
criteria, a task and a model, and teaches torch >= 2.6 to load fairseq's checkpoints: at once where
fairseq is there, else as soon as somebody imports fairseq. So ``rdrop_fairseq.loss`` and the
command ``rdrop`` start without it.
"""

import logging
import sys
import warnings
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

__version__ = "0.3.0"


def _register() -> None:
    """Mend what fairseq needs, and register criteria, models and tasks, by importing them.

    In this order: compat says so if fairseq is too old for the others. One of them may be what
    imports fairseq, and not be complete yet: so nothing of them is called here.
    """
    from . import compat  # noqa: F401, I001
    from . import checkpoint  # noqa: F401
    from . import bert, criterions, tasks  # noqa: F401


class _RegisterAfterFairseq(MetaPathFinder):
    """Finds fairseq as it would be found without, and calls `_register` once it is imported."""

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> Any:
        if name != "fairseq":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:  # not any folder of that name
            _register_after(spec)
        return spec


def _register_after(spec: ModuleSpec) -> None:
    loader: Any = spec.loader
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        # one of fairseq's modules calls logging.basicConfig(level=DEBUG) as it is imported, after
        # which a program's own basicConfig does nothing, and every library's debug messages show
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        execute(module)
        root.handlers[:] = handlers
        root.setLevel(level)
        try:
            _register()
        except Exception as error:  # whoever imported fairseq may want something else of it
            warnings.warn(
                f"R-Drop's criteria cannot be used, only rdrop_fairseq.loss can: {error}",
                stacklevel=2,
            )

    loader.exec_module = exec_module


if "fairseq" in sys.modules:  # as by --user-dir
    _register()
else:
    sys.meta_path.insert(0, _RegisterAfterFairseq())
