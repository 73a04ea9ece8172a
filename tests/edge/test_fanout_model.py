"""A model of the whole fan-out, over real sockets that stall, drain, break and vanish in any order.

Real: hub, topics, sessions, readers, connections, and the kernel's sockets with their partial writes. The
model knows what was published; each client's bytes are parsed and compared, one by one.
"""

import select
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from loadtest.frames import frames
from service.core.access.grants import EVERYTHING
from service.core.owner import SERVICE
from service.core.pool import Pool
from service.core.ports import Refusals
from service.core.sessions.session import Session, SessionLimits
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.memory_store import MemoryStore
from service.core.topics.topic import OnLag, RingLimits
from service.edge.websocket.connection import Connection
from service.edge.websocket.counters import WebSocketCounters
from tests.core.readers import Turns

RING = RingLimits(messages=8, size=150_000, age=30.0)
TOPICS = ("a", "b")


class Transport:
    """What a connection needs of a transport, over one end of a socket pair."""

    def __init__(self, sock: socket.socket, *, tls: bool) -> None:
        self.sock = sock
        self.buffer = bytearray()
        self.closing = False
        self.tls = tls

    def get_extra_info(self, name: str) -> Any:
        return {"socket": self.sock, "sslcontext": object() if self.tls else None}[name]

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        if self.closing:
            return
        self.buffer += data
        self.flush()

    def flush(self) -> None:
        while self.buffer and not self.closing:
            try:
                del self.buffer[: self.sock.send(self.buffer[:65536])]
            except BlockingIOError:
                return
            except OSError:
                self.abort()

    def abort(self) -> None:
        self.closing = True
        self.buffer.clear()
        self.sock.close()


