"""Attempts at URLs: what each fetches, what it took, what that says of its host, and whether it is made again."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import getrandbits
from time import time
from typing import Final, Literal

import msgspec

from service.core.access.grants import EVERY_HOST, HostPatterns
from service.core.correlation import Trace
from service.core.fetching.host_limiter import HostLimiter
from service.core.fetching.outcome import (
    NO_MEMORY,
    RETRIED_STATUSES,
    Failure,
    Fetched,
    memory_delay,
    retry_delay,
    verdict,
)
from service.core.fetching.target import Target
from service.core.fetching.task import FetchTask
from service.core.memory_budget import COPIES, MemoryBudget
from service.core.owner import SERVICE, Owner
from service.runtime.containment import report
from service.upstream.caching.cache import Revalidation
from service.upstream.caching.dates import delay_of, seconds_of
from service.upstream.caching.rfc9111 import CacheKey
from service.upstream.fetch_metrics import FetchMetrics

__all__ = [
    "FetchAttempt",
    "FetchAttempts",
    "attempt_of",
    "milliseconds",
    "reflects",
    "retry_after_of",
    "traced",
]

_SHORTEST: Final = 4
"""Characters of a value of ``tracestate`` that is looked for in answers; less is in many by chance."""


def _nobody_else() -> None:
    """Do nothing: nobody has joined the attempt."""


class FetchAttempt(msgspec.Struct, eq=False):
    """What to fetch; ``timeout`` in seconds is for everything, ``max_bytes`` for the decoded body."""

    target: Target
    """What is asked; moved along by redirects."""
    method: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout: float
    max_bytes: int
    redirects: int
    want_body: bool = True
    cache: Literal["default", "reload", "no-store", "only-if-cached"] = "no-store"
    robots: bool = True
    """Whether a host's robots.txt counts, where the service heeds them."""
    hosts: HostPatterns = EVERY_HOST
    """Where redirects may lead."""
    owner: Owner = SERVICE
    """For whom: bodies that are being read count for them."""
    trace: Trace | None = None
    """What every request that is made for this is a child of."""
    move: Callable[[str], Awaitable[Failure | None]] | None = None
    """Called before another origin is asked than the one before: it waits for a place there."""
    kept_apart: Callable[[], None] = _nobody_else
    """Called when the attempt turns out to be for its owner alone: the head of an answer, or of a redirect, says
    so; an answer shows what only its owner has sent; or it has to wait where another owner's would not."""
    slow: bool = False
    """Whether it was ended for a body that came too slowly."""
    key: CacheKey | None = None
    """What the cache knows the request by, where it was asked for that; a redirect leads to another."""
    question: Revalidation | None = None
    """What the cache has to do with what was asked last."""


def attempt_of(work: FetchTask) -> FetchAttempt:
    """Return what an attempt at this URL is to fetch."""
    request, options = work.request, work.group.options
    return FetchAttempt(
        target=work.target if not work.target.fragment else work.target.without_fragment(),
        method=request.method or options.method,
        headers={**options.headers, **(request.headers or {})} if request.headers else options.headers,
        body=request.body.encode() if request.body is not None else None,
        timeout=options.timeout,
        max_bytes=options.max_bytes,
        redirects=options.redirects,
        want_body=options.want_body,
        cache=options.cache,
        hosts=work.group.hosts,
        owner=work.group.owner,
        trace=work.group.trace,
    )


