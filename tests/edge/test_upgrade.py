"""An upgrade releases what the handshake needed; the names that aiohttp keeps in private are still there."""

import gc
from typing import Any

from aiohttp import web

from tests.edge.running import call, client_of


async def test_nothing_of_the_request_stays_and_the_socket_works_on() -> None:
    cookie = "secret-that-nobody-needs"
    async with client_of() as client, client.socket(headers={"Cookie": f"session={cookie}"}) as socket:
        assert await call(socket, "ping") == {}
        (connection,) = client.service.sockets.connections
        protocol: Any = connection.transport.get_protocol()
        gc.collect()  # what other tests left behind
        requests = [one for one in gc.get_objects() if isinstance(one, web.Request) and one.path == "/ws"]
        assert protocol._parser is None
        (request,) = requests
        assert dict(request.headers) == {}
        assert request.raw_headers == ()
        assert await call(socket, "subscribe", topic="t")
        client.service.hub.publish("t", b"1", 0.0)
        assert (await socket.receive_json())["params"]["data"] == 1


async def test_a_socket_that_ends_ends_whole() -> None:
    async with client_of() as client:
        async with client.socket() as socket:
            await call(socket, "ping")
        # The next request finds a service that works as before.
        assert (await client.ask("GET", "/readyz"))[0] == 200
