"""The whole service in this process, on loopback and virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from loadtest.origin import serve_origin
from service.app import Service, running
from service.config.settings import Settings


class Client:
    """A client of one running service."""

    def __init__(self, service: Service, session: aiohttp.ClientSession, origin: str) -> None:
        self.service = service
        self.session = session
        self.origin = origin
        self.host = f"127.0.0.1:{service.port}"

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any, aiohttp.ClientResponse]:
        """Return status, JSON body and response."""
        async with self.session.request(method, self.url(path), **more) as response:
            body = await response.read()
            try:
                return response.status, orjson.loads(body), response
            except orjson.JSONDecodeError:
                return response.status, body, response

    def socket(self, **more: Any) -> Any:
        return self.session.ws_connect(self.url("/ws"), protocols=("sluice.v1",), **more)

    async def batch(self, body: Any, **headers: str) -> tuple[int, bytes, aiohttp.ClientResponse]:
        async with self.session.post(self.url("/fetch-batch"), json=body, headers=headers) as response:
            return response.status, await response.read(), response


@asynccontextmanager
async def client_of(**settings: Any) -> AsyncIterator[Client]:
    """Run an origin and a service that may fetch from it; yield a client."""
    origin = await serve_origin("127.0.0.1", 0)
    port = origin.sockets[0].getsockname()[1]
    more = {"port": 0, "allow_net": ("127.0.0.0/8",), "allow_port": (port,), "drain": 2.0, **settings}
    loop = asyncio.get_running_loop()
    async with (
        running(Settings(**more), wall=lambda: 1_800_000_000 + loop.time()) as service,
        aiohttp.ClientSession() as session,
    ):
        try:
            yield Client(service, session, f"http://127.0.0.1:{port}")
        finally:
            origin.close()


async def call(socket: aiohttp.ClientWebSocketResponse, method: str, **params: Any) -> Any:
    """Make one request and return its result or error."""
    await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    answer = await socket.receive_json()
    return answer.get("error") or answer["result"]
