"""Ten thousand WebSocket clients in one process: one protocol object each, no tasks, no queues."""

import asyncio
import os
import socket as sockets
import ssl
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, cast
from urllib.parse import urlsplit

from loadtest.frames import accept_of, frames, handshake, masked, new_key
from loadtest.reads import Reads

__all__ = ["ConnectFailed", "Phases", "Place", "Socket", "place_of"]

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


class ConnectFailed(Exception):
    """A connection that did not come up, or ended before its answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the service is; ``address`` is what its name stands for."""

    host: str
    port: int
    path: str
    tls: ssl.SSLContext | None
    headers: Mapping[str, str] = field(default_factory=dict)
    address: str = ""

    @property
    def authority(self) -> str:
        """Host and port as the ``Host`` header has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Phases:
    """The seconds that each part of connecting took; ``tls`` is 0 without TLS."""

    tcp: float
    tls: float
    upgrade: float


def place_of(url: str, path: str = "", headers: Mapping[str, str] | None = None) -> Place:
    """Return the place that an ``http``, ``https``, ``ws`` or ``wss`` URL names, with ``path`` behind it.

    Raises ValueError.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise ValueError(f"--url: {url!r} is no http or https URL")
    secure = parts.scheme in ("https", "wss")
    tls = ssl.create_default_context() if secure else None
    port = parts.port or (443 if secure else 80)
    return Place(parts.hostname, port, parts.path.rstrip("/") + path, tls, headers or {})


class Socket(asyncio.Protocol):
    """One client: upgrades, sends text, and hands on runs of messages.

    ``on_run(first, count, now)`` gets the numbers of consecutive messages that had come at ``now``,
    ``on_text(socket, payload)`` every other text or binary message, ``on_close(socket)`` the end of a connection
    that nobody ended here.
    """

    __slots__ = (
        "_key",
        "_place",
        "_reads",
        "_ready",
        "_waiting",
        "closed",
        "on_close",
        "on_run",
        "on_text",
        "rest",
        "transport",
        "why",
    )  # fmt: skip

    def __init__(self, place: Place, reads: Reads) -> None:
        self._place = place
        self._reads = reads
        self._key = ""
        self._ready: asyncio.Future[None] | None = None
        self._waiting: dict[Hashable, asyncio.Future[Any]] | None = None
        self.rest = b""
        """The beginning of a frame whose end has not come yet."""
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self.why = "the connection was lost"
        """Why it ended, where the service said so."""
        self.on_run: Callable[[int, int, float], None] | None = None
        self.on_text: Callable[[Socket, bytes], None] | None = None
        self.on_close: Callable[[Socket], None] | None = None

    async def connect(self, source: str | None = None, timeout: float = 30.0) -> Phases:
        """Connect and upgrade; return the seconds of each phase. Raises ConnectFailed."""
        loop, place = asyncio.get_running_loop(), self._place
        self._ready = loop.create_future()
        began = monotonic()
        try:
            async with asyncio.timeout(timeout):
                raw = await _connected(loop, place, source)
                tcp = tls = monotonic()
                name = place.host if place.tls else None
                await loop.create_connection(lambda: self, sock=raw, ssl=place.tls, server_hostname=name)
                if place.tls:
                    tls = monotonic()
                await self._ready
        except TimeoutError:
            self.abort()
            raise ConnectFailed(f"no answer within {timeout:g} s") from None
        except OSError as error:
            raise ConnectFailed(_reason(error)) from None
        finally:
            self._ready = None
        return Phases(tcp - began, tls - tcp, monotonic() - tls)

    async def ask(self, key: Hashable, text: bytes) -> Any:
        """Send a message and return what :meth:`answer` gets for ``key``; raises ConnectFailed."""
        if self._waiting is None:
            self._waiting = {}
        waiting = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            self.send(text)
            return await waiting
        finally:
            if self._waiting is not None:
                self._waiting.pop(key, None)
                # Ten thousand empty dicts are half a megabyte.
                self._waiting = self._waiting or None

    def answer(self, key: Hashable, value: Any) -> bool:
        """Hand an answer to whoever asked under ``key``; return whether somebody did."""
        waiting = self._waiting.get(key) if self._waiting else None
        if waiting is None or waiting.done():
            return False
        waiting.set_result(value)
        return True

    def send(self, text: bytes) -> None:
        """Send one text message; raises ConnectFailed."""
        if self.transport is None or self.closed:
            raise ConnectFailed(self.why)
        self.transport.write(masked(_TEXT, text))

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

    def data_received(self, data: bytes, now: float = 0.0) -> None:
        """Take a read: a run of messages at once where it is one, frame by frame where not."""
        if self.on_run is not None and not self.rest:
            run = self._reads.run(data)
            if run is not None:
                self.on_run(run[0], run[1], now or monotonic())
                return
        data = self.rest + data
        if self._key:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self.rest = head
                return
            self._upgraded(head)
            if self.closed:
                return
        end = 0
        for opcode, payload, end in frames(data):  # noqa: B007 - the last end is used
            self._frame(opcode, payload)
        self.rest = data[end:]

    def _upgraded(self, head: bytes) -> None:
        status, _, headers = head.partition(b"\r\n")
        if not status.startswith(b"HTTP/1.1 101"):
            self._fail(f"refused: {status.decode('latin-1')[9:80]}")
        elif f"sec-websocket-accept: {accept_of(self._key).lower()}".encode() not in headers.lower():
            self._fail("the answer does not fit the request: no WebSocket server?")
        elif self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        self._key = ""
        self.rest = b""

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode in (_TEXT, _BINARY):
            number = self._reads.number(payload) if self.on_run is not None else None
            if number is not None and self.on_run is not None:
                self.on_run(number, 1, monotonic())
            elif self.on_text is not None:
                self.on_text(self, payload)
        elif opcode == _PING and self.transport is not None:
            self.transport.write(masked(_PONG, payload))
        elif opcode == _CLOSE:
            self._closed(payload)
        elif opcode != _PONG:
            self.why = "the server sent a message in fragments, which this client does not put together"
            self._fail(self.why)

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
        for waiting in (self._waiting or {}).values():
            if not waiting.done():
                waiting.set_exception(ConnectFailed(self.why))
        if self.on_close is not None:
            self.on_close(self)


def _reason(error: OSError) -> str:
    """Return what a person knows it by: event loops put texts of their own where the system's would be."""
    if isinstance(error, ssl.SSLError) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)


async def _connected(loop: asyncio.AbstractEventLoop, place: Place, source: str | None) -> sockets.socket:
    address = place.address or place.host
    raw = sockets.socket(sockets.AF_INET6 if ":" in address else sockets.AF_INET, sockets.SOCK_STREAM)
    try:
        raw.setblocking(False)
        # Small messages that wait for an acknowledgement would be latency of ours.
        raw.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        if source:
            # The port is chosen at connect, by the pair of both ends: an address has room for more.
            raw.setsockopt(sockets.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            raw.bind((source, 0))
        await loop.sock_connect(raw, (address, place.port))
    except BaseException:
        raw.close()
        raise
    return raw
