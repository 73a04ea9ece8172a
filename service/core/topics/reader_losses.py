"""What happened to readers that a ring moved past."""

from collections import Counter

__all__ = ["ReaderLosses"]


class ReaderLosses:
    """Totals over all topics."""

    __slots__ = ("dropped", "evicted", "gaps", "missed")

    def __init__(self) -> None:
        self.evicted = 0
        """Readers that were ended for lagging, as their policy has it."""
        self.dropped = 0
        """Readers that were ended because their topic was: a batch that made room for others."""
        self.gaps: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        """Gaps, and messages in them, by policy; ``resume`` where the messages had gone before the reader came."""

    def gap(self, cause: str, messages: int) -> None:
        """Count a gap."""
        self.gaps[cause] += 1
        self.missed[cause] += messages
