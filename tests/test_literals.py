"""Settings of a checkpoint are values: fairseq evaluates nothing else."""

import dis
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import fairseq
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.models import fconv, fconv_self_att
from fairseq.utils import eval_bool, eval_str_dict, eval_str_list

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.literals import evaluate_nothing_else, literal

FAIRSEQ = Path(fairseq.__file__).parent


@pytest.mark.parametrize(
    "text",
    [
        "[(512, 3)] * 20",
        "[(512, 10, 5)] + [(512, 8, 4)] + [(512, 4, 2)] * 3 + 2 * [(512, 1, 1)]",
        "(0.9, 0.98)",
        " [1e-5, -2, +3, 2 * 512 + 1]",
        "{'a': [1, None], 'b': {'c': True}}",
        "'text'",
        "[[1, 2] * 2, (3,) * 3] * 2",
    ],
)
def test_values(text: str) -> None:
    assert literal(text) == eval(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch x') or [100, 200]",
        "[open('x', 'w')]",
        "(lambda: 1)()",
        "[i for i in (1, 2)]",
        "().__class__",
        "f'{1}'",
        "{**{}}",
        "[1][0]",
        "2 ** 9",
        "'a' * 9",
        "'a' + 'b'",
        "[1] + (2,)",
        "[1] * 'a'",
        "[1] * [1]",
        "{[1]: 2}",
        "abc",
        "1,,2",
        "",
        "[0] * 20000",
        "[[0] * 1000] * 1000",
        "9 * (1000 * [1000 * (0,)])",
        "-" * 9000 + "1",
        "[" + "0," * 9000 + "]",
    ],
)
def test_no_values(text: str) -> None:
    with pytest.raises(UsageError) as error:
        literal(text)
    assert str(error.value).startswith(f"the setting {text[:200]!r}"[:-1])


def test_no_string() -> None:
    """fairseq's eval_bool relies on eval's TypeError."""
    with pytest.raises(TypeError):
        literal(1)
    assert eval_bool(None, default=True)
    assert eval_bool(object(), default=True)


def test_settings_of_command_lines() -> None:
    assert eval_str_list("[100, 200]", type=int) == [100, 200]
    assert eval_str_list("0.0005") == [0.0005]
    assert eval_str_dict("{'en': 'de'}") == {"en": "de"}
    assert eval_bool("True")


def global_names(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from global_names(constant)


def test_every_module_that_evaluates() -> None:
    """Those whose compiled code takes the global eval, of all that are imported."""
    found = []
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None) or ""
        if not (path.startswith(str(FAIRSEQ)) and path.endswith(".py")):
            continue
        if "eval" in global_names(compile(Path(path).read_bytes(), path, "exec")):
            found.append(module)
    assert {fconv, fconv_self_att, fairseq.utils} <= set(found)
    assert all(module.eval is literal for module in found)


def test_a_module_that_is_imported_later(monkeypatch) -> None:
    """Such as fairseq's examples, by --user-dir: before the next checkpoint is loaded."""
    later, own = types.ModuleType("later"), types.ModuleType("own")
    later.__file__, own.__file__ = fconv.__file__, __file__
    monkeypatch.setitem(sys.modules, "later", later)
    monkeypatch.setitem(sys.modules, "own", own)
    evaluate_nothing_else()
    assert later.eval is literal
    assert not hasattr(own, "eval")


def test_a_checkpoints_settings_do_not_run(trained, tmp_path: Path) -> None:
    """The settings of an otherwise ordinary checkpoint, as fairseq-generate loads them."""
    state, victim = torch.load(trained[0] / "checkpoint_last.pt"), tmp_path / "victim"
    evil = f"__import__('pathlib').Path({str(victim)!r}).touch() or [100, 200]"
    state["cfg"]["model"].adaptive_softmax_cutoff = evil
    torch.save(state, tmp_path / "evil.pt")
    with pytest.raises(UsageError, match=r"the setting .*import__.*do not trust that file"):
        checkpoint_utils.load_model_ensemble_and_task([str(tmp_path / "evil.pt")])
    assert not victim.exists()
