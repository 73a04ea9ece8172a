"""How fast one client may go: a rate that owns no clock and never waits."""

from math import inf

__all__ = ["RateLimiter"]


class RateLimiter:
    """Admit ``rate`` things a second, and up to ``burst`` of them together.

    This is the generic cell rate algorithm (ITU-T I.371): one number, the time at which the whole
    burst would be free again, stands for the bucket.
    """

    __slots__ = ("_idle_at", "_interval", "_slack")

    def __init__(self, rate: float, burst: int) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError("rate must be above 0 and burst at least 1")
        self._interval = 1 / rate
        self._slack = burst * self._interval
        self._idle_at = -inf

    def admit(self, now: float, count: float = 1) -> float:
        """Return 0 and count them in, or the seconds until they would be admitted, counting nothing.

        More than a whole burst is admitted when the bucket is idle, and paid for afterwards.
        """
        base = max(self._idle_at, now)
        end = base + count * self._interval
        wait = end - self._slack - now
        if wait > 1e-9 and base > now:
            return min(wait, base - now)
        self._idle_at = end
        return 0.0
