"""Requests and connections that begin or end together are spread over turns of the loop, and clients take turns."""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from service.core.owner import Owner
from service.edge.http.acceptor import _HANDSHAKES, Acceptor
from service.edge.http.server import _BEGUN, _ENDED, _FRAMES, HttpServer, read_for
from service.runtime.per_turn import PerTurn

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE = 400_000


class Turns:
    """Counts the turns of the loop."""

    def __init__(self) -> None:
        self.number = 0
        loop: Any = asyncio.get_running_loop()
        self._once = loop._run_once
        loop._run_once = self._next

    def _next(self) -> None:
        self.number += 1
        self._once()


class Serving:
    """A server that records in which turn of the loop each request began and ended, and its client's address."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.turns = Turns()
        self.begun: list[tuple[int, str]] = []
        self.ended: list[int] = []
        self.bodies: list[bytes] = []
        self.endless = self.upgraded = False
        self.on_first: Callable[[], object] = int
        self.server = HttpServer(self._handle, caller=self._caller)
        self._listener = stack.enter_context(socket.socket())
        self._listener.bind(("0.0.0.0", 0))
        loop = asyncio.get_running_loop()
        self.acceptor = Acceptor(self.server, [self._listener], most=1000, tls=None, tls_time=1.0, clock=loop.time)
        self.acceptor.start()

    def _caller(self, peer: object, head: bytes) -> Owner | None:
        """Return who a proxy says it is: the path of a request."""
        name = head.split(b" ")[1][1:]
        return Owner(name.decode()) if name else None

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        if not self.begun:
            self.on_first()
        self.begun.append((self.turns.number, request.path[1:] or str(request.remote)))
        if self.upgraded:
            read_for(request, Owner(str(request.remote)), on_lost=int)
        self.bodies.append(await request.read())
        try:
            if self.endless:
                await asyncio.Event().wait()
        finally:
            self.ended.append(self.turns.number)
        return web.Response()

    async def connect(self, count: int, address: str = "127.0.0.1") -> list[socket.socket]:
        """Return connections from an address that the server has accepted."""
        port = self._listener.getsockname()[1]
        clients = [await connected(self._stack, port, address) for _ in range(count)]
        await until(lambda: self.server.open >= count)
        await asyncio.sleep(1)  # on the virtual clock: accepted connections wait for their requests
        return clients


@contextmanager
def over_tls(handshakes: list[tuple[int, str]]) -> Iterator[tuple[Acceptor, int]]:
    """Yield an acceptor and its port; ``handshakes`` gets the loop's turn and the address of each handshake."""
    loop, turns = asyncio.get_running_loop(), Turns()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))

        async def note(_: HttpServer, connection: socket.socket, **options: object) -> None:
            handshakes.append((turns.number, connection.getpeername()[0]))
            raise ConnectionError

        acceptor = Acceptor(
            HttpServer(_nothing), [listener], most=1000, tls=context, tls_time=15.0, clock=loop.time
        )
        acceptor._loop = cast("Any", SimpleNamespace(
            time=loop.time, add_reader=loop.add_reader, remove_reader=loop.remove_reader,
            create_task=loop.create_task, connect_accepted_socket=note,
        ))  # fmt: skip
        acceptor.start()
        yield acceptor, listener.getsockname()[1]
        acceptor.close()


async def _nothing(_: web.BaseRequest) -> web.Response:
    return web.Response()


async def connected(stack: ExitStack, port: int, address: str = "127.0.0.1") -> socket.socket:
    client = stack.enter_context(socket.socket())
    client.setblocking(False)
    client.bind((address, 0))
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return client


async def test_tls_handshakes_that_come_together_begin_a_few_in_each_turn_of_the_loop() -> None:
    handshakes: list[tuple[int, str]] = []
    with over_tls(handshakes) as (acceptor, port), ExitStack() as stack:
        clients = [await connected(stack, port) for _ in range(50)]
        clients.append(await connected(stack, port, "127.0.0.2"))
        await until(lambda: acceptor.open == 51)
        for client in clients:
            client.send(b"\x16\x03\x01")
        await until(lambda: len(handshakes) == 51)
        assert max(Counter(turn for turn, _ in handshakes).values()) <= _HANDSHAKES
        assert [address for _, address in handshakes].index("127.0.0.2") <= 2 * _HANDSHAKES
        await until(lambda: acceptor.open == 0)


async def test_a_client_that_begins_no_tls_handshake_has_as_long_as_one_that_does_not_end_it() -> None:
    loop = asyncio.get_running_loop()
    with over_tls([]) as (acceptor, port), ExitStack() as stack:
        client = await connected(stack, port)
        begin = loop.time()
        assert await loop.sock_recv(client, 1) == b""
        assert 14.9 < loop.time() - begin < 15.1
        assert acceptor.open == 0


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    with ExitStack() as stack:
        serving = Serving(stack)
        yield serving
        serving.acceptor.close()
        await serving.server.shutdown(1)


