"""What a process that the service starts does first."""

import ctypes
import resource
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["limit"]

_PR_SET_PDEATHSIG: Final = 1
_SCORE: Final = Path("/proc/self/oom_score_adj")
_GOES_FIRST: Final = "1000"
"""Where the memory of the machine or the container is used up, the kernel ends it before the service, however large
that is."""


def limit(memory: int) -> None:
    """Have this process end with the service, and use at most this many bytes of memory; 0 sets no bound."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service ends it
    with suppress(OSError):  # where there is no /proc
        _SCORE.write_text(_GOES_FIRST)
    if memory:
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        # The service's own limit is inherited, and only lower ones can be set.
        least = memory if most == resource.RLIM_INFINITY else min(memory, most)
        resource.setrlimit(resource.RLIMIT_AS, (least, least))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
