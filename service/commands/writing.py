"""Writing all of something to a descriptor."""

import os
import select

__all__ = ["write_all"]


def write_all(descriptor: int, data: bytes) -> None:
    """Write and wait until all is taken; raise OSError where that fails."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            # Another program made the pipe or terminal that we share not block.
            select.select([], [descriptor], [])
