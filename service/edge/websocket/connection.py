"""One WebSocket: who it is for, how it is kept alive, and how it ends.

    state   | end     | expire  | leave   | release | release_busy | cut_slow | cut_stuck | cut_silent | cut
    --------|---------|---------|---------|---------|--------------|----------|-----------|------------|----
    OPEN    | ENDING  | ENDING  | LEAVING | ENDING  | LEAVING      | ENDING   | CUT       | CUT        | CUT
    LEAVING | LEAVING | LEAVING | LEAVING | LEAVING | LEAVING      | LEAVING  | CUT       | CUT        | CUT
    ENDING  | ENDING  | ENDING  | ENDING  | ENDING  | ENDING       | ENDING   | CUT       | CUT        | CUT
    CUT     | CUT     | CUT     | CUT     | CUT     | CUT          | CUT      | CUT       | CUT        | CUT

*Leaving*: what it has asked is answered, and it ends when it would read the next message. *Ending*: it has left
every topic, and its own task sends a close frame. *Cut*: its transport is gone. The first reason stays. *Release*
is a drain, after the answers that come late; *release_busy* is one while the next message is not read yet.
*Cut_slow* is of a peer that takes something, *cut_stuck* of one that takes nothing.

    peer  | taken | pong  | ping  | ping_behind | check
    ------|-------|-------|-------|-------------|------
    HEARD | HEARD | HEARD | ASKED | ASKED       | HEARD
    ASKED | HEARD | HEARD | ASKED | ASKED       | CUT
    CUT   |       |       |       |             | CUT

*Taken*: the peer took messages since the last ping. *Ping_behind*: it holds a backlog, behind which a ping would
only wait. *Check* comes half a heartbeat later, and leaves alone what is busy, or may miss messages and is behind.
"""

import asyncio
import logging
import socket
from enum import Enum, auto
from typing import Final

from service.core.access.grants import NOTHING, Grant
from service.core.owner import Owner
from service.core.pool import Pool
from service.core.sessions.closing import DRAINED, EXPIRED, TOO_SLOW, UNAUTHORIZED, CloseReason
from service.core.sessions.session import Session
from service.core.topics.names import shown
from service.core.topics.topic import OnLag, Topic
from service.core.topics.wire import text_frame
from service.edge.websocket.counters import WebSocketCounters
from service.edge.websocket.push_reader import BACKLOG, PushReader
from service.edge.websocket.stalled import Stalled

__all__ = ["BACKLOG", "ClosingState", "Connection", "PushReader"]

_log = logging.getLogger("sluice.websocket")

_PATIENCE: Final = 300_000
"""Milliseconds that a reader with a policy for gaps may take nothing: the age that a ring keeps by default."""
_ROOM: Final = 64 << 10
"""Bytes of the kernel for what a client has sent, about: the largest message."""
_PING: Final = b"\x89\x00"


class ClosingState(Enum):
    """How far a WebSocket is on the way to its end."""

    OPEN, LEAVING, ENDING, CUT = auto(), auto(), auto(), auto()


