"""Ten thousand WebSocket clients in one process: one protocol object each, no tasks, no queues."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import cast
from urllib.parse import urlsplit

import orjson

from loadtest.frames import accept_of, frames, handshake, masked, new_key, quick_run

__all__ = ["ConnectFailed", "Place", "Socket", "place_of"]

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


class ConnectFailed(Exception):
    """A connection that did not come up; the text says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the service is."""

    host: str
    port: int
    path: str
    tls: ssl.SSLContext | None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def authority(self) -> str:
        """Host and port as the ``Host`` header has them."""
        return f"{self.host}:{self.port}"


def place_of(url: str, path: str, headers: Mapping[str, str]) -> Place:
    """Return the place that an ``http``, ``https``, ``ws`` or ``wss`` URL names, with ``path`` behind it.

    Raises ValueError.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise ValueError(f"--url: {url!r} is no http or https URL")
    secure = parts.scheme in ("https", "wss")
    tls = ssl.create_default_context() if secure else None
    return Place(parts.hostname, parts.port or (443 if secure else 80), parts.path.rstrip("/") + path, tls, headers)


class Socket(asyncio.Protocol):
    """One client: upgrades, calls methods, and hands on runs of messages.

    ``on_run(socket, first, count)`` gets consecutive offsets, ``on_notice(socket, message)`` every other
    notification, ``on_close(socket)`` the end of a connection that nobody ended here.
    """

    __slots__ = (
        "_calls", "_key", "_place", "_ready", "_rest", "closed", "ledger", "on_close", "on_notice", "on_run",
        "transport", "why",
    )  # fmt: skip

    def __init__(self, place: Place) -> None:
        self._place = place
        self._rest = b""
        self._key = ""
        self._ready: asyncio.Future[None] | None = None
        self._calls: dict[int, asyncio.Future[object]] | None = None
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self.why = "the connection was closed"
        """Why it ended, where the service said so."""
        self.ledger: object | None = None
        self.on_run: Callable[[Socket, int, int], None] | None = None
        self.on_notice: Callable[[Socket, dict[str, object]], None] | None = None
        self.on_close: Callable[[Socket], None] | None = None

    async def connect(self, source: str | None = None, timeout: float = 30.0) -> tuple[float, float]:
        """Connect and upgrade; return the seconds of both phases. Raises ConnectFailed."""
        loop, place = asyncio.get_running_loop(), self._place
        self._ready = loop.create_future()
        began = monotonic()
        try:
            async with asyncio.timeout(timeout):
                await loop.create_connection(
                    lambda: self, place.host, place.port, ssl=place.tls, local_addr=(source, 0) if source else None
                )
                connected = monotonic()
                await self._ready
        except TimeoutError:
            self.abort()
            raise ConnectFailed(f"no answer within {timeout:g} s") from None
        except OSError as error:
            raise ConnectFailed(error.strerror or str(error)) from None
        finally:
            self._ready = None
        return connected - began, monotonic() - connected

    async def call(self, method: str, **params: object) -> dict[str, object]:
        """Call a method and return its result; raises ConnectFailed with the error's text."""
        if self._calls is None:
            self._calls = {}
        number = len(self._calls) + 1
        while number in self._calls:
            number += 1
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        try:
            message = await answer
        finally:
            self._calls.pop(number, None)
            if not self._calls:
                self._calls = None
        assert isinstance(message, dict)
        if "error" in message:
            raise ConnectFailed(f"{method}: {message['error']['message']}")
        result = message["result"]
        assert isinstance(result, dict)
        return result

    def send(self, message: object) -> None:
        """Send one message."""
        if self.transport is None or self.closed:
            raise ConnectFailed("the connection is closed")
        self.transport.write(masked(_TEXT, orjson.dumps(message)))

    def close(self) -> None:
        """Say goodbye and end the connection."""
        self.on_close = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(masked(_CLOSE, (1000).to_bytes(2, "big")))
            self.transport.close()

    def abort(self) -> None:
        """End the connection without a word."""
        self.on_close = None
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        # uvloop's transports are of no class of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self._key = new_key()
        self.transport.write(handshake(self._place.authority, self._place.path, self._key, self._place.headers))

    def data_received(self, data: bytes) -> None:
        """Take a read: a run of messages at once where that adds up, frame by frame where not."""
        if not self._rest and not self._key and self.on_run is not None:
            run = quick_run(data)
            if run is not None:
                self.on_run(self, *run)
                return
        data = self._rest + data
        if self._key:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return
            self._upgraded(head)
            if self.closed:
                return
        end = 0
        for opcode, payload, end in frames(data):  # noqa: B007 - the last end is used
            self._frame(opcode, payload)
        self._rest = data[end:]

    def _upgraded(self, head: bytes) -> None:
        status, _, headers = head.partition(b"\r\n")
        if not status.startswith(b"HTTP/1.1 101"):
            self._fail(f"refused: {status.decode('latin-1')[9:80]}")
        elif f"sec-websocket-accept: {accept_of(self._key).lower()}".encode() not in headers.lower():
            self._fail("the answer does not fit the request: no WebSocket server?")
        elif self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        self._key = ""
        self._rest = b""

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == _TEXT:
            message = orjson.loads(payload)
            if "id" in message:
                answer = (self._calls or {}).get(message["id"])
                if answer is not None and not answer.done():
                    answer.set_result(message)
            elif message["method"] == "message" and self.on_run is not None:
                self.on_run(self, message["params"]["offset"], 1)
            elif self.on_notice is not None:
                self.on_notice(self, message)
        elif opcode == _PING and self.transport is not None:
            self.transport.write(masked(_PONG, payload))
        elif opcode == _CLOSE:
            self._closed(payload)

    def _closed(self, payload: bytes) -> None:
        if len(payload) >= 2:
            code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")
            self.why = f"closed with {code} {reason}".rstrip()
        if self.transport is not None:
            self.transport.write(masked(_CLOSE, payload[:2]))
            self.transport.close()

    def _fail(self, why: str) -> None:
        self.closed = True
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(ConnectFailed(why))
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits that nothing more comes."""
        self.closed = True
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(ConnectFailed(f"{self.why} during the upgrade"))
        for answer in (self._calls or {}).values():
            if not answer.done():
                answer.set_exception(ConnectFailed(self.why))
        if self.on_close is not None:
            self.on_close(self)
