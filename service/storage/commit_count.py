"""The number of commits, as it stands in a file beside the database: a number and its complement."""

from struct import Struct
from typing import Final

__all__ = ["COUNT_FILE", "COUNT_SIZE", "pack_count", "unpack_count"]

COUNT_FILE: Final = "commits"
_COUNT: Final = Struct("<QQ")
_ALL: Final = (1 << 64) - 1
COUNT_SIZE: Final = _COUNT.size


def pack_count(commits: int) -> bytes:
    """Return the content of the file."""
    return _COUNT.pack(commits, ~commits & _ALL)


def unpack_count(content: bytes) -> int | None:
    """Return the number of commits; None where the file is empty or damaged."""
    if len(content) != COUNT_SIZE:
        return None
    commits, complement = _COUNT.unpack(content)
    return commits if complement == ~commits & _ALL else None
