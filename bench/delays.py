"""How late a service's loop is: its own histogram in ``/metrics``, of which the looks of two moments differ."""

import re
from collections.abc import Mapping
from typing import Final

from bench.raw import http_request

__all__ = ["delays", "more", "percentile"]

_BUCKET: Final = re.compile(r'sluice_loop_delay_seconds_bucket\{le="([^"]+)"\} (\S+)')


def delays(port: int) -> dict[float, float]:
    """Return how many samples since the start found the loop at most this many seconds late."""
    text = http_request(port, "GET", "/metrics")[1].decode()
    return {float(bound): float(looks) for bound, looks in _BUCKET.findall(text)}


def more(total: dict[float, float], before: Mapping[float, float], after: Mapping[float, float]) -> None:
    """Add to ``total`` the looks between two moments."""
    for bound, looks in after.items():
        total[bound] = total.get(bound, 0.0) + looks - before[bound]


def percentile(looks: Mapping[float, float], share: float) -> float:
    """Return the seconds that this share of the looks did not exceed, interpolated within its bucket."""
    bounds = sorted(looks)
    total = looks[bounds[-1]]
    below, lower = 0.0, 0.0
    for bound in bounds:
        if looks[bound] >= share * total:
            return lower + (bound - lower) * (share * total - below) / max(1.0, looks[bound] - below)
        below, lower = looks[bound], bound
    raise AssertionError
