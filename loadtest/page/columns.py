"""A time line as columns, thinned as it grows: however long a run is, its plots have a bounded number of points."""

from collections import Counter
from collections.abc import Sequence

from loadtest.report import RunReport

__all__ = ["Columns"]

_AT = "at_s"


class Columns:
    """What each figure of a time line was, in at most ``most`` points and a few; ``most`` is a multiple of four.

    Two points stand for ``2 * stride`` seconds: their least and their largest value, in their order, so that no
    peak and no stall is lost. ``stride`` is 1, and each second has its point, until there are too many; then it
    doubles.
    """

    def __init__(self, most: int) -> None:
        self.stride = 1
        self.seen: Counter[str] = Counter()
        """In how many seconds each figure was there and not 0."""
        self._most = most
        self._settled: dict[str, list[float | None]] = {_AT: []}
        self._waiting: list[dict[str, float]] = []
        self._taken = 0
        self._sums: set[str] = set()

    def extend(self, report: RunReport) -> None:
        """Take the seconds that are new in the time line of a report."""
        self._sums = {"errors", *report.counters}
        for moment in report.timeline[self._taken :]:
            self.seen.update(name for name, value in moment.items() if value)
            self._waiting.append(moment)
            if len(self._waiting) == 2 * self.stride:
                self._settle()
        self._taken = len(report.timeline)

    def column(self, name: str) -> list[float | None]:
        """Return the values of a figure; None where it was not measured."""
        return [*self._had(name), *self._tail(name)]

    @property
    def times(self) -> list[float]:
        """The seconds of the run at which the points are."""
        return [at for at in self.column(_AT) if at is not None]

    def _settle(self) -> None:
        names = {name for moment in self._waiting for name in moment}
        tails = {name: (self._had(name), self._tail(name)) for name in self._settled.keys() | names}
        for name, (had, tail) in tails.items():
            had += tail
            self._settled[name] = had
        self._waiting.clear()
        if len(self._settled[_AT]) >= self._most:
            self._settled = {name: _halved(name, values) for name, values in self._settled.items()}
            self.stride *= 2

    def _had(self, name: str) -> list[float | None]:
        # A counter that a moment lacks did not grow; a gauge that it lacks was not measured.
        return self._settled.get(name) or [self._missing(name)] * len(self._settled[_AT])

    def _missing(self, name: str) -> float | None:
        return 0.0 if name in self._sums else None

    def _tail(self, name: str) -> list[float | None]:
        values = [moment.get(name, self._missing(name)) for moment in self._waiting]
        if self.stride == 1 or len(values) < 2:
            return values
        return [values[0], values[len(values) // 2]] if name == _AT else _extremes(values)


def _halved(name: str, values: Sequence[float | None]) -> list[float | None]:
    if name == _AT:
        return list(values[::2])
    return [value for begin in range(0, len(values), 4) for value in _extremes(values[begin : begin + 4])]


def _extremes(values: Sequence[float | None]) -> list[float | None]:
    """Return the least and the largest of some values, in their order."""
    some = [(value, place) for place, value in enumerate(values) if value is not None]
    if not some:
        return [None, None]
    pair = sorted((min(some), max(some)), key=lambda one: one[1])
    return [value for value, _ in pair]
