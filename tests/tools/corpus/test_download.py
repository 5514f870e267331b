"""rdrop corpus download: whole files only, whatever the server and the disk do."""

import gzip
import hashlib
import re

import pytest

from rdrop_fairseq.tools.corpus.download import main

from ...conftest import full_disk

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("name", ["data.bin", "data.gz"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("404", "the server answers 404 Not Found"),
        # what a broken mirror holds, and a connection that ends too soon
        ("truncated", "removed what was downloaded; run this again"),
        ("dropped", r"the connection broke after \d+ bytes .*run it again to go on"),
    ],
)
def test_faults_of_a_server(refused, server, tmp_path, name, fault, message) -> None:
    """Of data.bin by its checksum, of data.gz by that of gzip."""
    content = gzip.compress(CONTENT, mtime=0) if name == "data.gz" else CONTENT
    (server.folder / name).write_bytes(content)
    command = [f"{server.address}/{name}", "--to", str(tmp_path / "raw" / name)]
    command += ["--checksum", f"sha256:{SHA256.upper()}"] if name == "data.bin" else []
    server.faults[name] = fault
    assert re.search(message, refused(main, *command))
    left = {path.name: path.stat().st_size for path in (tmp_path / "raw").iterdir()}
    assert left == ({f"{name}.part": len(content) // 2} if fault == "dropped" else {})
    server.faults.clear()
    main(command)
    assert (tmp_path / "raw" / name).read_bytes() == content
    assert server.ranges == [f"bytes={len(content) // 2}-"] * (fault == "dropped")
    assert len(list((tmp_path / "raw").iterdir())) == 1
    main(command)  # it is there: nothing is asked of the server
    assert len(server.ranges) <= 1


def test_full_disk(refused, server, tmp_path) -> None:
    (server.folder / "data.bin").write_bytes(CONTENT)
    command = [f"{server.address}/data.bin", "--to", str(tmp_path / "data.bin")]
    with full_disk():
        sentence = refused(main, *command)
    assert re.search("File too large; .* kept: .*is the disk full.* run it again", sentence)
    assert not (tmp_path / "data.bin").exists()
    main(command)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert len(server.ranges) == 1


def test_another_process_downloads_it(refused, server, tmp_path) -> None:
    """What it has so far is left alone."""
    import fcntl

    (server.folder / "data.bin").write_bytes(CONTENT)
    with (tmp_path / "data.bin.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(CONTENT[:10])
        other.flush()
        sentence = refused(main, f"{server.address}/data.bin", "--to", tmp_path / "data.bin")
    assert "another process is writing" in sentence
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT[:10]


def test_wrong_arguments(refused, tmp_path) -> None:
    (tmp_path / "there").write_bytes(b"other")
    for url, to, checksum, message in (
        ("host/file", "x", "-", "host/file is no address such as https://host/file"),
        ("https://[x", "x", "-", "is no address such as"),
        ("file:///nowhere", "x", "-", "the connection broke after 0 bytes"),
        ("file:///nowhere", "there", f"md5:{'0' * 32}", "there has md5:.*, expected md5:0000"),
        ("file:///nowhere", "", "-", "is a folder: name a file to write"),
        ("file:///nowhere", "x", "sha256:12", "--checksum: must be sha256:HEX, md5:HEX or -, got"),
    ):
        command = [url, "--to", tmp_path / to, "--checksum", checksum]
        sentence = refused(main, *command)
        assert re.search(message, sentence), sentence
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
