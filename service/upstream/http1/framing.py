"""Where the body of an answer ends, and whether its connection can be kept (RFC 9112, sections 6.3 and 9.3)."""

import re
from typing import Final, NamedTuple

from service.upstream.http1.errors import ProtocolError
from service.upstream.http1.head import Head

__all__ = ["CHUNKED", "UNTIL_CLOSE", "Framing", "framing_of"]

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2
_LONGEST_NUMBER: Final = 18
"""Digits: an exabyte."""
_KEEP_ALIVE: Final = re.compile(r"timeout\s*=\s*\"?(\d{1,6})", re.IGNORECASE | re.ASCII)
_MARGIN: Final = 1.0
"""Seconds before a server's own limit after which a connection is left alone."""


class Framing(NamedTuple):
    """``length`` in bytes, CHUNKED or UNTIL_CLOSE; transfer codings beside chunked, in the order applied."""

    length: int
    keep: float
    """Seconds for which the connection can be kept; 0 if not at all."""
    codings: tuple[str, ...] = ()


def framing_of(head: Head, *, bodiless: bool, longest_idle: float) -> Framing:
    """Return how the body is framed; raise ProtocolError where that is not certain."""
    headers = head.headers
    keep = _keep(head, longest_idle)
    if bodiless or head.status in (204, 304) or head.status < 200:
        return Framing(0, keep if head.status >= 200 else 0.0)
    transfer, length = headers.get("transfer-encoding"), headers.get("content-length")
    if transfer is not None:
        if length is not None:
            # Somebody on the way may have read it otherwise (RFC 9112, section 6.3).
            raise ProtocolError("the answer has both Transfer-Encoding and Content-Length")
        framing = _transferred(transfer)
        # A server of HTTP/1.0 does not know what it said (RFC 9112, section 6.1).
        return framing._replace(keep=keep) if head.version[1] >= 1 and framing.length == CHUNKED else framing
    if length is not None:
        return Framing(_length(length), keep)
    return Framing(UNTIL_CLOSE, 0.0)


def _keep(head: Head, longest_idle: float) -> float:
    connection = head.headers.get("connection")
    if connection is None:
        kept = head.version[1] >= 1
    else:
        options = [option.strip(" \t") for option in connection.lower().split(",")]
        kept = "close" not in options and (head.version[1] >= 1 or "keep-alive" in options)
    if not kept:
        return 0.0
    said = head.headers.get("keep-alive")
    found = _KEEP_ALIVE.search(said) if said is not None else None
    return min(longest_idle, max(0.0, int(found[1]) - _MARGIN)) if found else longest_idle


def _transferred(value: str) -> Framing:
    codings = [coding.strip(" \t").lower() for coding in value.split(",")]
    codings = [coding for coding in codings if coding and coding != "identity"]
    if not codings:
        return Framing(UNTIL_CLOSE, 0.0)
    if codings.count("chunked") > 1 or ("chunked" in codings and codings[-1] != "chunked"):
        raise ProtocolError("in Transfer-Encoding, chunked must be last and stand there once")
    if codings[-1] == "chunked":
        return Framing(CHUNKED, 0.0, tuple(codings[:-1]))
    return Framing(UNTIL_CLOSE, 0.0, tuple(codings))


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
