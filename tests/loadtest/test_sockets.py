"""One client's socket, against raw servers: addresses, fragments, compression, heads without an end."""

import asyncio
import socket
import zlib
from argparse import Namespace

import pytest

from loadtest.endpoint import Endpoint, endpoint_of
from loadtest.payloads import Payloads
from loadtest.read_cache import ReadCache
from loadtest.sockets import ConnectFailed, Socket
from tests.end_to_end.peers import Peer, echo, peers

DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"


def endpoint(url: str) -> Endpoint:
    plain = Namespace(url=url, header=[], token="", ca="", cert="", key="", insecure=False, sni="", compress=False)
    return endpoint_of(plain)


async def connected(url: str, *more: tuple[str, int], timeout: float = 5.0) -> Socket:
    """Return a client that tries other addresses before the one of the URL."""
    where = endpoint(url)
    ours = (socket.AF_INET, ("127.0.0.1", where.port))
    others = [(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port)) for host, port in more]
    where.addresses._all = [*others, ours]
    client = Socket(where, "/", (), ReadCache(Payloads(b'"n":')))
    await client.connect(0, None, timeout)
    return client


async def messages(client: Socket, count: int) -> list[bytes]:
    got: asyncio.Queue[bytes] = asyncio.Queue()
    client.on_text = lambda _, payload: got.put_nowait(payload)
    client.send(b"go")
    async with asyncio.timeout(5):
        return [await got.get() for _ in range(count)]


async def test_an_address_that_refuses_is_passed_over() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    async with peers(echo) as server:
        client = await connected(server.url, ("::1", closed), ("127.0.0.1", closed))
        assert await messages(client, 1) == [b"go"]
        client.abort()


async def test_when_all_refuse_each_is_named() -> None:
    where = endpoint("http://h:1")
    where.addresses._all = [(socket.AF_INET, ("127.0.0.1", 1)), (socket.AF_INET, ("127.0.0.2", 1))]
    with pytest.raises(ConnectFailed, match=r"127\.0\.0\.1: Connection refused; 127\.0\.0\.2: Connection refused"):
        await Socket(where, "/", (), ReadCache(Payloads(b'"n":'))).connect()


async def test_an_address_that_says_nothing_leaves_time_for_the_next() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(0)
        port = mute.getsockname()[1]
        # The queue of a listener that accepts nothing is full with one.
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        async with peers(echo) as server:
            client = await connected(server.url, ("127.0.0.1", port), timeout=1.0)
            client.abort()
        for filler in fillers:
            filler.close()


async def test_fragments_and_compressed_messages_are_taken() -> None:
    compressor = zlib.compressobj(wbits=-15)
    data = (compressor.compress(b"compressed") + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def talk(peer: Peer, payload: bytes) -> None:
        peer.writer.write(b"\x01\x03abc" + b"\x89\x00" + b"\x80\x02de" + bytes((0xC1, len(data))) + data)

    async with peers(talk, more=DEFLATE) as server:
        client = await connected(server.url)
        assert await messages(client, 2) == [b"abcde", b"compressed"]
        client.abort()


async def test_what_was_not_agreed_on_ends_the_connection_with_its_reason() -> None:
    async with peers(lambda peer, payload: peer.writer.write(b"\xc1\x01x")) as server:
        client = await connected(server.url)
        closed = asyncio.Event()
        client.on_close = lambda _: closed.set()
        client.send(b"go")
        await asyncio.wait_for(closed.wait(), 5)
        assert "--compress" in client.why


async def test_a_head_without_an_end_is_refused() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 OK\r\n" + b"X: y\r\n" * 20_000)
        await reader.read()
        writer.close()
        done.set()

    done = asyncio.Event()
    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    with pytest.raises(ConnectFailed, match="no end"):
        await connected(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await asyncio.wait_for(done.wait(), 5)
    server.close()


async def test_bytes_that_are_not_frames_end_the_connection_with_the_reason() -> None:
    def garbage(peer: Peer, payload: bytes) -> None:
        peer.writer.write(b"\xff\xff\xff\xff garbage")

    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with peers(garbage) as server:
        client = await connected(server.url)
        client.on_close = lambda one: ended.set_result(one.why)
        client.send(b"go")
        async with asyncio.timeout(5):
            assert await ended == "the server sent a masked frame, or bytes that are not a WebSocket frame"
