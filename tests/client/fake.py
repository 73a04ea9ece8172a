"""A service without sockets: the real hub and sessions, and a network that is cut when the test says so."""

import asyncio
from collections import Counter
from typing import Any

from aiohttp import WSMessage, WSMsgType

from service.client import Backoff, Client
from service.client.connection import Connection
from service.core.access.grants import EVERYTHING, Grant
from service.core.errors import Draining, NotFound
from service.core.fetching.batch import BatchRequest
from service.core.owner import Owner
from service.core.sessions.closing import CloseReason
from service.core.sessions.session import Session, SessionLimits
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.memory_store import MemoryStore
from service.core.topics.topic import OnLag, Reader, RingLimits, Topic
from service.core.topics.wire import Encoding, closing_frame

_END = (WSMsgType.CLOSED, None, "")


def payload(frames: bytes) -> list[bytes]:
    """Return the texts of unmasked frames."""
    texts = []
    while frames:
        size, head = frames[1], 2
        if size == 126:
            size, head = int.from_bytes(frames[2:4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(frames[2:10], "big"), 10
        texts.append(frames[head : head + size])
        frames = frames[head + size :]
    return texts


class FakeReader(Reader):
    """A subscription of a fake connection: the network takes everything, up to its room."""

    def __init__(self, topic: Topic, on_lag: OnLag, socket: "FakeSocket") -> None:
        super().__init__(topic, Encoding.FRAMES, on_lag)
        self.socket = socket

    def visit(self) -> None:
        while self.behind and not self.socket.inbox.full():
            for text in payload(self.read()):
                self.socket.put(WSMsgType.TEXT, text)
        if self.behind and self.overtaken:
            self.read()

    def evict(self) -> None:
        self.socket.end(4408, "too slow")

    def finished(self) -> None:
        self.socket.session.subscriptions.forget(self.topic.name)


class FakeSocket:
    """One connection, with the part of aiohttp's client socket that is used."""

    def __init__(self, service: "FakeService") -> None:
        self.service = service
        self.inbox: asyncio.Queue[tuple[Any, Any, Any]] = asyncio.Queue(service.room)
        self.closed = False
        self.close_code: int | None = None
        self.asked: list[bytes] = []
        self.left: int | None = None
        """Texts that still come before the network is cut; None for all."""
        self.mute = False
        self.owner = Owner("fake")
        self.address = "::1"
        self.session = Session(service.hub, service, SessionLimits(rate=1e9), self, EVERYTHING)  # type: ignore[arg-type]
        service.sockets.append(self)

    def new_reader(self, topic: Topic, on_lag: OnLag) -> FakeReader:
        return FakeReader(topic, on_lag, self)

    def on_bug(self, error: BaseException) -> None:
        raise error

    def put(self, kind: WSMsgType, data: Any = None, extra: Any = "") -> None:
        if self.closed:
            return
        if self.left == 0:
            self.cut()
            return
        if self.left is not None:
            self.left -= 1
        # Answers are more important than the room that a test gives to messages.
        self.inbox._queue.append((kind, data, extra))  # type: ignore[attr-defined]
        self.inbox._wakeup_next(self.inbox._getters)  # type: ignore[attr-defined]

    def cut(self) -> None:
        """Break the connection: what is under way arrives, nothing else does, and no close frame comes."""
        self._over(None, *_END)

    def end(self, code: int, reason: str) -> None:
        self._over(code, WSMsgType.CLOSE, code, reason)

    def _over(self, code: int | None, *last: Any) -> None:
        if not self.closed:
            self.closed = True
            self.close_code = code
            self.session.close()
            self.inbox._queue.append(last)  # type: ignore[attr-defined]
            self.inbox._wakeup_next(self.inbox._getters)  # type: ignore[attr-defined]

    async def send_frame(self, data: bytes, kind: WSMsgType) -> None:
        if self.closed:
            raise ConnectionResetError
        if kind is WSMsgType.PING and not self.mute:
            self.put(WSMsgType.PONG, data)
        if kind is not WSMsgType.TEXT:
            return
        self.asked.append(data)
        answer = self.session.receive(data, asyncio.get_running_loop().time())
        if answer.text:
            self.put(WSMsgType.TEXT, answer.text)

    async def receive(self) -> WSMessage:
        kind, data, extra = await self.inbox.get()
        for reader in tuple(self.session.readers.values()):
            reader.visit()
        return WSMessage(kind, data, extra)

    async def close(self) -> None:
        self.closed = True
        self.session.close()


class FakeService:
    """What sessions ask of a service, and what a client asks of its transport."""

    def __init__(self, ring: RingLimits | None = None, room: int = 0) -> None:
        self.ring = ring or RingLimits()
        self.room = room
        self.sockets: list[FakeSocket] = []
        self.turned_away: list[Exception] = []
        """What the next connects are answered with."""
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.draining = False
        self.token: str | None = None
        self.epochs = 0
        self.cancelled: list[str] = []
        self.cuts: list[int] = []
        """After how many texts each of the next connections is cut."""
        self.restart()

    def restart(self) -> None:
        """Begin anew: nothing is remembered."""
        self.draining = False
        loop = asyncio.get_running_loop()
        self.hub = Hub(
            HubLimits(ring=self.ring), MemoryStore(self._epoch), call_soon=loop.call_soon, clock=loop.time
        )
        for socket in self.sockets:
            socket.cut()

    def _epoch(self) -> str:
        self.epochs += 1
        return f"e{self.epochs}"

    def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def connect(self, token: str | None) -> Connection:
        if self.turned_away:
            raise self.turned_away.pop(0)
        socket = FakeSocket(self)
        if self.cuts:
            socket.left = self.cuts.pop(0)
        return Connection(socket)  # type: ignore[arg-type]

    async def post_batch(self, body: bytes, key: str, token: str | None) -> dict[str, Any]:
        topic = self.hub.log("batch:posted")
        return {"topic": topic.name, "epoch": topic.epoch, "total": 1}

    def fetch(self, request: BatchRequest, connection: str, grant: Grant) -> Any:
        if self.draining:
            raise Draining("the service is shutting down")
        self.batch = self.hub.log(f"batch:b{self.epochs}")
        started = type(
            "Started", (), {"id": "b", "topic": self.batch, "total": len(request.urls or ()), "accepted": None}
        )
        return started()

    def cancel(self, batch_id: str) -> int:
        if batch_id != f"b{self.epochs - 1}":
            raise NotFound("the batch does not exist or has expired")
        self.cancelled.append(batch_id)
        return 1

    def authenticate(self, token: str) -> Grant:
        return EVERYTHING

    @property
    def socket(self) -> FakeSocket:
        return self.sockets[-1]

    def drain(self) -> None:
        self.draining = True
        for text in payload(closing_frame("draining", 3.0)):
            self.socket.put(WSMsgType.TEXT, text)

    def end(self, closing: CloseReason) -> None:
        self.socket.end(closing.code, closing.reason)

    def publish(self, topic: str, count: int = 1) -> None:
        for _ in range(count):
            self.hub.publish(topic, b"%d" % (self.hub.own(topic).head + 1), asyncio.get_running_loop().time())


def client_of(service: FakeService, **more: Any) -> Client:
    """Return a client of the fake, which comes back at half of each delay."""
    client = Client("http://fake.example", backoff=more.pop("backoff", Backoff(chance=lambda: 0.5)), **more)
    client._link._transport = service  # type: ignore[assignment]
    return client
