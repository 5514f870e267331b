"""rdrop corpus manifest, against sha256sum and wc."""

import json
import os
from importlib.metadata import packages_distributions, version

from rdrop_fairseq.tools.corpus.manifest import main, version_of

from ...conftest import run


def test_manifest(tmp_path, capsys) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    text, binary, outside = folder / "train.en", folder / "train.bin", tmp_path / "raw.txt"
    text.write_text("Ein  Satz\n\nzwei\n")
    binary.write_bytes(b"\x00\n\xff")
    outside.write_text("ü\n")
    files = [text, outside, binary]
    command = ["--out", str(folder / "manifest.json"), "--note", "pair=en-de"]
    command += ["--note", "flags=--a=1"]
    main([*command, *map(str, files)])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["settings"] == {"pair": "en-de", "flags": "--a=1"}
    assert manifest["packages"]["sentencepiece"] == version("sentencepiece")
    (fairseq,) = set(packages_distributions()["fairseq"])  # under which name it is here
    assert manifest["packages"][fairseq] == version(fairseq)
    assert manifest["files"].keys() == {"train.en", "train.bin", "raw.txt"}
    for path, name in zip(files, ("train.en", "raw.txt", "train.bin"), strict=True):
        entry = manifest["files"][name]
        assert entry["sha256"] == run(["sha256sum", path]).stdout.split()[0]
        assert entry["bytes"] == path.stat().st_size
        counts = [int(word) for word in run(["wc", "-l", "-w", path]).stdout.split()[:2]]
        assert [entry.get("lines"), entry.get("tokens")] == (
            [None, None] if path is binary else counts
        )

    # what is described is what was there, and is read again only where something has changed
    before = (folder / "manifest.json").read_text()
    for path in files:
        os.utime(path, (1, 1))
    capsys.readouterr()
    main([*command, *map(str, reversed(files))])
    assert capsys.readouterr().out == f"{folder / 'manifest.json'}: done already\n"
    os.utime(text)
    main([*command, *map(str, files)])
    assert capsys.readouterr().out == ""
    assert (folder / "manifest.json").read_text() == before
    text.write_text("Ein  Satz\n\ndrei\n")
    main([*command, *map(str, files)])
    assert (folder / "manifest.json").read_text() != before
    main([*command, "--note", "bpe=moses", *map(str, files)])
    assert json.loads((folder / "manifest.json").read_text())["settings"]["bpe"] == "moses"


def test_folder_and_files_of_one_name(tmp_path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.en").write_text(name)
    (tmp_path / "a" / "run.json").touch()
    (tmp_path / "a" / "preprocess.log").touch()
    paths = [str(tmp_path / "a"), str(tmp_path / "b" / "train.en")]
    main(["--out", str(tmp_path / "made" / "manifest.json"), *paths])
    found = json.loads((tmp_path / "made" / "manifest.json").read_text())["files"]
    assert [entry["bytes"] for entry in found.values()] == [1, 1]
    assert len({entry["sha256"] for entry in found.values()}) == 2


def test_package_that_is_not_installed() -> None:
    """As ve-fairseq where somebody has a fairseq of their own."""
    assert version_of("sentencepiece") == version("sentencepiece")
    assert version_of("no-such-package") is None


def test_wrong_arguments(refused, tmp_path) -> None:
    out = tmp_path / "m.json"
    assert f"no such file or folder: {tmp_path / 'none'}" in refused(
        main, "--out", out, tmp_path / "none"
    )
    sentence = refused(main, "--out", out, "--note", "bpe", __file__)
    assert "argument --note: must be NAME=VALUE, got 'bpe'" in sentence
    assert "Is a directory; nothing was left" in refused(main, "--out", tmp_path, __file__)
    assert not list(tmp_path.iterdir())
