"""Every wait of a fetch ends by the deadline of its URL, and none of them holds up another client.

One case for each row of the table in ARCHITECTURE.md ("No wait without an end"), with real sockets where there
are some: servers and name servers that stall at that point.
"""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from typing import Any

import pytest

from service.core.fetching.batch import Batch, BatchLimits, BatchRequest, Keep
from service.core.fetching.dial_policy import Policy
from service.core.fetching.request import FetchRequest, Options
from service.core.owner import Owner
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.memory_store import MemoryStore
from service.core.topics.topic import OnLag
from service.sources.batches import Batches
from service.upstream.caching.cache import Cache
from service.upstream.fetcher import Fetcher
from service.upstream.runner import Runner
from tests.core.readers import FakeReader
from tests.upstream.servers import closed_port
from tests.upstream.test_batches import events

TIMEOUT = 5.0
LIMITS = BatchLimits(methods=frozenset({"GET", "HEAD", "POST"}), hosts_shared=True)
FEW = BatchLimits(active=10, hosts_shared=True)
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n"
PACKED = gzip.compress(b"".join(b"%d " % (number * 7919 % 1_000_003) for number in range(40_000)))
STALLS = {
    "before the head": b"",
    "in the status line": OK[:12],
    "in the head": OK + b"Content-Type: text/plain\r\nX-Half: y",
    "before the body": OK + b"Content-Length: 65011712\r\n\r\n",
    "in the body": OK + b"Content-Length: 65011712\r\n\r\n" + bytes(1 << 20),
    "in a chunk's size": CHUNKED + b"\r\n10000",
    "in a chunk": CHUNKED + b"\r\n10000\r\n" + bytes(1000),
    "before the last chunk": CHUNKED + b"\r\n5\r\nhello\r\n",
    "in the trailers": CHUNKED + b"\r\n5\r\nhello\r\n0\r\nX: y\r\n",
    "in gzip": OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED[:20_000],
    "in gzip, in a chunk": CHUNKED + b"Content-Encoding: gzip\r\n\r\n8000\r\n" + PACKED[:20_000],
    "after a 103": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "without a length": OK + b"\r\nhello",
}


