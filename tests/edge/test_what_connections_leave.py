"""A connection that has ended leaves nothing that only the collector of cycles would free: it may hold messages."""

import asyncio
import gc
from contextlib import suppress

import pytest
from aiohttp import web

from service.edge.http.server import _Protocol
from service.edge.websocket.connection import Connection
from service.edge.websocket.frames import ClientSocket
from tests.edge.running import Client, client_of
from tests.edge.test_other_protocols import listening
from tests.edge.test_websocket import UPGRADE


def frame(opcode: int, data: bytes, *, masked: bool = True) -> bytes:
    assert len(data) < 126
    return bytes((0x80 | opcode, 0x80 * masked | len(data))) + bytes(4 * masked) + data


PUBLISH = frame(1, b'{"jsonrpc":"2.0","id":1,"method":"publish","params":{"topic":"t","data":1}}')
SUBSCRIBE = frame(1, b'{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"topic":"t"}}')
STREAM = b"GET /topics/t/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
POST = b"POST /topics/t HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CUT = POST + b"Content-Length: 100000\r\n\r\n" + b" " * 50_000
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
WAYS = {
    "nothing": UPGRADE,
    "a close frame": UPGRADE + PUBLISH + frame(8, b"\x03\xe8"),
    "a subscription": UPGRADE + SUBSCRIBE + PUBLISH,
    "many requests": UPGRADE + PUBLISH * 900,
    "too many requests": UPGRADE + PUBLISH * 5000,
    "a binary message": UPGRADE + frame(2, b"x"),
    "a binary message, and requests": UPGRADE + frame(2, b"x") + PUBLISH * 900,
    "a frame without a mask": UPGRADE + PUBLISH + frame(1, b"{}", masked=False),
    "a frame of an unknown kind": UPGRADE + PUBLISH * 20 + frame(5, b""),
    "half a frame": UPGRADE + PUBLISH * 20 + PUBLISH[:20],
    "text that is not UTF-8": UPGRADE + frame(1, b"\xff"),
    "a stream": STREAM,
    "a path that is not there": STREAM.replace(b"/topics", b"/nowhere"),
    "half a body": CUT,
    "half a body that is refused": CUT.replace(b"/json", b"/none"),
    "half a body that nothing reads": CUT.replace(b"/topics/t", b"/healthz"),
    "half a body in chunks": CHUNKED + b"1000\r\nxx",
    "chunks that are malformed": CHUNKED + b"5\r\nhello\r\nnonsense\r\n",
    "half a head": STREAM[:30],
    "a head that is malformed": b"GET / HTTP/1.1\r\nHost: a\r\nHost : b\r\n\r\n",
    "requests that wait for each other": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "not HTTP": b"nonsense\r\n\r\n",
}


def left() -> list[str]:
    kinds = (ClientSocket, Connection, web.Request, _Protocol)
    return [repr(one) for one in gc.get_objects() if isinstance(one, kinds)]


async def send(client: Client, data: bytes, *, cut: bool, read: bool) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
    if not read:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
    with suppress(ConnectionError):
        writer.write(data)
        await asyncio.sleep(0.1)
        if not cut:
            await writer.drain()
            writer.close()
            await asyncio.sleep(0.1)
    writer.transport.abort()


async def what_is_left(within: float = 15.0) -> list[str]:
    for _ in range(int(within)):
        if not (found := left()):
            break
        await asyncio.sleep(1)
    return found


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("read", [True, False], ids=["reads", "reads nothing"])
@pytest.mark.parametrize("cut", [True, False], ids=["is cut", "closes"])
async def test_it_leaves_nothing_to_the_collector(cut: bool, read: bool) -> None:
    async with client_of(heartbeat=5.0) as client:
        for way, data in WAYS.items():
            await send(client, data, cut=cut, read=read)
            assert (way, await what_is_left()) == (way, [])


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("cut", [True, False], ids=["is cut", "closes"])
async def test_a_handshake_that_fails_leaves_nothing_to_the_collector(cut: bool) -> None:
    async with listening(tls=True) as port:
        for hello in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16\x03\x01" + b"x" * 600):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(hello)
            await asyncio.sleep(1)
            if cut:
                writer.transport.abort()
            writer.close()
            assert await what_is_left(30) == []
