"""What a scenario can measure: the figures that thresholds may name, known before anything is connected."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from loadtest.ledger import KINDS

__all__ = [
    "COMMON",
    "LOAD",
    "Measures",
    "connecting_last",
    "latency_figure",
    "merged",
    "needed_samples",
    "percent_of",
    "words",
]

LOAD = ("intended", "started", "made", "unanswered")
"""What the plan has, what was begun of it, what came to its end, what had no answer in time."""
COMMON = (*LOAD, "clients_intended", "clients_ready", "connected", "held", "dropped", "dropped_iterations")
_CONNECTING = ("tcp", "tls", "upgrade", "connect")
_GAUGES = (
    "load_s", "server_cpu_percent", "server_rss_mib_max", "server_fds_max", "server_lag_ms_max",
    "server_rss_per_connection_kib", "kernel_tcp_mib_max", "kernel_tcp_per_connection_kib",
    "own_cpu_percent", "own_lag_ms_max", "own_rss_mib_max",
)  # fmt: skip
_PART = r"(?P<part>p[0-9]+(?:\.[0-9]+)?|mean|min|max)"
_LATENCY = re.compile(rf"(?P<name>[a-z_]+)_(?:{_PART}_ms|(?P<count>count))", re.ASCII)
_PERCENT = re.compile(r"100(?:\.0*)?|9[0-9]{2,}|(?:0|[1-9][0-9]?)(?:\.[0-9]+)?", re.ASCII)
"""p950 is 95.0 and p999 is 99.9; p099 and p1000 are what nobody means."""
_RATE = re.compile(r"(?P<name>[a-z0-9_]+)_per_s", re.ASCII)


@dataclass(frozen=True, slots=True)
class Measures:
    """The names of one scenario's figures, beyond those that all have."""

    counters: tuple[str, ...] = ()
    latencies: tuple[str, ...] = ()
    gauges: tuple[str, ...] = ()
    checks: bool = False
    """Whether it keeps account of messages: lost, gapped, repeated, reordered."""

    def __or__(self, other: "Measures") -> "Measures":
        def both(mine: Iterable[str], theirs: Iterable[str]) -> tuple[str, ...]:
            return tuple(dict.fromkeys((*mine, *theirs)))

        return Measures(
            both(self.counters, other.counters),
            both(self.latencies, other.latencies),
            both(self.gauges, other.gauges),
            self.checks or other.checks,
        )

    def zeros(self) -> dict[str, float]:
        """Return every counter at 0, in the order in which they are shown."""
        return dict.fromkeys((*COMMON, *self.counters), 0)

    def plain(self) -> list[str]:
        """Return the figures that have a name of their own; latencies have many."""
        return [*self.zeros(), *(KINDS if self.checks else ()), "errors", *_GAUGES, *self.gauges]

    def wrong_with(self, scenario: str, figure: str) -> str | None:
        """Return what is wrong with the name of a figure: that this scenario does not measure it."""
        found = latency_figure(figure)
        if (found and found[0] in (*_CONNECTING, *self.latencies)) or figure in self.plain():
            return None
        rate = _RATE.fullmatch(figure)
        if rate and rate["name"] in self.zeros():
            return None
        latencies = [f"{name}_{part}" for name in (*self.latencies, *_CONNECTING) for part in ("p99_ms", "count")]
        near = get_close_matches(figure, [*self.plain(), *latencies], 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"--threshold: {scenario} does not measure {figure!r}{hint} {self._known()}"

    def _known(self) -> str:
        names = ", ".join(self.plain())
        latencies = ", ".join((*self.latencies, *_CONNECTING))
        return (
            f"It measures {names}; COUNTER_per_s of each counter; LATENCY_p99_ms (any percentile, mean, min, max) "
            f"and LATENCY_count of {latencies}"
        )


def connecting_last(latencies: Iterable[str]) -> list[str]:
    """Return the names of latencies in reports: the parts of connecting last."""
    return sorted(latencies, key=lambda name: name in _CONNECTING)


def words(name: str) -> str:
    """Return the name of a figure as people read it."""
    return name.replace("_", " ")


def latency_figure(figure: str) -> tuple[str, str] | None:
    """Return (latency, part) of a figure such as ``delivery_p99.9_ms``; None when it is none of a latency."""
    found = _LATENCY.fullmatch(figure)
    if not found:
        return None
    part = found["part"] or "count"
    return None if part[1:2].isdigit() and percent_of(part) is None else (found["name"], part)


def percent_of(part: str) -> float | None:
    """Return the percentage of ``p95``, ``p99.9`` or ``p999`` (99.9), and None for other texts."""
    digits = part[1:]
    if not part.startswith("p") or not _PERCENT.fullmatch(digits):
        return None
    if digits.startswith("9") and "." not in digits:
        digits = f"{digits[:2]}.{digits[2:]}0"
    value = float(digits)
    return value if 0 < value <= 100 else None


def needed_samples(percent: float) -> int:
    """Return how many samples a percentile needs, so that one of them lies beyond it: 100 for p99."""
    return 1 if percent >= 100 else max(1, math.ceil(100 / round(100 - percent, 9) - 1e-6))


def merged(parts: Iterable[Measures]) -> Measures:
    """Return what several scenarios measure together."""
    whole = Measures()
    for part in parts:
        whole |= part
    return whole
