"""Latencies: an HDR histogram, in milliseconds outside and microseconds inside."""

from typing import Any

from hdrh.histogram import HdrHistogram

__all__ = ["PERCENTILES", "Histogram"]

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
_HIGHEST = 120_000_000


class Histogram:
    """Counts latencies from 1 us to 2 minutes with three digits; merging loses nothing."""

    def __init__(self) -> None:
        self._hdr: Any = HdrHistogram(1, _HIGHEST, 3)

    @property
    def count(self) -> int:
        """How many were recorded."""
        return int(self._hdr.total_count)

    def record(self, ms: float, times: int = 1) -> None:
        """Count a latency, ``times`` times."""
        self._hdr.record_value(min(max(int(ms * 1000), 1), _HIGHEST), times)

    def add(self, other: "Histogram") -> None:
        """Merge another histogram into this one."""
        self._hdr.add(other._hdr)

    def percentile(self, percent: float) -> float:
        """Return the latency in ms that ``percent`` of the recorded ones do not exceed; 0 when there are none."""
        return float(self._hdr.get_value_at_percentile(percent)) / 1000 if self.count else 0.0

    def summary(self) -> dict[str, float]:
        """Return what the report has of it, in ms."""
        return {
            "p50": self.percentile(50.0),
            "p90": self.percentile(90.0),
            "p99": self.percentile(99.0),
            "p999": self.percentile(99.9),
            "max": self.percentile(100.0),
            "count": self.count,
        }

    def curve(self) -> list[tuple[float, float]]:
        """Return (percentile, ms) points for a plot, denser towards the end."""
        points = [
            0.0,
            10,
            20,
            30,
            40,
            50,
            60,
            70,
            75,
            80,
            85,
            90,
            92.5,
            95,
            97.5,
            98,
            99,
            99.5,
            99.9,
            99.95,
            99.99,
            100,
        ]
        return [(point, self.percentile(point)) for point in points]

    def buckets(self, number: int = 40) -> list[tuple[float, float, int]]:
        """Return (from ms, to ms, count) of ``number`` equal parts up to the 99.9th percentile and beyond it."""
        if not self.count:
            return []
        top = max(self.percentile(99.9), 0.001)
        width = top / number
        counts = [0] * (number + 1)
        for item in self._hdr.get_recorded_iterator():
            value = item.value_iterated_to / 1000
            counts[min(int(value / width), number)] += item.count_added_in_this_iter_step
        counts[number - 1] += counts.pop()
        return [(i * width, (i + 1) * width, found) for i, found in enumerate(counts)]
