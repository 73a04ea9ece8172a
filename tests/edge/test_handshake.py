"""The opening handshake, as clients and proxies really send it."""

import asyncio
from typing import Any

import pytest

from tests.edge.running import Client, client_of

UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
           "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")  # fmt: skip


async def answer(
    client: Client, *lines: str, request: str = "GET /ws", version: str = "1.1"
) -> tuple[int, dict[str, str], bytes]:
    """Send a request of these header lines; return status, headers and what else came at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
    writer.write("\r\n".join([f"{request} HTTP/{version}", "Host: localhost", *lines, "", ""]).encode())
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode()
    status, *fields = head.rstrip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    rest = await reader.readexactly(int(headers.get("content-length", 0))) if request[:4] != "HEAD" else b""
    writer.close()
    return int(status.split()[1]), headers, rest


@pytest.mark.parametrize(
    "lines",
    [
        ["sluice.v1"],
        ["other, sluice.v1"],
        ["bearer.x", "sluice.v1"],
        ["sluice.v1", "bearer.x"],
        ["a", "b,sluice.v1 ,c"],
    ],
)
async def test_the_subprotocol_is_found_in_all_lines(lines: list[str]) -> None:
    async with client_of() as client:
        offered = [f"Sec-WebSocket-Protocol: {line}" for line in lines]
        status, headers, _ = await answer(client, *UPGRADE, *offered)
        assert (status, headers["sec-websocket-protocol"]) == (101, "sluice.v1")


@pytest.mark.parametrize(
    "lines",
    [
        ["Upgrade: h2c, WebSocket", "Connection: Upgrade"],
        ["Upgrade: h2c", "Upgrade: websocket", "Connection: Upgrade"],
        ["Upgrade: websocket", "Connection: keep-alive", "Connection: UPGRADE"],
        [
            "Upgrade: websocket",
            "Connection: keep-alive,Upgrade",
            "Sec-WebSocket-Protocol: ,",
            "Sec-WebSocket-Protocol:",
        ],
    ],
)
async def test_lists_are_read_as_lists(lines: list[str]) -> None:
    async with client_of() as client:
        status, headers, _ = await answer(client, *lines, *UPGRADE[2:])
        assert (status, headers["upgrade"]) == (101, "websocket")
        assert "sec-websocket-protocol" not in headers


async def test_nothing_is_upgraded_for_http_1_0() -> None:
    async with client_of() as client:
        status, _, problem = await answer(client, *UPGRADE, version="1.0")
        assert status == 426
        assert b"HTTP/1.1" in problem


@pytest.mark.parametrize(
    "key", [(), ("Sec-WebSocket-Key: abc",), ("Sec-WebSocket-Key:",), ("Sec-WebSocket-Key: " + "A" * 24,)]
)
async def test_a_key_that_is_none_is_named(key: tuple[str, ...]) -> None:
    async with client_of() as client:
        status, _, problem = await answer(client, *UPGRADE[:3], *key)
        assert status == 400
        assert b"Sec-WebSocket-Key: 16 bytes" in problem


@pytest.mark.parametrize("lines", [["other"], ["a", "b"]])
async def test_other_subprotocols_alone_are_refused(lines: list[str]) -> None:
    async with client_of() as client:
        status, _, problem = await answer(client, *UPGRADE, *(f"Sec-WebSocket-Protocol: {line}" for line in lines))
        assert status == 400
        assert b"sluice.v1" in problem


@pytest.mark.parametrize(
    "kept",
    [
        (),
        ("Connection: keep-alive",),
        ("Connection: close", UPGRADE[3]),
        ("Connection: keep-alive", UPGRADE[0], *UPGRADE[2:]),
        ("Upgrade: h2c", *UPGRADE[1:]),
    ],
)
async def test_a_handshake_that_a_proxy_has_stripped_is_recognised(kept: tuple[str, ...]) -> None:
    async with client_of() as client:
        status, headers, problem = await answer(client, *kept)
        assert (status, headers["upgrade"]) == (426, "websocket")
        assert b"proxy" in problem


async def test_head_is_not_a_handshake() -> None:
    async with client_of() as client:
        status, _, _ = await answer(client, *UPGRADE, request="HEAD /ws")
        assert status == 405


async def test_an_expectation_that_is_not_met_is_a_problem_document() -> None:
    async with client_of() as client:
        for path in ("POST /topics/t", "GET /ws", "GET /nowhere"):
            status, headers, body = await answer(client, "Expect: something", "Content-Length: 0", request=path)
            assert (status, headers["content-type"]) == (417, "application/problem+json")
            assert b'"status":417' in body


async def test_clients_that_leave_in_their_handshake_are_not_errors(caplog: pytest.LogCaptureFixture) -> None:
    async with client_of() as client:
        for number in range(40):
            _, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
            writer.write("\r\n".join(["GET /ws HTTP/1.1", "Host: localhost", *UPGRADE, "", ""]).encode())
            await asyncio.sleep(0)
            transport: Any = writer.transport
            transport.abort()
            if number % 2:
                await asyncio.sleep(0)
        status, _, _ = await answer(client, *UPGRADE)
        assert status == 101
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
