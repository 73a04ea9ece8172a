"""What tests install once for all sessions, in the user's cache and not in the repository."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

_LONGEST = 240
"""Seconds for a command: less than a test may take."""


def installed(name: str, *commands: Sequence[str], files: Sequence[Path] = ()) -> Path:
    """Run the commands in a folder of this name with these files, if nobody has yet; return it, or skip the test."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "sluice-tests" / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            for file in files:
                shutil.copy(file, folder)
            for command in commands:
                if failed := _failure(command, folder):
                    pytest.skip(f"{' '.join(command)} failed: {failed}")
            (folder / "complete").touch()
    return folder


def _failure(command: Sequence[str], folder: Path) -> str:
    """Run it; say why it failed, and nothing where it did not."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return f"it took longer than {_LONGEST} s"
    return done.stderr.strip()[-200:] or f"exit code {done.returncode}" if done.returncode else ""
