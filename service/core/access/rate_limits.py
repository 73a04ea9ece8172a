"""How fast a client may go, and how fast it goes: rates that own no clock and never wait.

This is the generic cell rate algorithm (ITU-T I.371): a bucket is one number, the time at which the whole
burst will be free again. An idle bucket carries no state, so callers that keep many may discard it.
"""

from dataclasses import dataclass, replace

from service.core.access.grants import ClientLimits
from service.core.errors import RateExceeded

__all__ = ["ClientRateLimiter", "SessionLimits", "spend"]


def spend(idle_at: float, now: float, count: float = 1, *, rate: float, burst: float) -> tuple[float, float]:
    """Admit ``count`` things at ``rate`` a second, and up to ``burst`` of them together.

    Returns (0, the bucket afterwards), or (the seconds until they would be admitted, the bucket as it was).
    A bucket begins as 0. More than a whole burst is admitted when it is idle, and paid for afterwards.
    """
    base = max(idle_at, now)
    end = base + count / rate
    wait = end - burst / rate - now
    if wait > 1e-9 and base > now:
        return min(wait, base - now), idle_at
    return 0.0, end


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of one client. Rates are a second; a burst is what may come at once."""

    topics: int = 128
    requests_in_array: int = 100
    # Requests, and pings and pongs of the WebSocket's own.
    rate: float = 1000.0
    burst: int = 5000
    # Bytes of all messages.
    bytes: float = 8 << 20
    bytes_burst: int = 32 << 20
    # A client that got `rate` this often goes on regardless: answers to a flood are a flood too.
    refusals: float = 50.0
    refusals_burst: int = 500

    def granted(self, own: ClientLimits) -> "SessionLimits":
        """Return these limits with those that a client has of its own in their place."""
        limits = self
        if own.topics is not None:
            limits = replace(limits, topics=own.topics)
        if own.rate is not None:
            burst = max(1, round(self.burst * own.rate / self.rate))
            limits = replace(limits, rate=own.rate, burst=burst)
        return limits


class ClientRateLimiter:
    """How fast one client goes: three buckets, one number each."""

    __slots__ = ("_bytes", "_late", "_messages", "_refusals", "flooding", "limits")

    def __init__(self, limits: SessionLimits) -> None:
        self.flooding = False
        """Whether the client goes on after it was asked often enough to wait."""
        self.limits = limits
        """May be replaced by others: what was spent stays spent."""
        self._messages = 0.0
        self._bytes = 0.0
        self._refusals = 0.0
        self._late = 0.0

    def message(self, size: int, now: float) -> None:
        """Count the bytes of a text message in; where they are too many, its requests are refused."""
        limits = self.limits
        self._late, self._bytes = spend(self._bytes, now, size, rate=limits.bytes, burst=limits.bytes_burst)

    def request(self, now: float) -> None:
        """Count a request in, or raise RateExceeded with the time to wait."""
        limits = self.limits
        if self._late:
            self._refuse(now)
            raise RateExceeded(f"limit bytes: {limits.bytes:.0f} bytes a second", retry_after=round(self._late, 3))
        wait = self.count(now)
        if wait:
            raise RateExceeded(f"limit rate: {limits.rate:g} requests a second", retry_after=round(wait, 3))

    def control(self, size: int, now: float) -> bool:
        """Count a ping or pong in; return whether it is answered."""
        self.message(size, now)
        if self._late:
            self._refuse(now)
        return not self._late and not self.count(now)

    def count(self, now: float) -> float:
        """Count something in that costs as much as a request; return 0, or the time to wait."""
        limits = self.limits
        wait, self._messages = spend(self._messages, now, rate=limits.rate, burst=limits.burst)
        if wait:
            self._refuse(now)
        return wait

    def _refuse(self, now: float) -> None:
        limits = self.limits
        wait, self._refusals = spend(self._refusals, now, rate=limits.refusals, burst=limits.refusals_burst)
        self.flooding = wait > 0
