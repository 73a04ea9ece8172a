"""Requests over kept connections: those of one turn of the loop are sent together, in the next.

All answers of a turn are read before anybody asks again: by turns, each of the two steps would find the memory of
the other in the caches of the processor. And one question to the kernel serves all requests of the turn: a
connection to which something has come that nobody asked for, or its end, is closed, though the loop may not have
read that yet (RFC 9112, section 9.2). A question for each would take a tenth of a small fetch.
"""

import asyncio
import select
from typing import Final

from service.runtime.containment import contain
from service.upstream.http1.connection import Connection
from service.upstream.http1.reader import Reader

__all__ = ["Outbox"]

_UNASKED: Final = select.POLLIN | select.POLLRDHUP


class Outbox:
    """Sends requests; :meth:`Connection.progress` tells what came of one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Connection, bytes, Reader]] = []

    def __repr__(self) -> str:
        return f"<Outbox of {len(self._waiting)}>"

    def send(self, connection: Connection, request: bytes, reader: Reader) -> None:
        """Send a request in the next turn of the loop, if its connection can be used still."""
        if not self._waiting:
            self._loop.call_soon(self._send)
        self._waiting.append((connection, request, reader))

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        poll = select.poll()
        for connection, _, _ in waiting:
            if not connection.lost:
                poll.register(connection.descriptor, _UNASKED)
        unasked = {descriptor for descriptor, _ in poll.poll(0)}
        for connection, request, reader in waiting:
            if connection.descriptor in unasked:
                connection.close()
            if not contain("a request could not be sent", connection.send, request, reader):
                connection.close()
