"""A fetch that has failed leaves nothing that only the collector of cycles would free: it may hold a body."""

import gc

import pytest

from service.core.fetching.outcome import Failure, Fetched
from service.upstream.attempts import FetchAttempt
from service.upstream.caching.cache import Cache
from service.upstream.fetcher import Fetcher
from service.upstream.guard import NameNotFound
from service.upstream.http1.connection import Connection
from service.upstream.http1.reader import ResponseReader
from tests.upstream.servers import Raw, closed_port, policy_for, target_of
from tests.upstream.test_fetcher import this_task

OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS = {
    "cut": (OK + b"Content-Length: 100000\r\n\r\n" + b"x" * 50_000,),
    "cut in chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n1000\r\nx",),
    "no answer": (),
    "cut in the head": (OK + b"Server: x",),
    "malformed": (b"nonsense\r\n\r\n",),
    "malformed chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n",),
    "malformed coding": (OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",),
    "too many headers": (OK + b"X: y\r\n" * 6000 + b"\r\n",),
}


def left() -> list[str]:
    return [repr(one) for one in gc.get_objects() if isinstance(one, ResponseReader | Connection)]


async def kinds(url: str, port: int, timeout: float = 10.0) -> set[str]:
    """Fetch something three times, and return the outcome of it."""
    policy = policy_for(port)
    fetcher = Fetcher(policy, Cache(1 << 20))
    found: set[str] = set()
    try:
        for _ in range(3):
            attempt = FetchAttempt(target_of(url, policy), "GET", {}, None, timeout, 1 << 20, 5)
            outcome = await fetcher.fetch(attempt, this_task())
            found.add("result" if isinstance(outcome, Fetched) else outcome.kind)
    finally:
        await fetcher.close()
    return found


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("name", ANSWERS)
async def test_a_failure_leaves_nothing_to_the_collector(name: str) -> None:
    async with Raw(*ANSWERS[name], close=True).running() as server:
        assert await kinds(server.url, server.port) <= {"protocol", "connect"}
    assert left() == []


@pytest.mark.usefixtures("uncollected")
async def test_a_time_out_leaves_nothing_to_the_collector() -> None:
    async with Raw(ANSWERS["cut"][0]).running() as server:
        assert await kinds(server.url, server.port, timeout=0.5) == {"timeout"}
    assert left() == []


@pytest.mark.usefixtures("uncollected")
async def test_a_host_that_is_away_leaves_nothing_to_the_collector() -> None:
    port = closed_port()
    assert await kinds(f"http://127.0.0.1:{port}/", port) == {"connect"}
    assert left() == []
    assert not any(isinstance(one, FetchAttempt) for one in gc.get_objects())


@pytest.mark.usefixtures("uncollected")
async def test_a_name_without_an_address_leaves_nothing_to_the_collector() -> None:
    class Nowhere:
        async def __call__(self, host: str) -> list[str]:
            raise NameNotFound("no such name")

        async def close(self) -> None:
            pass

    policy = policy_for(80)
    fetcher = Fetcher(policy, Cache(1 << 20), lookup=Nowhere())
    for _ in range(3):
        attempt = FetchAttempt(target_of("http://h.example/", policy), "GET", {}, None, 5.0, 1 << 20, 5)
        outcome = await fetcher.fetch(attempt, this_task())
        assert outcome == Failure("dns", "the name has no address")
    del attempt
    await fetcher.close()
    assert not any(isinstance(one, FetchAttempt) for one in gc.get_objects())
