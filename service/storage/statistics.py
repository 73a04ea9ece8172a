"""The figures of storage."""

from dataclasses import dataclass

from service.core.histogram import Histogram

__all__ = ["Recovered", "StorageStatistics"]


@dataclass(frozen=True, slots=True)
class StorageStatistics:
    """A snapshot: counts now, and totals since the start."""

    commits: int
    failures: int
    durations: Histogram
    """Of commits, in seconds."""
    waiting: int
    """Changes that wait for the next commit."""
    size: int
    """Bytes on disk."""
    topics: int
    damaged: int
    """Records that were passed over at the start."""
    recovery: float
    """Seconds that the start took."""


@dataclass(slots=True)
class Recovered:
    """What was found at the start. Numbers of rows, but for ``seconds``."""

    topics: int = 0
    messages: int = 0
    keys: int = 0
    watches: int = 0
    damaged: int = 0
    """Records that are not what was written; they are passed over."""
    renewed: int = 0
    """Topics that have new epochs, because positions could no longer be trusted."""
    seconds: float = 0.0
