"""A client that leaves without a close frame: what it sent before is carried out, and its end is nothing unusual."""

import asyncio
import gc
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import trustme

from service.edge.http.server import _ENDED, _Protocol
from service.edge.websocket.connection import Connection
from service.runtime.background import OTHER
from tests.edge.running import Client, client_of
from tests.edge.test_server_turns import until
from tests.edge.test_websocket import UPGRADE


def frame(data: bytes) -> bytes:
    length = bytes([0x80 | len(data)]) if len(data) < 126 else struct.pack(">BH", 0x80 | 126, len(data))
    return b"\x81" + length + bytes(4) + data


def request(number: int, method: str, **params: Any) -> bytes:
    return frame(orjson.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))


def reset(client: socket.socket) -> None:
    """End a connection as the kernel ends that of a process that is killed while something waits for it."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def leave(client: socket.socket) -> None:
    """End the connection, although answers wait: after the first of them the kernel resets it."""
    client.close()


def end_input(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


async def upgraded(client: Client, path: str = "/ws") -> tuple[socket.socket, Connection]:
    """Return a WebSocket whose handshake is over, and the service's side of it."""
    loop = asyncio.get_running_loop()
    one = socket.socket()
    one.setblocking(False)
    await loop.sock_connect(one, ("127.0.0.1", client.service.port))
    await loop.sock_sendall(one, UPGRADE.replace(b"/ws", path.encode()))
    await loop.sock_recv(one, 1000)
    connections = client.service.endpoints[path].connections
    await until(lambda: connections)
    (connection,) = connections
    return one, connection


@pytest.mark.parametrize("end", [reset, leave, end_input])
@pytest.mark.parametrize(("count", "size"), [(100, 1), (60, 900), (7, 9000)])
async def test_what_it_sent_is_carried_out_in_order(
    end: Callable[[socket.socket], None], count: int, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of() as client:
        one, _ = await upgraded(client)
        with one:
            sent = b"".join(request(n, "publish", topic="t", data=[n, "x" * size]) for n in range(count))
            assert one.send(sent) == len(sent) < 64 << 10
            end(one)
            await until(lambda: not client.service.sockets.count)
        assert client.service.hub.topics["t"].position.offset == count
        async with client.session.get(client.url("/topics/t/events?since=oldest")) as response:
            await response.content.readline()
            numbers = [orjson.loads(await response.content.readline())["data"][0] for _ in range(count)]
        assert numbers == [*range(count)]
    assert errors(caplog) == []


@pytest.mark.parametrize("way", ["cut", "reset", "closed"])
@pytest.mark.parametrize("count", [0, 100])
async def test_one_over_tls_ends_with_its_client(
    way: str, count: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with over_tls(tmp_path) as (client, reader, writer):
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: client.service.sockets.count)
        writer.write(b"".join(request(n, "publish", topic="t", data=n) for n in range(count)))
        if way == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close() if way == "closed" else writer.transport.abort()
        await until(lambda: not client.service.sockets.count)
        assert not count or client.service.hub.topics["t"].position.offset == count
    assert errors(caplog) == []


async def test_a_stream_over_tls_ends_with_its_client(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with over_tls(tmp_path) as (client, _, writer):
        writer.write(b"GET /topics/t/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: client.service.streams.readers)
        writer.transport.abort()
        await until(lambda: not client.service.streams.readers)
    assert errors(caplog) == []


@asynccontextmanager
async def over_tls(folder: Path) -> AsyncIterator[tuple[Client, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Yield a client of a service with a certificate, and a connection to it."""
    authority, trusting, both = trustme.CA(), ssl.create_default_context(), str(folder / "both.pem")
    authority.configure_trust(trusting)
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(both)
    async with client_of(tls_cert=both, tls_key=both) as client:
        yield (
            client,
            *await asyncio.open_connection(
                "127.0.0.1", client.service.port, ssl=trusting, server_hostname="localhost"
            ),
        )


async def test_what_the_kernel_has_of_it_when_a_write_fails_is_carried_out() -> None:
    async with client_of() as client:
        one, connection = await upgraded(client)
        connection.transport.pause_reading()
        one.send(b"".join(request(n, "publish", topic="t", data=n) for n in range(100)))
        reset(one)
        while not connection.transport.is_closing():
            connection.transport.write(b"\x89\x00")
        await until(lambda: not client.service.sockets.count)
        assert client.service.hub.topics["t"].position.offset == 100


async def test_what_waits_when_the_service_cuts_it_is_not_carried_out() -> None:
    async with client_of() as client:
        one, connection = await upgraded(client)
        with one:
            one.send(b"".join(request(n, "publish", topic="t", data=n) for n in range(100)))
            while "t" not in client.service.hub.topics:
                await asyncio.sleep(0)
            connection.cut()
            await until(lambda: not client.service.sockets.count)
            assert client.service.hub.topics["t"].position.offset < 100


async def test_one_that_leaves_while_an_answer_waits_for_it_is_nothing_unusual(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with client_of(echo_route=True) as client:
        one, connection = await upgraded(client, "/echo")
        large = b"\x82\xff" + struct.pack(">Q", 1 << 20) + bytes(4) + bytes(1 << 20)
        sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(one, large * 20))
        await until(lambda: connection.transport.get_write_buffer_size() > 1 << 16)
        sending.cancel()
        await asyncio.wait((sending,))
        reset(one)
        await until(lambda: not client.service.endpoints["/echo"].count)
    assert errors(caplog) == []


async def test_readers_of_streams_that_leave_while_writes_wait_for_them_are_nothing_unusual(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with client_of() as client:
        loop, large, streams = asyncio.get_running_loop(), b'"' + b"x" * 60_000 + b'"', client.service.streams
        for _ in range(100):
            client.service.hub.publish("t", large, 0.0)
        many = []
        for _ in range(4 * _ENDED):  # more than are cancelled at once
            many.append(one := socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.setblocking(False)
            await loop.sock_connect(one, ("127.0.0.1", client.service.port))
            await loop.sock_sendall(one, b"GET /topics/t/events?since=oldest HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: len(streams.readers) == len(many))
        await until(lambda: all(reader.held > 1 << 16 for reader in streams.readers))
        for one in many:
            reset(one)
        await until(lambda: not streams.readers)
    assert errors(caplog) == []


@pytest.mark.parametrize(
    ("error", "reported"),
    [(RuntimeError(), 1), (asyncio.CancelledError(), 0), (ConnectionError(), 0), (ConnectionResetError(), 0)],
)
async def test_the_task_of_a_connection_that_fails_after_its_end_is_reported(
    error: BaseException, reported: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise error

    async with client_of() as client:
        (one, connection), before = await upgraded(client), client.service.supervisor.failures[OTHER]
        (protocol,) = [
            p for p in gc.get_objects() if isinstance(p, _Protocol) and p.transport is connection.transport
        ]
        task, protocol._task_handler = protocol._task_handler, asyncio.create_task(fail())
        one.close()
        await until(lambda: protocol.transport is None)
        await asyncio.sleep(2)
        assert task is not None
        await asyncio.wait((task,))
        assert client.service.supervisor.failures[OTHER] - before == reported
    assert len(errors(caplog)) == reported


@pytest.mark.parametrize("error", [ConnectionResetError(), ConnectionError()])
async def test_a_broken_connection_other_than_the_clients_is_a_bug(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    async with client_of() as client:
        monkeypatch.setattr(client.service.hub, "publish", fail)
        status, problem, _ = await client.ask("POST", "/topics/t", json=1)
    assert (status, problem["reason"]) == (500, "internal")
    assert errors(caplog) == ["unhandled exception in a request"]


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
