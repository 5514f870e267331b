"""scripts/recipe/check_dictionary.py on the data and checkpoint of a real training."""

import shutil
import sys
from pathlib import Path

import pytest

from ...conftest import ROOT, run

CHECK = [sys.executable, ROOT / "scripts" / "recipe" / "check_dictionary.py"]


@pytest.fixture
def copy(data, trained, tmp_path) -> tuple[Path, Path]:
    """A data folder's dictionaries, and a checkpoint trained with them, to be changed."""
    made, run_folder = tmp_path / "bin", tmp_path / "run"
    for folder in (made, run_folder):
        folder.mkdir()
    for language in ("en", "es"):
        shutil.copy(data / "bin" / f"dict.{language}.txt", made)
    shutil.copy(trained[0] / "checkpoint_last.pt", run_folder)
    return made, run_folder


def message(*arguments: Path) -> str:
    result = run([*CHECK, *arguments], check=False)
    assert result.returncode == (1 if result.stderr else 0)
    return result.stderr


def test_sizes(copy) -> None:
    data, folder = copy
    checkpoint = folder / "checkpoint_last.pt"
    dictionary = data / "dict.en.txt"
    assert message(data, checkpoint) == ""
    rows = len(dictionary.read_text().splitlines()) + 4
    with dictionary.open("a") as file:
        file.write("neu 1\n")
    found = message(data, checkpoint)
    assert f"{dictionary} has {rows + 1} symbols (4 of them fairseq's)" in found
    assert f"have {rows} rows: the data was made with another dictionary" in found
    # a folder without dictionaries, as of a training by fairseq-train alone
    assert message(data, folder) == found


def test_symbols_beside_the_checkpoint(copy) -> None:
    data, folder = copy
    for path in data.iterdir():
        shutil.copy(path, folder)
    dictionary = data / "dict.en.txt"
    lines = dictionary.read_text().splitlines()
    # other counts of the same symbols are the same dictionary
    dictionary.write_text("".join(f"{line.rsplit(' ', 1)[0]} 7\n" for line in lines))
    assert message(data, folder) == message(data, folder / "checkpoint_last.pt") == ""
    lines[4], lines[5] = lines[5], lines[4]
    dictionary.write_text("\n".join(lines) + "\n")
    for checkpoint in (folder, folder / "checkpoint_last.pt"):
        assert "they differ from line 5 on" in message(data, checkpoint)


def test_not_a_data_folder(tmp_path) -> None:
    assert message(tmp_path, tmp_path) == (
        f"check_dictionary: {tmp_path} holds no dict.LANGUAGE.txt: is it fairseq-preprocess's?\n"
    )
