"""Requests that others may read as something else are refused, and nothing more is read from their connection."""

import asyncio

import pytest

from tests.edge.running import client_of

POST = b"POST /topics/t HTTP/%b\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKS = b"\r\n1\r\n1\r\n0\r\n\r\n"
NEXT = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (POST % b"1.0" + b"Transfer-Encoding: chunked\r\n" + CHUNKS + NEXT, 400),
        (POST % b"1.0" + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n" + CHUNKS + NEXT, 400),
        (POST % b"1.1" + b"Transfer-Encoding: gzip, chunked\r\n" + CHUNKS + NEXT, 501),
        (b"GET /topics/t HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET /ws HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET /healthz\r\n\r\n", 505),
    ],
)
async def test_what_others_may_read_otherwise_is_refused_and_is_the_last_of_its_connection(
    request_bytes: bytes, status: int
) -> None:
    async with client_of() as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        writer.write(request_bytes)
        async with asyncio.timeout(30):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert answer.split(b" ", 2)[1] == b"%d" % status
        assert answer.count(b"Content-Type:") == 1
        assert b"application/problem+json" in answer
        assert "t" not in client.service.hub.topics


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST % b"1.1" + b"Transfer-Encoding: Chunked\r\n" + CHUNKS,
        POST % b"1.0" + b"Content-Length: 1\r\n\r\n1",
        b"GET http://LOCALHOST/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_what_all_read_alike_is_let_in(request_bytes: bytes) -> None:
    async with client_of() as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        writer.write(request_bytes)
        async with asyncio.timeout(30):
            line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        assert line.split(b" ")[1] not in (b"501", b"505", b"400")
