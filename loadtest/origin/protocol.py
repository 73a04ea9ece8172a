"""One connection to the origin: requests parsed by hand, as lean as 20,000 a second need it."""

import asyncio
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from typing import cast
from urllib.parse import parse_qs, urlsplit

import orjson

from loadtest.origin.distributions import Distribution, parse_distribution
from loadtest.origin.hostile import HOSTILE, ByteSource
from loadtest.origin.request_counts import RequestCounts

__all__ = ["OriginProtocol", "serve_origin"]

_LARGEST = 64 << 20
_REASONS = {200: b"OK", 302: b"Found", 304: b"Not Modified", 400: b"Bad Request", 404: b"Not Found",
            429: b"Too Many Requests", 503: b"Service Unavailable"}  # fmt: skip


@dataclass(slots=True)
class _Shared:
    """What all connections of one origin share."""

    requests: RequestCounts
    latency: Distribution
    size: Distribution
    bodies: dict[int, bytes] = field(default_factory=dict)
    seconds: dict[str, Counter[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request."""

    method: bytes
    target: str
    argument: str
    head: bytes

    def query(self, name: str) -> str:
        """Return a parameter of the query, or nothing."""
        return parse_qs(urlsplit(self.target).query).get(name, [""])[0]


class OriginProtocol(asyncio.Protocol):
    """One connection, with keep-alive; requests are answered in order."""

    def __init__(self, shared: _Shared) -> None:
        self._shared = shared
        self._requests = shared.requests
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self._slow: asyncio.TimerHandle | None = None
        self._hostile: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._active = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget an answer that is still to come."""
        if self._slow is not None:
            self._slow.cancel()
        if self._hostile is not None:
            self._hostile.cancel()
        self._requests.active -= self._active

    def pause_writing(self) -> None:
        """Let an endless answer wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let it go on."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Answer every request whose head has come whole."""
        self._rest += data
        self._next()

    def _next(self) -> None:
        while self._slow is None and self._hostile is None and (end := self._rest.find(b"\r\n\r\n")) >= 0:
            head, self._rest = self._rest[:end], self._rest[end + 4 :]
            self._answer(head)
        if len(self._rest) > 1 << 16 and self._transport is not None:
            self._transport.abort()

    def _answer(self, head: bytes) -> None:
        method, target, _ = (head.split(b"\r\n", 1)[0] + b"  ").split(b" ", 2)
        parts = target.decode("latin-1").split("?", 1)[0].strip("/").split("/")
        kind, argument = parts[0], parts[1] if len(parts) > 1 else ""
        requests = self._requests
        if kind != "ledger":
            requests.kinds[kind if kind in _ANSWERS else "other"] += 1
            requests.most_active = max(requests.most_active, requests.active + 1)
        answer = _ANSWERS.get(kind)
        if answer is None or (kind in _NUMBERED and not argument.isdigit()):
            self._send(404, b"no such path; python -m loadtest origin --help lists them")
            return
        try:
            answer(self, _Asked(method, target.decode("latin-1"), argument, head))
        except ValueError as error:
            self._send(400, str(error).encode())

    def _bytes(self, asked: _Asked) -> None:
        if int(asked.argument) > _LARGEST:
            raise ValueError("at most 64 MiB")
        self._send(200, self._body(int(asked.argument)), method=asked.method)

    def _page(self, asked: _Asked) -> None:
        shared, given = self._shared, {name: asked.query(name) for name in ("latency", "size")}
        latency = parse_distribution(given["latency"]) if given["latency"] else shared.latency
        size = parse_distribution(given["size"]) if given["size"] else shared.size
        body = self._body(min(int(size.of(asked.argument)), _LARGEST))
        self._after(latency.of(asked.argument), lambda: self._send(200, body, method=asked.method))

    def _limited(self, asked: _Asked) -> None:
        second, limit = int(time.time()), int(asked.argument)
        seen = self._shared.seconds.setdefault(str(limit), Counter())
        for old in [one for one in seen if one < second]:
            del seen[old]
        seen[second] += 1
        if seen[second] <= limit:
            self._send(200, b"within the limit", method=asked.method)
        else:
            self._send(429, b"too many this second", b"Retry-After: 1\r\n")

    def _status(self, asked: _Asked) -> None:
        if not 200 <= int(asked.argument) <= 599:
            raise ValueError("a status from 200 to 599")
        more = b"Retry-After: 1\r\n" if asked.argument in ("429", "503") else b""
        self._send(int(asked.argument), b"status " + asked.argument.encode(), more)

    def _redirect(self, asked: _Asked) -> None:
        left = int(asked.argument)
        to = f"/redirect/{left - 1}" if left else "/bytes/100"
        self._send(302, b"", b"Location: " + to.encode() + b"\r\n")

    def _fail(self, asked: _Asked) -> None:
        if self._transport is not None:
            # Close with a reset, as a host does that has crashed.
            self._transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def _ledger(self, asked: _Asked) -> None:
        document = self._requests.document()
        if asked.argument == "reset":
            self._requests.reset()
        self._send(200, document, kind=b"application/json")

    def _tagged(self, asked: _Asked) -> None:
        key, head = asked.argument, asked.head
        period = float(asked.query("period") or 0)
        if period and not 1e-3 <= period <= 1e9:
            raise ValueError("period: seconds from 0.001 to 1000000000")
        version = int(time.time() / period) if period > 0 else 0
        tag = f'"{key}-{version}"'.encode()
        given = b"if-none-match: " in head.lower()
        self._requests.conditional += given
        more = b"ETag: " + tag + b"\r\nCache-Control: no-cache\r\n"
        if given and tag in head:
            self._requests.not_modified += 1
            self._send(304, b"", more)
        else:
            document = {"key": key, "version": version, "at": version * period}
            self._send(200, orjson.dumps(document), more, kind=b"application/json")

    def _later(self, asked: _Asked) -> None:
        if len(asked.argument) > 8:
            raise ValueError("at most 99999999 ms")
        self._after(int(asked.argument), lambda: self._send(200, b"slow"))

    def _after(self, ms: float, send: Callable[[], None]) -> None:
        if ms < 1:
            send()
            return
        self._active = 1
        self._requests.active += 1

        def now() -> None:
            self._slow = None
            self._active = 0
            self._requests.active -= 1
            send()
            self._next()

        self._slow = asyncio.get_running_loop().call_later(ms / 1000, now)

    def _cruel(self, asked: _Asked) -> None:
        answer = HOSTILE.get(asked.argument)
        if answer is None:
            self._send(404 if asked.argument else 200, "\n".join(HOSTILE).encode())
            return
        self._active = 1
        self._requests.active += 1
        self._hostile = asyncio.get_running_loop().create_task(self._pour(answer))

    async def _pour(self, answer: ByteSource) -> None:
        transport = self._transport
        assert transport is not None
        async for piece in answer():
            await self._writable.wait()
            transport.write(piece)
        transport.close()

    def _body(self, size: int) -> bytes:
        body = self._shared.bodies.get(size)
        if body is None:
            body = (b"sluice " * (size // 7 + 1))[:size]
            if size <= 1 << 16 and len(self._shared.bodies) < 1000:
                self._shared.bodies[size] = body
        return body

    def _send(
        self, status: int, body: bytes, more: bytes = b"", *, kind: bytes = b"text/plain", method: bytes = b"GET"
    ) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        length = b"" if status == 304 else b"Content-Length: %d\r\n" % len(body)
        head = b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\n%b%b\r\n" % (
            status, _REASONS.get(status, b"Status"), kind, length, more,
        )  # fmt: skip
        self._transport.write(head if method == b"HEAD" or status == 304 else head + body)


_NUMBERED = frozenset({"bytes", "slow", "status", "redirect", "limited"})
_ANSWERS: dict[str, Callable[[OriginProtocol, _Asked], None]] = {
    "bytes": OriginProtocol._bytes,
    "page": OriginProtocol._page,
    "slow": OriginProtocol._later,
    "status": OriginProtocol._status,
    "limited": OriginProtocol._limited,
    "redirect": OriginProtocol._redirect,
    "etag": OriginProtocol._tagged,
    "fail": OriginProtocol._fail,
    "hostile": OriginProtocol._cruel,
    "ledger": OriginProtocol._ledger,
}


async def serve_origin(host: str, port: int, latency: str = "0", size: str = "1024") -> asyncio.Server:
    """Listen, and return the server; its first socket tells the port. Raises OSError, and ValueError."""
    shared = _Shared(RequestCounts(), parse_distribution(latency), parse_distribution(size))
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: OriginProtocol(shared), host, port, backlog=4096)
