"""What connections carry and when they are used again, against raw servers that do what they should not."""

import asyncio
import gzip
import socket
import ssl
import struct
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trustme

from service.core.fetching.outcome import NO_MEMORY, Failure, Fetched
from service.core.memory_budget import MemoryBudget
from service.core.owner import SERVICE, Owner
from service.upstream.attempts import FetchAttempt
from service.upstream.caching.cache import Cache
from service.upstream.fetcher import Fetcher
from service.upstream.http1.dialer import DialTiming
from tests.upstream.servers import policy_for, target_of

Serve = Callable[["Server", asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WRONG = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nCache-Control: max-age=600\r\n\r\nWRONG"


class Server:
    """Serves each connection by a function, which gets its number; and one client that asks it."""

    def __init__(self, serve: Serve) -> None:
        self.serve = serve
        self.connections = 0
        self.requests: list[bytes] = []
        self.port = 0
        self.fetcher: Fetcher
        self.scheme = "http"

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        request = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(request)
        return request

    async def ask(self, path: str = "/", **more: Any) -> Fetched | Failure:
        options: dict[str, Any] = {
            "method": "GET", "headers": {}, "body": None, "timeout": 5.0, "max_bytes": 1 << 20, "redirects": 0, **more,
        }  # fmt: skip
        task = asyncio.current_task()
        assert task is not None
        target = target_of(f"{self.scheme}://127.0.0.1:{self.port}{path}", self.fetcher.policy)
        return await self.fetcher.fetch(FetchAttempt(target=target, **options), task)

    async def body(self, path: str = "/", **more: Any) -> bytes:
        outcome = await self.ask(path, **more)
        assert isinstance(outcome, Fetched), outcome
        return outcome.body

    async def failure(self, path: str = "/", **more: Any) -> Failure:
        outcome = await self.ask(path, **more)
        assert isinstance(outcome, Failure), outcome
        return outcome


@asynccontextmanager
async def serving(
    serve: Serve, *, server_tls: ssl.SSLContext | None = None, client_tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    serving = Server(serve)
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(serving, reader, writer, serving.connections)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=server_tls, limit=1 << 20)
    serving.port = server.sockets[0].getsockname()[1]
    serving.scheme = "https" if server_tls else "http"
    serving.fetcher = Fetcher(policy_for(serving.port), Cache(1 << 20, clock=time.time), tls=client_tls)
    try:
        yield serving
    finally:
        await serving.fetcher.close()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def echo(request: bytes) -> bytes:
    path = request.split(b" ")[1]
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path)


async def echoes(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    while True:
        writer.write(echo(await server.read(reader)))


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def gone(server: Server) -> None:
    """Wait until the client keeps no connection any more, which is long before one has rested long enough."""
    pool = server.fetcher._client._pool
    async with asyncio.timeout(1):
        while len(pool):
            await asyncio.sleep(0.001)


async def test_a_connection_is_closed_whose_body_is_read_and_has_no_room_in_memory() -> None:
    closed = asyncio.Event()

    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        # Not whole: for what is here with its head, room is asked for where it is delivered.
        writer.write(echo(await server.read(reader))[:-1])
        assert not await reader.read()
        closed.set()

    async with serving(serve) as server:
        server.fetcher.memory = MemoryBudget(1, lambda: 2, time.monotonic)
        assert await server.failure("/a") is NO_MEMORY
        async with asyncio.timeout(30):
            await closed.wait()


# Bytes that nobody asked for.


@pytest.mark.parametrize(
    "late",
    [
        WRONG,
        b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"\r\n",
        b"\0",
        b"0\r\n\r\n",
    ],
)
async def test_late_bytes_end_a_kept_connection_and_are_nobodys_answer(late: bytes) -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while True:
            writer.write(echo(await server.read(reader)))
            if number == 1:
                await asyncio.sleep(0.01)
                writer.write(late)

    async with serving(serve) as server:
        assert await server.body("/a") == b"/a"
        await gone(server)
        assert [await server.body(path) for path in ("/b", "/c")] == [b"/b", b"/c"]
        assert server.connections == (2 if b"408" in late else 3)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("late", [WRONG, b"\r\n"])
async def test_bytes_that_only_the_kernel_has_yet_end_it_too(late: bytes, method: str) -> None:
    """The next request follows at once, before the loop has looked at the socket; it was not sent, so it may be now."""

    bodies: list[bytes] = []

    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while True:
            request = await server.read(reader)
            if b"Content-Length: 5" in request:
                bodies.append(await reader.readexactly(5))
            writer.write(echo(request))

    async with serving(serve) as server:
        assert await server.body("/a") == b"/a"
        pool = server.fetcher._client._pool
        [connection] = pool._idle
        peers = [task for task in asyncio.all_tasks() if "handle" in repr(task)]
        assert len(peers) == 1
        ours = connection._transport.get_extra_info("sockname")
        # What the peer writes goes to our socket by loopback at once; nothing turns the loop in between.
        _writer_of(ours).write(late)
        assert await server.body("/b", method=method, body=b"whole" if method == "POST" else None) == b"/b"
        assert server.connections == 2
        assert bodies == ([b"whole"] if method == "POST" else [])


def _writer_of(peername: Any) -> Any:
    import gc

    return next(
        one
        for one in gc.get_objects()
        if isinstance(one, asyncio.StreamWriter) and one.get_extra_info("peername") == peername
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_surplus_after_an_answer_is_never_delivered(answer: bytes) -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while True:
            request = await server.read(reader)
            writer.write(answer + WRONG if b" /a " in request else echo(request))

    async with serving(serve) as server:
        outcome = await server.ask("/a")
        assert b"WRONG" not in getattr(outcome, "body", b"")
        assert [await server.body(path) for path in ("/b", "/c")] == [b"/b", b"/c"]
        assert server.connections == 3


async def test_the_body_of_a_head_request_is_surplus() -> None:
    async with serving(echoes) as server:
        assert await server.body("/a", method="HEAD") == b""
        assert await server.body("/b") == b"/b"
        assert server.connections == 2


@pytest.mark.parametrize("when", ["with the answer", "while it rests", "while only the kernel has it"])
async def test_an_origin_that_answers_what_nobody_asked_gets_a_connection_for_each_request(when: str) -> None:
    """The next such answer may come just as a request is written, and nothing tells it from the right one then."""

    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while True:
            request = await server.read(reader)
            surplus = number == 1 and b" /wrong " in request
            writer.write(echo(request) + (WRONG if surplus and when == "with the answer" else b""))
            if surplus and when == "while it rests":
                await asyncio.sleep(0.01)
                writer.write(WRONG)

    async with serving(serve) as server:
        pool = server.fetcher._client._pool
        assert await server.body("/a") == b"/a"
        assert len(pool) == 1
        assert await server.body("/wrong") == b"/wrong"
        if when == "while only the kernel has it":
            [connection] = pool._idle
            _writer_of(connection._transport.get_extra_info("sockname")).write(WRONG)
        else:
            await gone(server)
        assert [await server.body(path) for path in ("/b", "/c")] == [b"/b", b"/c"]
        assert (server.connections, len(pool)) == (3, 0)


async def test_an_owner_never_gets_the_connection_of_another() -> None:
    """A surplus answer comes as another client asks: it looks like the answer to that request."""

    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        writer.write(echo(await server.read(reader)))
        await server.read(reader)
        writer.write(WRONG)

    async with serving(serve) as server:
        bad, careful = Owner("bad"), Owner("careful")
        assert await server.body("/a", owner=bad) == b"/a"
        assert await server.body("/b", owner=careful) == b"/b"
        assert [await server.body("/c", owner=Owner(name)) for name in ("bad", "careful")] == [b"WRONG"] * 2
        assert server.connections == 2


async def test_an_origin_is_distrusted_for_ten_minutes_and_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(echoes) as server:
        pool = server.fetcher._client._pool
        assert await server.body("/a") == b"/a"
        pool.distrust(("http://127.0.0.1:1", SERVICE))
        assert len(pool) == 1
        [use] = pool._resting
        pool.distrust((use[0], Owner("another")))
        assert len(pool) == 1
        pool.distrust(use)
        assert len(pool) == 0
        assert await server.body("/b") == b"/b"
        assert len(pool) == 0
        now = asyncio.get_running_loop().time()
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now + 601)
        assert await server.body("/c") == b"/c"
        assert len(pool) == 1


async def test_a_408_that_ends_an_idle_connection_does_not_stop_others_from_being_kept() -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while True:
            writer.write(echo(await server.read(reader)))
            if number == 1:
                await asyncio.sleep(0.01)
                writer.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    async with serving(serve) as server:
        assert await server.body("/a") == b"/a"
        await gone(server)
        assert [await server.body(path) for path in ("/b", "/c")] == [b"/b", b"/c"]
        assert server.connections == 2


async def test_an_answer_that_is_not_read_to_its_end_is_never_the_next_ones() -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while True:
            request = await server.read(reader)
            writer.write(echo(request) if b" /small " in request else b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1 << 20))

    async with serving(serve) as server:
        cut = await server.ask("/large", max_bytes=1000)
        assert isinstance(cut, Fetched)
        assert cut.truncated
        assert await server.body("/small") == b"/small"
        unread = await server.ask("/large", want_body=False)
        assert isinstance(unread, Fetched)
        assert await server.body("/small") == b"/small"
        assert server.connections == 3


@pytest.mark.parametrize("kept", [True, False])
async def test_a_cancelled_request_takes_its_connection_with_it(kept: bool) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while b" /slow " not in (request := await server.read(reader)):
            writer.write(echo(request))
        asked.set()
        with suppress(ConnectionError):
            assert not await reader.read()
        ended.set()

    async with serving(serve) as server:
        if kept:
            assert await server.body("/a") == b"/a"
        task = asyncio.create_task(server.ask("/slow"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(30):
            await ended.wait()
        assert await server.body("/b") == b"/b"
        assert server.connections == 2


# Connections that end as the request comes.


async def test_twenty_kept_connections_that_end_at_once_cost_nobody_anything() -> None:
    ready, count = asyncio.Event(), 0

    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        nonlocal count
        request = await server.read(reader)
        if number <= 20:
            count += 1
            if count == 20:
                ready.set()
            await ready.wait()
            writer.write(echo(request))
            await server.read(reader)
            if number % 2:
                reset(writer)
            return
        while True:
            writer.write(echo(request))
            request = await server.read(reader)

    async with serving(serve) as server:
        first = [f"/a{number}" for number in range(20)]
        await asyncio.gather(*(asyncio.create_task(server.body(path)) for path in first))
        second = [f"/b{number}" for number in range(10)]
        bodies = await asyncio.gather(*(asyncio.create_task(server.body(path)) for path in second))
        assert bodies == [path.encode() for path in second]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "last", [b"", b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"]
)
async def test_one_more_try_is_on_a_new_connection_and_only_for_what_may_be_repeated(
    method: str, last: bytes
) -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        writer.write(echo(await server.read(reader)))
        request = await server.read(reader)
        writer.write(last if number == 1 else echo(request))
        await writer.drain()

    async with serving(serve) as server:
        assert await server.body("/a") == b"/a"
        outcome = await server.ask("/b", method=method)
        if method == "GET":
            assert isinstance(outcome, Fetched)
            assert outcome.body == b"/b"
            assert outcome.timing["connect"] > 0
            assert len(server.requests) == 3
        elif last:
            assert isinstance(outcome, Fetched)
            assert outcome.status == 408
        else:
            assert outcome == Failure("connect", "the connection ended before an answer")
            assert len(server.requests) == 2


async def test_a_new_connection_that_ends_is_a_failure_after_one_request() -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        await server.read(reader)

    async with serving(serve) as server:
        assert await server.failure() == Failure("connect", "the connection ended before an answer")
        assert len(server.requests) == 1


async def test_an_answer_that_has_begun_is_not_asked_for_again() -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        writer.write(echo(await server.read(reader)))
        await server.read(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-")
        await writer.drain()

    async with serving(serve) as server:
        assert await server.body("/a") == b"/a"
        assert await server.failure("/b") == Failure("connect", "the connection ended in the head of the answer")
        assert len(server.requests) == 2


# The end of a body.


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nfirst half",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nfirst half",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nfirst half\r\n",
    ],
)
async def test_half_a_body_is_a_failure_where_the_connection_breaks(answer: bytes) -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        await server.read(reader)
        writer.write(answer)
        await asyncio.sleep(0.02)
        reset(writer)

    async with serving(serve) as server:
        failure = await server.failure()
        assert failure.kind == "protocol"
        assert "the body broke off" in failure.detail
        assert "the connection broke" in failure.detail


async def test_a_reset_after_a_whole_body_is_its_end() -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        await server.read(reader)
        writer.write(OK)
        await writer.drain()
        reset(writer)

    async with serving(serve) as server:
        assert [await server.body() for _ in range(5)] == [b"ok"] * 5


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
async def test_a_coded_body_that_is_cut_is_a_failure_and_not_kept(coding: str) -> None:
    from tests.upstream.http1.test_codings import PACKED

    cut = PACKED[coding][: len(PACKED[coding]) // 2]
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nDate: %b\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"

    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while True:
            await server.read(reader)
            date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
            writer.write(head % (date, coding.encode(), len(cut)) + cut)

    async with serving(serve) as server:
        for _ in range(2):
            failure = await server.failure(cache="default")
            assert failure == Failure("protocol", f"the body is cut off within its content coding {coding}")
        assert len(server.fetcher.cache._entries) == 0


async def test_a_coding_that_is_not_known_leaves_the_body_and_says_so() -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        await server.read(reader)
        writer.write(OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: utf-8\r\n\r\n"))

    async with serving(serve) as server:
        outcome = await server.ask()
        assert isinstance(outcome, Fetched)
        assert (outcome.body, outcome.headers["content-encoding"]) == (b"ok", "utf-8")


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_transfer_coding_that_nobody_asked_for_is_taken_off_before_the_content_codings(
    chunked: bool,
) -> None:
    data = zlib.compress(gzip.compress(b"twice packed"))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: deflate%b\r\n\r\n"

    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while True:
            request = await server.read(reader)
            if b" /cut " in request:
                writer.write(head % b"" + data[:-9])
                await writer.drain()
                return
            if not chunked:
                writer.write(head % b"" + data)
                await writer.drain()
                return
            writer.write(head % b", chunked" + b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))

    async with serving(serve) as server:
        assert [await server.body() for _ in range(2)] == [b"twice packed"] * 2
        assert server.connections == (1 if chunked else 2)
        assert "cut off within its content coding deflate" in (await server.failure("/cut")).detail


@pytest.mark.parametrize("proper", [True, False])
@pytest.mark.parametrize("length", [b"", b"Content-Length: 5\r\n"])
async def test_only_a_server_that_ends_tls_itself_ends_a_body_without_length(proper: bool, length: bytes) -> None:
    authority = trustme.CA()
    server_tls, client_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server_tls)
    authority.configure_trust(client_tls)

    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        await server.read(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\nhello")
        await writer.drain()
        if proper:
            writer.close()
            await writer.wait_closed()
        else:
            # The FIN of TCP alone, as anybody on the way can send it.
            writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
            await reader.read()

    async with serving(serve, server_tls=server_tls, client_tls=client_tls) as server:
        if proper or length:
            assert await server.body() == b"hello"
        else:
            failure = await server.failure()
            assert failure.kind == "protocol"
            assert "close_notify" in failure.detail


# Pressure, requests, time.


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_server_that_sends_faster_than_is_read_is_held_back(chunked: bool) -> None:
    sent = 0

    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        nonlocal sent
        await server.read(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" if chunked else b"HTTP/1.1 200 OK\r\n\r\n"
        )
        for _ in range(4096):
            writer.write(b"4000\r\n" + bytes(1 << 14) + b"\r\n" if chunked else bytes(1 << 14))
            await writer.drain()
            sent += 1 << 14
        writer.write(b"0\r\n\r\n" if chunked else b"")
        writer.close()
        await writer.wait_closed()

    async with serving(serve) as server:
        target = target_of(f"http://127.0.0.1:{server.port}/", server.fetcher.policy)
        answer = await server.fetcher._client.ask("GET", target, {}, None, SERVICE, DialTiming())
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.2)
        assert answer._reader.size < 1 << 20
        assert sent < 64 << 20
        size = 0
        while piece := await answer.piece(SERVICE):
            size += len(piece)
        assert size == 64 << 20
        answer.close()


async def test_a_bomb_behind_a_coding_goes_no_further_than_it_may() -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        await server.read(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
        while True:
            writer.write(gzip.compress(bytes(1 << 20)) * 10)
            await writer.drain()

    async with serving(serve) as server:
        outcome = await server.ask(max_bytes=20 << 20)
        assert isinstance(outcome, Fetched)
        assert (len(outcome.body), outcome.truncated) == (20 << 20, True)


async def test_a_request_that_the_socket_takes_in_parts_arrives_whole() -> None:
    body = b"".join(b"%08d" % number for number in range(1 << 20))

    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        for _ in range(2):
            await server.read(reader)
            assert await reader.readexactly(len(body)) == body
            writer.write(OK)

    async with serving(serve) as server:
        assert await server.body(method="POST", body=body) == b"ok"
        assert await server.body(method="POST", body=body) == b"ok", "over the same connection"
        assert server.connections == 1


async def test_an_answer_before_its_request_has_been_read_ends_the_connection() -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        await server.read(reader)
        writer.write(OK)
        await asyncio.Event().wait()

    async with serving(serve) as server:
        assert await server.body(method="POST", body=bytes(32 << 20)) == b"ok"
        assert len(server.fetcher._client._pool) == 0


async def test_tiny_chunks_leave_the_loop_its_turns() -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        await server.read(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n"
        )
        await writer.drain()
        await reader.read()

    async with serving(serve) as server:
        assert await server.body() == b"x" * 100_000


async def test_a_request_that_cannot_be_written_is_never_begun() -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while True:
            await server.read(reader)
            writer.write(OK)

    async with serving(serve) as server:
        for headers, kind in (
            ({"X": "a\r\nEvil: 1"}, "protocol"),
            ({"X": "a\0"}, "protocol"),
            ({"X": "a\n b"}, "protocol"),
            ({"X": "€"}, "invalid_request"),
            ({"X Y": "a"}, "invalid_request"),
            ({"X:": "a"}, "invalid_request"),
            ({"": "a"}, "invalid_request"),
            ({"content-length": "5"}, "invalid_request"),
            ({"Transfer-Encoding": "chunked"}, "invalid_request"),
            ({"Host": "evil"}, "invalid_request"),
        ):
            assert (await server.failure(headers=headers)).kind == kind
        for method in ("GET /x HTTP/1.1\r\nX:", "", "G T"):
            assert (await server.failure(method=method)).kind == "invalid_request"
        assert server.requests == []
        await server.body(headers={"X-Name": "caf\xe9\t\xff", "x-empty": ""})
        assert b"\r\nX-Name: caf\xe9\t\xff\r\nx-empty: \r\n" in server.requests[0]


async def test_a_field_goes_back_byte_for_byte() -> None:
    """A validator of any bytes is sent as it came."""
    tag = '"€1-\xff"'.encode()

    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while True:
            request = await server.read(reader)
            status = b"304 Not Modified" if b"If-None-Match: " + tag in request else b"200 OK"
            body = b"" if status.startswith(b"304") else b"ok"
            head = b"HTTP/1.1 %b\r\nETag: %b\r\nCache-Control: no-cache\r\nContent-Length: 2\r\n\r\n"
            writer.write(head % (status, tag) + body)

    async with serving(serve) as server:
        for outcome in (await server.ask(cache="default"), await server.ask(cache="default")):
            assert isinstance(outcome, Fetched)
            assert outcome.headers["etag"].encode("latin-1") == tag
            assert outcome.body == b"ok"
        assert outcome.cache == "revalidated"


async def test_a_connection_rests_no_longer_than_the_server_says() -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while True:
            await server.read(reader)
            writer.write(OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=4\r\n\r\n"))

    async with serving(serve) as server:
        await server.body()
        await asyncio.sleep(2.5)
        await server.body()
        assert server.connections == 1
        await asyncio.sleep(4.5)
        assert len(server.fetcher._client._pool) == 0
        await server.body()
        assert server.connections == 2


async def test_a_connection_whose_time_is_over_is_not_used_even_where_nobody_has_looked_yet() -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while True:
            await server.read(reader)
            writer.write(OK)

    async with serving(serve) as server:
        await server.body()
        await asyncio.sleep(0.5)
        await server.body()
        # Looked at each second from the first on: its time ends between two looks.
        await asyncio.sleep(15.2)
        assert len(server.fetcher._client._pool) == 1
        await server.body()
        assert server.connections == 2


async def test_connections_that_rest_are_bounded() -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        await server.read(reader)
        writer.write(OK)
        await reader.read()
        closed.append(number)

    closed: list[int] = []
    async with serving(serve) as server:
        pool = server.fetcher._client._pool
        pool._most = 3
        await asyncio.gather(*(asyncio.create_task(server.body()) for _ in range(5)))
        assert server.connections == 5
        assert len(pool) == 3


async def test_an_answer_that_was_released_no_longer_has_its_connection() -> None:
    async with serving(echoes) as server:
        client = server.fetcher._client
        target = target_of(f"http://127.0.0.1:{server.port}/a", server.fetcher.policy)
        answer = await client.ask("GET", target, {}, None, SERVICE, DialTiming())
        assert await answer.piece(SERVICE) == b"/a"
        answer.release()
        next_one = await client.ask("GET", target, {}, None, SERVICE, DialTiming())
        answer.close()
        answer.release()
        assert await next_one.piece(SERVICE) == b"/a"
        assert len(client._pool) == 0
        next_one.release()
        assert (server.connections, len(client._pool)) == (1, 1)


@pytest.mark.parametrize("scheme", ["Negotiate YII", "NTLM TlRM", "ntlm TlRM", " negotiate x"])
async def test_a_connection_that_a_client_authenticated_is_used_for_nobody_else(scheme: str) -> None:
    async def serve(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while True:
            await server.read(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)

    async with serving(serve) as server:
        first = await server.body("/a")
        assert await server.body("/b") == first
        own = await server.body("/c", headers={"Authorization": scheme})
        assert own != first
        assert await server.body("/d") == first
        assert await server.body("/e", headers={"Authorization": scheme}) not in (first, own)
        assert await server.body("/f", headers={"Authorization": "Bearer x"}) == first


@pytest.mark.parametrize("size", [100 << 10, 200 << 10, 1 << 20])
async def test_a_connection_is_kept_after_a_body_that_came_faster_than_it_was_taken(size: int) -> None:
    async def serve(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: int) -> None:
        while True:
            await server.read(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            await writer.drain()

    async with serving(serve) as server:
        for _ in range(5):
            assert len(await server.body()) == size
            await asyncio.sleep(0.01)
        assert server.connections == 1
