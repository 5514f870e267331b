"""The command rdrop: each tool that it names is there, and starts without what it does not need."""

import sys
from importlib import import_module

import pytest

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.cli import CORPUS, TOOLS, main

from ..conftest import run

NAMES = [*(name for name in TOOLS if name != "corpus"), *(f"corpus {name}" for name in CORPUS)]


@pytest.mark.parametrize("name", NAMES)
def test_each_tool_has_help(name, capsys) -> None:
    """As it is called: its example begins with the command, and so does its usage."""
    module = import_module(f"rdrop_fairseq.tools.{name.replace(' ', '.')}")
    with pytest.raises(SystemExit) as stopped:
        main([*name.split(), "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: rdrop {name} ")
    assert f"    rdrop {name} " in module.__doc__
    assert "python scripts/" not in text


@pytest.mark.parametrize("words", [[], ["corpus"]])
def test_lists_of_tools(words, capsys) -> None:
    """A line a tool, for no tool and for one that is not there on stderr."""
    tools = CORPUS if words else TOOLS
    main([*words, "--help"])
    text = capsys.readouterr().out
    lines = [line for line in text.splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == list(tools)
    assert len(text.splitlines()) <= 24  # a small terminal's
    for more, message in ((["none"], "there is no tool none"), ([], "name a tool")):
        with pytest.raises(SystemExit) as stopped:
            main([*words, *more])
        assert stopped.value.code == 2
        error = capsys.readouterr().err
        assert error == f"{text}\n{' '.join(['rdrop', *words])}: {message}\n"


def test_installed_command() -> None:
    """Bad input ends it with status 1 and one sentence; fairseq and torch are not imported."""
    command = ["rdrop", "corpus", "clean", "none", "--languages", "en", "de", "--out", "x"]
    result = run(command, check=False, real=True)
    assert result.returncode == 1
    assert result.stderr == "rdrop corpus clean: no such text file: none.en\n"
    names = [
        "clean",
        "encode",
        "extract",
        "fetch",
        "download",
        "manifest",
        "gpt2_bpe",
        "packages",
        "debian",
        "hub",
    ]
    program = f"import sys\nfor name in {names}: __import__('rdrop_fairseq.tools.corpus.' + name)\n"
    program += "print([name for name in ('torch', 'fairseq', 'sacremoses') if name in sys.modules])"
    assert run([sys.executable, "-c", program], real=True).stdout == "[]\n"


def test_packages_that_are_not_installed(monkeypatch) -> None:
    """What pip install . alone does not bring."""
    encode = ["--corpus", ".", "--vocab-size", "9", "--out", "x", "--bpe", "moses"]
    for words, package in (
        (["encode", "--languages", "en", "de", *encode], "sacremoses"),
        (["vectors", "--help"], "sklearn"),
    ):
        monkeypatch.delitem(sys.modules, f"rdrop_fairseq.tools.corpus.{words[0]}", raising=False)
        for name in [name for name in sys.modules if name.startswith(package)]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)
        message = rf"{words[0]}: needs the Python package {package}.*pip install '\.\[recipes\]'"
        with pytest.raises(UsageError, match=message):
            main(["corpus", *words])
