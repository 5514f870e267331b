"""One rule for numbers, files and languages in all tools; errors in one sentence."""

import argparse
from collections.abc import Sequence

import pytest

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.command_line import (
    add_languages,
    command,
    existing_file,
    existing_folder,
    moses_language,
    new_folder,
    number,
    parser,
    setting,
    whole,
)


def test_types(tmp_path) -> None:
    (tmp_path / "file").touch()
    file, folder, none = (str(tmp_path / name) for name in ("file", "", "none"))
    for convert, good, bad, message in (
        (
            whole(1),
            {"1": 1, "20": 20},
            ["0", "-1", "1.5", "x", ""],
            "whole number of at least 1, got",
        ),
        (
            number(0),
            {"0": 0, "1e3": 1000},
            ["-0.1", "nan", "inf", "x"],
            "number of at least 0, got",
        ),
        (number(0.98, 1), {"1": 1}, ["2", "0.5", "nan"], "number from 0.98 to 1, got"),
        (existing_file, {file: tmp_path / "file"}, [folder, none], "no such file: "),
        (existing_folder, {folder: tmp_path}, [file, none], "no such folder: "),
        (
            new_folder,
            {none: tmp_path / "none"},
            [folder, file],
            "is there already: remove it first",
        ),
        (setting, {"a=b=c": ("a", "b=c")}, ["ab"], "must be NAME=VALUE, got 'ab'"),
        (moses_language, {"de": "de"}, ["xx", "german", "zh", ""], "has no rules for"),
    ):
        for text, value in good.items():
            assert convert(text) == value
        for text in bad:
            with pytest.raises(argparse.ArgumentTypeError, match=message):
                convert(text)


def test_languages(capsys) -> None:
    options = parser("Help.", "rdrop x")
    add_languages(options, ("en", "de"))
    assert options.parse_args(["--languages", "de", "en"]).languages == ["de", "en"]
    for words, message in (
        (["de"], "expected 2 arguments"),
        (["de", "de"], "rdrop x: error: --languages must be two languages, got de twice"),
        (["de", "xx"], "invalid choice: 'xx'"),
    ):
        with pytest.raises(SystemExit):
            options.parse_args(["--languages", *words])
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UsageError("3 is too few"), "rdrop x: 3 is too few"),
        (OSError(28, "No space left", "f"), "rdrop x: f: No space left; nothing was left half-wri"),
        (OSError("strange"), "rdrop x: strange; nothing was left half-written"),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors(error, sentence) -> None:
    @command("rdrop x")
    def main(argv: Sequence[str] | None = None) -> None:
        raise error

    with pytest.raises(SystemExit) as stopped:
        main([])
    code = stopped.value.code
    assert code == sentence or str(code).startswith(str(sentence))
