"""STOMP 1.2 over WebSocket."""

import asyncio
from itertools import count

from loadtest.endpoint import Endpoint
from loadtest.sockets import Socket
from loadtest.targets.base import MissedRange, Position
from loadtest.targets.templates import Templates

__all__ = ["Stomp"]

_PATIENCE = 1.0
"""Seconds after which a broker that has given no receipt gives none."""
_ESCAPES = {"\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c"}


class Stomp(Templates):
    """``--join`` is the destination that is subscribed to, ``--say`` the one that is sent to."""

    HELP = "STOMP 1.2 over WebSocket: --join and --say are destinations (default /topic/{topic})"
    PATH = "/ws"
    PROTOCOL = "v12.stomp"
    JOIN = SAY = "/topic/{topic}"

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._numbers = count(1)
        self._gives_receipts: bool | None = None

    async def ready(self, socket: Socket) -> None:
        """Connect, without heart-beats."""
        headers = {"accept-version": "1.2", "host": self.endpoint.host, "heart-beat": "0,0"}
        if socket.token:
            # As gateways want it; brokers know a login and its passcode.
            headers |= {"Authorization": f"Bearer {socket.token}", "passcode": socket.token}
        if socket.login:
            headers["login"] = socket.login
        await socket.ask("CONNECTED", _frame("CONNECT", headers))

    async def subscribe(self, socket: Socket, topic: str, since: Position | None = None) -> Position:
        """Subscribe, and wait for the receipt; a broker that gives none is waited for once."""
        number = f"s{next(self._numbers)}"
        destination = self.join_text(socket, topic).decode()
        frame = _frame("SUBSCRIBE", {"id": number, "destination": destination, "receipt": number})
        if self._gives_receipts is False:
            socket.send(frame)
            return Position()
        try:
            async with asyncio.timeout(None if self._gives_receipts else _PATIENCE):
                await socket.ask(number, frame)
            self._gives_receipts = True
        except TimeoutError:
            if self._gives_receipts:
                raise
            self._gives_receipts = False
        return Position()

    async def publish(self, socket: Socket, topic: str, data: bytes) -> int | None:
        """Send; no receipt is asked for, because many brokers give none."""
        destination = self.say_text(socket, topic, data).decode()
        headers = {"destination": destination, "content-type": "application/json", "content-length": str(len(data))}
        socket.send(_frame("SEND", headers, data))
        return None

    def received(self, socket: Socket, payload: bytes) -> MissedRange | bool | None:
        """Take the connection, receipts, errors and heart-beats."""
        head = payload.lstrip(b"\r\n").partition(b"\x00")[0].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
        command, *lines = head.decode().split("\n")
        headers = dict(reversed([line.partition(":")[::2] for line in lines]))
        if command == "CONNECTED":
            socket.answer("CONNECTED", headers)
        elif command == "RECEIPT":
            socket.answer(headers.get("receipt-id"), headers)
        elif command == "ERROR":
            # The server ends the connection after it.
            socket.why = f"STOMP ERROR: {headers.get('message', '')}"
        elif command:
            return None
        return True


def _frame(command: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    # The headers of CONNECT are not escaped; ours have nothing that would be.
    plain = command == "CONNECT"
    lines = [f"{name}:{value if plain else _escaped(value)}" for name, value in headers.items()]
    return "\n".join((command, *lines, "", "")).encode() + body + b"\x00"


def _escaped(value: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in value)