class Task:
    """Stands for the connection's own task, which closes it when it is cancelled."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Waiting:
    """Connections whose transport was full; looked at when the machine says so."""

    def __init__(self) -> None:
        self.connections: dict[Connection, None] = {}

    def add(self, connection: Connection) -> bool:
        new = connection not in self.connections
        self.connections[connection] = None
        return new

    def look(self) -> None:
        for connection in tuple(self.connections):
            if not connection.session.readers or not connection.full():
                del self.connections[connection]
                connection.revisit()


class Client:
    """One client: what it has read, and what it may expect next in each topic."""

    def __init__(self, machine: "FanOut", *, tls: bool) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.sock = socket.create_connection(server.getsockname())
            ours = server.accept()[0]
        ours.setblocking(False)
        self.sock.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
        self.transport = Transport(ours, tls=tls)
        self.task = Task()
        fakes: tuple[Any, Any, Any] = (self.transport, self.task, machine.waiting)
        transport, task, waiting = fakes
        pool, counters = Pool("websockets", 1), WebSocketCounters()
        self.connection = Connection("c", transport, task, waiting, "::1", pool, SERVICE, counters)
        backend: Any = machine
        self.connection.session = Session(
            machine.hub, backend, SessionLimits(rate=1e9), self.connection, EVERYTHING
        )
        self.machine = machine
        self.rest = b""
        self.expected: dict[str, int] = {}
        self.on_lag: dict[str, OnLag] = {}

    def call(self, method: str, **params: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return orjson.loads(self.connection.session.receive(orjson.dumps(request), self.machine.now).text)

    def take(self, most: int) -> bool:
        """Read up to ``most`` bytes and check every frame; return whether something came."""
        self.transport.flush()
        try:
            data = self.sock.recv(most)
        except BlockingIOError:
            return False
        self.rest += data
        end = 0
        for opcode, payload, end in frames(self.rest):  # noqa: B007 - the last end is used
            assert opcode == 1
            self.check(orjson.loads(payload))
        self.rest = self.rest[end:]
        return bool(data)

    def check(self, message: Any) -> None:
        params = message["params"]
        topic = params["topic"]
        if message["method"] == "gap":
            assert params["from"] == self.expected[topic]
            assert params["to"] >= params["from"]
            self.expected[topic] = params["to"] + 1
        else:
            assert params["offset"] == self.expected[topic]
            assert params["data"] == self.machine.published[topic][params["offset"] - 1]
            self.expected[topic] += 1

    @property
    def alive(self) -> bool:
        return not self.transport.closing and not self.task.cancelled


class FanOut(RuleBasedStateMachine):
    """Every step is something that a client, a network or a clock may do."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns()
        self.now = 0.0
        self.draining = False
        self.refusals: Refusals = Counter()
        self.waiting = Waiting()
        limits = HubLimits(ring=RING, ring_bytes=220_000, slice_readers=2)
        self.hub = Hub(
            limits, MemoryStore(lambda: "e"), call_soon=self.turns.call_soon, clock=lambda: self.turns.now
        )
        self.clients: list[Client] = []
        self.published: dict[str, list[Any]] = {topic: [] for topic in TOPICS}
        # Nothing of these topics may age out whole: their epoch would end, and the model's with it.
        self.keepers = [self.hub.own(topic) for topic in TOPICS]

    fetch: Callable[..., Any]
    cancel: Callable[..., Any]
    authenticate: Callable[..., Any]

    def one(self, number: int) -> Client:
        return self.clients[number % len(self.clients)]

    @precondition(lambda self: len(self.clients) < 6)
    @rule(tls=st.booleans())
    def connect(self, tls: bool) -> None:
        self.clients.append(Client(self, tls=tls))

    @precondition(lambda self: self.clients)
    @rule(
        number=st.integers(0, 5), topic=st.sampled_from(TOPICS), on_lag=st.sampled_from(OnLag),
        since=st.one_of(st.sampled_from(["newest", "oldest", "other:3"]), st.integers(0, 12)),
    )  # fmt: skip
    def subscribe(self, number: int, topic: str, on_lag: OnLag, since: str | int) -> None:
        client, head = self.one(number), len(self.published[topic])
        where = f"e:{since}" if isinstance(since, int) else since
        answer = client.call("subscribe", topic=topic, since=where, on_lag=on_lag)
        if "error" in answer:
            assert answer["error"]["code"] == -32004
            assert topic in client.connection.session.readers
            return
        result, kept = answer["result"], self.hub.topics[topic].first
        if since == "newest":
            assert result["offset"] == head
        elif isinstance(since, int) and since <= head:
            assert result["offset"] == since
            assert result["recovered"] is (since + 1 >= kept)
        else:
            assert (result["offset"], result["recovered"]) == (kept - 1, False)
        client.expected[topic] = result["offset"] + 1
        client.on_lag[topic] = on_lag

    @precondition(lambda self: self.clients)
    @rule(number=st.integers(0, 5), topic=st.sampled_from(TOPICS))
    def unsubscribe(self, number: int, topic: str) -> None:
        client = self.one(number)
        while client.take(1 << 20):  # what was under way still belongs to the old subscription
            pass
        if not client.transport.buffer:
            assert client.call("unsubscribe", topic=topic)["result"] == {}

    @rule(topic=st.sampled_from(TOPICS), size=st.sampled_from([0, 10, 200, 5_000, 40_000]), count=st.integers(1, 6))
    def publish(self, topic: str, size: int, count: int) -> None:
        for _ in range(count):
            data = [len(self.published[topic]), "x" * size]
            self.hub.publish(topic, orjson.dumps(data), self.now)
            self.published[topic].append(data)

    @precondition(lambda self: self.clients)
    @rule(number=st.integers(0, 5), topic=st.sampled_from(TOPICS))
    def clog(self, number: int, topic: str) -> None:
        """Publish until the client's transport is full; by chance alone that is rare."""
        client = self.one(number)
        for _ in range(8):
            if topic in client.connection.session.readers and not client.connection.full():
                self.publish(topic, 40_000, 1)
                self.turns.settle()

    @rule(turns=st.integers(1, 4))
    def turn(self, turns: int) -> None:
        for _ in range(turns):
            self.turns.turn()

    @precondition(lambda self: self.clients)
    @rule(number=st.integers(0, 5), most=st.sampled_from([1, 100, 5_000, 1 << 17]))
    def read(self, number: int, most: int) -> None:
        self.one(number).take(most)

    @rule()
    def look(self) -> None:
        self.waiting.look()

    @rule(seconds=st.sampled_from([1.0, 10.0, 31.0]))
    def sweep(self, seconds: float) -> None:
        self.now += seconds
        for topic in TOPICS:
            # As if someone published just now: see __init__.
            if self.hub.topics[topic].first > self.hub.topics[topic].head and not self.hub.topics[topic].readers:
                return
        if all(topic in self.hub.topics and self.hub.topics[topic].readers for topic in TOPICS):
            self.hub.sweep(self.now)

    @precondition(lambda self: self.clients)
    @rule(number=st.integers(0, 5), rude=st.booleans())
    def vanish(self, number: int, rude: bool) -> None:
        client = self.one(number)
        if rude:
            client.sock.close()  # the service finds out when it writes
        else:
            client.connection.session.close()
        client.transport.abort()
        client.connection.session.close()
        self.forget(client)

    def forget(self, client: Client) -> None:
        self.clients.remove(client)
        self.waiting.connections.pop(client.connection, None)
        client.sock.close()
        client.transport.abort()

    @invariant()
    def evicted_readers_had_fallen_behind_and_had_agreed_to_it(self) -> None:
        for client in [client for client in self.clients if not client.alive]:
            assert OnLag.DISCONNECT in client.on_lag.values()
            assert not client.connection.session.readers
            self.forget(client)

    @invariant()
    def the_books_are_right(self) -> None:
        topics = self.hub.topics.values()
        assert self.hub.rings.pool.used == sum(topic.size for topic in topics)
        for topic in topics:
            assert topic.size == sum(map(len, topic.ring._frames))
            assert topic.head - topic.first + 1 == len(topic.ring._frames) <= RING.messages
            assert topic.size <= RING.size or len(topic.ring._frames) == 1
            assert all(reader.attached for reader in topic.readers)

    def teardown(self) -> None:
        """In the end every client that is still there takes everything, and has everything."""
        try:
            self.finish()
        finally:
            for client in tuple(self.clients):
                self.forget(client)

    def finish(self) -> None:
        for _ in range(1000):
            self.turns.settle()
            self.waiting.look()
            took = [client.take(1 << 20) for client in self.clients if client.alive]
            if any(took) or self.turns.due:
                continue
            pending = [client.transport.sock for client in self.clients if client.alive and client.transport.buffer]
            if not pending:
                break
            # The kernel acknowledges up to 40 ms late; until then it has no room for more.
            select.select([], pending, [], 1.0)
        else:
            raise AssertionError("it never settles")
        for client in self.clients:
            for name in client.connection.session.readers if client.alive else ():
                assert client.expected[name] == len(self.published[name]) + 1, name


FanOut.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
TestFanOut = FanOut.TestCase
