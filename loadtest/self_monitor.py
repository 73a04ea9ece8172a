"""The generator watches itself: a figure that it spoilt by being late must not be blamed on the service."""

import resource
from time import monotonic, process_time
from typing import Final

import psutil

__all__ = ["SelfMonitor", "descriptors", "resident_mib"]

_OWN: Final = 50
"""Descriptors that a process needs beside its sockets."""


class SelfMonitor:
    """How late this process' loop is, and what it uses: asked once a second."""

    def __init__(self) -> None:
        self._worst = 0.0
        self._cpu = process_time()
        self._at = monotonic()

    def note_lag(self, seconds: float) -> None:
        """Note by how much too late the loop did something that was meant for a moment."""
        self._worst = max(self._worst, seconds)

    def gauges(self) -> dict[str, float]:
        """Return the worst lag since the last time, the share of a core, and resident memory."""
        cpu, at = process_time(), monotonic()
        gauges = {
            "own_lag_ms": round(self._worst * 1000, 2),
            "own_cpu_percent": round((cpu - self._cpu) / max(at - self._at, 1e-9) * 100, 1),
            "own_rss_mib": round(resident_mib(), 2),
        }
        self._worst, self._cpu, self._at = 0.0, cpu, at
        return gauges


def resident_mib() -> float:
    """Return the resident memory of this process in MiB."""
    return float(psutil.Process().memory_info().rss) / (1 << 20)


def descriptors(needed: int) -> str | None:
    """Raise the limit of descriptors as far as it goes; return what to do where it is too low for ``needed``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY or needed + _OWN <= hard:
        return None
    wanted = f"{needed} sockets of one process need {needed + _OWN} descriptors and the limit is {hard}"
    if hard <= _OWN:
        return f"{wanted}: raise it (ulimit -Hn)"
    return f"{wanted}: --processes {-(-needed // (hard - _OWN))}, fewer --clients, or raise it (ulimit -Hn)"
