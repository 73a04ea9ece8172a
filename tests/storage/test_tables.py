"""The reasons that an operator reads when SQLite fails."""

import errno
import os
from pathlib import Path

import apsw
import pytest

from service.storage.tables import reason


def shared_file_cannot_grow() -> apsw.IOError:
    error = apsw.IOError("disk I/O error")
    error.extendedresult = apsw.SQLITE_IOERR_SHMSIZE  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    "error",
    [apsw.FullError("database or disk is full"), shared_file_cannot_grow(),
     OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))],
)  # fmt: skip
def test_a_full_disk_is_called_so(error: Exception) -> None:
    assert reason(error, Path("/d")) == "the disk is full"


@pytest.mark.parametrize("error", [apsw.IOError("disk I/O error"), OSError(errno.EIO, "Input/output error")])
def test_a_broken_one_is_not(error: Exception) -> None:
    assert "the disk is full" not in reason(error, Path("/d"))