class Server:
    """Gives each request a prepared answer, and goes on to the next if it sent a whole answer."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.answer = answer
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                writer.write(self.answer(await reader.readuntil(b"\r\n\r\n")))
                await writer.drain()

    @asynccontextmanager
    async def running(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator["Server"]:
        server = await asyncio.start_server(self.serve, host, port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._open:
                writer.transport.abort()
            await asyncio.sleep(0.1)

    def urls(self, count: int, host: str = "127.0.0.1", path: str = "x") -> list[str]:
        return [f"http://{host}:{self.port}/{path}/{number}" for number in range(count)]


def good(_: bytes) -> bytes:
    return OK + b"Content-Length: 5\r\nCache-Control: no-store\r\n\r\nhello"


class Engine:
    """The whole engine, from batches to sockets."""

    def __init__(self, *ports: int, limits: BatchLimits = LIMITS, **more: Any) -> None:
        loop = asyncio.get_running_loop()
        self.hub = Hub(HubLimits(), MemoryStore(lambda: "e"), call_soon=loop.call_soon, clock=loop.time)
        policy = Policy(nets=(ip_network("127.0.0.0/8"),), ports=frozenset(ports))
        self.fetcher = Fetcher(policy, Cache(1 << 20, clock=loop.time), **more)
        self.runner = Runner(self.fetcher, limits, chance=lambda: 0.5)
        ids = iter(range(1000))
        self.batches = Batches(self.hub, self.fetcher, self.runner, limits, new_id=lambda: f"b{next(ids)}")

    def start(self, urls: list[str], owner: str, **options: Any) -> FakeReader:
        return self.read(self.begin(BatchRequest(urls=urls, options=Options(**options)), owner))

    def begin(self, request: BatchRequest, owner: str) -> Batch:
        asks = owner if isinstance(owner, Owner) else Owner(owner)
        return self.batches.start(request, owner=asks, keep=Keep.DETACHED)

    def read(self, batch: Batch) -> FakeReader:
        reader = FakeReader(batch.topic, OnLag.DISCONNECT)
        self.hub.attach(reader, "oldest")
        return reader

    async def ends(self, *readers: FakeReader, kinds: set[str]) -> None:
        """See all URLs fail in time, while those of another go on as if nothing were."""
        async with Server(good).running("127.0.0.3", self.other_port) as other:
            await asyncio.sleep(0.2)
            beside = self.start(other.urls(20, "127.0.0.3"), "other")
            await asyncio.sleep(0.5)
            assert events(beside)[-1]["ok"] == 20
            await asyncio.sleep(TIMEOUT + 1.0 - 0.7)
        for reader in readers:
            reported = events(reader)
            assert reported[-1]["event"] == "done", [event["event"] for event in reported]
            assert {event["error"] for event in reported[:-1]} <= kinds
        assert self.runner.statistics().overdue == {"place": 0, "request": 0, "delivery": 0}
        assert self.runner.active == self.runner.plan.active == 0
        assert not self.runner.plan.admitted

    other_port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Engine"]:
        try:
            yield self
        finally:
            self.batches.close()
            await self.runner.close()
            await self.fetcher.close()
            await asyncio.sleep(0.1)


@asynccontextmanager
async def engine(*servers: Server, **more: Any) -> AsyncIterator[Engine]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.3", 0))
        port = probe.getsockname()[1]
    made = Engine(port, *(server.port for server in servers), **more)
    made.other_port = port
    async with made.running():
        yield made


@pytest.mark.parametrize("part", STALLS.values(), ids=STALLS)
async def test_an_answer_that_stalls(part: bytes) -> None:
    async with Server(lambda _: part).running() as server, engine(server) as one:
        reader = one.start(server.urls(8), "slow", timeout=TIMEOUT, retries=0, max_bytes=64 << 20)
        await one.ends(reader, kinds={"timeout"})


async def test_an_answer_that_drips() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server._open.add(writer)
        writer.write(OK + b"Content-Length: 100\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(1)

    server = Server(good)
    server.serve = drip  # type: ignore[method-assign]
    async with server.running(), engine(server) as one:
        await one.ends(one.start(server.urls(8), "slow", timeout=TIMEOUT, retries=0), kinds={"timeout"})


@pytest.mark.parametrize("stall", ["in the body", "in a chunk", "in gzip", "without a length"])
async def test_a_body_that_hardly_comes_ends_long_before_its_deadline(stall: str) -> None:
    async with Server(lambda head: STALLS[stall]).running() as server, engine(server) as one:
        begun = asyncio.get_running_loop().time()
        batch = one.start(server.urls(3), "slow", timeout=300, retries=0, max_bytes=64 << 20)
        await asyncio.sleep(28)
        assert events(batch) == []
        await asyncio.sleep(8)
        *failed, done = events(batch)
        assert {event["detail"] for event in failed} == {"the body brought less than 1024 bytes in 30 s"}
        assert (done["failed"], one.fetcher.reading.used) == (3, 0)
        assert asyncio.get_running_loop().time() - begun < 40


async def test_all_stalls_together_with_a_long_time_and_little_memory() -> None:
    """Five bodies of 62 MiB that stalled once held up everyone's fetches for as long as their time-out."""
    parts = list(STALLS.values())
    limits = BatchLimits(reading_bytes=4 << 20, hosts_shared=True)
    async with (
        Server(lambda head: parts[int(head.split(b" ")[1].rsplit(b"/")[-1]) % len(parts)]).running() as server,
        engine(server, limits=limits, reading_bytes=limits.reading_bytes) as one,
    ):
        urls = [url for host in range(10, 30) for url in server.urls(13, f"127.0.0.{host}")]
        slow = one.start(urls, "slow", timeout=300, retries=0, max_bytes=64 << 20, concurrency=500)
        await asyncio.sleep(2)
        async with Server(good).running("127.0.0.3", one.other_port) as other:
            for _ in range(5):
                beside = one.start(other.urls(50, "127.0.0.3"), "other", timeout=2)
                await asyncio.sleep(0.5)
                assert events(beside)[-1]["ok"] == 50
        await asyncio.sleep(400)
        assert events(slow)[-1] == {**events(slow)[-1], "event": "done", "failed": len(urls)}
        assert one.fetcher.reading.used == 0


async def test_a_name_server_that_is_mute() -> None:
    class Mute:
        async def __call__(self, host: str) -> list[str]:
            await asyncio.Event().wait()
            return []

        async def close(self) -> None:
            """Nothing to close."""

    async with engine(lookup=Mute()) as one:
        urls = [f"http://h{number}.example:{one.other_port}/" for number in range(100)]
        await one.ends(one.start(urls, "slow", timeout=TIMEOUT, retries=0), kinds={"dns", "timeout"})


async def test_a_port_that_takes_no_connection() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one_socket in waiting:
            one_socket.setblocking(False)
            one_socket.connect_ex(full.getsockname())
        server = Server(good)
        server.port = full.getsockname()[1]
        async with engine(server) as one:
            await one.ends(one.start(server.urls(8), "slow", timeout=TIMEOUT, retries=0), kinds={"timeout"})
        for one_socket in waiting:
            one_socket.close()


async def test_a_tls_handshake_that_stalls() -> None:
    async with Server(lambda _: b"").running() as server, engine(server) as one:
        urls = [url.replace("http:", "https:") for url in server.urls(8)]
        await one.ends(one.start(urls, "slow", timeout=TIMEOUT, retries=0), kinds={"timeout"})


