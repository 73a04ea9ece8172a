"""A server that sends back what it gets, and nothing else."""

from typing import ClassVar

from loadtest.sockets import ConnectFailed, Socket
from loadtest.targets.base import MissedRange, Target

__all__ = ["EchoServer"]


class EchoServer(Target):
    """A plain echo server: ours with ``--echo-route``, or anybody's."""

    HELP = "a plain echo server at /echo"
    PATH = "/echo"
    CAN: ClassVar[frozenset[str]] = frozenset({"connect", "idle", "churn", "echo", "capacity"})

    async def echo(self, socket: Socket, data: bytes) -> None:
        """Send data and wait for the same bytes."""
        await socket.ask(data, data)

    def received(self, socket: Socket, payload: bytes) -> MissedRange | bool | None:
        """Give the echo to the client that waits for it."""
        if not socket.answer(payload, None):
            raise ConnectFailed("something came back that nobody waits for: altered, twice or too late")
        return None
