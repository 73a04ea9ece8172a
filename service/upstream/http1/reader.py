"""Reads one answer from bytes in pieces of any size; knows no sockets.

Where its body ends, and whether its connection can be kept, is in its head (RFC 9112, sections 6.3 and 9.3).

head --> length -----> done        any state --> ProtocolError
     |-> chunks ---/
     |-> until close --(end)--> done
     `-> (1xx) --> head
"""

import re
from typing import Final

from service.upstream.http1.chunks import Chunks
from service.upstream.http1.errors import ProtocolError, ServerDisconnected
from service.upstream.http1.greetings import refusal_of
from service.upstream.http1.head import LONGEST_HEAD, LONGEST_LINE, Head, end_of_head, parse_head

__all__ = ["CHUNKED", "UNTIL_CLOSE", "ResponseReader", "framing_of"]

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
_MOST_INTERIM: Final = 100
"""Answers with 1xx before the answer."""
_SLOP: Final = 4
"""Bytes of empty lines before a status line that are passed over, as browsers do."""

_Framing = tuple[int, float, tuple[str, ...]]
"""The length in bytes, CHUNKED or UNTIL_CLOSE; for how many seconds the connection can be kept, 0 if not at all;
transfer codings beside chunked, in the order in which they were applied."""


class ResponseReader:
    """Reads one answer. ``head`` is there once it is complete; ``pieces`` have come of the body since."""

    # What is the same in most answers is not written for each: one is made for every fetch.
    head: Head | None = None
    codings: tuple[str, ...] = ()
    """Transfer codings beside chunked, in the order in which they were applied."""
    size = 0
    """Bytes in ``pieces``."""
    done = False
    surplus = False
    """Whether something came after the end."""
    _keep = 0.0
    _left = 0
    _held: bytearray | None = None
    _chunks: Chunks | None = None
    _early = 0
    _interim = 0
    _slop = 0

    def __init__(self, *, bodiless: bool = False) -> None:
        self._bodiless = bodiless
        self.pieces: list[bytes] = []

    @property
    def begun(self) -> bool:
        """Whether a byte of an answer has come."""
        return self.head is not None or bool(self._held) or self._interim > 0

    @property
    def keep(self) -> float:
        """For how many seconds the connection can be kept, now that the answer has ended."""
        return self._keep if self.done and not self.surplus else 0.0

    def read(self) -> bytes:
        """Return what has arrived of the body since the last time."""
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.size = 0
        return data

    def feed(self, data: bytes) -> bool:
        """Read the next bytes; return whether to call again, with no bytes, in another turn of the loop."""
        if self.head is None:
            rest = self._feed_head(data)
            if rest is None:
                return False
            data = rest
        if self.done:
            self.surplus = self.surplus or bool(data)
        elif self._chunks is not None:
            return self._feed_chunks(self._chunks, data)
        elif data:
            self._feed_body(data)
        return False

    def end(self, *, whole: bool, why: str = "the connection ended") -> None:
        """Record that the connection has ended; ``whole`` says that the server ended it properly."""
        if self.done:
            return
        if self.head is None:
            raise ServerDisconnected(silent=not self.begun)
        if self._left == UNTIL_CLOSE and whole:
            self.done = True
        elif self._chunks is not None and self._chunks.complete:
            self.done = self.surplus = True
        elif self._left > 0:
            raise ProtocolError(f"the body broke off, {self._left:,} bytes before its end: {why}")
        else:
            raise ProtocolError(f"the body broke off: {why}")

    def _feed_head(self, data: bytes) -> bytes | None:
        """Read heads up to that of the answer; return what came after it, or None while it is not complete."""
        held: bytes | bytearray = data
        begin = 0
        if self._held is not None:
            begin = max(0, len(self._held) - 2)
            self._held += data
            held = self._held
        while True:
            if held[:5] != b"HTTP/":
                held, begin = self._skip(held), 0
            found = end_of_head(held, begin)
            if found is None:
                self._hold(held)
                return None
            head = parse_head(held[: found[0]])
            held, begin = bytes(held[found[1] :]), 0
            if head.status >= 200 or head.status == 101:
                break
            self._passed_over(found[1])
            self._held = None
        self._held = None
        self._left, self._keep, self.codings = framing_of(head, bodiless=self._bodiless)
        self.head = head
        self.done = self._left == 0
        if self._left == CHUNKED:
            self._chunks = Chunks()
        return held

    def _skip(self, held: bytes | bytearray) -> bytes | bytearray:
        begun = held.lstrip(b"\r\n")
        self._slop += len(held) - len(begun)
        if self._slop > _SLOP:
            raise ProtocolError("the answer begins with empty lines")
        if begun and (refusal := refusal_of(begun)) is not None:
            raise ProtocolError(refusal)
        return begun

    def _hold(self, held: bytes | bytearray) -> None:
        if not isinstance(held, bytearray):
            held = bytearray(held)
        self._held = held
        if len(held) > LONGEST_HEAD:
            raise ProtocolError(f"the head of the answer is longer than {LONGEST_HEAD >> 10} KiB")
        if len(held) > LONGEST_LINE and len(held) - held.rfind(b"\n") > LONGEST_LINE + 2:
            raise ProtocolError(f"a line in the head of the answer is longer than {LONGEST_LINE >> 10} KiB")

    def _passed_over(self, size: int) -> None:
        self._interim += 1
        self._early += size
        if self._interim > _MOST_INTERIM or self._early > LONGEST_HEAD:
            raise ProtocolError(
                f"more than {_MOST_INTERIM} answers of 1xx, or {LONGEST_HEAD >> 10} KiB of them, before the answer"
            )

    def _feed_body(self, data: bytes) -> None:
        left = self._left
        if left >= 0:
            if len(data) > left:
                self.surplus = True
                data = data[:left]
            self._left = left = left - len(data)
            self.done = left == 0
        self.pieces.append(data)
        self.size += len(data)

    def _feed_chunks(self, chunks: Chunks, data: bytes) -> bool:
        had = len(self.pieces)
        more = chunks.feed(data, self.pieces)
        for piece in self.pieces[had:]:
            self.size += len(piece)
        if chunks.done:
            self.done = True
            self.surplus = bool(chunks.rest)
        return more


def framing_of(head: Head, *, bodiless: bool) -> _Framing:
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
