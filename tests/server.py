"""A server of archives, which can do what servers do wrong."""

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest


class Archives(http.server.BaseHTTPRequestHandler):
    """Serves a folder by file names, also as a proxy; ``fault(name)`` says what goes wrong."""

    folder: Path
    fault: Callable[[str], str]
    ranges: list[str]

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        path = self.folder / name
        fault = self.fault(name)
        if fault == "404" or not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        if fault == "truncated":  # what a broken mirror holds: complete as far as HTTP goes
            content = content[: len(content) // 2]
        first = 0
        if "Range" in self.headers:
            self.ranges.append(self.headers["Range"])
            first = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        rest = content[first:]
        self.wfile.write(rest[: len(rest) // 2] if fault == "dropped" else rest)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A server of the folder ``folder`` at ``address``; ``faults`` maps names to faults."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    folder = tmp_path / "site"
    folder.mkdir()
    faults: dict[str, str] = {}
    handler = type(
        "Handler",
        (Archives,),
        {"folder": folder, "fault": lambda self, name: faults.get(name, ""), "ranges": []},
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield SimpleNamespace(
            folder=folder,
            faults=faults,
            ranges=handler.ranges,
            address=f"http://127.0.0.1:{httpd.server_address[1]}",
        )
        httpd.shutdown()
