"""What tests install once for all sessions, in the user's cache and not in the repository."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest


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
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
                if done.returncode:
                    pytest.skip(f"{' '.join(command)} failed: {done.stderr.strip()[-200:]}")
            (folder / "complete").touch()
    return folder
