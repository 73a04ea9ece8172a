"""What answers say of a host: how many requests it may have at once, and until when it is left alone.

One *event* is one step: what began before the last step took effect says nothing new. Steps down halve the limit,
successes raise it by one for each round (additive increase, multiplicative decrease: Chiu and Jain, 1989), pauses
double while no answer comes between them. Where a host cannot be reached at all the breaker *trips*: nothing but
one probe after each pause.
"""

from dataclasses import dataclass
from typing import Final

from service.core.fetching.outcome import HostVerdict

__all__ = ["BUDGET", "COMMON_BUDGET", "Backoff"]

_TRIP_AFTER: Final = 20
"""Failures in a row, without an answer between them."""
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 60.0
_LONGEST_RETRY_AFTER: Final = 120.0
"""Seconds of a Retry-After that are honoured: one page of a host must not close all of it for an hour."""
_FIRST_RETRY_AFTER: Final = 1.0
_INSISTENCE: Final = 4.0
"""The first Retry-After may be one page's: it holds back the host for a second, and each one of another URL
without a good answer between them for four times as long."""
BUDGET: Final = 50.0
_REFILL: Final = 0.2
"""Retries that such a host has at first, and gains with each success: 20 %, as in Finagle and Envoy."""
COMMON_BUDGET: Final = 500.0
"""Retries that all owners together have there at first."""
_EACH: Final = 5
"""The first retries of an owner, which it may make even where the common budget is used up."""
_TOO_BUSY: Final = 2.0
_DECAY: Final = 0.1
"""Answers of 503 without a Retry-After may be one page's: they count as a request for less from every tenth on."""


@dataclass(slots=True, eq=False)
class Backoff:
    """A host in trouble, for everybody or for one owner; forgotten once all is well again."""

    most: int
    """How many requests it may have when it is well."""
    limit: int
    most_retries: float = BUDGET
    budget: float = BUDGET
    not_before: float = 0.0
    _stepped: float = float("-inf")
    """When the last step was made; attempts that began before it belong to the same event."""
    _pauses: int = 0
    _retry_afters: int = 0
    """How many different URLs in turn have answered with a Retry-After."""
    _last_url: str | None = None
    """The last of them."""
    _failures: int = 0
    _busy_score: float = 0.0
    _round: int = 0
    _tripped: bool = False

    def spend_retry(self, common: "Backoff | None" = None) -> bool:
        """Take a retry out of the budget, and out of the one of all owners; return whether there was one left."""
        if self.budget < 1:
            return False
        if common is not None:
            if common.budget < 1 and self.budget <= self.most_retries - _EACH:
                return False
            common.budget = max(0.0, common.budget - 1)
        self.budget -= 1
        return True

    def fine(self, begun: float) -> bool:
        """Record a good answer to an attempt that began at ``begun``; return whether all is well again."""
        self._failures = 0
        self._busy_score = max(0.0, self._busy_score - _DECAY)
        self.budget = min(self.most_retries, self.budget + _REFILL)
        if begun <= self._stepped:
            return False
        self._tripped = False
        self._pauses = self._retry_afters = 0
        self._round += 1
        if self._round >= self.limit and self.limit < self.most:
            self.limit += 1
            self._round = 0
        return self.limit >= self.most and self.budget >= self.most_retries and not self._busy_score

    def bad(
        self, verdict: HostVerdict, begun: float, now: float, retry_after: float | None, url: str | None, *,
        active: int, chance: float,
    ) -> None:  # fmt: skip
        """Record a refusal or a failure, while ``active`` requests are under way; ``chance`` is from 0 to 1."""
        if verdict == "down":
            self._down(begun, now, chance)
        elif verdict == "slow" or retry_after is not None or self._count_busy():
            self._slow(begun, now, retry_after, url, active, chance)

    def _count_busy(self) -> bool:
        """Count an answer of 503; return whether there were so many that it counts as a request for less."""
        self._failures = 0
        self._busy_score = min(_TOO_BUSY, self._busy_score + 1)
        return self._busy_score >= _TOO_BUSY

    def _slow(
        self, begun: float, now: float, retry_after: float | None, url: str | None, active: int, chance: float
    ) -> None:
        self._failures = 0
        self._tripped = False
        if retry_after is not None:
            if url is not None and url == self._last_url:
                # The same URL again says nothing new of the host; its own retries wait as long as it asks for.
                return
            longest = min(_LONGEST_RETRY_AFTER, _FIRST_RETRY_AFTER * _INSISTENCE**self._retry_afters)
            self.not_before = max(self.not_before, now + min(retry_after, longest))
        if begun <= self._stepped:
            return
        # One page that asks for less says nothing of how many the host can have at once.
        used = self.most if retry_after is not None and not self._retry_afters else active + 1
        self.limit = max(1, min(self.limit, used) // 2)
        if retry_after is not None:
            self._retry_afters, self._last_url = self._retry_afters + 1, url
        self._step(now, chance, pause=retry_after is None)

    def _down(self, begun: float, now: float, chance: float) -> None:
        self._failures += 1
        if begun <= self._stepped or not (self._tripped or self._failures >= _TRIP_AFTER):
            return
        self._tripped = True
        self.limit = 1
        self._step(now, chance, pause=True)

    def _step(self, now: float, chance: float, *, pause: bool) -> None:
        self._stepped = now
        self._round = 0
        if pause:
            ceiling = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**self._pauses)
            self._pauses += 1
            # At least half of it: a pause of nearly 0 s would have no effect.
            self.not_before = max(self.not_before, now + ceiling * (0.5 + chance / 2))