async def test_requests_that_come_together_begin_one_group_after_another(serving: Serving) -> None:
    for client in await serving.connect(40):
        client.send(GET)
    await until(lambda: len(serving.begun) == 40)
    together = Counter(turn for turn, _ in serving.begun)
    assert max(together.values()) <= _BEGUN
    assert len(together) >= 40 // _BEGUN


async def test_a_request_waits_for_no_more_than_a_group_of_another_address(serving: Serving) -> None:
    many = await serving.connect(100)
    (one,) = await serving.connect(1, "127.0.0.2")
    for client in many:
        client.send(GET)
    one.send(GET)
    await until(lambda: len(serving.begun) == 101)
    assert [address for _, address in serving.begun].index("127.0.0.2") <= 2 * _BEGUN


async def test_a_request_waits_for_no_more_than_a_group_of_another_client_of_the_same_proxy(
    serving: Serving,
) -> None:
    clients = await serving.connect(101)
    for client in clients[:-1]:
        client.send(b"GET /many HTTP/1.1\r\nHost: a\r\n\r\n")
    clients[-1].send(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: len(serving.begun) == 101)
    assert [name for _, name in serving.begun].index("one") <= 2 * _BEGUN


async def test_what_comes_while_a_request_waits_for_its_turn_is_its_own(serving: Serving) -> None:
    clients = await serving.connect(30)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % LARGE
    loop = asyncio.get_running_loop()
    for client in clients:
        client.send(head[:20])
    sending = [asyncio.create_task(loop.sock_sendall(one, head[20:] + bytes(LARGE))) for one in clients]
    await until(lambda: len(serving.bodies) == 30)
    assert [*map(len, serving.bodies)] == [LARGE] * 30
    await asyncio.gather(*sending)


async def test_a_client_that_leaves_before_its_turn_is_forgotten(serving: Serving) -> None:
    clients = await serving.connect(30)
    for client in clients:
        client.send(GET)
    for client in clients[10:]:
        client.close()
    await until(lambda: serving.server.open == 10)
    assert len(serving.begun) >= 10


async def test_a_connection_that_waits_for_its_turn_is_not_unused(serving: Serving) -> None:
    closed: list[int] = []
    serving.on_first = lambda: closed.append(serving.server.close_unused())
    for client in await serving.connect(30):
        client.send(GET)
    await until(lambda: len(serving.begun) == 30)
    assert closed == [0]


async def test_requests_whose_connections_end_together_end_one_group_after_another(serving: Serving) -> None:
    serving.endless = True
    clients = await serving.connect(100)
    for client in clients:
        client.send(GET)
    await until(lambda: len(serving.bodies) == 100)
    for client in clients:
        client.close()
    await until(lambda: len(serving.ended) == 100)
    assert max(Counter(serving.ended).values()) <= _ENDED


POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
async def sockets(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[socket.socket], list[tuple[int, Any]]]:
    """Return connections that count as WebSockets, the last one of another client, and what was read of them when.

    What each sends is read as the body of a request, of 100 KB.
    """
    read: list[tuple[int, Any]] = []
    real = RequestHandler.data_received

    def data_received(handler: RequestHandler, data: bytes) -> None:
        if data:
            read.append(
                (serving.turns.number, handler.transport and handler.transport.get_extra_info("peername")[0])
            )
        real(handler, data)

    serving.upgraded = True
    clients = [*await serving.connect(300), *await serving.connect(1, "127.0.0.2")]
    for client in clients:
        client.send(POST % 100_000)
    await until(lambda: len(serving.begun) == 301)
    monkeypatch.setattr(RequestHandler, "data_received", data_received)
    return clients, read


async def test_frames_that_come_together_are_read_one_group_after_another(sockets: Any) -> None:
    clients, read = sockets
    for client in clients:
        client.send(b"x")
    await until(lambda: len(read) == 301)
    assert max(Counter(turn for turn, address in read if address == "127.0.0.1").values()) <= _FRAMES
    first = read[0][0]
    (other,) = [turn for turn, address in read if address == "127.0.0.2"]
    assert other == first, "another client's do not wait for the crowd"


async def test_bytes_that_come_while_frames_wait_keep_their_order(serving: Serving, sockets: Any) -> None:
    clients, _ = sockets
    loop, sent = asyncio.get_running_loop(), b"".join(b"%010d" % number for number in range(10_000))
    serving.server._turns.frames = PerTurn(1)

    async def send(client: socket.socket) -> None:
        for begin in range(0, len(sent), 9_000):
            await loop.sock_sendall(client, sent[begin : begin + 9_000])
            await asyncio.sleep(0)

    await asyncio.gather(*map(send, clients))
    await until(lambda: len(serving.bodies) == 301)
    assert all(body == sent for body in serving.bodies)


async def test_frames_that_wait_when_their_connection_ends_are_read_all_the_same(sockets: Any) -> None:
    clients, read = sockets
    for client in clients:
        client.send(b"x")
        client.close()
    await until(lambda: len(read) == 301)
