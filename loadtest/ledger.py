"""What one reader of one topic has had: the account behind ``lost gapped repeated reordered``."""

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["KINDS", "FaultCounts", "Ledger"]

KINDS = ("lost", "gapped", "repeated", "reordered")
_MOST_PLACES = 10_000


@dataclass(slots=True)
class FaultCounts:
    """The troubles of all readers of a topic: how many, and where.

    ``lost``: never arrived by the end of the settling time and not announced by a gap. ``gapped``: announced.
    ``repeated``: an offset seen before. ``reordered``: a first arrival below the highest seen. ``places`` has
    for (kind, first offset, last offset) how many readers met it, ``clients`` for (kind, reader) how many messages.
    """

    topic: str
    counts: Counter[str] = field(default_factory=Counter)
    places: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    clients: Counter[tuple[str, int]] = field(default_factory=Counter)

    def note(self, kind: str, first: int, last: int, number: int) -> None:
        """Count the offsets from ``first`` to ``last`` as one kind of trouble of the reader ``number``."""
        if last >= first:
            self.counts[kind] += last - first + 1
            self.clients[kind, number] += last - first + 1
            place = (kind, first, last)
            if place in self.places or len(self.places) < _MOST_PLACES:
                self.places[place] += 1


class Ledger:
    """The account of one reader; ``expected`` is the offset that comes next if all is well.

    ``missing`` has the ranges that were passed over: they may still come, or be announced as a gap. It
    grows by what arrives and never by how far apart two offsets are.
    """

    __slots__ = ("expected", "faults", "gaps", "missing", "number", "start")

    def __init__(self, faults: FaultCounts, start: int, number: int = 0) -> None:
        self.faults = faults
        self.number = number
        self.start = self.expected = start
        self.missing: list[tuple[int, int]] | None = None
        self.gaps = 0
        """Gaps that were announced."""

    def run(self, first: int, count: int) -> None:
        """Take ``count`` consecutive offsets from ``first`` on."""
        if first == self.expected:
            self.expected += count
            return
        for offset in range(first, first + count):
            self._one(offset)

    def pass_over(self, offset: int) -> None:
        """Expect a message no longer that was never published."""
        self._no_longer_missing(offset, offset)
        if offset >= self.expected:
            if offset > self.expected:
                self.missing = [*(self.missing or ()), (self.expected, offset - 1)]
            self.expected = offset + 1

    def _one(self, offset: int) -> None:
        if offset < self.start:
            # History, from before it subscribed.
            return
        if offset >= self.expected:
            if offset > self.expected:
                self.missing = [*(self.missing or ()), (self.expected, offset - 1)]
            self.expected = offset + 1
        elif self._no_longer_missing(offset, offset):
            self.faults.note("reordered", offset, offset, self.number)
        else:
            self.faults.note("repeated", offset, offset, self.number)

    def gap(self, first: int, last: int) -> None:
        """Take the announcement that the offsets from ``first`` to ``last`` never come."""
        self.gaps += 1
        for a, b in self._no_longer_missing(first, last):
            self.faults.note("gapped", a, b, self.number)
        self.faults.note("gapped", max(first, self.expected), last, self.number)
        if first > self.expected:
            self.missing = [*(self.missing or ()), (self.expected, first - 1)]
        self.expected = max(self.expected, last + 1)

    def close(self, newest: int) -> None:
        """Count as lost what has not come of everything up to ``newest``."""
        for first, last in [*(self.missing or ()), (self.expected, newest)]:
            self.faults.note("lost", first, min(last, newest), self.number)

    def has(self, newest: int) -> bool:
        """Return whether everything up to ``newest`` has come or was announced."""
        return self.expected > newest and not self.missing

    def _no_longer_missing(self, first: int, last: int) -> list[tuple[int, int]]:
        """Take these offsets out of what is missing, and return those that were."""
        taken: list[tuple[int, int]] = []
        left: list[tuple[int, int]] = []
        for a, b in self.missing or ():
            if b < first or a > last:
                left.append((a, b))
                continue
            taken.append((max(a, first), min(b, last)))
            left += [(x, y) for x, y in ((a, first - 1), (last + 1, b)) if x <= y]
        self.missing = left or None
        return taken
