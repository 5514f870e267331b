"""How wrong input ends a tool that is called in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ...server import server  # noqa: F401

Main = Callable[[list[str]], None]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """refused(main, ARGUMENTS...): the one sentence, or usage error, that a tool ends with.

    Nothing that was begun is left.
    """

    def refused(main: Main, *arguments: Any) -> str:
        with pytest.raises(SystemExit) as stopped:
            main([str(part) for part in arguments])
        assert not list(tmp_path.rglob("*.tmp"))
        if stopped.value.code == 2:
            return capsys.readouterr().err.splitlines()[-1]
        assert isinstance(stopped.value.code, str)
        return stopped.value.code

    return refused
