"""What functions share that run one after another in a process: each has to find it as the first one did."""

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, Final

__all__ = ["Surroundings"]

_TIMERS: Final = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_LIMITS: Final = tuple(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))
_STATUS: Final = Path("/proc/self/status")
_DESCRIPTORS: Final = "/proc/self/fd"
_THREADS: Final = 100
"""Threads more than there were at first: libraries keep a few."""


class Surroundings:
    """The state of the process before its first function."""

    def __init__(self) -> None:
        self._before, self._threads, self._memory = _observe()
        self._streams = sys.stdout, sys.stderr

    def __repr__(self) -> str:
        return f"<Surroundings {self._before[0]}>"

    def spoilt(self) -> bool:
        """Return whether a function has left a state in which others may fail: then the process has to end."""
        try:
            now, threads, memory = _observe()
            changed = now != self._before or self._cannot_print()
            return changed or threads > self._threads + _THREADS or self._short(memory)
        except OSError:  # no descriptor is left
            return True

    def _cannot_print(self) -> bool:
        """Return whether what is printed goes elsewhere, or nowhere."""
        if any(now is not one for now, one in zip((sys.stdout, sys.stderr), self._streams, strict=True)):
            return True
        return any(getattr(one, "closed", False) for one in self._streams)  # the module may have put anything there

    def _short(self, memory: int) -> bool:
        """Return whether half of the descriptors, or of the memory for functions, is in use while none runs."""
        room, descriptors = (resource.getrlimit(one)[0] for one in (resource.RLIMIT_AS, resource.RLIMIT_NOFILE))
        return (descriptors != resource.RLIM_INFINITY and 2 * len(os.listdir(_DESCRIPTORS)) > descriptors) or (
            room != resource.RLIM_INFINITY and 2 * (memory - self._memory) > room - self._memory
        )


def _observe() -> tuple[list[Any], int, int]:
    """Return the state that should not change, the number of threads, and the bytes of memory."""
    status = dict(line.split(":\t", 1) for line in _STATUS.read_text().splitlines() if ":\t" in line)
    signals = [status[name] for name in ("SigBlk", "SigIgn", "SigCgt", "Umask")]
    timers = [signal.getitimer(timer) for timer in _TIMERS]
    limits = [resource.getrlimit(limit) for limit in _LIMITS]
    memory = int(status["VmSize"].split()[0]) << 10
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    return [_directory(), sys.gettrace(), signals, timers, limits, nice], int(status["Threads"]), memory


def _directory() -> str:
    """Return the working directory; empty where it was removed, as by a new release."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""
