"""What an attempt means: whether it is made again, and when, and what it says of its host."""

from service.core.fetching.host_limiter import Verdict
from service.core.fetching.outcome import Failure, FailureKind

__all__ = ["RETRIED_STATUSES", "memory_delay", "retry_delay", "verdict"]

RETRIED_STATUSES = frozenset({408, 429, 502, 503, 504})
_RETRIED_KINDS: frozenset[FailureKind] = frozenset({"connect", "timeout"})
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

_SAID: dict[int, Verdict] = {429: "slow", 503: "busy"}
_UNREACHABLE: frozenset[FailureKind] = frozenset({"connect", "dns", "tls"})
_PATIENCE = 5.0
"""Seconds without an answer that count against a host: less may only be an impatient client."""

_BASE = 0.1
_CAP = 5.0


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


def verdict(outcome: int | Failure, lasted: float) -> Verdict | None:
    """Return what an attempt of ``lasted`` seconds says of the host that it asked, or None for nothing."""
    if isinstance(outcome, int):
        return _SAID.get(outcome, "fine")
    if outcome.kind in _UNREACHABLE or (outcome.kind == "timeout" and lasted >= _PATIENCE):
        return "down"
    return None
