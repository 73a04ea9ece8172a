"""Reads for thousands of sockets at once, with less in between than a transport has.

Theory of operation. A transport costs two to three microseconds for each read, which a mass of clients could do
without. Once a connection is up, its transport stops reading; its descriptor goes into an epoll set of ours, whose
own descriptor the event loop watches: one callback then reads from all that are ready. At the end of a stream, or
at an error, the descriptor goes back to its transport, which finds out for itself and tells its protocol as always.
Writing stays with the transport, and so does everything about TLS.

Messages that come one by one to thousands of clients wake a process once for each: half of what receiving them
costs. So when reads have gone on without a pause for 12 ms (a mass of messages comes, and what comes now is at
least so late), each turn waits for half a millisecond before it looks. That is 2 % at most of what is measured.
docs/performance.md, "The load generator", has the figures.
"""

import asyncio
import os
import select
from collections.abc import Callable
from time import monotonic, sleep
from typing import Final, Protocol

from loadtest.read_cache import SMALL, ReadCache

__all__ = ["EpollReader"]

_LARGEST: Final = 1 << 16
_MASS: Final = 0.0125
_PAUSE: Final = 0.004
_WAIT: Final = 0.0005
_AT_ONCE: Final = 512
"""Descriptors of one turn, so that timers and writes come in between."""


class Readable(Protocol):
    """What is read for."""

    transport: asyncio.Transport | None
    rest: bytes
    on_run: Callable[[int, int, float], None] | None

    def data_received(self, data: bytes, now: float = 0.0) -> None:
        """Take a read that was there at ``now``."""
        ...


class EpollReader:
    """The descriptors that are read from here."""

    def __init__(self, reads: ReadCache) -> None:
        self._known = reads.small.get
        self._epoll = select.epoll()
        self._reading: dict[int, Readable] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._ready)
        self._since = self._last = 0.0
        """Since when reads have come without a pause, and when the last came."""

    def add(self, one: Readable) -> None:
        """Read for a connection from now on. Not for TLS: what is read there has to be decrypted."""
        transport = one.transport
        if transport is None or transport.is_closing():
            return
        number = transport.get_extra_info("socket").fileno()
        transport.pause_reading()
        self._reading[number] = one
        self._epoll.register(number, select.EPOLLIN)

    def release(self, one: Readable) -> None:
        """Stop reading for a connection; nobody reads for it then."""
        if one.transport is None or one.transport.is_closing():
            return
        number = one.transport.get_extra_info("socket").fileno()
        if number >= 0 and self._reading.get(number) is one:
            self._forget(number)

    def close(self) -> None:
        """Give back the set."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _forget(self, number: int) -> None:
        del self._reading[number]
        self._epoll.unregister(number)

    def _ready(self) -> None:
        """Read from all that are ready; in a mass, from more of them a little later."""
        now = monotonic()
        if now - self._last > _PAUSE:
            self._since = now
        elif now - self._since > _MASS:
            # To sleep in a callback is what one never does, and the point here: nothing wakes this process.
            # To take the set out of the loop for as long costs more: the kernel looks through all of it.
            sleep(_WAIT)
        self._turn()
        self._last = monotonic()

    def _turn(self) -> None:
        reading, read, known = self._reading, os.read, self._known
        ready = self._epoll.poll(0, _AT_ONCE)
        # What is ready has come by now: the time that others take before it is read is not its own.
        now = monotonic()
        for number, _ in ready:
            one = reading.get(number)
            if one is None:
                continue
            try:
                data = read(number, _LARGEST)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            run = known(data) if len(data) <= SMALL else None
            # Here rather than in the socket's method: a call for each message is a quarter of what it costs.
            if run is not None and one.on_run is not None and not one.rest:
                one.on_run(run[0], run[1], now)
            elif data:
                one.data_received(data, now)
            else:
                self._forget(number)
                if one.transport is not None:
                    one.transport.resume_reading()
