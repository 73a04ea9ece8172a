"""Whether this SQLite may read a database that a service writes at the same time."""

from typing import Final

import apsw

from service.storage.errors import StorageUnusable

__all__ = ["check_library"]

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
