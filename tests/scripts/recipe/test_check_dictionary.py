"""scripts/recipe/check_dictionary.py on the data and checkpoint of a real training."""

import shutil
import sys
from pathlib import Path

import pytest
import torch

import rdrop_fairseq  # noqa: F401  (lets torch load fairseq's checkpoints)

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


def message(*arguments: Path | str) -> str:
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


def test_not_a_data_folder(copy, tmp_path) -> None:
    checkpoint = copy[1] / "checkpoint_last.pt"
    assert f"{tmp_path} lacks dict.es.txt, of a translation from es to en: is it fairseq-prep" in (
        message(tmp_path, checkpoint)
    )
    assert "It may be no pair that its files name: name them" in message(tmp_path, tmp_path)


def test_each_side_has_its_dictionary(copy) -> None:
    """Both sizes occur in the checkpoint, but each on the other side."""
    data, folder = copy
    checkpoint = folder / "checkpoint_last.pt"
    state = torch.load(checkpoint)
    rows = state["model"]["decoder.embed_tokens.weight"]
    state["model"]["decoder.embed_tokens.weight"] = rows.repeat(2, 1)[: len(rows) + 3]
    torch.save(state, checkpoint)
    dictionary = data / "dict.es.txt"
    dictionary.write_text(dictionary.read_text() + "a1 1\nb2 1\nc3 1\n")
    found = message(data, checkpoint)
    assert f"{dictionary} has {len(rows) + 3} symbols" in found
    assert f"the encoder's embeddings in {checkpoint} have {len(rows)} rows" in found


def test_symbols_that_a_task_adds(copy) -> None:
    data, folder = copy
    checkpoint = folder / "checkpoint_last.pt"
    for path in data.iterdir():  # two of the symbols came from the task
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
    assert "embeddings" in message(data, checkpoint)  # the translation task adds none
    state = torch.load(checkpoint)
    state["cfg"]["task"]["_name"] = "translation_multi_simple_epoch"
    torch.save(state, checkpoint)
    assert message(data, checkpoint) == ""
    with (data / "dict.es.txt").open("a") as file:  # these can have no rows
        file.write("a1 1\nb2 1\nc3 1\n")
    assert "dict.es.txt has" in message(data, checkpoint)


def test_other_pairs_in_the_folder(copy) -> None:
    data, folder = copy
    checkpoint = folder / "checkpoint_last.pt"
    for language in ("de", "fr"):
        (data / f"dict.{language}.txt").write_text("das 3\n")
        (folder / f"dict.{language}.txt").write_text("an older one 3\n")
    (data / "test.de-fr.de.bin").touch()
    result = run([*CHECK, data, checkpoint])
    assert (result.stdout, result.stderr) == ("es en\n", "")
    # the direction is the checkpoint's, unless fairseq-generate is told another
    other = run([*CHECK, data, checkpoint, "--generate-args=--beam 2 -s en -t es"])
    assert other.stdout == "en es\n"
    found = message(data, checkpoint, "--generate-args=-t de")
    assert "dict.de.txt (1 symbols) is not the dictionary" in found
    (data / "dict.es.txt").unlink()
    assert f"{data} lacks dict.es.txt, of a translation from es to en" in message(data, checkpoint)


def test_a_task_of_several_pairs(copy) -> None:
    data, folder = copy
    checkpoint = folder / "checkpoint_last.pt"
    state = torch.load(checkpoint)
    task = state["cfg"]["task"]
    task |= {"source_lang": None, "target_lang": None, "lang_pairs": ["es-en", "en-es"]}
    torch.save(state, checkpoint)
    assert "which language? It may be en-es, es-en: name them" in message(data, checkpoint)
    assert message(data, checkpoint, "--generate-args=-s en --target-lang es") == ""
