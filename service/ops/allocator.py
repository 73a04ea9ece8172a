"""Memory that was freed and that the C library keeps: given back to the system.

What a service allocates is of all sizes and lives for seconds or minutes. glibc gives back only what lies at the
end of its heap, so that a busy hour is paid for until the process ends.
"""

import ctypes
from collections.abc import Callable
from typing import Final

__all__ = ["trim"]


def _malloc_trim() -> Callable[[int], int] | None:
    """Return glibc's function (malloc_trim(3)), or None where there is another C library."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
    return found


_TRIM: Final = _malloc_trim()


def trim() -> None:
    """Give free pages back to the system: 10 ms for 80 MiB. Other threads wait when they allocate meanwhile."""
    if _TRIM is not None:
        _TRIM(0)
