"""Accepts connections while there are descriptors for them, and leaves the others in the kernel's queue.

An event loop accepts all that have come, until no descriptor is left; then libuv closes what comes, health checks
among them. Here what cannot be served waits until something is closed. Connections on which nothing is asked give
way first.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from service.core.seldom import Seldom
from service.edge.http.idle_connections import close_unused
from service.edge.http.server import HttpServer

__all__ = ["Acceptor"]

_log = logging.getLogger("sluice.http")

_BACKLOG: Final = 4096
_AT_ONCE: Final = 64
"""Connections that are accepted in one turn of the loop."""
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
        self._tls_time = tls_time if tls is not None else None
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[None]] = set()
        self._paused: asyncio.TimerHandle | None = None
        self._full = Seldom(clock)

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
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()
        for task in self._beginning:
            task.cancel()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            if self.open >= self._most:
                self._pause()
                return
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # descriptors or memory are short by something else
                _log.warning("a connection could not be accepted", extra={"why": str(error)})
                self._pause()
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._begin(connection))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket) -> None:
        # A peer that goes, or that does not speak TLS, is not our error.
        with suppress(OSError):
            await self._loop.connect_accepted_socket(
                self._server, connection, ssl=self._tls, ssl_handshake_timeout=self._tls_time
            )

    def _pause(self) -> None:
        if self._paused is None:
            for listener in self._listeners:
                self._loop.remove_reader(listener.fileno())
            self._paused = self._loop.call_later(_PATIENCE, self._make_room)

    def _make_room(self) -> None:
        closed = close_unused(self._server)
        if count := self._full.happened():
            _log.warning("connections wait: descriptors are short", extra={"closed": closed, "count": count})
        self._paused = self._loop.call_later(_PATIENCE, self._make_room)
        self._resume()

    def _resume(self) -> None:
        if self._paused is None or self.open >= self._most:
            return
        self._paused.cancel()
        self._paused = None
        for listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accept, listener)
