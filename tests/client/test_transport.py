"""Where the client connects to, and what it shows there."""

import asyncio
import socket

import pytest

from service.client import Backoff, Client, Disconnected, State
from service.client.transport import Transport, _retry_after
from tests.client.scripted import scripted


@pytest.mark.parametrize(
    ("base", "path", "post"),
    [("", "/ws", "/fetch-batch"), ("/", "/ws", "/fetch-batch"), ("/a/b?x=1", "/a/b/ws?x=1", "/a/b/fetch-batch?x=1"),
     ("/a/ws/?x=%2F#part", "/a/ws?x=%2F", "/a/fetch-batch?x=%2F")],
)  # fmt: skip
async def test_addresses_keep_their_path_and_query_and_large_batches_go_there_too(
    base: str, path: str, post: str
) -> None:
    async with scripted() as service, Client(service.url + base, token="T") as client:
        peer = await service.waiting.get()
        assert (peer.target, peer.token) == (path, "T")
        peer.accept()
        batch = client.fetch([f"http://a.example/{'x' * 20}{number}" for number in range(3000)])
        looping = asyncio.ensure_future(anext(aiter(batch)))
        peer = await service.waiting.get()
        assert (peer.target, peer.token) == (post, "T")
        looping.cancel()
        await asyncio.gather(looping, return_exceptions=True)


async def test_what_is_not_acknowledged_ends_the_connection_in_time() -> None:
    async with scripted() as service:
        transport = Transport(service.url)
        transport.open()
        connecting = asyncio.ensure_future(transport.connect(None))
        (await service.waiting.get()).accept()
        connection = await connecting
        made = connection._socket.get_extra_info("socket")
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
        await connection._socket.close()
        await transport.close()


async def test_a_connection_that_ends_within_the_answer_says_so() -> None:
    states: asyncio.Queue[State] = asyncio.Queue()

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: ")
        writer.close()

    async with await asyncio.start_server(end, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}", on_state=states.put_nowait):
            while (state := await asyncio.wait_for(states.get(), 30)).state != "waiting":
                pass
    assert state.reason == "the connection ended before an answer"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, "200 OK: something on the way answers in place of the service"),
        (301, "301 Moved Permanently"),
        (426, "Upgrade Required: a proxy on the way may not forward Upgrade and Connection"),
        (502, "502 Bad Gateway"),
        (599, "599 no known status"),
    ],
)
async def test_what_answers_instead_of_the_service_is_named(status: int, reason: str) -> None:
    states: asyncio.Queue[State] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d Moved Permanently\r\nContent-Length: 0\r\n\r\n" % status)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}", on_state=states.put_nowait):
            while (state := await asyncio.wait_for(states.get(), 30)).state == "connecting":
                pass
    assert state.reason == reason


async def test_a_token_that_no_header_can_carry_ends_the_client() -> None:
    async with scripted() as service, Client(service.url, token="two\nlines") as client:
        with pytest.raises(Disconnected, match="header"):
            await client.presence("t")


async def test_a_function_that_gives_such_a_token_is_asked_again() -> None:
    tokens = iter(["two lines", 5, "T"])
    async with (
        scripted() as service,
        Client(service.url, token=lambda: next(tokens), backoff=Backoff(0.1)),  # type: ignore[arg-type]
    ):
        assert (await service.waiting.get()).token == "T"


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2024 99999999999999999999:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999",
    ],
)
def test_a_date_with_numbers_beyond_those_of_any_date_is_passed_over(date: str) -> None:
    assert _retry_after({"Retry-After": date}) is None
