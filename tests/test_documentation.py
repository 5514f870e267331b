"""What the documents say of files and folders is so."""

import re
from pathlib import Path

import pytest

import rdrop_fairseq

from .conftest import ROOT, tracked

DOCUMENTS = sorted(
    path
    for folder in (".", "rdrop_fairseq", "scripts", "tests", "examples")
    for path in ROOT.glob("*.md" if folder == "." else f"{folder}/**/*.md")
)


def anchors(document: Path) -> set[str]:
    """The names that GitHub gives to the headlines of a document."""
    headlines = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in headlines}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document) -> None:
    for alternative, target in re.findall(r"(!?\[[^]]*)\]\(([^)\s]+)\)", document.read_text()):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        other = (document.parent / path).resolve() if path else document
        assert other.exists(), f"{document}: {target}"
        if anchor:
            assert anchor in anchors(other), f"{document}: {target}"
        if alternative.startswith("!"):
            assert len(alternative) > 20, f"{document}: {target} has no alternative text"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_left_to_fill_in(document) -> None:
    assert not re.search(r"@[A-Z]+@|TODO|FIXME", document.read_text(encoding="utf-8"))


def test_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 950
    rows = [line for line in text.splitlines() if line.startswith("|")]
    cells = [cell for row in rows for cell in row.strip("|").split("|")]
    assert max(len(cell.split()) for cell in cells) <= 25


def test_every_script_is_listed() -> None:
    text = (ROOT / "scripts" / "README.md").read_text()
    for path in tracked():
        if path.suffix == ".sh" and path.is_relative_to(ROOT / "scripts"):
            name = str(path.relative_to(ROOT / "scripts"))
            assert f"]({name})" in text or name.startswith("quickstart_data/"), name


@pytest.mark.parametrize("document", ["README.md", "examples/README.md"])
def test_every_recipe_is_listed(document) -> None:
    text = (ROOT / document).read_text()
    for folder in (ROOT / "examples").iterdir():
        if (folder / "README.md").is_file():
            assert f"{folder.name}/README.md)" in text


def test_packages_are_named_not_linked() -> None:
    """No address of a package registry."""
    registries = ["pypi" + ".org", "python" + "hosted", "npmjs" + ".org", "npmjs" + ".com"]
    for path in tracked():
        if path.suffix not in (".gz", ".png"):
            text = path.read_text(encoding="utf-8")
            assert not [name for name in registries if name in text], path


def test_version_is_the_changelogs() -> None:
    newest = re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == rdrop_fairseq.__version__
