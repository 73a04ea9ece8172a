"""What goes on the request line: the URL that was given, or the one a redirect names, octet for octet."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.core.fetching.outcome import Failure, Fetched
from service.upstream.attempts import FetchAttempt
from service.upstream.caching.cache import Cache
from service.upstream.fetcher import Fetcher
from tests.upstream.servers import Answering, Raw, policy_for, target_of
from tests.upstream.test_fetcher import fetch, this_task
from tests.upstream.test_flights import Bench, Slow, ask, events
from tests.upstream.test_guard import FakeLookup

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Redirecting(Answering):
    """Redirects what is asked of ``/from/x`` with some header lines, and answers everything else."""

    async def answer_to(self, request: bytes) -> bytes:
        moved = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n" + b"".join(self.answer) + b"\r\n"
        return moved if request.startswith(b"GET /from/x ") else OK

    def asked(self) -> list[str]:
        return [request.split(b"\r\n")[0].decode().split(" ")[1] for request in self.requests]


@asynccontextmanager
async def redirecting(*locations: bytes) -> AsyncIterator[Redirecting]:
    server = Redirecting(*(b"Location: " + location + b"\r\n" for location in locations))
    async with server.running():
        yield server


@pytest.mark.parametrize(
    "target",
    [
        "/get?sig=a%2Fb%3D&u=x%40y%2C", "/%7euser/%E4?%20+", "/a//b?", "/100%", "/?a[]=1", "/a;b=c,d?e=f%26g%3Dh%25",
        "/%61dmin%2f..%2F",
    ],
)  # fmt: skip
async def test_it_is_what_was_given(target: str) -> None:
    async with Raw(OK).running() as server:
        await fetch(server.url.removesuffix("/") + target)
    assert server.requests[0].startswith(f"GET {target} HTTP/1.1\r\n".encode())


async def test_a_part_is_asked_for_without_content_coding() -> None:
    """A part of what is coded cannot be decoded."""
    async with Raw(OK).running() as server:
        await fetch(server.url)
        await fetch(server.url, headers={"RANGE": "bytes=0-9"})
    assert b"\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" in server.requests[0]
    assert b"\r\nAccept-Encoding: identity\r\n" in server.requests[1]


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        (b"/caf\xe9", "/caf%E9"),
        (b"/caf\xc3\xa9?\xe2\x82\xac", "/caf%C3%A9?%E2%82%AC"),
        (b"/a b|c\"<>`{}^", "/a%20b%7Cc%22%3C%3E%60%7B%7D%5E"),
        (b"?q=a%2Fb%3d", "/from/x?q=a%2Fb%3d"),
        (b"../y/./z", "/y/z"),
        (b"y", "/from/y"),
        (b"/" + b"x" * 5000, "/" + "x" * 5000),
    ],
)  # fmt: skip
async def test_a_location_is_followed_as_browsers_follow_it(location: bytes, asked: str) -> None:
    async with redirecting(location) as server:
        outcome = await fetch(server.url + "from/x", redirects=1)
    assert isinstance(outcome, Fetched)
    assert server.asked() == ["/from/x", asked]


async def test_a_redirect_without_a_place_is_an_answer() -> None:
    async with redirecting(b"") as server:
        outcome = await fetch(server.url + "from/x")
    assert isinstance(outcome, Fetched)
    assert outcome.status == 302


async def test_several_locations_must_be_one() -> None:
    async with redirecting(b"/a", b"/a") as server:
        assert isinstance(await fetch(server.url + "from/x"), Fetched)
    async with redirecting(b"/a", b"/b") as server:
        outcome = await fetch(server.url + "from/x")
    assert outcome == Failure("protocol", "the redirect has several Location headers that differ")
    assert server.asked() == ["/from/x"]


async def test_a_final_dot_of_a_host_makes_no_other_origin() -> None:
    async with Raw(OK).running() as server:
        policy = policy_for(server.port)
        fetcher = Fetcher(policy, Cache(1 << 20, clock=time.time), lookup=FakeLookup("127.0.0.1"))
        for host in ("localhost.", "localhost", "LOCALHOST."):
            target = target_of(f"http://{host}:{server.port}/", policy)
            attempt = FetchAttempt(target, "GET", {}, None, timeout=10.0, max_bytes=100, redirects=0)
            assert isinstance(await fetcher.fetch(attempt, this_task()), Fetched)
        await fetcher.close()
    assert len(server.connections) == 1
    assert {request.split(b"\r\n")[1] for request in server.requests} == {b"Host: localhost:%d" % server.port}


async def test_each_asker_of_one_flight_keeps_its_fragment() -> None:
    bench = Bench(Slow(1.0))
    readers = [bench.read(ask(bench, url=f"http://h.example/same{mark}")) for mark in ("#a", "#b\u00e9", "")]
    await asyncio.sleep(2)
    assert len(bench.fetcher.orders) == 1
    assert [events(reader)[0]["final_url"] for reader in readers] == [
        "http://h.example/same#a",
        "http://h.example/same#b%C3%A9",
        "http://h.example/same",
    ]


# What curl and we ask alike. It leaves encoded dots and what no URL has (a pipe, a brace) as they are,
# and takes a URL with spaces for a mistake of its user, as we do.
LIKE_CURL = [
    "/get?sig=a%2Fb%3D&u=x%40y%2C", "/a/./b/../c", "/../x", "/a//../b", "/%7e/%41?%2e%2E", "?q", "", "/100%25?100%",
    "/?a[]=1&b=%5B", "/a;b=1,c!$&'()*+", "/.hidden/...", "/a?b/../c#d", "/%2F/%2f", "/a/..", "/a/.", "/?", "/??", "//x//",
]  # fmt: skip


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_asks_the_same() -> None:
    async with Raw(OK).running() as server:
        base = server.url.removesuffix("/")
        curl = await asyncio.create_subprocess_exec(
            "curl", "-qgsS", "--noproxy", "*", "--max-time", "20", *(base + path for path in LIKE_CURL), stdout=-3
        )
        assert await curl.wait() == 0
        theirs = [request.split(b"\r\n")[:2] for request in server.requests]
        for path in LIKE_CURL:
            await fetch(base + path)
        ours = [request.split(b"\r\n")[:2] for request in server.requests[len(theirs) :]]
    assert ours == theirs


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_follows_the_same() -> None:
    for location in (
        b"/caf\xe9",
        b"/caf\xc3\xa9",
        b"y",
        b"./y/../z",
        b"/a b",
        b"//127.0.0.1:%d/p",
        b"/%7e?%2F",
        b"/a#b",
    ):
        async with redirecting(location) as server:
            if b"%d" in location:
                server.answer = (b"Location: " + location % server.port + b"\r\n",)
            command = ["curl", "-qgsSL", "--noproxy", "*", "--max-time", "20", server.url + "from/x"]
            curl = await asyncio.create_subprocess_exec(*command, stdout=-3)
            assert await curl.wait() == 0
            await fetch(server.url + "from/x")
        asked = server.asked()
        assert len(asked) == 4
        # curl writes what it encodes in lower case.
        assert [path.upper() for path in asked[:2]] == [path.upper() for path in asked[2:]]
