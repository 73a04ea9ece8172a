"""What an adapter says of one kind of server; docs/loadtest.md shows one of thirty lines."""

import re
from argparse import Namespace
from typing import ClassVar

from loadtest.endpoint import Endpoint
from loadtest.payloads import MARKER
from loadtest.position import Position
from loadtest.sockets import ConnectFailed, Socket

__all__ = ["MissedRange", "Position", "Target"]

MissedRange = tuple[int, int] | tuple[int, int, str]


class Target:
    """How one kind of server is spoken to. One object for all sockets of a process.

    Messages carry their number and their run in one word (``loadtest/payloads.py``), by which they are known again.
    A server that numbers messages itself says where its numbers stand (``MARKER``) and returns them from
    :meth:`publish`; else ours are taken. What a method raises beside ConnectFailed ends the run, with its line.
    """

    HELP: ClassVar[str]
    PATH: ClassVar[str] = "/ws"
    """Where clients connect; ``{topic}`` stands for the topic's name."""
    PROTOCOL: ClassVar[str] = ""
    """The subprotocol to offer."""
    MARKER: ClassVar[bytes] = MARKER
    OPENING: ClassVar[bytes] = b""
    """How a message's payload begins, where other payloads may have the marker too."""
    TOPIC: ClassVar[bytes] = b""
    """What stands before the topic's name in a message, where the server numbers messages."""
    POSITION: ClassVar[re.Pattern[bytes] | None] = None
    """Where a message has what a client shows when it comes back (``mark``), as a group."""
    SEPARATOR: ClassVar[bytes] = b""
    """What stands between messages that the server joins into one."""
    HEARTBEAT: ClassVar[float] = 0.0
    """Seconds after which :meth:`beat` is called for each client, again and again; 0 for never."""
    SOCKET: ClassVar[type[Socket]] = Socket
    """What its clients are: WebSockets, or streams over HTTP."""
    CAN: ClassVar[frozenset[str]] = frozenset({"connect", "idle", "churn", "broadcast", "slow-readers", "capacity"})
    """The scenarios that it can take part in."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.options = Namespace()
        """What was given on the command line; set before anything is connected."""

    async def subscribe(self, socket: Socket, topic: str, since: Position | None = None) -> Position:
        """Subscribe a socket; here the connection alone does it. Raises ConnectFailed.

        ``since`` is where a client comes back that was away: the epoch of its first subscription, the number of the
        last message that it had as ``offset``, and its ``mark``. ``socket.since`` has it while it connects.
        """
        return Position()

    async def publish(self, socket: Socket, topic: str, data: bytes) -> int | None:
        """Publish JSON data; return the number that the server gave it, if it does. ``socket`` is a subscriber."""
        socket.send(data)
        return None

    async def ready(self, socket: Socket) -> None:
        """Make sure that a new connection is served, where the upgrade alone does not say so."""

    async def echo(self, socket: Socket, data: bytes) -> None:
        """Send data and return when it came back; raises ConnectFailed."""
        raise ConnectFailed("this target has no echo")

    def beat(self, socket: Socket) -> None:
        """Tell the server that this client is there; raises ConnectFailed."""

    def headers(self, since: Position) -> tuple[tuple[str, str], ...]:
        """Return what the request of a client has that comes back."""
        return ()

    def received(self, socket: Socket, payload: bytes) -> MissedRange | bool | None:
        """Take what is not a message; return (from, to) where it announces that these numbers never come.

        A third part names the topic, where a client may have several.
        True says that a payload is understood; None that it is not, unless it was an answer.
        """
        return None

    async def close(self) -> None:
        """Give back what the adapter holds."""