class FetchAttempts:
    """Begins and ends attempts: measures them, reports them to their hosts, and decides on retries."""

    def __init__(self, hosts: HostLimiter, memory: MemoryBudget, *, chance: Callable[[], float]) -> None:
        self.made = 0
        self.metrics = FetchMetrics()
        self._hosts = hosts
        self._memory = memory
        self._chance = chance
        self._loop = asyncio.get_running_loop()

    def begin(self, work: FetchTask, attempt: FetchAttempt) -> float:
        """Count an attempt that begins; return when."""
        self.made += 1
        work.begun = begun = self._loop.time()
        work.attempts += 1
        if work.attempts == 1:
            self.metrics.began(begun - work.admitted)
        attempt.timeout = work.deadline - begun
        return begun

    def ended(self, attempt: FetchAttempt, outcome: Fetched | Failure, begun: float) -> None:
        """Measure an attempt that has ended, and record what it says of its host."""
        try:
            now = self._loop.time()
            self.metrics.ended(outcome, now - begun)
            judged = verdict(outcome.status if isinstance(outcome, Fetched) else outcome, now - begun)
            if judged is not None and not (isinstance(outcome, Fetched) and outcome.cache == "hit"):
                # Recorded for the host that was asked last: a redirect to a dead host says nothing about the host
                # that sent it.
                retry_after = None if judged == "fine" else retry_after_of(outcome)
                self._hosts.record(
                    attempt.target.origin, judged, begun, now, retry_after, attempt.target.url, attempt.owner
                )
        except Exception as error:
            report("an outcome could not be recorded", error)

    def again(self, work: FetchTask, outcome: Fetched | Failure) -> float | None:
        """Return when an attempt is made again that had this outcome, or None where it is final."""
        if isinstance(outcome, Fetched):
            if not self._memory.has(COPIES * len(outcome.body)):
                return self.postponed(work)
            if outcome.status not in RETRIED_STATUSES:
                return None
        elif outcome is NO_MEMORY:
            return self.postponed(work)
        now, options = self._loop.time(), work.group.options
        delay = retry_delay(
            work.request.method or options.method,
            outcome.status if isinstance(outcome, Fetched) else outcome,
            attempts=work.attempts - work.short,
            retries=options.retries,
            retry_after=retry_after_of(outcome),
            chance=self._chance(),
        )
        if delay is None or now + delay >= work.deadline:
            return None
        return now + delay if self._hosts.spend_retry(work.target.origin, work.group.owner) else None

    def has_room(self, fetched: Fetched) -> bool:
        """Return whether there is memory to tell of an answer."""
        return self._memory.has(COPIES * len(fetched.body))

    def postponed(self, work: FetchTask) -> float | None:
        """Return when to try a URL again that did not fit into memory; None if it has no time left."""
        now = self._loop.time()
        delay = memory_delay(work.request.method or work.group.options.method, work.short, self._chance())
        if delay is None or now + delay >= work.deadline:
            return None
        work.short += 1
        return now + delay


def retry_after_of(outcome: Fetched | Failure) -> float | None:
    """Return the seconds of a ``Retry-After``, whether it has them or a date (RFC 9110, section 10.2.3).

    A date is one of the upstream's clock, so it counts from the date of the answer.
    """
    if isinstance(outcome, Failure):
        return outcome.retry_after
    text = outcome.headers.get("retry-after")
    if text is None:
        return None
    delay = delay_of(text)
    if delay is not None:
        return delay
    until, now = seconds_of(text), seconds_of(outcome.headers.get("date"))
    return max(0.0, until - (time() if now is None else now)) if until is not None else None


def milliseconds(seconds: float) -> float:
    """Return a time as events tell it, to a hundredth; ``round`` with digits takes three times as long."""
    return int(seconds * 100_000 + 0.5) / 100


def traced(attempt: FetchAttempt, headers: Mapping[str, str]) -> Mapping[str, str]:
    """Add to the headers of a request which trace it is part of, unless they say so themselves."""
    if attempt.trace is None or any(name.lower() in ("traceparent", "tracestate") for name in headers):
        return headers
    return {**headers, **attempt.trace.child(f"{getrandbits(64) or 1:016x}")}


def reflects(trace: Trace, headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether an answer shows the trace that its request was part of."""
    values = (member.partition("=")[2] for member in trace.state.split(","))
    sent = [trace.id, *(value for value in values if len(value) >= _SHORTEST)]
    received = "\n".join(headers.values())
    return any(text in received or text.encode() in body for text in sent)
