"""Settings are values, not programs: fairseq evaluates strings that a checkpoint may hold.

``[(512, 3)] * 20`` is the usual way to write fconv's layers, and fairseq gives it to Python's
``eval``; so it does with many settings of a checkpoint that is loaded. Here each module of fairseq
that names ``eval`` has `literal` under that name.
"""

import ast
import os
import re
import sys
from typing import Any

import fairseq

from .errors import UsageError

_LONGEST, _MOST = 10_000, 10_000  # characters of a setting, and values in it
_FOLDER = os.path.join(os.path.dirname(fairseq.__file__), "")
_SEQUENCES = (list, tuple)
_looked_at: set[str] = set()


def evaluate_nothing_else() -> None:
    """Give `literal` to the modules of fairseq, and of its examples, that are imported by now.

    Needed until fairseq reads its settings without eval. Each is looked at once.
    """
    for name, module in list(sys.modules.items()):
        if name in _looked_at:
            continue
        _looked_at.add(name)
        path = getattr(module, "__file__", None) or ""
        if path.startswith(_FOLDER) and path.endswith(".py"):
            with open(path, "rb") as file:
                source = file.read()
            if b"eval" in source and re.search(rb"(?<![.\w])eval\b", source):  # quick, then sure
                module.eval = literal  # type: ignore[attr-defined]


def literal(text: str) -> Any:
    """The value of ``text``: numbers, strings, lists, tuples, dicts, sums and multiples of them.

    Raises:
        UsageError: it is anything else, or too large.
        TypeError: it is no string, as for eval.
    """
    if not isinstance(text, str):
        raise TypeError(f"expected a string, got {type(text).__name__}")
    try:
        if len(text) > _LONGEST:
            raise ValueError("it is too long")
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        shown = text if len(text) < 200 else f"{text[:200]}..."
        raise UsageError(
            f"the setting {shown!r} is not evaluated: expected numbers, strings, lists, tuples and "
            "dicts, and + and * of them, such as [(512, 3)] * 20. Correct it; if it comes from a "
            f"checkpoint, do not trust that file [{error}]"
        ) from error


def _value(node: ast.expr) -> Any:
    """Raises ValueError for no literal or too large a one, TypeError where types do not fit."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item) for item in node.elts)
    if isinstance(node, ast.Dict) and None not in node.keys:
        keys = [_value(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(_value, node.values), strict=True))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
        number = _number(_value(node.operand))
        return number if isinstance(node.op, ast.UAdd) else -number
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mult)):
        left, right = _value(node.left), _value(node.right)
        is_sum = isinstance(node.op, ast.Add)
        if isinstance(right, _SEQUENCES) and not is_sum:
            left, right = right, left
        if not isinstance(left, _SEQUENCES):
            left, right = _number(left), _number(right)
        elif (_size(left) + _size(right) if is_sum else _size(left) * right) > _MOST:
            raise ValueError(f"it has more than {_MOST} values")
        return left + right if is_sum else left * right
    raise ValueError(f"{ast.unparse(node)!r} is none of these")


def _number(value: Any) -> Any:
    if not isinstance(value, (int, float, complex)):
        raise TypeError(f"expected a number, got {value!r}")
    return value


def _size(value: Any) -> int:
    """How many values ``value`` holds, those of its lists and tuples counted in."""
    return 1 + sum(map(_size, value)) if isinstance(value, _SEQUENCES) else 1
