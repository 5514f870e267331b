"""The console command ``rdrop``, which starts the tools beside this module."""

import sys
from collections.abc import Sequence
from importlib import import_module

from ..errors import INSTALL_FAIRSEQ, UsageError

# each tool is a module of this name; it is imported when it is asked for
TOOLS = {
    "run": "start a training, or go on with it; keeps what it was made with in run.json",
    "evaluate": "translate a test set with a checkpoint or an average, and score it",
    "score": "BLEU, chrF2 and TER with signatures; paired bootstrap against a baseline",
    "average": "average checkpoints, in float64",
    "plot": "draw the curves of one or several trainings",
    "dropout": "list and draw a model's dropout, measure what it does",
    "convert": "Hugging Face's RoBERTa or BERT as a fairseq checkpoint",
    "encoder": "a small encoder to fine-tune, and the flags that build any",
    "benchmark": "time and memory of a training step, beside fairseq's criteria",
    "study": "train and score settings over seeds, at equal updates or equal time",
    "compare": "tables of a study's scores: mean, deviation, paired bootstrap",
    "corpus": "text in, encoded text out: its own tools are listed by rdrop corpus --help",
}
CORPUS = {
    "fetch": "download, check and extract the corpora that a table lists",
    "download": "download a file, go on where it stopped, check its checksum",
    "extract": "two sides of a parallel corpus out of an archive",
    "clean": "clean and join corpora, count what each rule removed",
    "encode": "learn joint subwords, encode a corpus",
    "manifest": "write down what a data folder was made of: checksums, lines, versions",
    "vectors": "vectors of two languages' words in one space, for a model to start from",
    "learn_bpe": "learn a BPE of GPT-2's form",
    "gpt2_bpe": "GPT-2's BPE, for BART and RoBERTa, and back",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Start the tool that the first of ``argv`` names (default: of the command line)."""
    _start("rdrop", __package__, TOOLS, list(sys.argv[1:] if argv is None else argv))


def _start(program: str, package: str, tools: dict[str, str], argv: list[str]) -> None:
    width = max(map(len, tools))
    lines = [f"  {name:{width}}  {what}" for name, what in tools.items()]
    usage = "\n".join([f"usage: {program} TOOL ...; {program} TOOL --help says more", "", *lines])
    name = argv.pop(0) if argv else None
    if name in ("-h", "--help"):
        print(usage)
    elif name == "corpus" and tools is TOOLS:
        _start(f"{program} corpus", f"{package}.corpus", CORPUS, argv)
    elif name in tools:
        try:
            import_module(f"{package}.{name}").main(argv)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("rdrop_fairseq"):
                raise
            how = "install it, or all that the tools need: pip install '.[recipes]' in the checkout"
            if error.name == "fairseq":
                how = INSTALL_FAIRSEQ
            raise UsageError(
                f"{program} {name}: needs the Python package {error.name}: {how}"
            ) from None
    else:
        wrong = f"there is no tool {name}" if name else "name a tool"
        print(f"{usage}\n\n{program}: {wrong}", file=sys.stderr)
        raise SystemExit(2)
