"""The WebSocket endpoint: aiohttp reads, the session decides, visits write."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from aiohttp import web

from service.core.access.grants import EVERYTHING, NOTHING, Grant
from service.core.errors import Draining, Overloaded, SluiceError, Unauthorized
from service.core.owner import Owner
from service.core.pool import Pool
from service.core.ports import Backend
from service.core.sessions.closing import FLOODING, UNAUTHORIZED, CloseReason
from service.core.sessions.session import Session, SessionLimits
from service.core.topics.hub import Hub
from service.core.topics.wire import closing_frame
from service.edge.access.admission import ADDRESS, AdmissionControl
from service.edge.access.expiries import Expiries
from service.edge.http.aiohttp_internals import reader_of, release_ended, release_handshake_state
from service.edge.http.handshake import PROTOCOL, as_one_line_each, check_handshake
from service.edge.http.problems import reason_of, refusal
from service.edge.http.server import read_for
from service.edge.websocket.connection import Connection
from service.edge.websocket.conversation import (
    Conversation,
    MessageHandler,
    RequestHandler,
    message_turns,
)
from service.edge.websocket.counters import WebSocketCounters
from service.edge.websocket.frames import ClientFrames, ClientSocket
from service.edge.websocket.heartbeat import PingTimer
from service.edge.websocket.stalled import Stalled
from service.runtime.per_turn import PerTurn

__all__ = ["PROTOCOL", "Connection", "Serve", "WebSocketLimits", "WebSockets"]

Serve = Callable[[ClientSocket, Connection], Awaitable[None]]
"""Carries out what one client sends, until it leaves or ``connection.closing`` says why it is closed."""

_HANDSHAKES: Final = 2
"""Handshakes of one turn of the loop, 0.2 ms each: newcomers do not hold up those that are in."""
_STRANGERS: Final = Owner("strangers")
"""Who all are that have shown no credentials yet, from however many addresses: others find room beside them."""
_STEP: Final = 0.1
"""Seconds between two groups of sockets that a drain closes."""


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """Bounds of the endpoint: connections, bytes, seconds."""

    connections: int = 10_000
    message_size: int = 64 << 10
    heartbeat: float = 25.0
    close_timeout: float = 3.0
    # For clients that have shown no credentials where they are needed; 0 closes them at once.
    patience: float = 0.0
    # What all transports hold together for clients that do not take it.
    backlogs: int = 256 << 20
    session: SessionLimits = field(default_factory=SessionLimits)


class _Shown(NamedTuple):
    """What a client is by the credentials that it shows, and when (loop time) or why its connection ends."""

    grant: Grant
    owner: Owner
    ends: float | None
    closing: CloseReason | None


class WebSockets:
    """All WebSocket connections: admission, heartbeats, stalled writers, and the drain."""

    def __init__(
        self,
        hub: Hub,
        services: Backend,
        limits: WebSocketLimits,
        admission: AdmissionControl,
        authorise: Callable[[web.Request], Grant | None] = lambda request: EVERYTHING,
        handler: MessageHandler | None = None,
        *,
        pool: Pool | None = None,
        open_: Callable[[web.Request, Grant, Owner], Serve] | None = None,
    ) -> None:
        self.limits = limits
        self.connections: set[Connection] = set()
        self.pool = pool or Pool("websockets", limits.connections, strict=True, advice="close some")
        """Whose they are. Shares are for subjects: ten thousand clients may have one address, or one token."""
        self._open = open_
        self._hub = hub
        self._services = services
        self._admission = admission
        self._authorise = authorise
        self.traffic = WebSocketCounters()
        self.stalled = Stalled(limits.backlogs)
        """Who has a client that is behind."""
        self.heartbeat = PingTimer(limits.heartbeat)
        self._expiries = Expiries()
        turns = message_turns()
        self._requests = RequestHandler(hub, self.traffic, self._expiries, turns)
        self._conversation = Conversation(hub.clock, turns)
        self._handler = handler or self._requests
        self._handshakes = PerTurn(_HANDSHAKES)

    def __repr__(self) -> str:
        return f"<WebSockets {self.count} of {self.limits.connections}>"

    @property
    def count(self) -> int:
        """How many are connected."""
        return len(self.connections)

    def shed(self) -> int:
        """Cut the heaviest of those that are behind (1013); return how many."""
        return self.stalled.shed()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one client until it leaves, or refuse it before the upgrade."""
        caller = self._admission.caller(request)
        await self._handshakes.wait(caller.owner)
        try:
            self._admit(request)
            address = self._admission.handshake(request, caller)
            shown = self._shown(request)
            serve = self._server_of(request, shown)
            socket = ClientSocket(PROTOCOL, self.limits.message_size, self.limits.close_timeout)
            await socket.prepare(as_one_line_each(request))
        except (SluiceError, web.HTTPException) as error:
            self._services.refusals["handshake", reason_of(error)] += 1
            return refusal(error, request)
        connection = self._connect(request, address, shown)
        release_handshake_state(request, socket)
        serving = serve(socket, connection)
        del caller, serve, shown
        try:
            await serving
        except asyncio.CancelledError:
            task = connection.task
            if connection.closing is None or task.uncancel() > 0:
                raise
        except ConnectionError:
            # The client has gone while it was answered: no error of ours, and nobody to close for.
            release_ended(socket)
            return socket
        finally:
            connection.session.end()
            self.connections.discard(connection)
            self.heartbeat.discard(connection)
            self._expiries.discard(connection)
            self.pool.release(connection.owner, 1)
            self._admission.leave(address, flooding=connection.closing is FLOODING)
        await self._close(socket, connection)
        release_ended(socket)
        return socket

    def _admit(self, request: web.Request) -> None:
        if self._services.draining:
            raise Draining("the service is shutting down")
        if self.count >= self.limits.connections:
            raise Overloaded(f"limit {self.pool.name}: all {self.limits.connections} are in use")
        check_handshake(request)

    def _server_of(self, request: web.Request, shown: _Shown) -> Serve:
        """Return what serves a client; raises a SluiceError for one that is refused before the upgrade."""
        if self._open is None or shown.closing is not None:
            return self._converse
        return self._open(request, shown.grant, shown.owner)

    def _converse(self, socket: ClientSocket, connection: Connection) -> Awaitable[None]:
        # A coroutine of its own would stay in memory for as long as the connection.
        return self._conversation.run(socket, connection, self._handler)

    def _connect(self, request: web.Request, address: str | None, shown: _Shown) -> Connection:
        transport, task = request.transport, asyncio.current_task()
        assert task is not None
        if transport is None:
            raise ConnectionResetError("the client left during its handshake")
        self.traffic.made += 1
        name = f"ws-{self.traffic.made}" if address is None else address
        connection = Connection(
            name, transport, task, self.stalled, request[ADDRESS], self.pool, shown.owner, self.traffic
        )
        connection.closing = shown.closing
        # Results of a pipeline have nobody left to go to; what requests ask for lasts.
        read_for(request, shown.owner, on_lost=connection.finish if self._open is None else task.cancel)
        connection.session = Session(self._hub, self._services, self.limits.session, connection, shown.grant)
        if isinstance(frames := reader_of(request), ClientFrames):
            frames.pinged = connection
        # Counted when nothing can fail any more: the kernel may have cut the connection already.
        self._admission.enter(address)
        self.pool.charge(shown.owner, 1)
        self._expiries.set_at(connection, shown.ends)
        self.connections.add(connection)
        self.heartbeat.add(connection)
        return connection

    def _shown(self, request: web.Request) -> _Shown:
        """Return what the credentials grant; browsers cannot see a 401, so wrong ones end the connection later.

        Raises LimitReached for a subject that has its share of the connections.
        """
        nobody = NOTHING.owner(request[ADDRESS])
        try:
            grant = self._authorise(request)
        except Unauthorized:
            return _Shown(NOTHING, nobody, None, UNAUTHORIZED)
        if grant is not None:
            owner = grant.owner(request[ADDRESS])
            if grant.subject is not None:
                self.pool.check(owner)
            return _Shown(grant, owner, self._expiries.when(grant.until), None)
        if self.limits.patience:
            self._check_strangers()
            return _Shown(NOTHING, _STRANGERS, asyncio.get_running_loop().time() + self.limits.patience, None)
        return _Shown(NOTHING, nobody, None, UNAUTHORIZED)

    def _check_strangers(self) -> None:
        """Raise Overloaded where those without credentials have their share of the connections."""
        if self.pool.room(_STRANGERS) < 1:
            self.pool.refused += 1
            why = f"{self.pool.held(_STRANGERS)} clients that have shown no credentials have their share"
            raise Overloaded(f"limit websockets: {why} of {self.pool.bound}", pool=self.pool.name)

    async def _close(self, socket: web.WebSocketResponse, connection: Connection) -> None:
        """Close with the code that was decided; a peer that does not take it is cut."""
        closing = connection.closing
        if closing is None or socket.closed:
            return
        self.traffic.closed[closing.code] += 1
        connection.flush()
        try:
            async with asyncio.timeout(self.limits.close_timeout):
                await socket.close(code=closing.code, message=closing.reason.encode())
        except TimeoutError:
            connection.transport.abort()

    async def announce_draining(self, retry_after: float) -> None:
        """Announce the end to everyone."""
        frame = closing_frame("draining", retry_after)
        for number, connection in enumerate(tuple(self.connections), start=1):
            if not connection.transport.is_closing():
                connection.transport.write(frame)
            if number % 1000 == 0:
                await asyncio.sleep(0)

    async def release_idle(self, deadline: float) -> None:
        """Close who reads no batch, spread over the time until ``deadline`` (loop time).

        All at once would come back all at once.
        """
        loop = asyncio.get_running_loop()
        while (idle := self._idle()) and (left := deadline - loop.time()) > 0:
            for connection in idle[: -(-len(idle) // max(1, int(left / _STEP)))]:
                connection.release()
            await asyncio.sleep(min(_STEP, left))
        self.end_idle()

    def end_idle(self) -> None:
        """Close who reads no batch."""
        for connection in self._idle():
            connection.release()

    def _idle(self) -> list[Connection]:
        return [
            connection
            for connection in self.connections
            if connection.closing is None
            and not any(name.startswith("batch:") for name in connection.session.readers)
        ]

    @property
    def behind(self) -> bool:
        """Whether some reader has not had everything."""
        return any(
            reader.behind for connection in self.connections for reader in connection.session.readers.values()
        )

    async def close(self) -> None:
        """End what is still connected; returns when every handler has."""
        self._expiries.close()
        self._requests.close()
        self.heartbeat.close()
        for connection in tuple(self.connections):
            connection.release()
        tasks = [connection.task for connection in self.connections]
        self.stalled.close()
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=self.limits.close_timeout)
            for task in stuck:
                task.cancel()
