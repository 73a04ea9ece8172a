"""Packages of npm that tests run: polyfills and versions of Node, as tests/data/npm pins them."""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.end_to_end.processes import ROOT

_PINNED = ROOT / "tests" / "data" / "npm"
_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}


@cache
def packages() -> Path:
    """Install the packages, once for each state of the lock file, and return the folder; or skip the test."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed (Debian: npm)")
    lock = (_PINNED / "package-lock.json").read_bytes()
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluice-tests"
    folder = cached / hashlib.sha256(lock).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(_PINNED / name, folder)
            # No scripts: these packages work as they are.
            command = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                pytest.skip(f"npm ci failed: {done.stderr.strip()[-200:]}")
            (folder / "complete").touch()
    return folder / "node_modules"


def node(version: int) -> str:
    """Return the path of this version of Node, or skip the test."""
    machine = _MACHINES.get(platform.machine(), platform.machine())
    binary = packages() / f"node-{version}-{machine}" / "bin" / "node"
    if not binary.exists():
        pytest.skip(f"npm has no Node {version} for {platform.machine()}")
    return str(binary)
