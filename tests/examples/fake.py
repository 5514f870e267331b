"""Programs that only note how they were called, to put first on PATH."""

import json
import sys
from pathlib import Path

#: what fairseq-train logs of the last update that --max-update asks for
TRAINED = """
echo "it | INFO | fairseq_cli.train | task: TranslationTask"
sed -n 's/.* --max-update \\([0-9]*\\).*/it | INFO | saved (epoch 1 @ \\1 updates)/p' <<<"$*"
echo "it | INFO | fairseq_cli.train | done training in 1.0 seconds"
"""


def as_if_stopped(run: Path) -> None:
    """As if the training in the folder ``run`` had been stopped before its end."""
    (run / "updates").unlink(missing_ok=True)
    with (run / "train.log").open("a") as log:
        log.write("it | INFO | fairseq_cli.train | task: TranslationTask\n")


class FakePrograms:
    """A folder of programs each of which appends its arguments to a file.

    Args:
        folder: where to write them.
        names: their names.
        body: shell commands that they run afterwards, in ``{name: commands}``; none
            unless given.
    """

    def __init__(self, folder: Path, *names: str, **body: str) -> None:
        self.folder = folder
        folder.mkdir()
        for name in names:
            program = folder / name
            program.write_text(
                "#!/usr/bin/env bash\n"
                f"'{sys.executable}' -c 'import json, sys; print(json.dumps(sys.argv[1:]))' \"$@\" "
                f'>>"{folder}/{name}.calls"\n' + body.get(name.replace("-", "_"), "")
            )
            program.chmod(0o755)

    def calls(self, name: str) -> list[list[str]]:
        """The arguments of each call so far."""
        path = self.folder / f"{name}.calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def options(arguments: list[str]) -> dict[str, str | bool]:
    """{"--lr": "1", "--fp16": True, ...}: the last value of each option.

    What follows an option is its value unless it is an option.
    """
    found: dict[str, str | bool] = {}
    for here, following in zip(arguments, [*arguments[1:], "--"], strict=True):
        if here.startswith("--"):
            found[here] = True if following.startswith("--") else following
    return found
