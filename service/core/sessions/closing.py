"""Why the service ends a WebSocket, and what its client should do next."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "BINARY",
    "CLOSINGS",
    "DRAINED",
    "EXPIRED",
    "FLOODING",
    "NOT_TEXT",
    "OVERLOADED",
    "PROTOCOL_ERROR",
    "TOO_BIG",
    "TOO_SLOW",
    "UNAUTHORIZED",
    "CloseReason",
    "Reconnect",
    "Reply",
]  # fmt: skip


class Reconnect(StrEnum):
    """Whether coming back helps."""

    NOW = "at once, with jitter"
    LATER = "after a growing delay, with jitter"
    FIXED = "only after the client has been changed"
    RENEWED = "with another token"


@dataclass(frozen=True, slots=True)
class CloseReason:
    """A close code (RFC 6455, section 7.4; 4000-4999 are ours), its reason on the wire, and the advice."""

    code: int
    reason: str
    reconnect: Reconnect


@dataclass(frozen=True, slots=True)
class Reply:
    """What the shell does next: send ``text`` unless it is empty, then close if there is a ``closing``.

    Where there is a ``rest``, the shell reads nothing more yet: when it is the client's turn again, it calls that
    with the time. So a long array of requests is carried out in parts.
    """

    text: bytes = b""
    closing: CloseReason | None = None
    rest: "Callable[[float], Reply] | None" = None


DRAINED = CloseReason(1001, "drained", Reconnect.NOW)
PROTOCOL_ERROR = CloseReason(1002, "protocol error", Reconnect.FIXED)
BINARY = CloseReason(1003, "text frames only", Reconnect.FIXED)
NOT_TEXT = CloseReason(1007, "not JSON", Reconnect.FIXED)
TOO_BIG = CloseReason(1009, "message too big", Reconnect.FIXED)
OVERLOADED = CloseReason(1013, "overloaded", Reconnect.LATER)
UNAUTHORIZED = CloseReason(4401, "not authorised", Reconnect.RENEWED)
EXPIRED = CloseReason(4401, "token expired", Reconnect.RENEWED)
TOO_SLOW = CloseReason(4408, "too slow", Reconnect.NOW)
FLOODING = CloseReason(4429, "flooding", Reconnect.LATER)

CLOSINGS = (
    DRAINED,
    PROTOCOL_ERROR,
    BINARY,
    NOT_TEXT,
    TOO_BIG,
    OVERLOADED,
    UNAUTHORIZED,
    EXPIRED,
    TOO_SLOW,
    FLOODING,
)
"""Every one, in the order of the codes, as docs/protocol.md lists them."""
