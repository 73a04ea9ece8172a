"""The simulated upstream: a lean HTTP server with answers that are fast, slow, large, failing or moved.

=========================  ==================================================================
``/bytes/N``               N bytes of text (the same for the same N)
``/slow/MS``               a short answer after MS milliseconds
``/status/CODE``           a short answer with that status; 429 and 503 with ``Retry-After: 1``
``/redirect/N``            a redirect to ``/redirect/N-1``, at 0 to ``/bytes/100``
``/etag/KEY?period=S``     a document with an ``ETag`` that changes every S seconds; answers 304
``/fail``                  the connection is reset
``/ledger``                JSON: requests so far by kind, how many were conditional, how many run and ran at most
``/ledger/reset``          the same, and all counts back to 0
=========================  ==================================================================
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import cast
from urllib.parse import parse_qs, urlsplit

import orjson

__all__ = ["Book", "OriginProtocol", "serve_origin"]

_LARGEST = 64 << 20
_REASONS = {200: b"OK", 302: b"Found", 304: b"Not Modified", 400: b"Bad Request", 404: b"Not Found"}


@dataclass(slots=True)
class Book:
    """What the origin has seen."""

    kinds: Counter[str] = field(default_factory=Counter)
    conditional: int = 0
    active: int = 0
    most_active: int = 0
    bodies: dict[int, bytes] = field(default_factory=dict)

    def document(self) -> bytes:
        """Return the ledger as JSON."""
        return orjson.dumps(
            {
                "requests": sum(self.kinds.values()),
                "kinds": self.kinds,
                "conditional": self.conditional,
                "active": self.active,
                "most_active": self.most_active,
            }
        )

    def reset(self) -> None:
        """Begin a new page."""
        self.kinds.clear()
        self.conditional = self.most_active = 0


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request."""

    method: bytes
    target: str
    argument: str
    head: bytes


class OriginProtocol(asyncio.Protocol):
    """One connection, with keep-alive; requests are answered in order."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self._slow: asyncio.TimerHandle | None = None
        self._active = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget an answer that is still to come."""
        if self._slow is not None:
            self._slow.cancel()
        self._book.active -= self._active

    def data_received(self, data: bytes) -> None:
        """Answer every request whose head has come whole."""
        self._rest += data
        self._next()

    def _next(self) -> None:
        while self._slow is None and (end := self._rest.find(b"\r\n\r\n")) >= 0:
            head, self._rest = self._rest[:end], self._rest[end + 4 :]
            self._answer(head)
        if len(self._rest) > 1 << 16 and self._transport is not None:
            self._transport.abort()

    def _answer(self, head: bytes) -> None:
        method, target, _ = (head.split(b"\r\n", 1)[0] + b"  ").split(b" ", 2)
        parts = target.decode("latin-1").split("?", 1)[0].strip("/").split("/")
        kind, argument = parts[0], parts[1] if len(parts) > 1 else ""
        book = self._book
        if kind != "ledger":
            book.kinds[kind] += 1
            book.most_active = max(book.most_active, book.active + 1)
        answer = _ANSWERS.get(kind)
        if answer is None or (kind in _NUMBERED and not argument.isdigit()):
            self._send(404, b"no such path; see loadtest/origin.py")
        else:
            answer(self, _Asked(method, target.decode("latin-1"), argument, head))

    def _bytes(self, asked: "_Asked") -> None:
        if int(asked.argument) > _LARGEST:
            self._send(400, b"at most 64 MiB")
        else:
            self._send(200, self._body(int(asked.argument)), method=asked.method)

    def _status(self, asked: "_Asked") -> None:
        more = b"Retry-After: 1\r\n" if asked.argument in ("429", "503") else b""
        self._send(int(asked.argument), b"status " + asked.argument.encode(), more)

    def _redirect(self, asked: "_Asked") -> None:
        left = int(asked.argument)
        to = f"/redirect/{left - 1}" if left else "/bytes/100"
        self._send(302, b"", b"Location: " + to.encode() + b"\r\n")

    def _fail(self, asked: "_Asked") -> None:
        if self._transport is not None:
            self._transport.abort()

    def _ledger(self, asked: "_Asked") -> None:
        document = self._book.document()
        if asked.argument == "reset":
            self._book.reset()
        self._send(200, document, kind=b"application/json")

    def _body(self, size: int) -> bytes:
        body = self._book.bodies.get(size)
        if body is None:
            body = (b"sluice " * (size // 7 + 1))[:size]
            if size <= 1 << 16:
                self._book.bodies[size] = body
        return body

    def _tagged(self, asked: "_Asked") -> None:
        key, head = asked.argument, asked.head
        query = parse_qs(urlsplit(asked.target).query)
        period = float(query.get("period", ["0"])[0] or 0)
        version = int(monotonic() / period) if period > 0 else 0
        tag = f'"{key}-{version}"'.encode()
        given = b"if-none-match: " in head.lower()
        self._book.conditional += given
        more = b"ETag: " + tag + b"\r\nCache-Control: no-cache\r\n"
        if given and tag in head:
            self._send(304, b"", more)
        else:
            self._send(200, orjson.dumps({"key": key, "version": version}), more, kind=b"application/json")

    def _later(self, asked: "_Asked") -> None:
        self._active = 1
        self._book.active += 1
        self._slow = asyncio.get_running_loop().call_later(int(asked.argument) / 1000, self._now)

    def _now(self) -> None:
        self._slow = None
        self._active = 0
        self._book.active -= 1
        self._send(200, b"slow")
        self._next()

    def _send(
        self, status: int, body: bytes, more: bytes = b"", *, kind: bytes = b"text/plain", method: bytes = b"GET"
    ) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        length = b"" if status == 304 else b"Content-Length: %d\r\n" % len(body)
        head = b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\n%b%b\r\n" % (
            status, _REASONS.get(status, b"Status"), kind, length, more,
        )  # fmt: skip
        self._transport.write(head if method == b"HEAD" else head + body)


_NUMBERED = frozenset({"bytes", "slow", "status", "redirect"})
_ANSWERS: dict[str, Callable[[OriginProtocol, _Asked], None]] = {
    "bytes": OriginProtocol._bytes,
    "slow": OriginProtocol._later,
    "status": OriginProtocol._status,
    "redirect": OriginProtocol._redirect,
    "etag": OriginProtocol._tagged,
    "fail": OriginProtocol._fail,
    "ledger": OriginProtocol._ledger,
}


async def serve_origin(host: str, port: int) -> asyncio.Server:
    """Listen, and return the server; its first socket tells the port."""
    book = Book()
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: OriginProtocol(book), host, port, backlog=4096)
