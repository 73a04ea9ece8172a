"""Clients that come too fast, too slowly, too often or too many: what they get, and what others notice.

The same at full size, with figures: ``./x bench floods``.
"""

import asyncio
import contextlib
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import trustme
import websockets

from tests.end_to_end.processes import Process, nginx, service

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(opcode: int, payload: bytes) -> bytes:
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes((0x80 | opcode,)) + size + b"\0\0\0\0" + payload


def request(method: str, **params: Any) -> bytes:
    return frame(1, orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))


@contextlib.asynccontextmanager
async def raw(server: Process, count: int = 1) -> AsyncIterator[list[Streams]]:
    """Connect without saying anything."""
    opened: list[Streams] = []
    try:
        while len(opened) < count:
            opened.append(await asyncio.open_connection("127.0.0.1", server.port))
        yield opened
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def rest(reader: asyncio.StreamReader, reason: bytes = b"\0") -> bytes:
    """Read to the end of any kind, or to a close frame with this reason."""
    seen = bytearray()
    with contextlib.suppress(ConnectionError):
        while not seen.endswith(reason) and (piece := await reader.read(1 << 16)):
            seen += piece
    return bytes(seen)


async def call(client: websockets.ClientConnection, method: str, **params: Any) -> Any:
    await client.send(orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).decode())
    # No wait_for: before Python 3.12 it may swallow the cancellation that ends the client.
    async with asyncio.timeout(60):
        return orjson.loads(await client.recv())


@contextlib.asynccontextmanager
async def healthy(server: Process) -> AsyncIterator[dict[str, float]]:
    """A client that asks all the time; yields how many answers it got, and the longest wait for one."""
    seen = {"answers": 0, "longest": 0.0}

    async def ask() -> None:
        async with websockets.connect(f"ws://{server.authority}/ws") as client:
            while True:
                begin = time.monotonic()
                assert (await call(client, "ping"))["result"] == {}
                seen["answers"] += 1
                seen["longest"] = max(seen["longest"], time.monotonic() - begin)
                await asyncio.sleep(0.01)

    asking = asyncio.create_task(ask())
    try:
        async with asyncio.timeout(60):
            while not seen["answers"]:
                assert not asking.done(), asking
                await asyncio.sleep(0.01)
        yield seen
        assert not asking.done(), asking
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


