"""The reader behind a response: an NDJSON or SSE stream, or a document that is collected."""

import asyncio
from collections.abc import Sequence

from service.core.topics.topic import OnLag, Reader, Topic
from service.core.topics.wire import Encoding
from service.edge.routes.large_writes import LARGE

__all__ = ["PullReader"]


class PullReader(Reader):
    """A reader whose handler takes at the peer's pace.

    While the handler waits for news, and the peer has taken all that was written, a visit writes what is new
    itself, as it does for WebSockets: waking the handler for it takes ten times as long.
    """

    __slots__ = ("_ended", "_transport", "_waiting", "_wakeup", "direct", "unwritten")

    def __init__(
        self, topic: Topic, encoding: Encoding, on_lag: OnLag, transport: asyncio.Transport | None
    ) -> None:
        super().__init__(topic, encoding, on_lag)
        self._transport = transport
        self._wakeup = asyncio.Event()
        self._ended = False
        self._waiting = False
        self.direct = False
        """Whether visits may write: the response is in chunks (RFC 9112, section 7.1), and not of a batch, whose
        many small events share writes."""
        self.unwritten = 0
        """Bytes of a large message that its handler has taken and not written yet."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._ended

    @property
    def held(self) -> int:
        """Bytes that wait for the peer, in the transport or for it."""
        return self.unwritten + (0 if self._transport is None else self._transport.get_write_buffer_size())

    @property
    def coming(self) -> int:
        """Bytes of the message that comes next, where it is in memory."""
        ring, offset = self.ring, self.offset + 1
        return ring.size_of(offset) if ring.loaded <= offset <= ring.head else 0

    def read_parts(self) -> Sequence[bytes | memoryview]:
        """Return what is next, in parts that follow each other: a large message alone, and not copied."""
        if self.coming > LARGE:
            return self.read_large()
        return (self.read(),) if self.behind else ()

    @property
    def progress(self) -> object:
        """How far it is, and what waits for its peer."""
        return self.offset, self.held

    def visit(self) -> None:
        """Write, or wake the handler; or find that the ring has moved past a handler that waits for its peer."""
        if self.direct and self._waiting and not self._wakeup.is_set() and self._written():
            return
        self._wakeup.set()
        if self.overtaken:
            self.read()

    def _written(self) -> bool:
        """Write what is new as far as the peer takes it; return whether that was all.

        A large message is left to the handler, which writes it in parts.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        while self.behind and not transport.get_write_buffer_size() and self.coming <= LARGE:
            if chunk := self.read():
                transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        return not self.behind and not self._ended

    def evict(self) -> None:
        """Cut the response: without its last chunk, so that the peer cannot take it for complete."""
        self.end()
        if self._transport is not None:
            self._transport.abort()

    def expire(self) -> None:
        """Cut the response: the token that opened it has expired."""
        self.evict()

    def finished(self) -> None:
        """Complete the response: the topic has ended."""
        self.end()

    def end(self) -> None:
        """Let the handler finish."""
        self._ended = True
        self._wakeup.set()

    async def wait(self, heartbeat: float) -> bool:
        """Wait for news and return True, or return False after ``heartbeat`` seconds without."""
        if self.loading or not (self.behind or self._ended):
            self._wakeup.clear()
            self._waiting = True
            try:
                async with asyncio.timeout(heartbeat):
                    await self._wakeup.wait()
            except TimeoutError:
                return False
            finally:
                self._waiting = False
        return True
