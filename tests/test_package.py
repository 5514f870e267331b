"""What users get: sdist and wheel, built from the files that git tracks."""

import math
import shutil
import sys
from importlib.metadata import PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import rdrop_fairseq
from rdrop_fairseq.errors import INSTALL_FAIRSEQ

from .conftest import ROOT, run, tracked
from .test_compat import plugin_is_found


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist: the sdist holds all that it needs."""
    folder = tmp_path_factory.mktemp("package")
    for path in tracked("rdrop_fairseq", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        copy = folder / "checkout" / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist"]
    run([*build, folder / "checkout"], cwd=folder)
    assert list(folder.glob("dist/rdrop_fairseq-*.tar.gz"))
    (wheel,) = folder.glob("dist/*.whl")
    return wheel


def install(wheel: Path, *where: object) -> None:
    run([sys.executable, "-m", "pip", *where, "--quiet", "--no-deps", "--no-index", wheel])


def link_with_dependencies(name: str, folder: Path, linked: set[str]) -> None:
    """Make an installed distribution, and what it needs, importable from ``folder``."""
    if name in linked:
        return
    linked.add(name)
    found = distribution(name)
    for top in {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}:
        if top != "__pycache__" and not (folder / top).exists():
            (folder / top).symlink_to(found.locate_file(top))
    for requirement in map(Requirement, found.requires or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            link_with_dependencies(requirement.name, folder, linked)


def test_loss_from_the_wheel_beside_torch_alone(wheel, tmp_path) -> None:
    """In an environment that has torch and the wheel, and nothing else."""
    run([sys.executable, "-m", "venv", "--without-pip", tmp_path])
    python = tmp_path / "bin" / "python"
    install(wheel, "--python", python, "install")
    (packages,) = tmp_path.glob("lib/python3*/site-packages")
    link_with_dependencies("torch", packages, set())
    assert not (packages / "fairseq").exists()
    code = """
import importlib.util, torch
from rdrop_fairseq.loss import rdrop_loss
assert importlib.util.find_spec("fairseq") is None
print(rdrop_loss(torch.zeros(2, 4), torch.tensor([1]), alpha=1.0).objective.item())
try:
    import rdrop_fairseq.criterions
except ImportError as error:
    print(error)
"""
    result = run([python, "-W", "error::UserWarning:rdrop_fairseq", "-c", code], cwd=tmp_path)
    objective, error = result.stdout.splitlines()
    assert float(objective) == pytest.approx(2 * math.log(4))  # of two uniform passes
    # in one sentence, what to do on this Python
    assert error == f"R-Drop's criteria need fairseq (No module named 'fairseq'): {INSTALL_FAIRSEQ}"


@pytest.fixture(scope="session")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like site-packages after ``pip install``."""
    folder = tmp_path_factory.mktemp("site")
    install(wheel, "install", "--target", folder)
    return folder


def test_regular_install_is_found_from_anywhere(site: Path, tmp_path: Path) -> None:
    """fairseq looks for --user-dir beside its own folder, too: here, as if it were in ``site``.

    (Any folder of ``site`` will do for fairseq's; one named fairseq would hide the real one.)
    """
    own = f"{site}/rdrop_fairseq/utils.py"
    beside = f"import fairseq.utils; fairseq.utils.__file__ = {own!r}"
    path = {"PYTHONPATH": str(site)}
    assert plugin_is_found(tmp_path, "rdrop_fairseq", beside, **path)
    by_hand = f"import rdrop_fairseq; assert rdrop_fairseq.__file__.startswith({str(site)!r})"
    assert plugin_is_found(tmp_path, "rdrop_fairseq", f"{beside}; {by_hand}", **path)


def test_package_metadata(site) -> None:
    (info,) = site.glob("rdrop_fairseq-*.dist-info")
    metadata = PathDistribution(info).metadata
    assert metadata["Name"] == "rdrop-fairseq"
    assert metadata["Version"] == rdrop_fairseq.__version__
    assert metadata["License"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.10,<3.14"
    required = list(map(Requirement, metadata.get_all("Requires-Dist")))

    def required_on(python: str) -> set[str]:
        on = {"python_version": python, "extra": ""}
        return {
            f"{each.name}{each.specifier}"
            for each in required
            if each.marker is None or each.marker.evaluate(on)
        }

    with_wheel, without = required_on("3.11"), required_on("3.10")
    assert required_on("3.12") == with_wheel
    assert required_on("3.13") == without
    assert with_wheel - without == {"ve-fairseq==0.12.3", "torch>=2.4", "numpy>=2", "omegaconf"}
    assert without - with_wheel == {"torch>=2"}  # fairseq is compiled: it is no requirement
    assert with_wheel & without >= {"sacrebleu>=2.4", "sentencepiece>=0.2"}
