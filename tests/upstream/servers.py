"""Small servers on loopback: one that answers every request with the same bytes, and a name that leads there."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

from service.core.fetching.dial_policy import Policy
from service.core.fetching.target import Target, check_url

LOOPBACK = (ip_network("127.0.0.0/8"),)


class Raw:
    """Sends ``answer`` for each request head, piece by piece; closes afterwards when asked to."""

    def __init__(self, *answer: bytes, close: bool = False) -> None:
        self.answer = answer
        self.close = close
        self.requests: list[bytes] = []
        self.connections: list[asyncio.StreamWriter] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                for piece in self.answer:
                    writer.write(piece)
                    await writer.drain()
                if self.close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Raw"]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self.connections:
                writer.transport.abort()
            await asyncio.sleep(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


class Answering(Raw):
    """Answers each request with what :meth:`answer_to` returns."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(await self.answer_to(self.requests[-1]))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer_to(self, request: bytes) -> bytes:
        """Return the answer to a request, which is the last of ``requests``."""
        return b"".join(self.answer)


def policy_for(*ports: int) -> Policy:
    """Return a policy that lets loopback through on these ports."""
    return Policy(nets=LOOPBACK, ports=frozenset(ports))


def target_of(url: str, policy: Policy) -> Target:
    target = check_url(url, policy)
    assert isinstance(target, Target), target
    return target


def closed_port() -> int:
    """Return a port on loopback where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
