"""What one attempt is to fetch, and what came of it."""

from collections.abc import Awaitable, Callable, Mapping
from random import getrandbits
from time import time
from typing import Final, Literal

import msgspec

from service.core.access.grants import EVERY_HOST, HostPatterns
from service.core.correlation import Trace
from service.core.fetching.outcome import Failure, Fetched
from service.core.fetching.target import Target
from service.core.fetching.task import FetchTask
from service.core.owner import SERVICE, Owner
from service.upstream.caching.cache import Revalidation
from service.upstream.caching.dates import delay_of, seconds_of
from service.upstream.caching.rfc9111 import blamed

__all__ = ["Attempt", "milliseconds", "order_of", "reflects", "retry_after_of", "traced"]


_SHORTEST: Final = 4
"""Characters of a value of ``tracestate`` that is looked for in answers; less is in many by chance."""


def _unheard(headers: Mapping[str, str]) -> None:
    """Take in the head of an answer that one asker waits for."""


class Attempt(msgspec.Struct, eq=False):
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
    heard: Callable[[Mapping[str, str]], None] = _unheard
    """Called with the headers of each answer, those of redirects too, before its body is read."""
    slow: bool = False
    """Whether it was ended for a body that came too slowly."""
    question: Revalidation | None = None
    """What the cache has to do with what was asked last."""


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


def traced(order: Attempt, headers: Mapping[str, str]) -> Mapping[str, str]:
    """Add to the headers of a request which trace it is part of, unless they say so themselves."""
    if order.trace is None or any(name.lower() in ("traceparent", "tracestate") for name in headers):
        return headers
    return {**headers, **order.trace.child(f"{getrandbits(64) or 1:016x}")}


def reflects(trace: Trace, status: int, headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether an answer shows the trace that its request was part of, or may be an error because of it."""
    if blamed(status):
        return True
    values = (member.partition("=")[2] for member in trace.state.split(","))
    sent = [trace.id, *(value for value in values if len(value) >= _SHORTEST)]
    received = "\n".join(headers.values())
    return any(text in received or text.encode() in body for text in sent)


def order_of(work: FetchTask) -> Attempt:
    """Return what an attempt at this URL is to fetch."""
    request, options = work.request, work.group.options
    return Attempt(
        target=work.target if not work.target.fragment else work.target.without_fragment(),
        method=request.method or options.method,
        headers={**options.headers, **(request.headers or {})} if request.headers else options.headers,
        body=request.body.encode() if request.body is not None else None,
        timeout=options.timeout,
        max_bytes=options.max_bytes,
        redirects=options.redirects,
        want_body=options.body != "none",
        cache=options.cache,
        hosts=work.group.hosts,
        owner=work.group.owner,
        trace=work.group.trace,
    )
