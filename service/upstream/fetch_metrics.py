"""What fetches took and how they ended: totals and times, counted for ``/metrics``."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from service.core.fetching.outcome import Failure, Fetched
from service.core.histogram import Histogram

__all__ = ["FetchMetrics", "RunnerStatistics"]

_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PHASES: Final = ("dns", "connect", "first_byte")
_TOGETHER: Final = 1000
"""Requests whose times are counted together, whether or not anybody asks for them."""
_CLASSES: Final = tuple(f"{digit}xx" for digit in range(10))


@dataclass(frozen=True, slots=True)
class RunnerStatistics:
    """A snapshot: requests under way and hosts that get less than their limit now, and totals since the start."""

    active: int
    throttled: int
    attempts: int
    joined: int
    overdue: dict[str, int]
    """URLs that the watchdog had to end, by where they waited."""


class FetchMetrics:
    """Totals over all requests; times are in seconds."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        """By the class of the status (``2xx``), the kind of the failure, or ``cancelled``."""
        self._phases = {name: Histogram(_BOUNDS) for name in ("queued", *_PHASES, "total")}
        self._queued: list[float] = []
        self._took: list[float] = []
        self._timings: list[dict[str, float]] = []
        """What is not counted yet."""

    @property
    def phases(self) -> dict[str, Histogram]:
        """The times by their names.

        ``dns`` and ``connect`` only where there was one: most requests go over a connection that was kept.
        ``queued`` is the wait of a URL for its first request; ``first_byte`` and ``total`` count from its begin.
        """
        self._count()
        return self._phases

    def _count(self) -> None:
        self._phases["queued"].observe_all(self._queued)
        self._phases["total"].observe_all(self._took)
        for phase in _PHASES:
            times = [ms / 1000 for timing in self._timings if (ms := timing.get(phase))]
            self._phases[phase].observe_all(times)
        for counted in (self._queued, self._took, self._timings):
            counted.clear()

    def began(self, queued: float) -> None:
        """Count a URL whose first request begins."""
        self._queued.append(queued)

    def ended(self, outcome: Fetched | Failure, took: float) -> None:
        """Count a request that has ended."""
        self._took.append(took)
        if len(self._took) >= _TOGETHER:
            self._count()
        if isinstance(outcome, Failure):
            self.outcomes[outcome.kind] += 1
        elif outcome.cache == "hit":
            # It failed, and what is stored stands in for it (stale-if-error).
            self.outcomes["stale"] += 1
        else:
            self.outcomes["3xx" if outcome.cache == "revalidated" else _CLASSES[outcome.status // 100]] += 1
            self._timings.append(outcome.timing)

    def abandoned(self) -> None:
        """Count a request that ended after everyone who had asked for it had left."""
        self.outcomes["cancelled"] += 1
        if len(self._queued) >= _TOGETHER:
            self._count()
