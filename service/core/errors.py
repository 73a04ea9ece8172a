"""Every kind of refusal, in one place: its JSON-RPC code, its HTTP status, and whether trying again helps.

    SluiceError
    ├── ParseError            -32700  400  not JSON
    ├── InvalidRequest        -32600  400  not a JSON-RPC request object
    ├── MethodNotFound        -32601  404  no such method
    ├── InvalidParams         -32602  422  a parameter is missing or wrong; the detail names it
    ├── InternalError         -32603  500  our bug
    ├── NotFound              -32001  404  no such topic or batch (any more)
    ├── Forbidden             -32002  403  exists, but not for you
    ├── Unauthorized          -32003  401  credentials are missing, wrong or expired
    ├── AlreadySubscribed     -32004  409  one subscription a topic and connection
    ├── LimitReached          -32005  429  a count is full; the detail names which
    ├── RateExceeded          -32006  429  too many in too short a time
    ├── Overloaded            -32007  503  the service has no room now
    ├── Draining              -32008  503  the service is going away; another may take you
    ├── TooLarge              -32009  413  one thing is bigger than what is taken
    ├── StorageFailed         -32010  503  it could not be stored, and none of it was
    └── Unanswered            -32011  504  the store has not answered: it may be stored or not

The codes from -32768 to -32600 are JSON-RPC 2.0's (section 5.1), those from -32001 on are ours.
"""

from typing import Any, ClassVar

__all__ = [
    "AlreadySubscribed",
    "Draining",
    "Forbidden",
    "InternalError",
    "InvalidParams",
    "InvalidRequest",
    "LimitReached",
    "MethodNotFound",
    "NotFound",
    "Overloaded",
    "ParseError",
    "RateExceeded",
    "SluiceError",
    "StorageFailed",
    "TooLarge",
    "Unanswered",
    "Unauthorized",
]


class SluiceError(Exception):
    """A refusal that its receiver can act on: ``detail`` says what was wrong and names the field or limit."""

    code: ClassVar[int] = -32603
    reason: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    temporary: ClassVar[bool] = False
    retry_after_default: ClassVar[float | None] = None

    def __init__(self, detail: str, *, retry_after: float | None = None, pool: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pool = pool
        """The name of the pool of which the client has used up its share."""
        self.retry_after = self.retry_after_default if retry_after is None else retry_after

    def data(self) -> dict[str, Any]:
        """Return the ``data`` member of the JSON-RPC error; a problem document has the same fields."""
        data: dict[str, Any] = {"reason": self.reason, "temporary": self.temporary}
        if self.retry_after is not None:
            data["retry_after"] = self.retry_after
        if self.pool is not None:
            data["pool"] = self.pool
        return data


class ParseError(SluiceError):
    """The text is not JSON (RFC 8259) or not UTF-8."""

    code, reason, status = -32700, "parse_error", 400


class InvalidRequest(SluiceError):
    """The JSON is not a request object of JSON-RPC 2.0."""

    code, reason, status = -32600, "invalid_request", 400


class MethodNotFound(SluiceError):
    """The method does not exist."""

    code, reason, status = -32601, "method_not_found", 404


class InvalidParams(SluiceError):
    """A parameter is missing, unknown or of the wrong type; the detail names it."""

    code, reason, status = -32602, "invalid_params", 422


class InternalError(SluiceError):
    """A bug in sluice; the detail never carries the exception's text."""

    code, reason, status = -32603, "internal", 500

    def __init__(self, detail: str = "internal error; it was logged") -> None:
        super().__init__(detail)


class NotFound(SluiceError):
    """There is no such topic or batch, or not any more."""

    code, reason, status = -32001, "not_found", 404


class Forbidden(SluiceError):
    """The credentials do not allow this."""

    code, reason, status = -32002, "forbidden", 403


class Unauthorized(SluiceError):
    """Credentials are missing, wrong or expired."""

    code, reason, status = -32003, "unauthorized", 401


class AlreadySubscribed(SluiceError):
    """The connection has a subscription to the topic already."""

    code, reason, status = -32004, "already_subscribed", 409


class LimitReached(SluiceError):
    """A bounded number is used up; the detail names the limit and its value."""

    code, reason, status, temporary = -32005, "limit", 429, True
    retry_after_default = 1.0


class RateExceeded(SluiceError):
    """Too many in too short a time; ``retry_after`` says when the next is taken."""

    code, reason, status, temporary = -32006, "rate", 429, True
    retry_after_default = 1.0


class Overloaded(SluiceError):
    """The service has no room for this now."""

    code, reason, status, temporary = -32007, "overloaded", 503, True
    retry_after_default = 5.0


class Draining(SluiceError):
    """The service is shutting down and takes nothing new."""

    code, reason, status, temporary = -32008, "draining", 503, True
    retry_after_default = 1.0


class TooLarge(SluiceError):
    """One thing is larger than what is taken; the detail names the limit."""

    code, reason, status = -32009, "too_large", 413


class StorageFailed(SluiceError):
    """The store could not keep it, because of a full disk or an I/O error. No part of it was stored."""

    code, reason, status, temporary = -32010, "storage", 503, True
    retry_after_default = 5.0


class Unanswered(SluiceError):
    """The store has not answered in time; what was asked of it may be done or not."""

    code, reason, status, temporary = -32011, "gateway_timeout", 504, True
