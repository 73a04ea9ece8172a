"""A crowd beside the work: thousands of clients that get a broadcast each second, and how late the loop is."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from bench.delays import delays, more, percentile
from bench.processes import Child, build
from bench.work.running import ALL

__all__ = ["ROOM", "Crowd", "Noticed", "crowd"]

ROOM: Final = ("--websockets", "19500", "--connections", "50")
"""Options of a service with a crowd."""
_RATE, _SIZE = 1, 150
_SUBSCRIBE: Final = '{"jsonrpc":"2.0","method":"subscribe","params":{"topic":"t"}}'


@dataclass(frozen=True, slots=True)
class Noticed:
    """What a crowd has noticed between two moments, in milliseconds."""

    received: int
    p50: float
    p99: float
    lag_p99: float
    """How late the loop was, in 99 % of its looks."""

    def __str__(self) -> str:
        return f"broadcasts p50 {self.p50:.1f}, p99 {self.p99:.1f} ms; loop lag p99 {self.lag_p99:.1f} ms"


class Crowd:
    """Receivers at a service, and a publisher with one message a second."""

    def __init__(self, port: int, receivers: Child) -> None:
        self._port = port
        self._receivers = receivers
        self._before: dict[float, float] = {}

    def begin(self) -> None:
        """Begin to measure."""
        self._received()
        self._before = delays(self._port)

    def noticed(self) -> Noticed:
        """Return what was noticed since then."""
        looks: dict[float, float] = {}
        more(looks, self._before, delays(self._port))
        got = self._received()
        return Noticed(got["received"], got["p50_ms"], got["p99_ms"], percentile(looks, 0.99) * 1000)

    def _received(self) -> dict[str, Any]:
        self._receivers.write_line("")
        received: dict[str, Any] = json.loads(self._receivers.line())
        return received


@contextmanager
def crowd(port: int, clients: int) -> Iterator[Crowd]:
    """Connect so many clients to a service until the block ends."""
    receivers = Child(
        [build("receiver"), "127.0.0.1", str(port), str(clients), "/ws", "sluice.v1", _SUBSCRIBE], core=ALL
    )
    try:
        receivers.line()
        argv = [sys.executable, "-m", "bench.reliability.publisher", str(port), str(_RATE), str(_SIZE)]
        publisher = Child(argv, core=ALL)
        try:
            time.sleep(2.0)  # what is done once is done
            yield Crowd(port, receivers)
        finally:
            publisher.stop()
    finally:
        receivers.stop()
