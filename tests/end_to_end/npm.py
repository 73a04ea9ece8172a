"""Packages of npm that tests run: polyfills and versions of Node, as tests/data/npm pins them."""

import hashlib
import platform
import shutil
from functools import cache
from pathlib import Path

import pytest

from tests.end_to_end.installed import installed
from tests.end_to_end.processes import ROOT

_PINNED = ROOT / "tests" / "data" / "npm"
_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}


@cache
def packages() -> Path:
    """Install the packages, once for each state of the lock file, and return the folder; or skip the test."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed (Debian: npm)")
    files = [_PINNED / name for name in ("package.json", "package-lock.json")]
    name = hashlib.sha256(files[1].read_bytes()).hexdigest()[:16]
    # No scripts: these packages work as they are.
    install = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    return installed(f"npm-{name}", install, files=files) / "node_modules"


def node(version: int) -> str:
    """Return the path of this version of Node, or skip the test."""
    machine = _MACHINES.get(platform.machine(), platform.machine())
    binary = packages() / f"node-{version}-{machine}" / "bin" / "node"
    if not binary.exists():
        pytest.skip(f"npm has no Node {version} for {platform.machine()}")
    return str(binary)
