"""The error for what a user can put right."""

import sys

_MAIN = "fairseq's main branch, for Python"
_FAIRSEQ_FOR = {
    (3, 10): "pip install 'pip<24.1', then pip install fairseq==0.12.2 torch==2.0.1 'numpy<2' (it "
    "is compiled, with g++)",
    (3, 11): f"pip install ve-fairseq==0.12.3 ({_MAIN} 3.11 and 3.12)",
    (3, 12): f"pip install ve-fairseq==0.12.3 ({_MAIN} 3.11 and 3.12)",
    (3, 13): "bash scripts/setup.sh compiles fairseq-fixed==0.12.3.1 for Python 3.13, and "
    "rdrop_fairseq/README.md says how to do that elsewhere",
}
#: what to do where there is no fairseq, or too old a one
INSTALL_FAIRSEQ = _FAIRSEQ_FOR.get(sys.version_info[:2], "take Python 3.11 or 3.12, and install it")


class UsageError(SystemExit, RuntimeError):
    """A wrong setting or input: one sentence that says what was given, what was
    expected and what to do next.

    As a SystemExit it ends a command line with that sentence and status 1, without a
    traceback, but for the one of who has started that process: torch, where fairseq-train
    starts one for each GPU itself, or hydra. As a RuntimeError it can be caught by programs,
    and passes through fairseq's trainer, which would answer any other exception by writing a
    crash.pt.
    """
