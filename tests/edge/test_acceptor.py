"""The acceptor: who waits while it is full, for how long, and who has to give way."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from service.edge.http.acceptor import Acceptor
from service.edge.http.server import HttpServer

CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
MOST = 3


class Listening:
    """An acceptor with three places, and connections to it."""

    def __init__(self, acceptor: Acceptor, port: int, stack: contextlib.ExitStack) -> None:
        self.acceptor = acceptor
        self._port = port
        self._stack = stack

    async def connect(self) -> socket.socket:
        client = self._stack.enter_context(socket.socket())
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self._port))
        return client


async def answered(client: socket.socket, request: bytes = CLOSE) -> float:
    """Ask, read to the end, and return how long that took."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await loop.sock_sendall(client, request)
    data = b""
    while piece := await loop.sock_recv(client, 4096):
        data += piece
    assert data.startswith(b"HTTP/1.1 200")
    return loop.time() - begin


async def ended(client: socket.socket) -> float:
    """Wait until the service closes the connection, and return when that was."""
    assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
    return asyncio.get_running_loop().time()


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    async def handle(_: web.BaseRequest) -> web.Response:
        return web.Response()

    loop = asyncio.get_running_loop()
    server = HttpServer(handle)
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        acceptor = Acceptor(server, [listener], most=MOST, tls=None, tls_time=1.0, clock=loop.time)
        acceptor.start()
        yield Listening(acceptor, listener.getsockname()[1], stack)
        acceptor.close()
        await server.shutdown(1)


async def test_unused_connections_give_way_after_a_second(listening: Listening) -> None:
    silent = [await listening.connect() for _ in range(MOST)]
    assert 1.0 <= await answered(await listening.connect()) < 1.1
    for client in silent:
        assert await ended(client) < 1.1


async def test_nobody_gives_way_while_nobody_waits(listening: Listening) -> None:
    silent = [await listening.connect() for _ in range(MOST)]
    ends = [asyncio.create_task(ended(client)) for client in silent]
    await asyncio.sleep(5)
    assert not any(end.done() for end in ends)
    assert listening.acceptor.open == MOST
    for end in ends:
        end.cancel()


async def test_places_that_become_free_do_not_prolong_the_wait_of_the_others(
    listening: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    """A second counts from when the first began to wait, though connections come and go four times a second."""
    silent = [await listening.connect() for _ in range(MOST - 1)]
    ends = [asyncio.create_task(ended(client)) for client in silent]
    going = await listening.connect()
    waiting = []
    for _ in range(12):
        waiting += [await listening.connect(), await listening.connect()]
        await asyncio.sleep(0.25)
        going.close()
        going = waiting.pop(0)
    assert all(end.done() for end in ends), "the places changed hands, and the queue only grew"
    assert [round(await end, 2) for end in ends] == [1.0, 1.0]
    assert "connections wait: descriptors are short" in caplog.messages


async def test_the_wait_is_over_when_all_were_accepted(listening: Listening) -> None:
    """What waited and was served does not shorten the patience with those that are there later."""
    clients = [await listening.connect() for _ in range(MOST + 1)]
    await asyncio.sleep(0.5)
    clients[0].close()
    await asyncio.sleep(10)
    assert listening.acceptor.open == MOST
    late = await listening.connect()
    assert 1.0 <= await answered(late) < 1.1


async def test_a_burst_that_fits_is_not_held_up_by_being_counted_twice(listening: Listening) -> None:
    """While a connection begins it counts twice; when it has begun, the others are accepted at once."""
    clients = [await listening.connect() for _ in range(MOST)]
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while listening.acceptor.open < MOST or listening.acceptor._beginning:
        await asyncio.sleep(0)
    assert await answered(clients[-1]) == 0
    assert loop.time() == begin
