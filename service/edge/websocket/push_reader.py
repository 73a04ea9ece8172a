"""The subscription of a WebSocket: where its visits write.

Frames of messages are written as they are, between aiohttp's own writes (answers, pongs, close). While
the transport holds nothing they go straight to the descriptor: the kernel has them when the call is over,
and the transport only gets what the kernel did not take. Everything that follows then queues behind it,
so that frames are whole and in order (docs/decisions/04-direct-writes.md has the measurement).
"""

import asyncio
import os
from typing import Final, Protocol

from service.core.topics.topic import OnLag, Reader, Topic
from service.core.topics.wire import Encoding
from service.runtime.direct_writes import write_now

__all__ = ["BACKLOG", "PushReader"]

BACKLOG: Final = 16 << 10
"""Bytes that a transport may hold before its readers stay where they are; what is above is counted and bounded."""


class _Connection(Protocol):
    """What a reader needs of its connection."""

    transport: asyncio.Transport
    held: bool

    @property
    def descriptor(self) -> int | None:
        """Where visits may write past the transport."""
        ...

    def flush(self) -> None:
        """Write the answers that have to come before messages."""
        ...

    def stall(self) -> None:
        """Have all readers visited again when the transport has drained."""
        ...

    def cut_slow(self, reason: str, topic: str | None = None) -> None:
        """End the connection: it fell behind in a topic."""
        ...

    def forget(self, name: str) -> None:
        """Drop a subscription whose topic has ended."""
        ...


class PushReader(Reader):
    """A subscription of a WebSocket: a visit writes to its transport."""

    # Ten thousand visits a message find all of this cold: what they need is at hand, not two objects away.
    __slots__ = ("_connection", "_descriptor", "_transport")

    def __init__(self, topic: Topic, on_lag: OnLag, connection: _Connection) -> None:
        super().__init__(topic, Encoding.FRAMES, on_lag)
        self._connection = connection
        self._transport = connection.transport
        self._descriptor = connection.descriptor

    def write_to(self, descriptor: int | None) -> None:
        """Have visits write to the descriptor, or to the transport where there is none."""
        self._descriptor = descriptor

    @property
    def progress(self) -> object:
        """How far it is, and what waits in its transport."""
        return self.offset, self._transport.get_write_buffer_size()

    def visit(self) -> None:
        """Write what is new while the transport takes it; what is left waits in the topic."""
        transport, ring, descriptor = self._transport, self.ring, self._descriptor
        if (
            self.offset == ring.fresh_after
            and descriptor is not None
            and not transport.get_write_buffer_size()
            and not transport.is_closing()
        ):
            # Nearly every visit of a broadcast: the bytes that the reader before it got. The general way below
            # costs 0.6 us more, 5 % of a delivery. This is what write_now does, without the call.
            try:
                sent = os.write(descriptor, ring.fresh)
            except OSError:
                sent = 0
            self.advance(ring.head)
            if sent < len(ring.fresh):
                transport.write(memoryview(ring.fresh)[sent:])
        else:
            if descriptor is None:
                # TLS, or answers that have to come before messages.
                self._connection.flush()
            self._catch_up(transport)

    def _catch_up(self, transport: asyncio.Transport) -> None:
        descriptor, ring = self._descriptor, self.ring
        if transport.is_closing() or self._connection.held:
            # The peer has gone and the connection's task does not know yet: a closed transport refuses to write. Or
            # an answer has to come first.
            return
        while (waiting := transport.get_write_buffer_size()) <= BACKLOG:
            chunk = self.read()
            if chunk:
                rest: bytes | memoryview = chunk
                if not waiting and descriptor is not None:
                    rest = write_now(descriptor, chunk)
                if rest:
                    transport.write(rest)
            if not chunk or self.offset >= ring.head:
                return  # it has all that there is, or what follows is being read
        if self.overtaken:
            self.read()
        self._connection.stall()

    def evict(self) -> None:
        """Cut the connection: 4408 when it still takes something, without a close frame when it does not."""
        reason = "dropped" if self.topic.limits is None else "lag"
        self._connection.cut_slow(reason, self.topic.name)

    def finished(self) -> None:
        """End the subscription with its topic."""
        self._connection.forget(self.topic.name)
