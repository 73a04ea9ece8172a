"""The outcome of a URL, and of the question whether it may start; and what the outcome of an attempt means.

That is: whether the attempt is made again, and when, and what it says of the host.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

import msgspec

from service.core.fetching.target import Target
from service.core.pieces import Pieces

__all__ = [
    "INTERNAL", "NO_MEMORY", "RETRIED_STATUSES",
    "Failure", "FailureKind", "Fetched", "HostVerdict", "Permit",
    "memory_delay", "retry_delay", "verdict",
]  # fmt: skip

FailureKind = Literal[
    "invalid_url", "invalid_request", "blocked", "dns", "connect", "tls", "timeout", "protocol", "redirects",
    "too_large", "cancelled", "unavailable", "step_failed", "storage",
]  # fmt: skip


HostVerdict = Literal["fine", "busy", "slow", "down"]
"""What an attempt says of its host: it answers; it may be overloaded; it asks for less; it cannot be reached."""

RETRIED_STATUSES = frozenset({408, 429, 502, 503, 504})
_RETRIED_KINDS: frozenset[FailureKind] = frozenset({"connect", "timeout"})
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

_SAID: dict[int, HostVerdict] = {429: "slow", 503: "busy"}
_UNREACHABLE: frozenset[FailureKind] = frozenset({"connect", "dns", "tls"})
_PATIENCE = 5.0
"""Seconds without an answer that count against a host: less may only be an impatient client."""

_BASE = 0.1
_CAP = 5.0


class Permit(Enum):
    """The answer of a listener whose URLs do not fail."""

    START = "one more URL may start"
    HOLD = "none may start until the engine is asked to wake the group"


class Fetched(msgspec.Struct):
    """An answer of any status."""

    status: int
    target: Target
    """What was asked last: where redirects have led."""
    headers: dict[str, str]
    body: bytes
    truncated: bool
    timing: dict[str, float] = {}
    """In milliseconds."""
    cache: Literal["miss", "hit", "revalidated"] = "miss"
    encoded: dict[str, tuple[str | None, Pieces | None]] | None = None
    """``encoding`` and ``body`` of events by ``options.body``: of a large body, made before it is delivered."""
    head_size: int | None = None
    """Characters of the head that came, where the headers are its own: names and values have no more."""

    @property
    def content_type(self) -> str | None:
        """What the answer says its body is; charset.py reads it."""
        return self.headers.get("content-type")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a URL has no result; an expected outcome, so a value."""

    kind: FailureKind
    detail: str
    retry_after: float | None = None
    temporary: bool = False
    """Whether another attempt may well succeed, of a kind of which that is not always so."""
    step: str | None = None
    """The step that failed."""
    steps: tuple[bytes, ...] = ()
    """The results of the steps before it, as JSON."""


INTERNAL: Final = Failure("protocol", "internal error (logged)")
"""The message for a URL that a bug in sluice ended; the log has the rest."""

NO_MEMORY: Final = Failure("unavailable", "timed out while the service was short of memory", temporary=True)
"""The outcome of a URL for which there was no memory until its deadline."""


def retry_delay(
    method: str,
    outcome: int | Failure,
    *,
    attempts: int,
    retries: int,
    retry_after: float | None,
    chance: float,
) -> float | None:
    """Return after how many seconds to try again, or None to give up.

    ``outcome`` is the status or the failure of the attempt, ``attempts`` how many were made, ``chance`` a
    random number from 0 to 1. The delay is full jitter over a doubling ceiling (Brooker, "Exponential
    Backoff And Jitter", 2015); what the host asks for in ``Retry-After`` wins.
    """
    if attempts > retries or method not in _IDEMPOTENT:
        return None
    if not _temporary(outcome):
        return None
    if retry_after is not None:
        return retry_after
    return chance * min(_CAP, _BASE * 2.0**attempts)


def memory_delay(method: str, short: int, chance: float) -> float | None:
    """Return after how many seconds to try again what memory was short for, ``short`` times; None to give up.

    Such attempts do not count as retries: neither the client nor the host has caused them.
    """
    if method not in _IDEMPOTENT:
        return None
    return (0.5 + chance / 2) * min(_CAP, _BASE * 2.0**short)


def _temporary(outcome: int | Failure) -> bool:
    if isinstance(outcome, int):
        return outcome in RETRIED_STATUSES
    return outcome.temporary or outcome.kind in _RETRIED_KINDS


def verdict(outcome: int | Failure, lasted: float) -> HostVerdict | None:
    """Return what an attempt of ``lasted`` seconds says of the host that it asked, or None for nothing."""
    if isinstance(outcome, int):
        return _SAID.get(outcome, "fine")
    if outcome.kind in _UNREACHABLE or (outcome.kind == "timeout" and lasted >= _PATIENCE):
        return "down"
    return None
