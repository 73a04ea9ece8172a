"""One WebSocket: where its visits write, and how it ends.

Frames of messages are written to the transport as they are, between aiohttp's own writes (answers,
pongs, close): each write carries whole frames, so they never interleave.
"""

import asyncio
from typing import Final

from service.core.closing import TOO_SLOW, Closing
from service.core.reader import OnLag, Reader
from service.core.session import Session
from service.core.topic import Topic
from service.core.wire import Encoding
from service.edge.stalled import Stalled

__all__ = ["Connection", "PushReader"]

_PING: Final = b"\x89\x00"


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
