"""Ten thousand WebSocket clients in one process: one protocol object each, no tasks, no queues."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import monotonic
from typing import Any, cast

from loadtest.dialling import dialled, reason
from loadtest.endpoint import Endpoint
from loadtest.frames import BadFrame, frames, handshake, masked, new_key
from loadtest.headers import Headers
from loadtest.messages import Assembly, BadMessage
from loadtest.payloads import FOREIGN
from loadtest.position import Position
from loadtest.read_cache import ReadCache
from loadtest.upgrade import LONGEST, UpgradeRefused, accepted

__all__ = ["AnswerTimeout", "ConnectFailed", "Phases", "Socket"]

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


class ConnectFailed(Exception):
    """A connection that did not come up, or ended before its answer; the text says why."""


class AnswerTimeout(ConnectFailed):
    """Something that the server did not answer in its time."""


@dataclass(frozen=True, slots=True)
class Phases:
    """The seconds that each part of connecting took; ``tls`` is 0 without TLS."""

    tcp: float
    tls: float
    upgrade: float


class Socket(asyncio.Protocol):
    """One client: upgrades, sends text, and hands on runs of messages.

    ``on_run(first, count, now)`` gets the numbers of consecutive messages that had come at ``now``,
    ``on_text(socket, payload)`` every other text or binary message, ``on_close(socket)`` the end of a connection
    that nobody ended here.
    """

    __slots__ = (
        "_assembly",
        "_endpoint",
        "_key",
        "_reads",
        "_ready",
        "_request",
        "_waiting",
        "closed",
        "handled",
        "login",
        "on_close",
        "on_run",
        "on_text",
        "rest",
        "session",
        "since",
        "token",
        "transport",
        "why",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, path: str, headers: Headers, reads: ReadCache) -> None:
        self._endpoint = endpoint
        self._request: tuple[str, Headers] | None = (path, headers)
        self._reads = reads
        self._key = ""
        self._ready: asyncio.Future[None] | None = None
        self._waiting: dict[Hashable, asyncio.Future[Any]] | None = None
        self._assembly: Assembly | None = None
        self.rest = b""
        """The beginning of a frame whose end has not come yet."""
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self.handled = False
        """Whether the last payload was an answer."""
        self.why = "the connection was lost"
        """Why it ended, where the service said so."""
        self.token = self.login = ""
        """The credentials of its user, for servers that want them in a message."""
        self.session = ""
        """What the server calls it."""
        self.since: Position | None = None
        """Where it goes on, if it has been here before."""
        self.on_run: Callable[[int, int, float], None] | None = None
        self.on_text: Callable[[Socket, bytes], None] | None = None
        self.on_close: Callable[[Socket], None] | None = None

    async def connect(self, number: int = 0, source: str | None = None, timeout: float = 30.0) -> Phases:
        """Connect to the first address that answers, and upgrade; return the seconds of each phase.

        ``number`` says where to begin among several addresses. Raises ConnectFailed.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._connect(number, source, timeout)
        except TimeoutError:
            self.abort()
            raise AnswerTimeout(f"no answer within {timeout:g} s") from None
        except OSError as error:
            self.abort()
            raise ConnectFailed(reason(error)) from None
        finally:
            self._ready = self._request = None

    async def _connect(self, number: int, source: str | None, timeout: float) -> Phases:
        loop, endpoint = asyncio.get_running_loop(), self._endpoint
        raw, began = await dialled(loop, endpoint, number, source, timeout)
        self._ready = loop.create_future()
        tcp = tls = monotonic()
        name = endpoint.server_name if endpoint.tls else None
        await loop.create_connection(lambda: self, sock=raw, ssl=endpoint.tls, server_hostname=name)
        if endpoint.tls:
            tls = monotonic()
        await self._ready
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
        """Hand an answer to the caller that asked under ``key``; return whether somebody did."""
        waiting = self._waiting.get(key) if self._waiting else None
        if waiting is None or waiting.done():
            return False
        waiting.set_result(value)
        self.handled = True
        return True

    def send(self, text: bytes) -> None:
        """Send one text message; raises ConnectFailed."""
        if self.transport is None or self.closed:
            raise ConnectFailed(self.why)
        self.transport.write(masked(_TEXT, text))

    def deliver(self, payload: bytes) -> None:
        """Take a message that came inside of an answer."""
        self._message(payload)

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
        assert self._request is not None
        path, headers = self._request
        self.transport.write(handshake(self._endpoint.authority, path, self._key, headers))

    def data_received(self, data: bytes, now: float = 0.0) -> None:
        """Take a read: a run of messages at once where it is one, frame by frame where not."""
        try:
            self._walk(data, now)
        except BadFrame as error:
            self.why = f"the server sent {error}"
            self._fail(self.why)

    def _walk(self, data: bytes, now: float) -> None:
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
                if len(head) > LONGEST:
                    self._fail("refused: the head of the answer has no end")
                return
            self._upgraded(head)
        end = 0
        for kind, payload, end in frames(data):  # noqa: B007 - the last end is used
            if self.closed:
                return
            self._frame(kind, payload)
        self.rest = data[end:]

    def _upgraded(self, head: bytes) -> None:
        try:
            extensions = accepted(head, self._key)
        except UpgradeRefused as error:
            self._fail(str(error))
            return
        if extensions:
            self._assembly = Assembly(extensions)
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        self._key = ""
        self.rest = b""

    def _frame(self, kind: int, payload: bytes) -> None:
        if kind in (_TEXT, _BINARY):
            self._messages(payload)
        elif kind == _PING and self.transport is not None:
            self.transport.write(masked(_PONG, payload))
        elif kind == _CLOSE:
            self._closed(payload)
        elif kind != _PONG:
            self._part(kind, payload)

    def _messages(self, payload: bytes) -> None:
        for part in self._reads.parts(payload):
            self._message(part)

    def _message(self, payload: bytes) -> None:
        numbers = self._reads.numbers(payload) if self.on_run is not None else []
        if not numbers and self.on_text is not None:
            self.on_text(self, payload)
        for number in numbers:
            self._number(number, payload, alone=len(numbers) == 1)

    def _number(self, number: int, payload: bytes, *, alone: bool) -> None:
        reads = self._reads
        if number == FOREIGN:
            reads.foreign += 1
        elif self.on_run is not None:
            reads.altered += alone and reads.compare(payload, number)
            reads.note_position(payload, number)
            self.on_run(number, 1, monotonic())

    def _part(self, kind: int, payload: bytes) -> None:
        if self._assembly is None:
            self._assembly = Assembly()
        try:
            whole = self._assembly.add(kind, payload)
        except BadMessage as error:
            self.why = f"the server sent {error}"
            self._fail(self.why)
            return
        if whole is not None:
            self._messages(whole)

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
        """Tell all that wait that nothing more comes."""
        self.closed = True
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(ConnectFailed(f"{self.why} during the upgrade"))
        for waiting in (self._waiting or {}).values():
            if not waiting.done():
                waiting.set_exception(ConnectFailed(self.why))
        if self.on_close is not None:
            self.on_close(self)
