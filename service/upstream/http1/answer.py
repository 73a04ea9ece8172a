"""An answer whose head has come."""

from service.core.owner import Owner
from service.upstream.http1.codings import Decoding, codings_of, transfer_codings
from service.upstream.http1.connection import Connection
from service.upstream.http1.head import Head
from service.upstream.http1.pool import Pool
from service.upstream.http1.reader import Reader
from service.upstream.per_turn import PerTurnLimiter

__all__ = ["Answer"]


class Answer:
    """Its holder always closes or releases it."""

    _held = True
    """Whether the connection is this answer's still."""
    _decoding: Decoding | None = None

    def __init__(
        self, connection: Connection, reader: Reader, head: Head, pool: Pool, steps: PerTurnLimiter
    ) -> None:
        """Take what came; ``steps`` bounds the steps of decoding of all answers in one turn of the loop."""
        self.status = head.status
        self.headers = head.headers
        self._head = head
        self._connection = connection
        self._reader = reader
        self._pool = pool
        self._steps = steps

    def at_once(self) -> bytes | None:
        """Return the body where all of it has come and none is coded: most bodies."""
        if self._reader.done and not self._reader.codings and "content-encoding" not in self.headers:
            return self._reader.take()
        return None

    @property
    def locations(self) -> set[str]:
        """Every ``Location`` that is not empty."""
        values = self._head.repeated.get("location") or [self.headers.get("location", "")]
        return {value for value in values if value}

    async def piece(self, owner: Owner) -> bytes:
        """Return the next piece of the body, decoded; nothing at its end. Raise ProtocolError if it breaks off.

        Owners take turns where many decode.
        """
        codings = codings_of(self.headers.get("content-encoding")) + transfer_codings(self._reader.codings)
        if not codings:
            return await self._raw()
        decoding = self._decoding = self._decoding or Decoding(codings)
        while True:
            if decoding.hungry:
                data = await self._raw()
                if not data:
                    decoding.finish()
                    return b""
                decoding.give(data)
            await self._steps.wait(owner)
            if made := decoding.step():
                return made

    async def _raw(self) -> bytes:
        reader = self._reader
        if not reader.pieces:
            if reader.done:
                return b""
            await self._connection.more()
        return reader.take()

    def close(self) -> None:
        """Cut the connection, if it is still this answer's."""
        if self._held:
            self._held = False
            self._connection.close()

    def release(self) -> None:
        """Keep the connection for the next request, if all of the answer has come."""
        if self._held:
            self._held = False
            if not self._reader.done:
                self._connection.close()
            elif (keep := self._connection.rest()) > 0:
                self._pool.put(self._connection, keep)
