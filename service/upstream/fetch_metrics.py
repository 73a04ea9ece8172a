"""What requests to upstreams took, phase by phase, and what came of them."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from service.core.fetching.batch import Failure
from service.core.histogram import Histogram
from service.upstream.attempt import Fetched

__all__ = ["Measures", "RunnerStatistics"]

_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PHASES: Final = ("dns", "connect", "first_byte")
_CLASSES: Final = tuple(f"{digit}xx" for digit in range(10))


@dataclass(frozen=True, slots=True)
class RunnerStatistics:
    """A snapshot: requests under way and hosts in trouble now, and totals since the start."""

    active: int
    troubled: int
    attempts: int
    joined: int
    overdue: dict[str, int]
    """URLs that the watchdog had to end, by where they waited."""


class Measures:
    """Totals over all requests; times are in seconds."""

    def __init__(self) -> None:
        self.phases = {name: Histogram(_BOUNDS) for name in ("queued", *_PHASES, "total")}
        """``dns`` and ``connect`` only where there was one: most requests go over a connection that was kept.
        ``queued`` is the wait of a URL for its first request; ``first_byte`` and ``total`` count from its begin."""
        self.outcomes: Counter[str] = Counter()
        """By the class of the status (``2xx``), the kind of the failure, or ``cancelled``."""

    def began(self, queued: float) -> None:
        """Count a URL whose first request begins."""
        self.phases["queued"].observe(queued)

    def ended(self, outcome: Fetched | Failure, took: float) -> None:
        """Count a request that has ended."""
        self.phases["total"].observe(took)
        if isinstance(outcome, Failure):
            self.outcomes[outcome.kind] += 1
        elif outcome.cache == "hit":
            # It failed, and what is stored stands in for it (stale-if-error).
            self.outcomes["stale"] += 1
        else:
            self.outcomes["3xx" if outcome.cache == "revalidated" else _CLASSES[outcome.status // 100]] += 1
            timing = outcome.timing
            for phase in _PHASES:
                if ms := timing.get(phase):
                    self.phases[phase].observe(ms / 1000)

    def abandoned(self) -> None:
        """Count a request that nobody waited for any more."""
        self.outcomes["cancelled"] += 1
