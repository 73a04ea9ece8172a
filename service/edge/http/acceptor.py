"""Accepts connections while there are descriptors for them, and leaves the others in the kernel's queue.

An event loop accepts all that have come, until no descriptor is left; then libuv closes what comes, health checks
among them. Here what cannot be served waits until something is closed. Connections on which nothing is asked give
way first.
"""

import asyncio
import logging
import select
import socket
import ssl
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from service.core.occurrences import Occurrences
from service.edge.http import aiohttp_internals as internals
from service.edge.http.other_protocols import FIRST_BYTES, NOT_TLS
from service.edge.http.server import HttpServer, owner_at
from service.runtime.awaiting import readable
from service.runtime.containment import report
from service.runtime.per_turn import PerTurn
from service.runtime.timer import Periodic

__all__ = ["Acceptor"]

_log = logging.getLogger("sluice.http")

_BACKLOG: Final = 4096
_HANDSHAKES: Final = 2
"""TLS handshakes that begin in one turn of the loop, 1 ms each; their addresses take turns."""
_LEAST: Final = 0.001
"""Seconds that a handshake has at least, however long it waited for its turn."""
_EVERY: Final = 3600.0
"""Seconds between two lines on handshakes that fail for the same reason: some clients try for ever."""
_REQUEST: Final = 64 << 10
_PATIENCE: Final = 1.0
"""Seconds that others wait before connections on which nothing is asked are closed."""


class Acceptor:
    """Serves what comes to listening sockets; at most ``most`` connections are open."""

    def __init__(
        self,
        server: HttpServer,
        listeners: Iterable[socket.socket],
        *,
        most: int,
        tls: ssl.SSLContext | None,
        tls_time: float,
        clock: Callable[[], float],
    ) -> None:
        self._server = server
        self._listeners = list(listeners)
        self._most = most
        self._tls = tls
        self._tls_time = tls_time
        self._handshakes = PerTurn(_HANDSHAKES, spare=0)
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[None]] = set()
        self._paused = False
        self._patience = Periodic("accept", _PATIENCE, self._make_room)
        self._waiting_since: float | None = None
        self._full = Occurrences(clock)
        self._failures: defaultdict[str, Occurrences] = defaultdict(lambda: Occurrences(clock, _EVERY))
        """Handshakes by OpenSSL's reason, of which it has a few dozen."""

    def __repr__(self) -> str:
        return f"<Acceptor {self.open} of {self._most}>"

    @property
    def open(self) -> int:
        """How many connections are open."""
        return self._server.open + len(self._beginning)

    def start(self) -> None:
        """Listen, and accept what comes."""
        self._server.on_lost = self._resume
        for listener in self._listeners:
            listener.setblocking(False)
            listener.listen(_BACKLOG)
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def close(self) -> None:
        """Accept nothing more; calling it again is harmless."""
        self._server.on_lost = None
        self._paused = False
        self._patience.stop()
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()
        for task in self._beginning:
            task.cancel()

    def _accept(self, listener: socket.socket) -> None:
        """Accept one connection of this queue in this turn of the loop, 0.1 ms.

        There are four queues. Two handshakes and four requests go on in a turn, so that more would only wait.
        """
        if self.open >= self._most:
            self._pause()
            return
        try:
            connection, address = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            pass  # it has gone, or another process has taken it
        except OSError as error:  # something else has used up descriptors or memory
            _log.warning("a connection could not be accepted", extra={"why": str(error)})
            self._pause()
            return
        else:
            connection.setblocking(False)
            task = self._loop.create_task(self._begin(connection, address), name="handshake")
            self._beginning.add(task)
            task.add_done_callback(self._begun)
        if self._waiting_since is not None and not self._some_wait():
            self._waiting_since = None

    async def _begin(self, connection: socket.socket, address: object) -> None:
        try:
            left = None if self._tls is None else await self._hello(connection, address)
            await self._connect(connection, left)
        except OSError as error:
            connection.close()  # A peer that leaves, or does not speak TLS, is not an error of the service.
            if isinstance(error, ssl.SSLError):
                self._failed(error, address)
            internals.forget_frames(error)
        except Exception as error:
            connection.close()
            report("a connection could not be set up", error)
        except BaseException:
            connection.close()
            raise

    def _failed(self, error: ssl.SSLError, address: object) -> None:
        """Log why TLS handshakes fail: what a peer says of our certificate, or a version that we do not speak."""
        reason = error.reason or "unknown"
        if count := self._failures[reason].happened():
            peer = str(address[0]) if isinstance(address, tuple) else None
            _log.warning("a TLS handshake failed", extra={"why": reason, "address": peer, "count": count})

    async def _connect(self, connection: socket.socket, left: float | None) -> None:
        handler = self._server()
        try:
            await self._loop.connect_accepted_socket(
                lambda: handler, connection, ssl=self._tls, ssl_handshake_timeout=left
            )
        except BaseException:
            internals.release_unconnected(handler)
            raise

    async def _hello(self, connection: socket.socket, address: object) -> float:
        """Wait until a client begins its handshake and has its turn; return the seconds left for the handshake."""
        until = self._loop.time() + self._tls_time
        async with asyncio.timeout_at(until):
            await readable(connection)
            self._check_first_bytes(connection, address)
            await self._handshakes.wait(owner_at(address))
        return max(until - self._loop.time(), _LEAST)

    def _check_first_bytes(self, connection: socket.socket, address: object) -> None:
        """Refuse what does not begin a TLS handshake; raises ConnectionError."""
        first = connection.recv(FIRST_BYTES, socket.MSG_PEEK)
        if first.startswith(NOT_TLS):
            # What is not read would have the kernel reset the connection, and the answer with it.
            connection.recv(_REQUEST)
            connection.send(self._server.others.refusal(first, address))
            raise ConnectionAbortedError("the peer does not speak TLS")

    def _begun(self, task: asyncio.Task[None]) -> None:
        # Until now it counted twice, or its TLS handshake failed: in both cases there is a place more.
        self._beginning.discard(task)
        self._resume()

    def _some_wait(self) -> bool:
        queues = select.poll()
        for listener in self._listeners:
            queues.register(listener, select.POLLIN)
        return bool(queues.poll(0))

    def _pause(self) -> None:
        if self._paused:
            return
        self._paused = True
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
        # Patience counts from when the queue was last empty: a place that becomes free does not prolong it.
        if self._waiting_since is None:
            self._waiting_since = self._loop.time()
        self._patience.start(after=self._waiting_since + _PATIENCE - self._loop.time())

    def _make_room(self) -> float | None:
        closed = self._server.close_unused()
        if count := self._full.happened():
            _log.warning("connections wait: descriptors are short", extra={"closed": closed, "count": count})
        self._waiting_since = self._loop.time()
        self._resume()
        return _PATIENCE if self._paused else None

    def _resume(self) -> None:
        if not self._paused or self.open >= self._most:
            return
        self._paused = False
        self._patience.stop()
        for listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accept, listener)
