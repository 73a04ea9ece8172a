"""When to come back after a connection has ended. No clock and no sleeping: it only says how long to wait."""

import random
from collections.abc import Callable
from enum import Enum
from typing import Final

from .errors import seconds

__all__ = ["CLOSE_CODES", "Advice", "Backoff", "advice_of_status"]


class Advice(Enum):
    """Whether coming back helps, in docs/protocol.md's words."""

    NOW = "at once, with jitter"
    LATER = "after a growing delay, with jitter"
    FIXED = "only after the client has been changed"
    RENEWED = "with another token"


CLOSE_CODES: Final = {
    1001: Advice.NOW,
    1002: Advice.FIXED,
    1003: Advice.FIXED,
    1007: Advice.FIXED,
    1009: Advice.FIXED,
    1013: Advice.LATER,
    4401: Advice.RENEWED,
    4403: Advice.FIXED,
    4408: Advice.NOW,
    4429: Advice.LATER,
}
"""The documented ones; any other, and a connection that was cut without one, is ``NOW``."""

_PASSING: Final = frozenset({408, 425, 429})


def advice_of_status(status: int) -> Advice:
    """Say whether an HTTP request that was answered like this may be made again (RFC 9110, section 15).

    A 200, 204 or a redirection instead of what was asked for comes from something that stands in between.
    """
    return Advice.FIXED if 400 <= status < 500 and status not in _PASSING else Advice.LATER


class Backoff:
    """The delays of one client, in seconds.

    A delay doubles from ``first`` to ``most`` with every connection that does not last ``steady``. What is
    waited is random, so that those who were sent away together do not come back together: anything up to the
    delay after ``NOW``, and at least half of it after ``LATER``. What the service asked for comes on top.
    """

    def __init__(
        self,
        first: float = 0.5,
        most: float = 30.0,
        *,
        steady: float = 10.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._first = first
        self._most = most
        self._steady = steady
        self._chance = chance
        self._failures = 0

    def __repr__(self) -> str:
        return f"<Backoff {self._failures} in a row>"

    def delay(self, advice: Advice, *, lasted: float = 0.0, retry_after: float | None = None) -> float:
        """Return how long to wait after a connection that lasted so long."""
        if lasted >= self._steady:
            self._failures = 0
        most = min(self._most, self._first * 2.0 ** min(self._failures, 60))
        self._failures += 1
        least = 0.0 if advice is Advice.NOW else most / 2
        return (seconds(retry_after) or 0.0) + least + (most - least) * self._chance()
