"""The figures of batches."""

from dataclasses import dataclass

__all__ = ["BatchesStatistics"]


@dataclass(frozen=True, slots=True)
class BatchesStatistics:
    """A snapshot: counts now, and totals since the start."""

    running: int
    retained: int
    active: int
    ok: int
    failed: int
    failures: dict[str, int]
    """How many failed, by their kind."""
    waiting: int
    """How many wait for memory."""
    given_up: int
    outgrown: int
    """Events that were given up, and batches whose URLs failed for lack of memory."""
    spilled: int
    """Events that left memory, and are on disk."""
