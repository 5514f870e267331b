"""What a checkpoint may hold: the list that torch >= 2.6 loads by, weights_only kept on.

torch calls what a file names with what the file holds. So a file gets nothing that does something
of its choice: classes come without their constructors, empty, to be given their state; numpy's
functions only as far as arrays of numbers need them. With numpy's own, a file of 450 bytes can
have numbers taken for the addresses of Python objects.
"""

import argparse
import collections
import typing
from pickle import UnpicklingError
from typing import Any

import numpy
import omegaconf
from fairseq.data import Dictionary
from fairseq.distributed.utils import _TensorPlaceholder
from fairseq.logging import meters
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode

_METERS = (meters.AverageMeter, meters.TimeMeter, meters.StopwatchMeter)
_CLASSES = (
    # the configuration: "args" until 2020, then "cfg", in 2020 as a DictConfig
    argparse.Namespace,
    *(omegaconf.DictConfig, omegaconf.ListConfig, ContainerMetadata, Metadata, AnyNode),
    *_METERS,
    # some tasks keep their dictionary; several processes broadcast placeholders
    *(Dictionary, _TensorPlaceholder),
)


def _empty(cls: Any) -> type:
    """Stands for ``cls`` in files: what pickle's NEWOBJ makes of it is a ``cls`` without state."""
    namespace: dict[str, Any] = {"__new__": lambda _: cls.__new__(cls)}
    return type(cls.__name__, (), namespace)


# the types of numbers that arrays are of, under the names that they are pickled by
_DTYPES = {f"{sign}{size}": numpy.dtype(f"{sign}{size}") for sign in "iu" for size in (1, 2, 4, 8)}
_DTYPES |= {name: numpy.dtype(name) for name in ("b1", "f2", "f4", "f8")}


def _dtype(name: str, align: bool = False, copy: bool = False) -> numpy.dtype:
    """Stands for numpy.dtype.

    What it returns are numpy's own, not copies: they ignore the state that pickle gives them. It
    could make Python objects of numbers. (It also has the byte order: this machine's is assumed.)
    """
    if name not in _DTYPES:
        raise UnpicklingError(f"GLOBAL numpy.dtype({name!r}), which is no type of numbers")
    return _DTYPES[name]


class _NdArray(numpy.ndarray):
    """Stands for numpy.ndarray, only to be handed to `_reconstruct`."""

    def __new__(cls, *_: Any) -> "_NdArray":
        raise UnpicklingError("GLOBAL numpy.ndarray with arguments of the file's choice")


def _reconstruct(cls: type, shape: tuple, typecode: Any) -> numpy.ndarray:
    """Stands for numpy's: an empty array, to which pickle gives its shape and numbers."""
    if cls not in (_NdArray, numpy.ndarray):  # the latter where another library has allowed it
        raise UnpicklingError(f"GLOBAL numpy's _reconstruct of {cls!r}")
    return numpy.ndarray(0, "b")


def _scalar(dtype: numpy.dtype, number: bytes) -> Any:
    """Stands for numpy's: a number."""
    if not (isinstance(dtype, numpy.dtype) and isinstance(number, bytes)):
        raise UnpicklingError(f"GLOBAL numpy's scalar of {dtype!r}")
    return numpy.frombuffer(number, dtype, count=1)[0]


def _defaultdict(factory: Any = None) -> collections.defaultdict:
    if factory not in (None, dict, list, int):
        raise UnpicklingError(f"GLOBAL collections.defaultdict of {factory!r}")
    return collections.defaultdict(factory)


_NAMED: dict[str, Any] = {
    **{f"{cls.__module__}.{cls.__qualname__}": _empty(cls) for cls in _CLASSES},
    # under the names of 2019
    **{f"fairseq.meters.{cls.__name__}": _empty(cls) for cls in _METERS},
    # arrays in metrics (--eval-bleu), under the names of numpy 2 and numpy 1
    **{f"numpy.{core}.multiarray._reconstruct": _reconstruct for core in ("_core", "core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("_core", "core")},
    **{"numpy.ndarray": _NdArray, "numpy.dtype": _dtype},
    # in a DictConfig
    **{"collections.defaultdict": _defaultdict, "typing.Any": typing.Any},
    **{f"builtins.{cls.__name__}": cls for cls in (dict, list, int)},
}
# what may be given a state. Files cannot name these: what they name has a dot
_WITH_STATE = (*_CLASSES, numpy.ndarray, *map(type, _DTYPES.values()))

#: as torch.serialization.add_safe_globals takes it: objects and what files call them
SAFE_GLOBALS: list[Any] = [
    *((value, name) for name, value in _NAMED.items()),
    *((cls, cls.__name__) for cls in _WITH_STATE),
]
