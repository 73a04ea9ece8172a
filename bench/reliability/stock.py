"""The plain aiohttp server beside ours, for the trials that it does not pass."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Child

__all__ = ["Stock", "stock"]

_PROGRAM = Path(__file__).parents[1] / "peers" / "stock.py"


@dataclass(frozen=True, slots=True)
class Stock:
    """One that listens; its heartbeat and its keep-alive are 4 s."""

    child: Child
    port: int

    def broadcast(self, data: bytes) -> None:
        """Have it send a message to all."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            control.sendto(data, ("127.0.0.1", self.port))


@contextmanager
def stock(port: int) -> Iterator[Stock]:
    """Run it until the block ends."""
    child = Child([sys.executable, str(_PROGRAM), str(port)], core=0, apart=True)
    try:
        child.line()
        yield Stock(child, port)
    finally:
        child.stop()
