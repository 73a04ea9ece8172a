"""Latencies: an HDR histogram, in milliseconds outside and microseconds inside."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate, pairwise
from typing import Any

from hdrh.histogram import HdrHistogram

from loadtest.measures import needed_samples, percent_of

__all__ = ["PERCENTILES", "Histogram"]

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9, "max": 100.0}
_HIGHEST = 600_000_000
_CURVE = (0, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 97.5, 98, 99, 99.5, 99.9, 99.95, 99.99, 99.995,
          99.999, 100)  # fmt: skip


class Histogram:
    """Counts latencies from 1 us to 10 minutes with three digits; merging loses nothing."""

    def __init__(self) -> None:
        self._hdr: Any = HdrHistogram(1, _HIGHEST, 3)
        self._cumulated: list[int] = []
        """How many there are up to each counter of the library, where they were added up last."""

    @classmethod
    def decode(cls, text: str) -> "Histogram":
        """Return the histogram that :meth:`encode` wrote; raises ValueError."""
        histogram = cls()
        try:
            histogram._hdr.decode_and_add(text.encode())
        except Exception as error:
            # The library's own exceptions are many, and some are plain ones of zlib and struct.
            raise ValueError(f"no HDR histogram: {error}") from error
        return histogram

    def encode(self) -> str:
        """Return it in HdrHistogram's compressed form (V2, base64), which other tools read, too."""
        encoded: bytes = self._hdr.encode()
        return encoded.decode()

    @property
    def count(self) -> int:
        """How many were recorded."""
        return int(self._hdr.total_count)

    def record(self, ms: float, times: int = 1) -> None:
        """Count a latency, ``times`` times."""
        self._hdr.record_value(min(max(round(ms * 1000), 1), _HIGHEST), times)

    def add(self, other: "Histogram") -> None:
        """Merge another histogram into this one."""
        self._hdr.add(other._hdr)

    def clear(self) -> None:
        """Forget everything."""
        self._hdr.reset()
        self._cumulated = []

    def percentile(self, percent: float) -> float:
        """Return the smallest latency in ms that at least ``percent`` of the recorded ones do not exceed.

        The nearest rank, rounded up: of 60 the 99th percentile is the 60th. 0 when there are none.
        """
        return self.percentiles([percent])[0]

    def percentiles(self, percents: Iterable[float]) -> list[float]:
        """Return the :meth:`percentile` of each, in one pass: the library takes milliseconds for every one."""
        hdr, total = self._hdr, self.count
        if not total:
            return [0.0 for _ in percents]
        counted = self._sums()
        ranks = (max(1, math.ceil(percent / 100 * total - 1e-9)) for percent in percents)
        values = (hdr.get_value_from_index(bisect_left(counted, rank)) for rank in ranks)
        return [float(hdr.get_highest_equivalent_value(value)) / 1000 for value in values]

    def _sums(self) -> list[int]:
        if not self._cumulated or self._cumulated[-1] != self.count:
            self._cumulated = list(accumulate(self._hdr.counts))
        return self._cumulated

    def part(self, name: str) -> float:
        """Return ``p95``, ``p99.9``, ``mean``, ``min``, ``max`` (ms) or ``count``; raises ValueError."""
        plain: dict[str, Callable[[], float]] = {
            "mean": lambda: float(self._hdr.get_mean_value()) / 1000,
            "min": lambda: float(self._hdr.get_min_value()) / 1000,
            "max": lambda: self.percentile(100.0),
            "count": lambda: self.count,
        }
        if name in plain:
            return plain[name]()
        percent = percent_of(name)
        if percent is None:
            raise ValueError(f"{name!r} is not a part of a latency")
        return self.percentile(percent)

    def too_few_for(self, name: str) -> int:
        """Return how many samples a percentile would need, where it has fewer; else 0."""
        percent = percent_of(name)
        needed = needed_samples(percent) if percent else 0
        return needed if self.count < needed else 0

    def summary(self) -> dict[str, float]:
        """Return what the report has of it, in ms."""
        return {**dict(zip(PERCENTILES, self.percentiles(PERCENTILES.values()), strict=True)), "count": self.count}

    def curve(self) -> list[tuple[float, float]]:
        """Return (percentile, ms) points for a plot, denser towards the end, as far as there are values."""
        there = [at for at in _CURVE if at == 100 or self.count * (1 - at / 100) >= 1]
        return list(zip(there, self.percentiles(there), strict=True))

    def buckets(self, number: int = 40) -> list[tuple[float, float, int]]:
        """Return (from ms, to ms, count) of ``number`` equal parts up to the 99.9th percentile and beyond it."""
        if not self.count:
            return []
        top = max(self.percentile(99.9), 0.001)
        width, sums = top / number, self._sums()
        places = [self._hdr._counts_index_for(int(part * width * 1000)) for part in range(1, number)]
        below = [0, *(sums[place - 1] if place else 0 for place in places), self.count]
        return [(i * width, (i + 1) * width, after - before) for i, (before, after) in enumerate(pairwise(below))]