async def test_a_request_that_nobody_reads() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        server = Server(good)
        server.port = mute.getsockname()[1]
        async with engine(server) as one:
            requests = [FetchRequest(url, method="POST", body="x" * (4 << 20)) for url in server.urls(3)]
            request = BatchRequest(requests=requests, options=Options(timeout=TIMEOUT, retries=0))
            await one.ends(one.read(one.begin(request, "slow")), kinds={"timeout"})


async def test_a_robots_txt_that_stalls() -> None:
    robots = Server(lambda head: b"" if b"/robots.txt" in head else good(head))
    async with robots.running(), engine(robots, robots=True) as one:
        # The other's robots.txt is an ordinary answer, which allows everything.
        reader = one.start(robots.urls(8), "slow", timeout=TIMEOUT, retries=0)
        await one.ends(reader, kinds={"timeout", "blocked"})


async def test_a_redirect_to_a_host_that_has_no_place() -> None:
    async with Server(lambda _: b"").running() as full:
        to = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n" % full.port
        async with Server(lambda _: to).running("0.0.0.0") as server, engine(full, server) as one:
            taking = one.start(full.urls(20), "slow", timeout=TIMEOUT, retries=0)
            moved = [url for host in range(10, 30) for url in server.urls(2, f"127.0.0.{host}")]
            await one.ends(taking, one.start(moved, "slow", timeout=TIMEOUT - 0.1, retries=0), kinds={"timeout"})


async def test_a_revalidation_that_stalls() -> None:
    stored = OK + b'ETag: "1"\r\nCache-Control: no-cache\r\nContent-Length: 5\r\n\r\nhello'
    server = Server(lambda head: b"" if b"if-none-match" in head.lower() else stored)
    async with server.running(), engine(server) as one:
        first = one.start(server.urls(8), "slow")
        await asyncio.sleep(0.5)
        assert events(first)[-1]["ok"] == 8
        await one.ends(one.start(server.urls(8), "slow", timeout=TIMEOUT, retries=0), kinds={"timeout"})


async def test_a_flight_that_never_lands_ends_for_each_in_its_own_time() -> None:
    async with Server(lambda _: b"").running() as server, engine(server) as one:
        readers = [
            one.start(server.urls(3), f"slow{number}", timeout=TIMEOUT - number, retries=0) for number in range(4)
        ]
        await one.ends(*readers, kinds={"timeout"})


async def test_a_host_that_has_no_place() -> None:
    async with Server(lambda _: b"").running() as server, engine(server) as one:
        reader = one.start(server.urls(100), "slow", timeout=TIMEOUT, retries=0)
        await one.ends(reader, kinds={"timeout"})


async def test_a_client_that_has_no_turn() -> None:
    """The clock of a URL begins with its turn: those of one client come one after another."""
    limits = BatchLimits(active=30, active_per_client=10, hosts_shared=True)
    async with Server(lambda _: b"").running("0.0.0.0") as server, engine(server, limits=limits) as one:
        urls = [url for host in range(10, 30) for url in server.urls(2, f"127.0.0.{host}")]
        reader = one.start(urls, "slow", timeout=TIMEOUT / 4, retries=0)
        await one.ends(reader, kinds={"timeout"})


async def test_a_client_that_has_no_place() -> None:
    """Others have all of them for minutes, one each."""
    async with Server(lambda _: b"").running("0.0.0.0") as server, engine(server, limits=FEW) as one:
        for number in range(10):
            one.start(server.urls(1, f"127.0.0.{10 + number}"), f"slow{number}", timeout=300)
        await asyncio.sleep(0.1)
        reader = one.start(server.urls(40), "late", timeout=TIMEOUT)
        await asyncio.sleep(TIMEOUT - 0.1)
        assert events(reader) == []
        await asyncio.sleep(1.1)
        *failed, done = events(reader)
        assert {event["detail"] for event in failed} == {
            "timed out before its turn: limit upstream: other clients have all 10 places"
        }
        assert (done["failed"], sum(one.runner.statistics().overdue.values())) == (40, 0)


async def test_a_client_with_thousands_of_addresses() -> None:
    async with Server(lambda _: b"").running("0.0.0.0") as server, engine(server, limits=FEW) as one:
        readers = []
        for number in range(15):
            address = Owner(f"2600:1:2:{number:x}::/64", network="2600:1:2::/48")
            readers.append(one.start(server.urls(1, f"127.0.0.{10 + number}"), address, timeout=TIMEOUT, retries=0))
        await one.ends(*readers, kinds={"timeout"})


async def test_a_url_that_is_tried_again_and_again() -> None:
    server = Server(good)
    server.port = closed_port()
    async with engine(server) as one:
        reader = one.start(server.urls(8), "slow", timeout=TIMEOUT, retries=10)
        await one.ends(reader, kinds={"connect", "unavailable", "timeout"})
