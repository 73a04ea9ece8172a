"""How fast one client may go: a rate that owns no clock and never waits.

This is the generic cell rate algorithm (ITU-T I.371): a bucket is one number, the time at which the whole
burst will be free again. An idle bucket carries no state, so callers that keep many may discard it.
"""

__all__ = ["spend"]


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
