"""What SQLite needs: a version that may read what a service writes at the same time, and names in UTF-8."""

import os
from pathlib import Path
from typing import Final

import apsw

from service.storage.errors import StorageUnusable

__all__ = ["check_library", "file_name"]

_SAFE: Final = (3, 51, 3)
"""Older ones can damage a database in WAL mode when two connections reset its WAL at the same time."""


def check_library() -> None:
    """Raise StorageUnusable where it may not."""
    found = apsw.sqlite_lib_version()
    if tuple(map(int, found.split("."))) < _SAFE:
        needed = ".".join(map(str, _SAFE))
        raise StorageUnusable(
            f"apsw has SQLite {found}, which can damage a database in use; {needed} or newer is needed: "
            "pip install --upgrade apsw"
        )


def file_name(path: Path) -> str:
    """Return the name of a file as SQLite takes it: absolute, since some others mean something to it."""
    name = os.path.abspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise StorageUnusable(f"{name!a} is not a name in UTF-8; choose another") from None
    return name
