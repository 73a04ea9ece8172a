"""What one reader of one topic has had: the account behind ``lost gapped repeated reordered``."""

from dataclasses import dataclass

__all__ = ["Checks", "Ledger"]


@dataclass(slots=True)
class Checks:
    """Counts over all readers.

    ``lost``: never arrived by the end of the settling time and not announced by a gap. ``gapped``:
    announced. ``repeated``: an offset seen before. ``reordered``: a first arrival below the highest seen.
    """

    lost: int = 0
    gapped: int = 0
    repeated: int = 0
    reordered: int = 0


class Ledger:
    """The account of one reader; ``expected`` is the offset that comes next if all is well."""

    __slots__ = ("checks", "expected", "missing")

    def __init__(self, checks: Checks, start: int) -> None:
        self.checks = checks
        self.expected = start
        self.missing: set[int] | None = None

    def run(self, first: int, count: int) -> None:
        """Take ``count`` consecutive offsets from ``first`` on."""
        if first == self.expected:
            self.expected += count
        else:
            for offset in range(first, first + count):
                self._one(offset)

    def _one(self, offset: int) -> None:
        if offset >= self.expected:
            if offset > self.expected:
                self.missing = (self.missing or set()) | set(range(self.expected, offset))
            self.expected = offset + 1
        elif self.missing and offset in self.missing:
            self.missing.discard(offset)
            self.checks.reordered += 1
        else:
            self.checks.repeated += 1

    def gap(self, first: int, last: int) -> None:
        """Take the announcement that the offsets from ``first`` to ``last`` never come."""
        for offset in range(first, last + 1):
            if offset >= self.expected:
                self.checks.gapped += 1
            elif self.missing and offset in self.missing:
                self.missing.discard(offset)
                self.checks.gapped += 1
        self.expected = max(self.expected, last + 1)

    def close(self, newest: int) -> None:
        """Count as lost what has not come of everything up to ``newest``."""
        self.checks.lost += max(0, newest + 1 - self.expected) + len(self.missing or ())
