"""Publishes over a few WebSockets of one service, and when each was acknowledged; cheap enough for 20,000/s."""

import asyncio
import re
import time
from array import array
from dataclasses import dataclass
from typing import Final

from bench.raw import frame, upgrade

__all__ = ["Load", "Report"]

_ANSWER: Final = re.compile(rb'"id":(\d+),"(r|e)')
_MARGIN: Final = 64
"""Bytes of an answer that may have come without its id."""
_AHEAD: Final = 0.5
"""Seconds of messages that may be under way: what is slower gets them later."""
_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Report:
    """What happened to the messages; latencies count from the intended time of sending."""

    acknowledged: int
    refused: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def rate(self) -> float:
        """Acknowledged a second."""
        return self.acknowledged / self.seconds


class _Connection(asyncio.Protocol):
    """One WebSocket."""

    transport: asyncio.WriteTransport

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is a class of its own.
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        now, text, end = time.monotonic(), self._rest + data, 0
        for found in _ANSWER.finditer(text):
            self._load.answered(int(found[1]), now, refused=found[2] == b"e")
            end = found.end()
        self._rest = text[max(end, len(text) - _MARGIN) :]

    def connection_lost(self, error: Exception | None) -> None:
        self._load.lost(error)


class Load:
    """Some connections to one service; made by :meth:`connect`."""

    def __init__(self, topics: int, size: int) -> None:
        self._connections: list[_Connection] = []
        self._topics = topics
        self._data = "x" * (size - 2)
        self._due = array("d")
        self._took = array("d")
        self._refused = 0
        self._last = 0.0
        self._complete = asyncio.Event()
        self._error: Exception | None = None
        self._closed = False

    @classmethod
    async def connect(cls, port: int, *, connections: int = 4, topics: int, size: int) -> "Load":
        """Open the connections; ``size`` is that of the data as JSON."""
        load = cls(topics, size)
        for _ in range(connections):
            socket = await asyncio.to_thread(upgrade, port)
            socket.setblocking(False)
            _, one = await asyncio.get_running_loop().create_connection(lambda: _Connection(load), sock=socket)
            load._connections.append(one)
        return load

    async def steady(self, rate: float, seconds: float) -> Report:
        """Publish at a steady rate, and wait for all answers."""
        count = int(rate * seconds)
        begin = self._begin()
        while len(self._due) < count:
            due = min(count, int((time.monotonic() - begin) * rate) + 1, self._answers + int(rate * _AHEAD))
            first = len(self._due)
            self._due.extend(begin + number / rate for number in range(first, due))
            for number, one in enumerate(self._connections):
                self._send(one, range(first + number, due, len(self._connections)))
            await asyncio.sleep(0.001)
            self._check()
        return await self._report(begin)

    async def batches(self, size: int, seconds: float) -> list[float]:
        """Send as many messages as ``size`` over the first connection, wait for all answers, and so on.

        Returns the seconds that each batch took.
        """
        times: list[float] = []
        begin = now = self._begin()
        while now < begin + seconds:
            first = len(self._due)
            self._due.extend([now] * size)
            self._complete.clear()
            self._send(self._connections[0], range(first, first + size))
            await asyncio.wait_for(self._complete.wait(), _PATIENCE)
            self._check()
            before, now = now, time.monotonic()
            times.append(now - before)
        if self._refused:
            raise RuntimeError(f"{self._refused} publishes were refused")
        return times

    def close(self) -> None:
        """Close the connections."""
        self._closed = True
        for one in self._connections:
            one.transport.close()

    def answered(self, number: int, now: float, *, refused: bool) -> None:
        """Take an answer."""
        self._took.append(now - self._due[number])
        self._refused += refused
        self._last = now
        if self._answers == len(self._due):
            self._complete.set()

    def lost(self, error: Exception | None) -> None:
        """Record that a connection has ended."""
        if not self._closed:
            self._error = error or ConnectionError("the service closed the connection")
            self._complete.set()

    @property
    def _answers(self) -> int:
        return len(self._took)

    def _begin(self) -> float:
        self._due, self._took, self._refused = array("d"), array("d"), 0
        return time.monotonic()

    def _send(self, connection: _Connection, numbers: range) -> None:
        if numbers:
            connection.transport.write(b"".join([frame(self._request(number)) for number in numbers]))

    def _request(self, number: int) -> bytes:
        return (
            f'{{"jsonrpc":"2.0","id":{number},"method":"publish",'
            f'"params":{{"topic":"t/{number % self._topics}","data":"{self._data}"}}}}'
        ).encode()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    async def _report(self, begin: float) -> Report:
        self._complete.clear()
        if self._answers < len(self._due):
            await asyncio.wait_for(self._complete.wait(), _PATIENCE)
        self._check()
        took = sorted(self._took)
        return Report(
            acknowledged=len(took) - self._refused,
            refused=self._refused,
            seconds=self._last - begin,
            p50_ms=took[len(took) // 2] * 1000,
            p99_ms=took[int(len(took) * 0.99)] * 1000,
            max_ms=took[-1] * 1000,
        )
