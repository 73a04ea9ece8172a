"""The WebSocket endpoint: aiohttp reads, the session decides, visits write.

Frames of messages are written to the transport as they are, between aiohttp's own writes (answers,
pongs, close): each write carries whole frames, so they never interleave.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import WSMsgType, web

from service.core.closing import BINARY, DRAINED, TOO_SLOW, UNAUTHORIZED, Closing
from service.core.errors import Draining, InvalidRequest, Overloaded
from service.core.hub import Hub
from service.core.reader import OnLag, Reader
from service.core.session import Services, Session, SessionLimits
from service.core.topic import Topic
from service.core.wire import Encoding, closing_frame
from service.edge.heartbeat import Heartbeat
from service.edge.stalled import Stalled

__all__ = ["PROTOCOL", "Connection", "WebSocketLimits", "WebSockets"]

PROTOCOL: Final = "sluice.v1"
BEARER: Final = "bearer."

_log = logging.getLogger("sluice.websocket")
_PING: Final = b"\x89\x00"


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """Bounds of the endpoint: connections, bytes, seconds."""

    connections: int = 10_000
    message_size: int = 64 << 10
    heartbeat: float = 25.0
    # Bytes of ours that a transport may hold before its readers stay where they are.
    backlog: int = 64 << 10
    close_timeout: float = 3.0
    session: SessionLimits = field(default_factory=SessionLimits)


class PushReader(Reader):
    """A subscription of a WebSocket: a visit writes to its transport."""

    __slots__ = ("_connection",)

    def __init__(self, topic: Topic, on_lag: OnLag, connection: "Connection") -> None:
        super().__init__(topic, Encoding.FRAMES, on_lag)
        self._connection = connection

    def visit(self) -> None:
        """Write what is new while the transport takes it; what is left waits in the topic."""
        connection = self._connection
        while self.offset < self.topic.head:
            if connection.full():
                # The policy counts from the moment the ring has moved past, not from when there is room.
                if self.offset + 1 < self.topic.first and self.on_lag is OnLag.DISCONNECT:
                    self.take()
                connection.stall()
                return
            chunk = self.take()
            if chunk:
                connection.write(chunk)

    def evict(self) -> None:
        """Cut the connection: 4408 when it still takes something, without a close frame when it does not."""
        self._connection.cut_slow()

    def finished(self) -> None:
        """End the subscription with its topic."""
        self._connection.session.forget(self.topic.name)


class Connection:
    """One WebSocket: its transport, its session, and the task that reads from it."""

    __slots__ = ("_limit", "_seen_taken", "_stalled", "_written", "alive", "closing", "session", "task",
                 "transport")  # fmt: skip

    def __init__(
        self, transport: asyncio.Transport, task: "asyncio.Task[object]", limit: int, stalled: Stalled
    ) -> None:
        self.transport = transport
        self.task = task
        self.closing: Closing | None = None
        self.alive = True
        self.session: Session
        self._limit = limit
        self._stalled = stalled
        self._written = 0
        self._seen_taken = 0

    def full(self) -> bool:
        """Whether the transport holds so much that more is better left in the topic."""
        return self.transport.get_write_buffer_size() > self._limit

    def write(self, frames: bytes) -> None:
        """Write whole frames."""
        self._written += len(frames)
        self.transport.write(frames)

    def taken(self) -> int:
        """Return how many bytes of messages the kernel has taken from us."""
        return self._written - self.transport.get_write_buffer_size()

    def stall(self) -> None:
        """Have this connection's readers visited again when its transport has drained."""
        if self._stalled.add(self):
            self._seen_taken = self.taken()

    def revisit(self) -> None:
        """Bring every reader of this connection what it has not had."""
        for reader in tuple(self.session.readers.values()):
            if reader.behind:
                reader.visit()

    def ping(self) -> None:
        """Ask the peer for a sign of life; where a ping would wait behind messages, taking them is one."""
        if self.full():
            taken = self.taken()
            self.alive = taken > self._seen_taken
            self._seen_taken = taken
        else:
            self.alive = False
            self.transport.write(_PING)

    def end(self, closing: Closing) -> None:
        """Have the connection's own task close it, with a close frame; the first reason stays."""
        if self.closing is None:
            self.closing = closing
            self.session.close()
            self.task.cancel()

    def cut_slow(self) -> None:
        """End a connection that fell behind."""
        if self.taken() > self._seen_taken:
            self.end(TOO_SLOW)
        else:
            self.cut()

    def cut(self) -> None:
        """End the connection now, whatever the peer does: its descriptor is free in the next loop turn."""
        self.session.close()
        self.transport.abort()


