"""What the careful client is alone: the medians of several periods, and none of them disturbed if that can be.

Where something else runs on the machine meanwhile, the bounds that follow would be too generous.
"""

from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Final

from bench.tenants.verdict import Times, bound

__all__ = ["Alone"]

_PERIODS: Final = 3
"""Of this row and the rows before."""
_AGAIN: Final = 3
"""How often a disturbed period is measured again. The last one counts: the machine may have become slower."""


class Alone:
    """The last periods of rows that come one after another."""

    def __init__(self) -> None:
        self._periods: deque[Times] = deque(maxlen=_PERIODS)

    def usual(self, measure: Callable[[], Times]) -> Times:
        """Measure one more period, or as many as it takes in the first row; return the medians of each time."""
        self._periods.append(self._undisturbed(measure))
        while len(self._periods) < _PERIODS:
            self._periods.append(self._undisturbed(measure))
        return _medians(self._periods)

    def _undisturbed(self, measure: Callable[[], Times]) -> Times:
        times = measure()
        for _ in range(_AGAIN if self._periods else 0):
            if not _far_above(times, _medians(self._periods)):
                break
            times = measure()
        return times


def _medians(periods: deque[Times]) -> Times:
    """Return the median p50 and p99 of each, over those periods in which it was measured."""
    several: dict[str, list[tuple[float, float]]] = {}
    for times in periods:
        for name, both in times.items():
            several.setdefault(name, []).append(both)
    return {
        name: (median(p50 for p50, _ in both), median(p99 for _, p99 in both)) for name, both in several.items()
    }


def _far_above(times: Times, usual: Times) -> bool:
    """Return whether a p99 would be over its bound beside an attacker."""
    return any(name in usual and p99 > bound(usual[name][1]) for name, (_, p99) in times.items())
