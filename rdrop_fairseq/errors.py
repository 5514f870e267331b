"""The error for what a user can put right."""


class UsageError(SystemExit, RuntimeError):
    """A wrong setting or input: one sentence that says what was given, what was
    expected and what to do next.

    As a SystemExit it ends a command line with that sentence and status 1, without a
    traceback. As a RuntimeError it can be caught by programs, and passes through
    fairseq's trainer, which would answer any other exception by writing a crash.pt.
    """