class Connection:
    """One WebSocket: its transport, its session, and the task that reads from it."""

    __slots__ = (
        "_counters", "_direct", "_pool", "_seen", "_stalled", "_unsent", "address", "alive", "busy", "closing",
        "held", "last_cost", "name", "owner", "patient", "session", "task", "transport",
    )  # fmt: skip

    def __init__(
        self, name: str, transport: asyncio.Transport, task: "asyncio.Task[object]", stalled: Stalled,
        address: str, pool: Pool, owner: Owner, counters: WebSocketCounters,
    ) -> None:  # fmt: skip
        self.name = name
        """What the log calls it."""
        self.address = address
        self.owner = owner
        self._pool = pool
        self.transport = transport
        self.task = task
        self.closing: CloseReason | None = None
        self.alive = True
        self.last_cost = 0
        """What its last message cost by the time that it took, as bytes of a message: one that begins a watch takes
        ten times as long as a publish of its size, and the next one is most likely of the same kind."""
        self.busy = False
        """Whether nothing is read, pongs neither, until what was sent before has been carried out."""
        self.patient = False
        self.session: Session
        # Frames of a TLS connection have to go through its transport.
        direct = transport.get_extra_info("sslcontext") is None
        sock = transport.get_extra_info("socket")
        self._direct = sock.fileno() if direct else None
        self._counters = counters
        self._unsent: list[bytes] | None = None
        """Frames of answers that came late in this turn of the loop; most connections never have a list."""
        self.held = False
        """Whether messages wait for an answer that has to come before them."""
        # The kernel would keep 6 MiB of what a client sends faster than it is read, and hand out thousands of
        # messages at once. A batch that is posted needs more room than that on its way, so not the listener's.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
        self._stalled = stalled
        self._seen = (0, 0)

    def __repr__(self) -> str:
        return f"<Connection {self.name}, {self.state.name.lower()}>"

    @property
    def state(self) -> ClosingState:
        """How far its end is."""
        if self.transport.is_closing():
            return ClosingState.CUT
        if self.closing is None:
            return ClosingState.OPEN
        return ClosingState.ENDING if self.session.subscriptions.closed else ClosingState.LEAVING

    @property
    def descriptor(self) -> int | None:
        """Where visits may write past the transport."""
        return None if self.held or self._unsent is not None else self._direct

    def new_reader(self, topic: Topic, on_lag: OnLag) -> PushReader:
        """Return a subscription that writes here.

        One that may miss messages may also take nothing for as long as they are kept: then neither the kernel nor
        the heartbeat ends its connection.
        """
        if on_lag is not OnLag.DISCONNECT and not self.patient:
            self.patient = True
            self.transport.get_extra_info("socket").setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _PATIENCE
            )
        return PushReader(topic, on_lag, self)

    def belong_to(self, grant: Grant) -> None:
        """Count for another owner from now on; raise LimitReached for a subject that has its share."""
        owner = grant.owner(self.address)
        if owner != self.owner:
            if grant.subject is not None:
                self._pool.check(owner)
            self._pool.release(self.owner, 1)
            self._pool.charge(owner, 1)
        self.owner = owner

    def answer(self, text: bytes) -> None:
        """Send an answer that the store has held up, with the others of this turn of the loop.

        One commit may answer hundreds of requests, and a write of its own for each costs more than storing it.
        """
        self._counters.answered += 1
        frame = text_frame(text)
        if self._unsent is not None:
            self._unsent.append(frame)
            return
        self._unsent = [frame]
        self._redirect_readers()
        self.task.get_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write the answers that came late: messages must not overtake them."""
        if self._unsent is not None:
            frames, self._unsent = b"".join(self._unsent), None
            self._redirect_readers()
            if not self.transport.is_closing():
                self.transport.write(frames)

    def hold(self) -> None:
        """Have visits write nothing until the next answer has been sent."""
        self._set_held(True)

    def resume(self) -> None:
        """Write again, and what has come meanwhile."""
        self._set_held(False)
        self.revisit()

    def _set_held(self, held: bool) -> None:
        self.held = held
        self._redirect_readers()

    def _redirect_readers(self) -> None:
        for reader in self.session.readers.values():
            if isinstance(reader, PushReader):
                reader.write_to(self.descriptor)

    def on_bug(self, error: BaseException) -> None:
        """Log what no request should cause; the client's error says so too."""
        _log.error("unhandled exception in a request", exc_info=error, extra={"client": self.name})

    @property
    def reading(self) -> bool:
        """Whether it has subscriptions."""
        return bool(self.session.readers)

    def full(self) -> bool:
        """Whether the transport holds so much that more is better left in the topic."""
        return self.transport.get_write_buffer_size() > BACKLOG

    def forget(self, name: str) -> None:
        """Drop the subscription of a reader that has had all of an ended topic."""
        self.session.subscriptions.forget(name)

    def stall(self) -> None:
        """Have this connection's readers visited again when its transport has drained."""
        if self._stalled.add(self):
            self._seen = self._progress()

    def _progress(self) -> tuple[int, int]:
        """Return what changes when the peer takes something: how far the readers are, and what waits."""
        offsets = sum(reader.offset for reader in self.session.readers.values())
        return offsets, self.transport.get_write_buffer_size()

    def revisit(self) -> None:
        """Bring every reader of this connection what it has not had."""
        for reader in tuple(self.session.readers.values()):
            if reader.behind:
                reader.visit()

    def ping(self) -> None:
        """Ask the peer for a sign of life, unless the kernel watches it for us.

        Where it took messages since the last look, TCP_USER_TIMEOUT ends the connection when they are not
        acknowledged. Where it took none and holds a backlog, a ping would only wait behind that.
        """
        progress = self._progress()
        self.alive = progress != self._seen
        if self.alive:
            self._seen = progress  # another tuple of the same numbers would be 56 bytes for each connection
        elif not self.full() and not self.transport.is_closing():
            self.transport.write(_PING)

    def handle_pong(self) -> bool:
        """Take a pong that may answer the last ping; return whether a pong was due.

        Other pongs count like requests: they reach the :class:`Conversation`.
        """
        due, self.alive = not self.alive, True
        return due

    @property
    def silent(self) -> bool:
        """Whether nothing was heard since the last ping, no message was taken, and nobody agreed to that."""
        if self.alive or self.busy or self._progress() != self._seen:
            return False
        return not (self.patient and self.full())

    def end(self, closing: CloseReason) -> None:
        """Have the connection's own task close it, with a close frame; the first reason stays."""
        if self.closing is None:
            self.closing = closing
            self.session.close()
            self.task.cancel()

    def leave(self, closing: CloseReason) -> None:
        """Have the connection end when it would read the next message; the first reason stays."""
        self.closing = self.closing or closing

    def expire(self) -> None:
        """End a connection whose token has expired, or that showed none in time."""
        self.end(UNAUTHORIZED if self.session.grant is NOTHING else EXPIRED)

    def release(self) -> None:
        """Bring every reader what it has not had, as far as the peer takes it, and end the connection: a drain.

        One that is busy ends by itself, when it would read the next message.
        """
        if self.busy:
            self.leave(DRAINED)
            return
        self.revisit()
        self.session.late.when_answered(lambda: self.end(DRAINED))

    def cut_slow(self, reason: str, topic: str | None = None, closing: CloseReason = TOO_SLOW) -> None:
        """End a connection that fell behind; one that takes nothing gets no close frame."""
        _evicted(self, reason, topic)
        if self._progress() != self._seen:
            self.end(closing)
        else:
            self.cut()

    def cut_silent(self) -> None:
        """End a connection that gives no sign of life."""
        _evicted(self, "silent", None)
        self.cut()

    def finish(self) -> None:
        """Leave the task to carry out what the peer sent before it left, unless the connection was ended here."""
        if self.session.subscriptions.closed:
            self.task.cancel()

    def cut(self) -> None:
        """End the connection now, without waiting for the peer: its descriptor is free in the next loop turn."""
        self.session.close()
        self.transport.abort()


def _evicted(connection: Connection, reason: str, topic: str | None) -> None:
    waiting = connection.transport.get_write_buffer_size()
    fields = {"client": connection.name, "reason": reason, "topic": shown(topic) if topic is not None else None}
    _log.info("client evicted", extra={**fields, "waiting_bytes": waiting})
