"""Where the body of an answer ends, and whether its connection can be kept (RFC 9112, sections 6.3 and 9.3)."""

import re
from typing import Final

from service.upstream.http1.errors import ProtocolError
from service.upstream.http1.head import Head

__all__ = ["CHUNKED", "UNTIL_CLOSE", "framing_of"]

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2
_LONGEST_IDLE: Final = 15.0
"""Seconds for which a connection is kept where its server does not say less."""
_BODILESS: Final = frozenset({204, 304})
_LONGEST_NUMBER: Final = 18
"""Digits: an exabyte."""
_KEEP_ALIVE: Final = re.compile(r"timeout\s*=\s*\"?(\d{1,6})", re.IGNORECASE | re.ASCII)
_KEPT: Final = frozenset({None, "keep-alive", "Keep-Alive"})
"""What servers of HTTP/1.1 say of a connection that can be kept, most of them."""
_MARGIN: Final = 1.0
"""Seconds before a server's own limit after which a connection is left alone."""


Framing = tuple[int, float, tuple[str, ...]]
"""The length in bytes, CHUNKED or UNTIL_CLOSE; for how many seconds the connection can be kept, 0 if not at all;
transfer codings beside chunked, in the order in which they were applied."""


def framing_of(head: Head, *, bodiless: bool) -> Framing:
    """Return how the body is framed; raise ProtocolError where that is not certain."""
    headers = head.headers
    usual = head.minor and headers.get("connection") in _KEPT and "keep-alive" not in headers
    keep = _LONGEST_IDLE if usual else _keep(head)
    if bodiless or head.status in _BODILESS:
        return 0, keep, ()
    if head.status < 200:
        return 0, 0.0, ()
    transfer, length = headers.get("transfer-encoding"), headers.get("content-length")
    if transfer is None:
        return (UNTIL_CLOSE, 0.0, ()) if length is None else (_length(length), keep, ())
    if length is not None:
        # Somebody on the way may have read it otherwise (RFC 9112, section 6.3).
        raise ProtocolError("the answer has both Transfer-Encoding and Content-Length")
    found, codings = _transferred(transfer)
    # A server of HTTP/1.0 does not know what it said (RFC 9112, section 6.1).
    return found, keep if found == CHUNKED and head.minor else 0.0, codings


def _keep(head: Head) -> float:
    connection = head.headers.get("connection")
    if connection is None:
        kept = head.minor >= 1
    else:
        options = [option.strip(" \t") for option in connection.lower().split(",")]
        kept = "close" not in options and (head.minor >= 1 or "keep-alive" in options)
    if not kept:
        return 0.0
    said = head.headers.get("keep-alive")
    found = _KEEP_ALIVE.search(said) if said is not None else None
    return min(_LONGEST_IDLE, max(0.0, int(found[1]) - _MARGIN)) if found else _LONGEST_IDLE


def _transferred(value: str) -> tuple[int, tuple[str, ...]]:
    names = [name.strip(" \t").lower() for name in value.split(",")]
    codings = tuple(name for name in names if name and name != "identity")
    if "chunked" not in codings:
        return UNTIL_CLOSE, codings
    if codings.index("chunked") < len(codings) - 1:
        raise ProtocolError("in Transfer-Encoding, chunked must be last and occur once")
    return CHUNKED, codings[:-1]


def _length(value: str) -> int:
    if value.isascii() and value.isdigit() and len(value) <= _LONGEST_NUMBER:
        return int(value)
    lengths = {part.strip(" \t") for part in value.split(",")}
    if not all(part.isascii() and part.isdigit() for part in lengths):
        raise ProtocolError(f"Content-Length is not a number: {value[:40]!a}")
    numbers = {part.lstrip("0") or "0" for part in lengths}
    if len(numbers) > 1:
        raise ProtocolError("the answer has Content-Length more than once, with different values")
    number = numbers.pop()
    if len(number) > _LONGEST_NUMBER:
        raise ProtocolError("Content-Length is larger than any body")
    return int(number)
