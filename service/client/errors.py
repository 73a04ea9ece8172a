"""Everything that the client raises.

    ClientError
    ├── Refused        the service said no to one request: ``reason`` is one of docs/protocol.md's
    ├── Unanswered     the answer was lost, and asking again could do the thing twice
    ├── JobError       a job whose result was asked for has failed, or was cancelled
    ├── Disconnected   coming back does not help: a close code or a status that says so
    └── ClientClosed   the client's block was left

A cut connection is not one of these: it is made again, and calls that waited are served by the next one.
"""

from typing import Any, Literal, get_args

__all__ = [
    "REASONS", "ClientClosed", "ClientError", "Disconnected", "JobError", "Reason", "Refused", "Unanswered",
    "seconds",
]  # fmt: skip

Reason = Literal[
    "parse_error", "invalid_request", "method_not_found", "invalid_params", "internal", "not_found", "forbidden",
    "unauthorized", "already_subscribed", "limit", "rate", "overloaded", "draining", "too_large", "storage",
    "gateway_timeout",
]  # fmt: skip
REASONS: frozenset[str] = frozenset(get_args(Reason))


_LONGEST = 600.0
"""Seconds of a ``retry_after`` that are heeded: one mistake of a service stops no client for a day."""


def seconds(value: Any) -> float | None:
    """Return a wait that the service asks for, with what is not a number of seconds left out."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return min(float(value), _LONGEST)
    return None


class ClientError(Exception):
    """The root."""


class Refused(ClientError):
    """The service refused a request; ``retry_after`` (seconds) says when a ``temporary`` refusal may be over.

    ``reason`` is a :data:`Reason`, or a word that a later service has beside those.
    """

    def __init__(
        self, reason: str, detail: str, *, temporary: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.temporary = temporary
        self.retry_after = retry_after

    @classmethod
    def read(cls, error: dict[str, Any]) -> "Refused":
        """Read a JSON-RPC error object (section 5.1)."""
        data = error.get("data") or {}
        return cls(
            str(data.get("reason", "internal")),
            str(error.get("message", "")),
            temporary=data.get("temporary") is True,
            retry_after=seconds(data.get("retry_after")),
        )

    @classmethod
    def read_problem(cls, problem: dict[str, Any]) -> "Refused":
        """Read a problem document (RFC 9457)."""
        return cls(
            str(problem.get("reason", "internal")),
            str(problem.get("detail", "")),
            temporary=problem.get("temporary") is True,
            retry_after=seconds(problem.get("retry_after")),
        )


class Unanswered(ClientError):
    """A publish or a job was sent, its answer never came, and its key is too old by now to ask again with."""


class JobError(ClientError):
    """A job has ended without a result.

    ``state`` is ``failed`` or ``cancelled``. ``error`` is one of the kinds of docs/jobs.md, or ``cancelled``, and
    ``detail`` says more of it; ``attempts`` counts those of this run.
    """

    def __init__(
        self, state: Literal["failed", "cancelled"], error: str, detail: str, attempts: int | None = None
    ) -> None:
        super().__init__(f"{error}: {detail}")
        self.state = state
        self.error = error
        self.detail = detail
        self.attempts = attempts


class Disconnected(ClientError):
    """The service ended or refused the connection in a way that coming back does not help.

    ``code`` is the close code (RFC 6455, section 7.4) or, from before the upgrade, the HTTP status.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class ClientClosed(ClientError):
    """The client was closed while this was waiting, or before it was asked for."""
