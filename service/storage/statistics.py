"""The figures of storage."""

from dataclasses import dataclass

from service.core.histogram import Histogram

__all__ = ["StorageStatistics"]


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
