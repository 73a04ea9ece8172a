"""Socket.IO, protocol 5 over Engine.IO 4, by WebSocket alone (no polling)."""

import re
from itertools import count

import orjson

from loadtest.endpoint import Endpoint
from loadtest.sockets import ConnectFailed, Socket
from loadtest.targets.base import MissedRange, Position
from loadtest.targets.templates import Templates

__all__ = ["SocketIO"]

_PING, _PONG, _MESSAGE = b"2", b"3", b"4"
_CONNECT, _DISCONNECT, _EVENT, _ACK, _REFUSED = b"0", b"1", b"2", b"3", b"4"


class SocketIO(Templates):
    """Rooms are joined with an event that the server acknowledges; another event says something there."""

    HELP = "Socket.IO 3 and 4: the event of --join is acknowledged, that of --say is sent to the room"
    PATH = "/socket.io/?EIO=4&transport=websocket"
    JOIN = '["join","{topic}"]'
    SAY = '["message","{topic}",{data}]'
    # With recovery, the last argument of an event is its offset.
    POSITION = re.compile(rb',"([^"\\]+)"\]\Z')
    CAN = Templates.CAN | {"resume"}

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._ids = count(1)

    async def ready(self, socket: Socket) -> None:
        """Connect to the main namespace: with the token as ``auth``, as the session that it had before."""
        auth = {"token": socket.token} if socket.token else {}
        since = socket.since
        if since is not None:
            auth |= {"pid": since.epoch, "offset": since.mark}
        answer = await socket.ask("connect", _MESSAGE + _CONNECT + (orjson.dumps(auth) if auth else b""))
        if answer[1:2] == _REFUSED:
            raise ConnectFailed(f"Socket.IO refuses: {answer[2:200].decode('utf-8', 'replace')}")
        session = str((orjson.loads(answer[2:] or b"{}") or {}).get("pid", ""))
        if self.options.resumes:
            if not session:
                raise ConnectFailed("Socket.IO: the server does not keep states (connectionStateRecovery)")
            socket.session = session

    async def subscribe(self, socket: Socket, topic: str, since: Position | None = None) -> Position:
        """Emit the join; wait for its acknowledgement, or for what ``--joined`` describes.

        A session that the server has recovered is in its rooms already.
        """
        session = socket.session
        if since is not None and session == since.epoch:
            return Position(session, recovered=True)
        position = Position(session, recovered=False if since else None)
        if self.options.joined:
            await socket.ask("joined", _MESSAGE + _EVENT + self.join_text(socket, topic))
            return position
        number = b"%d" % next(self._ids)
        await socket.ask(number, _MESSAGE + _EVENT + number + self.join_text(socket, topic))
        return position

    async def publish(self, socket: Socket, topic: str, data: bytes) -> int | None:
        """Emit it; no acknowledgement is asked for."""
        socket.send(_MESSAGE + _EVENT + self.say_text(socket, topic, data))
        return None

    def received(self, socket: Socket, payload: bytes) -> MissedRange | bool | None:
        """Answer pings; take the connection, acknowledgements and the end."""
        kind, rest = payload[:1], payload[2:]
        if kind != _MESSAGE:
            if kind == _PING:
                socket.send(_PONG + payload[1:])
            return True
        packet = payload[1:2]
        if packet in (_CONNECT, _REFUSED):
            socket.answer("connect", payload)
        elif packet == _ACK:
            socket.answer(rest[: rest.index(b"[")], orjson.loads(rest[rest.index(b"[") :]))
        elif packet == _DISCONNECT:
            socket.why = "disconnected by the server"
        elif self.is_joined(payload):
            socket.answer("joined", payload)
        else:
            return None
        return True