@pytest.mark.parametrize(
    "messages",
    [
        [request("ping")],
        [frame(9, b"")],
        [frame(10, b"")],
        [frame(1, b"{}")],
        [request("subscribe", topic="t"), request("unsubscribe", topic="t")],
        [request("presence", topic="x" * 60_000)],
    ],
    ids=["requests", "pings", "pongs", "no requests", "churn", "bytes"],
)
async def test_a_flood_of_one_client_ends_with_4429_and_the_others_are_served(messages: list[bytes]) -> None:
    async with (
        service("--client-rate", "200", "--client-bytes", "1000000") as server,
        healthy(server) as others,
        raw(server) as [(reader, writer)],
    ):
        before = others["answers"]
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        ended = asyncio.create_task(rest(reader, b"flooding"))
        flood = b"".join(messages) * (10_000 // len(messages) if len(messages[0]) < 1000 else 1000)
        with contextlib.suppress(ConnectionError):
            writer.write(flood)
            await writer.drain()
        reported = await asyncio.wait_for(ended, 60)
        assert (4429).to_bytes(2, "big") + b"flooding" in reported[-12:]
        if messages[0][0] == 0x81:
            assert b'"code":-32006' in reported
            assert b'"retry_after":' in reported
        async with asyncio.timeout(60):
            while others["answers"] < before + 20:
                await asyncio.sleep(0.01)
        assert others["longest"] < 10
        async with aiohttp.ClientSession() as session, session.get(f"{server.url}/topics/t") as answer:
            # The subscriptions of the churn went with their client.
            assert answer.status == 404 or (await answer.json())["readers"] == 0


async def test_slow_handshakes_are_closed_at_their_deadline_and_others_come_in_meanwhile() -> None:
    begin = time.monotonic()
    async with (
        service("--handshake-time", "3", "--websockets", "200") as server,
        healthy(server),
        raw(server, 300) as slow,
    ):
        ends = [asyncio.create_task(rest(reader)) for reader, _ in slow]

        async def drip() -> None:
            for number in range(20):
                for index, (_, writer) in enumerate(slow):
                    if index % 3 == 1 and number == 0:
                        writer.write(UPGRADE[:50])
                    elif index % 3 == 2 and not writer.is_closing():
                        writer.write(UPGRADE[number : number + 1])
                await asyncio.sleep(0.5)

        dripping = asyncio.create_task(drip())
        for _ in range(5):
            async with websockets.connect(f"ws://{server.authority}/ws") as client:
                assert (await call(client, "ping"))["result"] == {}
        reported = await asyncio.wait_for(asyncio.gather(*ends), 60)
        assert time.monotonic() - begin >= 3
        assert set(reported) == {b""}
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


async def test_a_tls_handshake_has_the_same_deadline(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    files = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    begin = time.monotonic()
    async with service("--handshake-time", "2", *files) as server, raw(server) as [(reader, writer)]:
        writer.write(b"\x16\x03\x01")
        async with websockets.connect(f"wss://localhost:{server.port}/ws", ssl=trust) as client:
            assert (await call(client, "ping"))["result"] == {}
            await asyncio.wait_for(rest(reader), 60)
            assert time.monotonic() - begin >= 2
            assert (await call(client, "ping"))["result"] == {}


async def test_those_that_never_authenticate_are_closed() -> None:
    async with service("--auth-time", "2", env={"SLUICE_TOKEN": "right"}) as server, raw(server, 100) as strangers:
        for reader, writer in strangers:
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
        async with websockets.connect(f"ws://{server.authority}/ws") as client:
            assert (await call(client, "authenticate", token="right"))["result"] == {"expires": None}
            for reported in await asyncio.wait_for(
                asyncio.gather(*(rest(reader, b"authorised") for reader, _ in strangers)), 60
            ):
                assert reported.endswith((4401).to_bytes(2, "big") + b"not authorised")
            assert (await call(client, "ping"))["result"] == {}


async def test_many_wrong_tokens_of_one_address_are_refused_and_others_come_in() -> None:
    options = ("--address-handshakes", "5", "--trust-proxy", "127.0.0.1/32")
    async with service(*options, env={"SLUICE_TOKEN": "right"}) as server, aiohttp.ClientSession() as session:
        codes: Counter[int | None] = Counter()
        begin = time.monotonic()
        for number in range(1000):
            if codes[429] == 25:
                break
            headers = {"X-Forwarded-For": "198.51.100.1", "Authorization": f"Bearer {number}"}
            try:
                async with session.ws_connect(f"{server.url}/ws", headers=headers) as socket:
                    await socket.receive()
                    codes[socket.close_code] += 1
            except aiohttp.WSServerHandshakeError as error:
                codes[error.status] += int(dict(error.headers or {})["Retry-After"]) >= 1
        assert set(codes) == {4401, 429}
        # A hundred at once, and five for each second that this takes.
        assert 100 <= codes[4401] <= 101 + 5 * (time.monotonic() - begin)
        assert codes[429] == 25
        right = {"X-Forwarded-For": "198.51.100.2", "Authorization": "Bearer right"}
        async with session.ws_connect(f"{server.url}/ws", headers=right) as socket:
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "ping"})
            assert (await socket.receive_json())["result"] == {}


async def test_behind_nginx_the_limits_are_by_the_clients_address() -> None:
    location = (
        "location / {{ proxy_pass http://{authority}; proxy_http_version 1.1; proxy_set_header Host localhost; "
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; "
        "proxy_set_header Forwarded ''; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }}"
    )
    options = ("--trust-proxy", "127.0.0.1/32", "--address-connections", "1")
    async with (
        service(*options, env={"SLUICE_EXEMPT_NET": ""}) as server,
        nginx(location.format(authority=server.authority)) as port,
    ):
        uri = f"ws://127.0.0.1:{port}/ws"

        def come(address: str, forged: str = "") -> Any:
            headers = {"X-Forwarded-For": forged} if forged else {}
            return websockets.connect(uri, local_addr=(address, 0), additional_headers=headers, proxy=None)

        async with come("127.0.0.2"), come("127.0.0.3") as client:
            assert (await call(client, "ping"))["result"] == {}
            for forged in ("", "198.51.100.1"):
                with pytest.raises(websockets.InvalidStatus) as refused:
                    await come("127.0.0.2", forged)
                assert refused.value.response.status_code == 429
                assert int(refused.value.response.headers["Retry-After"]) >= 1
