"""What a process has counted since it was last asked: an increment that crosses to the supervisor as JSON."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from loadtest.histogram import Histogram

__all__ = ["Tally", "bounded", "reasons", "rounded"]

_KINDS_OF_ERROR = 100
_LONGEST_ERROR = 300
OTHER = "other"


class Tally:
    """Counters, errors, latencies and gauges of one process.

    :meth:`take` empties it: what crosses is new, and a process that dies has reported all but its last second.
    """

    def __init__(self) -> None:
        self.counters: defaultdict[str, float] = defaultdict(float)
        self.errors: Counter[str] = Counter()
        self.gauges: dict[str, float] = {}
        """Values of now: ``clients`` and the like are added up over processes, those of ``own_`` are the worst."""
        self.checks: Counter[str] = Counter()
        self.places: list[tuple[str, str, int, int, int]] = []
        """(kind, topic, first offset, last offset, readers) of each trouble."""
        self.measured_from = 0.0
        """The moment of the monotonic clock up to which everything is warm-up."""
        self._latencies: defaultdict[str, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))

    def count(self, name: str, more: float = 1) -> None:
        """Add to a counter."""
        self.counters[name] += more

    def error(self, text: str) -> None:
        """Count an error by its text; beyond a hundred kinds, as other."""
        self.errors[bounded(self.errors, text[:_LONGEST_ERROR])] += 1

    def latency(self, name: str, due: float, at: float, times: int = 1) -> None:
        """Record what was meant for ``due`` and happened ``at``, unless it belongs to the warm-up."""
        if due >= self.measured_from:
            self.duration(name, at - due, times)

    def duration(self, name: str, seconds: float, times: int = 1) -> None:
        """Record a duration."""
        self.recorder(name)[rounded(seconds)] += times

    def recorder(self, name: str) -> defaultdict[int, int]:
        """Return the counts of one latency by :func:`rounded` microseconds, for those that record masses."""
        return self._latencies[name]

    def flush(self) -> dict[str, Any]:
        """Return everything since the last time, and begin anew; gauges stay."""
        taken: dict[str, Any] = {
            "counters": dict(self.counters),
            "errors": dict(self.errors),
            "latencies": {name: _histogram(counts).encode() for name, counts in self._latencies.items() if counts},
            "gauges": self.gauges,
            "checks": dict(self.checks),
            "places": self.places,
        }
        self.counters = defaultdict(float)
        self.errors = Counter()
        self.checks = Counter()
        self.places = []
        for counts in self._latencies.values():
            # Emptied and not replaced: recorders are kept by those who use them.
            counts.clear()
        return taken


def bounded(errors: Mapping[str, int], kind: str) -> str:
    """Return the kind under which an error is counted: itself, or "other" beyond a hundred kinds."""
    return kind if kind in errors or len(errors) - (OTHER in errors) < _KINDS_OF_ERROR else OTHER


def rounded(seconds: float) -> int:
    """Return microseconds with three digits, the middle of those that round to it.

    A histogram's own recording takes a microsecond, which mass deliveries do not have; what falls together here is
    recorded once a second. Three digits are what the histogram keeps anyway.
    """
    us = int(seconds * 1e6)
    if us < 1_000:
        return us
    if us < 10_000:
        return us - us % 10 + 5
    if us < 100_000:
        return us - us % 100 + 50
    return us - us % 1_000 + 500


def _histogram(counts: dict[int, int]) -> Histogram:
    histogram = Histogram()
    for us, times in counts.items():
        histogram.record(us / 1000, times)
    return histogram


def reasons(texts: Iterable[str], most: int = 3) -> str:
    """Return the commonest of many texts, the first few."""
    kinds = Counter(texts)
    named = [text for text, _ in kinds.most_common(most)]
    return ", ".join(named) + (f" and {len(kinds) - most} more kinds" if len(kinds) > most else "")
