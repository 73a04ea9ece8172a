"""What comes while the process is stopped is read before idle connections are closed."""

import asyncio
import socket
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import uvloop
from aiohttp import web

from service.edge.http.acceptor import Acceptor
from service.edge.http.server import HttpServer

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def _nothing(_: web.BaseRequest) -> web.Response:
    return web.Response()


def test_a_request_that_comes_while_the_loop_stands_still_is_answered() -> None:
    """After a pause of the process the time of idle connections is over before their requests are read."""

    async def main() -> bytes:
        server = HttpServer(_nothing, keepalive_timeout=0.1)
        with socket.socket() as listener, socket.socket() as client:
            listener.bind(("127.0.0.1", 0))
            loop = asyncio.get_running_loop()
            acceptor = Acceptor(server, [listener], most=9, tls=None, tls_time=1.0, clock=loop.time)
            acceptor.start()
            client.setblocking(False)
            await loop.sock_connect(client, listener.getsockname())
            answers = b""
            for number in range(2):
                await loop.sock_sendall(client, GET)
                if number:
                    time.sleep(0.15)
                    # After SIGCONT timers ring before sockets are read.
                    [idle] = server.connections
                    idle._process_keepalive()
                answers += await loop.sock_recv(client, 4096)
            acceptor.close()
            await server.shutdown(1)
        return answers

    assert uvloop.run(main()).count(b"HTTP/1.1 200 OK") == 2


async def test_a_connection_whose_time_was_over_as_its_request_waited_is_closed_when_it_is_idle_again() -> None:
    server, waiting = HttpServer(_nothing, keepalive_timeout=2.0), list[Callable[[], object]]()
    loop = asyncio.get_running_loop()
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        acceptor = Acceptor(server, [listener], most=9, tls=None, tls_time=1.0, clock=loop.time)
        acceptor.start()
        client.setblocking(False)
        await loop.sock_connect(client, listener.getsockname())
        turns: Any = SimpleNamespace(call=lambda owner, action: waiting.append(action))
        server._turns.begin = turns
        for pause in (0.0, 2.5):
            await loop.sock_sendall(client, GET)
            while not waiting:
                await asyncio.sleep(0.001)
            await asyncio.sleep(pause)
            waiting.pop()()
            assert (await loop.sock_recv(client, 4096)).startswith(b"HTTP/1.1 200 OK")
        async with asyncio.timeout(3):
            assert await loop.sock_recv(client, 1) == b""
        acceptor.close()
        await server.shutdown(1)