class WebSockets:
    """All WebSocket connections: admission, heartbeats, stalled writers, and the drain."""

    def __init__(self, hub: Hub, services: Services, limits: WebSocketLimits) -> None:
        self.limits = limits
        self.connections: set[Connection] = set()
        self._hub = hub
        self._services = services
        self._made = 0
        self._stalled = Stalled()
        self._heartbeat = Heartbeat(limits.heartbeat)

    def __repr__(self) -> str:
        return f"<WebSockets {self.count} of {self.limits.connections}>"

    @property
    def count(self) -> int:
        """How many are connected."""
        return len(self.connections)

    async def handle(self, request: web.Request, *, authorised: bool = True) -> web.WebSocketResponse:
        """Serve one client until it leaves; refuse by SluiceError before the upgrade."""
        self._admit(request)
        socket = web.WebSocketResponse(
            protocols=(PROTOCOL,),
            compress=False,
            max_msg_size=self.limits.message_size,
            writer_limit=16 << 10,
            timeout=self.limits.close_timeout,
            autoping=False,
            decode_text=False,
        )
        await socket.prepare(request)
        connection = self._connect(request)
        if not authorised:
            connection.closing = UNAUTHORIZED
        try:
            await self._converse(socket, connection)
        except asyncio.CancelledError:
            task = connection.task
            if connection.closing is None or task.uncancel() > 0:
                raise
        finally:
            connection.session.close()
            self.connections.discard(connection)
            self._heartbeat.discard(connection)
        await self._close(socket, connection)
        return socket

    def _admit(self, request: web.Request) -> None:
        if self._services.draining:
            raise Draining("the service is shutting down")
        if self.count >= self.limits.connections:
            raise Overloaded(f"limit websockets: all {self.limits.connections} are in use")
        offered = [
            name.strip()
            for header in request.headers.getall("Sec-WebSocket-Protocol", ())
            for name in header.split(",")
        ]
        if offered and PROTOCOL not in offered:
            raise InvalidRequest(f"Sec-WebSocket-Protocol: only {PROTOCOL} is spoken here")

    def _connect(self, request: web.Request) -> Connection:
        transport, task = request.transport, asyncio.current_task()
        assert transport is not None
        assert task is not None
        self._made += 1
        connection = Connection(transport, task, self.limits.backlog, self._stalled)
        connection.session = Session(
            self._hub,
            self._services,
            self.limits.session,
            owner=f"ws-{self._made}",
            new_reader=lambda topic, on_lag: PushReader(topic, on_lag, connection),
            on_bug=_log_bug,
        )
        self.connections.add(connection)
        self._heartbeat.add(connection)
        return connection

    async def _converse(self, socket: web.WebSocketResponse, connection: Connection) -> None:
        """Answer requests until one side ends it."""
        now: Callable[[], float] = asyncio.get_running_loop().time
        session = connection.session
        while connection.closing is None:
            message = await socket.receive()
            connection.alive = True
            if message.type is WSMsgType.TEXT:
                answer = session.receive(message.data, now())
                if answer.text:
                    await socket.send_frame(answer.text, WSMsgType.TEXT)
                connection.closing = connection.closing or answer.closing
                while self._hub.pressed:  # noqa: ASYNC110 - a turn of the loop is what visits need
                    await asyncio.sleep(0)
            elif message.type is WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type is WSMsgType.BINARY:
                connection.closing = BINARY
            elif message.type is not WSMsgType.PONG:
                return

    async def _close(self, socket: web.WebSocketResponse, connection: Connection) -> None:
        """Close with the code that was decided; a peer that does not take it is cut."""
        closing = connection.closing
        if closing is None or socket.closed:
            return
        try:
            async with asyncio.timeout(self.limits.close_timeout):
                await socket.close(code=closing.code, message=closing.reason.encode())
        except TimeoutError:
            connection.transport.abort()

    async def drain(self, deadline: float, retry_after: float) -> None:
        """Tell everyone, then close who is idle, spread over the time until ``deadline`` (loop time).

        Connections that read a batch stay until :meth:`close`, or until their batch is done.
        """
        loop = asyncio.get_running_loop()
        frame = closing_frame("draining", retry_after)
        for number, connection in enumerate(tuple(self.connections)):
            connection.write(frame)
            if number % 500 == 499:
                await asyncio.sleep(0)
        while self.connections and (left := deadline - loop.time()) > 0:
            idle = [connection for connection in self.connections if not _in_batch(connection)]
            steps = max(1, int(left / 0.1))
            for connection in idle[: max(1, len(idle) // steps)]:
                connection.end(DRAINED)
            await asyncio.sleep(min(0.1, left))

    async def close(self) -> None:
        """End what is still connected; returns when every handler has."""
        await self._heartbeat.close()
        for connection in tuple(self.connections):
            connection.end(DRAINED)
        tasks = [connection.task for connection in self.connections]
        self._stalled.close()
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=self.limits.close_timeout)
            assert not stuck or all(task.cancel() for task in stuck)


def _in_batch(connection: Connection) -> bool:
    return any(name.startswith("batch:") for name in connection.session.readers)


def _log_bug(error: BaseException) -> None:
    _log.error("a request failed inside", exc_info=error)
