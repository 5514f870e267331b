"""packages: with stand-ins for pip and npm."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from rdrop_fairseq.errors import UsageError
from rdrop_fairseq.tools.corpus import packages

CONTENT = b"a package"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def client(monkeypatch) -> list[list[str]]:
    """pip or npm, which leaves one file; the commands that it was given."""
    commands = []

    def ran(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        (folder,) = (part for part in command if part.startswith("/") and Path(part).is_dir())
        (Path(folder) / "package.tgz").write_bytes(CONTENT)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", ran)
    monkeypatch.setattr(packages.shutil, "which", lambda name: f"/usr/bin/{name}")
    return commands


@pytest.mark.parametrize(
    ("package", "source", "words"),
    [
        ("mine==1.0", False, ["-m", "pip", "download", "--no-deps", "mine==1.0"]),
        ("mine==1.0", True, ["pip", "download", "--no-binary", ":all:", "mine==1.0"]),
        ("mine@1.0", False, ["npm", "pack", "mine@1.0"]),
    ],
)
def test_by_the_ordinary_client(client, package, source, words) -> None:
    assert packages.fetched(package, SHA256, source) == CONTENT
    (command,) = client
    assert [word for word in command if word in words] == words
    assert not [word for word in command if "://" in word]


def test_another_file_is_not_used(client) -> None:
    with pytest.raises(UsageError, match=rf"expected the file with sha256 0000.*{len(CONTENT)} by"):
        packages.fetched("mine@1.0", "0" * 64)


@pytest.mark.parametrize(("package", "name"), [("mine==1.0", "pip"), ("mine@1.0", "npm")])
def test_offline(client, monkeypatch, package, name) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "trying\nno route to host\n")
    monkeypatch.setattr(packages.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(UsageError, match=rf"{name} cannot download {package}: no route to host"):
        packages.fetched(package, SHA256)


def test_npm_is_not_there(client, monkeypatch) -> None:
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match=r"mine@1\.0 is an npm package, and npm is not on PATH"):
        packages.fetched("mine@1.0", SHA256)
    assert packages.fetched("mine==1.0", SHA256) == CONTENT
