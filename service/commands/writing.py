"""Writing all bytes to a descriptor, and the exit code of a command when that fails."""

import os
import select
from collections.abc import Callable
from typing import Final

__all__ = ["print_all", "write_all"]

_READER_LEFT: Final = 141
"""The exit code that a shell reports for a program that SIGPIPE ended."""


def print_all(data: bytes, complain: Callable[[str], int]) -> int:
    """Write to standard output; return 0, 141 if its reader has gone, or what ``complain`` returns for an error."""
    try:
        write_all(1, data)
    except (BrokenPipeError, ConnectionResetError):
        return _READER_LEFT
    except OSError as error:
        return complain(f"cannot write to standard output: {error.strerror}")
    return 0


def write_all(descriptor: int, data: bytes) -> None:
    """Write and wait until all is taken; raise OSError where that fails."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            # Another program made the pipe or terminal that we share not block.
            select.select([], [descriptor], [])
