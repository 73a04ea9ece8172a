"""Connections that speak another protocol than the port are refused in words, and the log names the protocol."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import orjson
import pytest
from aiohttp import web

from service.edge.http.acceptor import Acceptor
from service.edge.http.other_protocols import NOT_HTTP, NOT_TLS, OtherProtocols
from service.edge.http.server import HttpServer

PROXY_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\1\x7f\0\0\1\0\1\0\2"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
CASES = [
    pytest.param(False, b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + GET, "the PROXY protocol", id="proxy-1"),
    pytest.param(False, b"PROXY UNKNOWN\r\n" + GET, "the PROXY protocol", id="proxy-unknown"),
    pytest.param(False, PROXY_2 + GET, "the PROXY protocol", id="proxy-2"),
    pytest.param(False, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", "HTTP/2", id="http-2"),
    pytest.param(False, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\x5a" * 500, "TLS", id="tls"),
    pytest.param(True, GET, "HTTP without TLS", id="plain"),
    pytest.param(True, b"OPTIONS * HTTP/1.0\r\n\r\n", "HTTP without TLS", id="health check"),
    pytest.param(True, b"PROXY TCP6 ::1 ::1 1 2\r\n" + b"\x16\x03\x01" * 9, "the PROXY protocol", id="proxy-1-tls"),
    pytest.param(True, PROXY_2 + b"\x16\x03\x01" * 9, "the PROXY protocol", id="proxy-2-tls"),
    pytest.param(True, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2", id="http-2-tls"),
]


@asynccontextmanager
async def listening(*, tls: bool) -> AsyncIterator[int]:
    async def handle(_: web.BaseRequest) -> web.Response:
        return web.Response()

    server = HttpServer(handle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        clock = asyncio.get_running_loop().time
        acceptor = Acceptor(server, [listener], most=9, tls=context, tls_time=10.0, clock=clock)
        acceptor.start()
        yield listener.getsockname()[1]
        acceptor.close()
        await server.shutdown(1)


async def answer_to(port: int, first: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(("tls", "first", "what"), CASES)
async def test_the_answer_and_the_log_name_the_protocol(
    tls: bool, first: bytes, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(tls=tls) as port:
        answers = [await answer_to(port, first) for _ in range(3)]
    for answer in answers:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"Content-Length: %d\r\n" % len(body) in head
        assert f"this port does not speak {what}: " in orjson.loads(body)["detail"]
    [logged] = [one for one in caplog.records if one.message == "a connection speaks another protocol"]
    shown = vars(logged)
    assert (shown["what"], shown["address"], shown["count"]) == (what, "127.0.0.1", 1)
    assert shown["advice"] in orjson.loads(answers[0].partition(b"\r\n\r\n")[2])["detail"]


async def test_a_refusal_disturbs_nobody_else() -> None:
    async with listening(tls=False) as port:
        await answer_to(port, PROXY_2)
        assert (await answer_to(port, GET.replace(b"Host", b"Connection: close\r\nHost"))).startswith(
            b"HTTP/1.1 200"
        )


def test_each_protocol_is_logged_once_an_hour_with_its_count(caplog: pytest.LogCaptureFixture) -> None:
    others = OtherProtocols(iter((0.0, 1.0, 3599.0, 3600.0, 3600.0)).__next__)
    for _ in range(4):
        others.refusal(PROXY_2, None)
    others.refusal(b"\x16\x03\x01", ("192.0.2.1", 1))
    counted = [(vars(one)["what"], vars(one)["count"]) for one in caplog.records]
    assert counted == [("the PROXY protocol", 1), ("the PROXY protocol", 3), ("TLS", 1)]


@pytest.mark.parametrize(
    "first", [GET, b"PROPFIND / HTTP/1.1\r\n", b"\r\n\r\nGET / HTTP/1.1\r\n", b"P", b"", b"PRI"]
)
def test_what_may_be_http_is_left_to_its_parser(first: bytes) -> None:
    assert not first.startswith(NOT_HTTP)


@pytest.mark.parametrize("first", [b"\x16\x03\x01", b"\x80.\1\0\2", b"", b"\0" * 16])
def test_what_may_be_tls_is_left_to_its_handshake(first: bytes) -> None:
    assert not first.startswith(NOT_TLS)


async def test_a_tls_handshake_that_fails_is_logged_once_an_hour_for_each_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hello = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x01" + bytes(32) + b"\x00\x00\x04\x00\x2f\x00\x35\x01\x00"
    loop = asyncio.get_running_loop()
    async with listening(tls=True) as port:
        for first in (hello, b"\x16\x03\x01" + b"x" * 600, hello, b"", b"\x16"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(first)
            if len(first) < 2:
                writer.close()  # one that only looks whether the port is open
            with suppress(ConnectionError):
                await reader.read()
            writer.close()
    found = [vars(one) for one in caplog.records if one.message == "a TLS handshake failed"]
    assert loop.time() < 3600
    assert len({one["why"] for one in found}) == len(found) == 2
    assert {(one["address"], one["count"]) for one in found} == {("127.0.0.1", 1)}
