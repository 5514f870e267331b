"""scripts/recipe/manifest.py, against sha256sum and wc."""

import json
import sys
from importlib.metadata import packages_distributions, version

from manifest import version_of  # scripts/recipe/manifest.py

from ...conftest import ROOT, run

MANIFEST = [sys.executable, ROOT / "scripts" / "recipe" / "manifest.py"]


def test_manifest(tmp_path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    text, binary, outside = folder / "train.en", folder / "train.bin", tmp_path / "raw.txt"
    text.write_text("Ein  Satz\n\nzwei\n")
    binary.write_bytes(b"\x00\n\xff")
    outside.write_text("ü\n")
    files = [text, outside, binary]
    command = [*MANIFEST, "--out", folder / "manifest.json", "--note", "pair=en-de"]
    run([*command, "--note", "flags=--a=1", *files])
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

    # what is described is what was there: other content, another manifest
    before = (folder / "manifest.json").read_text()
    run([*command, "--note", "flags=--a=1", *reversed(files)])
    assert (folder / "manifest.json").read_text() == before
    text.write_text("Ein  Satz\n\ndrei\n")
    run([*command, "--note", "flags=--a=1", *files])
    assert (folder / "manifest.json").read_text() != before


def test_package_that_is_not_installed() -> None:
    """As ve-fairseq where somebody has a fairseq of their own."""
    assert version_of("sentencepiece") == version("sentencepiece")
    assert version_of("no-such-package") is None


def test_missing_file(tmp_path) -> None:
    result = run([*MANIFEST, "--out", tmp_path / "m.json", tmp_path / "none"], check=False)
    assert result.returncode == 1
    assert result.stderr == f"manifest: no such file: {tmp_path / 'none'}\n"
    result = run([*MANIFEST, "--out", tmp_path / "m.json", "--note", "bpe", __file__], check=False)
    assert result.returncode == 2
    assert "argument --note: must be NAME=VALUE, got 'bpe'" in result.stderr
    assert not list(tmp_path.iterdir())
