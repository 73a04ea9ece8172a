"""The cache in its place: what reaches the upstream, and what the results say of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.core.correlation import Correlation, Trace
from service.core.fetching.batch import BatchLimits, BatchRequest, Keep
from service.core.fetching.request import Options
from service.core.owner import Owner
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.memory_store import MemoryStore
from service.sources.batches import Batches
from service.upstream.caching.cache import Cache
from service.upstream.fetcher import Fetcher
from service.upstream.guard import Lookup
from service.upstream.runner import Runner
from tests.upstream.servers import Answering, Raw, policy_for
from tests.upstream.test_batches import FakeReader, events


def page(*headers: str, status: str = "200 OK", body: bytes = b"body") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers]
    if not status.startswith("304"):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if status.startswith("304") else body)


class Engine:
    """Batches over a real fetcher to one server."""

    def __init__(self, batches: Batches, hub: Hub, server: Raw) -> None:
        self.batches = batches
        self.hub = hub
        self.server = server

    async def fetch(
        self, count: int = 1, owner: str = "o", url: str | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        request = BatchRequest(urls=[url or self.server.url] * count, options=Options(**options))
        batch = self.batches.start(request, owner=Owner(owner), keep=Keep.DETACHED)
        reader = FakeReader(batch.topic)
        self.hub.attach(reader, "oldest")
        async with asyncio.timeout(20):
            while not batch.done or reader.behind:
                await asyncio.sleep(0.005)
        return events(reader)[:-1]

    async def caches(self, **options: Any) -> list[str]:
        return [event.get("cache") or event["error"] for event in await self.fetch(**options)]


@asynccontextmanager
async def engine(*answer: bytes) -> AsyncIterator[Engine]:
    async with Raw(*answer).running() as server, engine_at(server) as engine_:
        yield engine_


@asynccontextmanager
async def engine_at(server: Raw, lookup: Lookup | None = None) -> AsyncIterator[Engine]:
    loop = asyncio.get_running_loop()
    hub = Hub(HubLimits(), MemoryStore(lambda: "e"), call_soon=loop.call_soon, clock=loop.time)
    ids = iter(range(1000))
    fetcher = Fetcher(policy_for(server.port), Cache(1 << 20, clock=time.time), lookup=lookup)
    runner = Runner(fetcher, BatchLimits(), chance=lambda: 0.0)
    batches = Batches(hub, fetcher, runner, BatchLimits(), new_id=lambda: f"b{next(ids)}")
    try:
        yield Engine(batches, hub, server)
    finally:
        batches.close()
        await runner.close()
        await fetcher.close()


async def test_what_is_fresh_is_not_asked_for_again() -> None:
    async with engine(page("cache-control: max-age=60", "age: 3")) as some:
        assert await some.caches() == ["miss"]
        [hit] = await some.fetch()
        assert (hit["cache"], hit["body"], hit["attempts"], hit["headers"]["age"]) == ("hit", "body", 0, "3")
        assert await some.caches(count=1000) == ["hit"] * 1000
        assert len(some.server.requests) == 1


async def test_options_decide() -> None:
    async with engine(page("cache-control: max-age=60")) as some:
        assert await some.caches(cache="only-if-cached") == ["unavailable"]
        assert await some.caches(cache="no-store") == ["miss"]
        assert await some.caches(cache="only-if-cached") == ["unavailable"]
        assert await some.caches(cache="reload") == ["miss"]
        assert await some.caches(cache="only-if-cached") == ["hit"]
        assert await some.caches(cache="reload") == ["miss"]
        assert len(some.server.requests) == 3


async def test_a_304_brings_the_stored_body() -> None:
    async with engine(page('etag: "1"')) as some:
        await some.fetch()
        some.server.answer = (page('etag: "1"', status="304 Not Modified"),)
        [event] = await some.fetch()
        assert (event["cache"], event["status"], event["body"]) == ("revalidated", 200, "body")
        assert b'If-None-Match: "1"' in some.server.requests[1]
        [short] = await some.fetch(max_bytes=2)
        assert (short["body"], short["truncated"]) == ("bo", True)


async def test_a_304_that_confirms_nothing_is_asked_again_for_all() -> None:
    async with engine(page('etag: "1"')) as some:
        await some.fetch()
        some.server.answer = (page('etag: "2"', status="304 Not Modified"),)
        [event] = await some.fetch()
        assert (event["cache"], event["status"]) == ("miss", 304)
        assert [b"If-None-Match" in request for request in some.server.requests] == [False, True, False]


async def test_a_cut_body_is_not_stored() -> None:
    async with engine(page("cache-control: max-age=60")) as some:
        await some.fetch(max_bytes=2)
        assert await some.caches() == ["miss"]


async def test_a_failing_upstream_is_stood_in_for_where_it_allows_it() -> None:
    stale = "date: Thu, 01 Jan 2026 00:00:00 GMT"
    async with engine(page("cache-control: max-age=1, stale-if-error=999999999", stale)) as some:
        await some.fetch()
        some.server.answer = (page(status="503 Service Unavailable", body=b"down"),)
        [event] = await some.fetch(retries=0)
        assert (event["cache"], event["status"], event["body"]) == ("hit", 200, "body")


FULL = [f"x-{number}: {'x' * 1000}" for number in range(17)]


@pytest.mark.parametrize("last", ["cache-control: private, no-store", "set-cookie: id=1", "vary: *"])
async def test_what_forbids_sharing_is_seen_behind_any_number_of_headers(last: str) -> None:
    async with engine(page("cache-control: max-age=60", *FULL, last)) as engine_:
        assert [await engine_.caches(), await engine_.caches()] == [["miss"], ["miss"]]


async def test_an_event_says_that_headers_were_left_out() -> None:
    async with engine(page(*FULL, "cache-control: max-age=60", "content-type: text/plain")) as engine_:
        first, again = (await engine_.fetch())[0], (await engine_.fetch())[0]
    assert first["headers_truncated"] is True
    assert {"x-0", "content-type", "cache-control"} < set(first["headers"])
    assert "x-16" not in first["headers"]
    assert sum(len(name) + len(value) for name, value in first["headers"].items()) <= 16_384
    assert (again["cache"], again["headers_truncated"]) == ("hit", True)
    async with engine(page(*FULL[:15])) as engine_:
        assert "headers_truncated" not in (await engine_.fetch())[0]


async def test_a_cut_or_broken_body_is_not_kept() -> None:
    async with engine(page("cache-control: max-age=60", body=bytes(100))) as engine_:
        assert [await engine_.caches(max_bytes=10), await engine_.caches()] == [["miss"], ["miss"]]
    head = b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n"
    async with engine(head + b"5\r\nfirst\r\nno chunk\r\n") as engine_:
        assert await engine_.caches(retries=0) == await engine_.caches(retries=0) == ["protocol"]
        assert len(engine_.server.requests) == 2


class Refusing(Answering):
    """Refuses requests with conditions."""

    async def answer_to(self, request: bytes) -> bytes:
        return self.answer[b"If-None-Match" in request]


@pytest.mark.parametrize(
    "status", ["400 Bad Request", "412 Precondition Failed", "431 Request Header Fields Too Large"]
)
async def test_a_server_that_refuses_our_conditions_is_asked_without_them(status: str) -> None:
    server = Refusing(page('etag: "1"'), page(status=status, body=b"no"))
    async with server.running(), engine_at(server) as engine_:
        first, second = (await engine_.fetch())[0], (await engine_.fetch())[0]
    assert (first["status"], second["status"], second["body"]) == (200, 200, "body")
    assert [b"If-None-Match" in request for request in server.requests] == [False, True, False]


class OneAfterAnother(Answering):
    """Answers each request with the next of its pages."""

    async def answer_to(self, request: bytes) -> bytes:
        return self.answer[len(self.requests) - 1]


@pytest.mark.parametrize("header", ["cache-control: private, no-store\r\nset-cookie: session=1", "set-cookie: a=1"])
async def test_the_session_of_one_client_does_not_reach_another(header: str) -> None:
    pages = [page(header, body=b"for %d" % number) for number in range(2)]
    async with OneAfterAnother(*pages).running() as server, engine_at(server) as bench:
        found = await asyncio.gather(bench.fetch(owner="a"), bench.fetch(owner="b"))
        assert sorted(event["body"] for [event] in found) == ["for 0", "for 1"]
        assert [event["cache"] for [event] in found] == ["miss", "miss"]


async def test_what_a_private_redirect_leads_to_is_not_for_others() -> None:
    moved = page("location: /next?session=1", "cache-control: private", status="302 Found")
    server = OneAfterAnother(moved, *[page(body=b"%d" % number) for number in range(3)])
    async with server.running(), engine_at(server) as bench:
        found = await asyncio.gather(bench.fetch(owner="a"), bench.fetch(owner="b"))
        assert len(server.requests) == 3
        assert len({event["body"] for [event] in found}) == 2


class Mirror(Answering):
    """Shows each client what it has sent, half a second later."""

    async def answer_to(self, request: bytes) -> bytes:
        await asyncio.sleep(0.5)
        return page("cache-control: max-age=60", body=request)


async def test_what_shows_the_trace_of_one_client_is_given_to_nobody_else() -> None:
    async with Mirror().running() as server, engine_at(server) as bench:
        seen = {}
        for owner in ("a", "b", "c"):
            trace = Trace(owner * 32, "1" * 16, 0, f"vendor={owner * 8}")
            request = BatchRequest(urls=[server.url], options=Options())
            batch = bench.batches.start(
                request, owner=Owner(owner), keep=Keep.DETACHED, correlation=Correlation("r", trace)
            )
            seen[owner] = FakeReader(batch.topic)
            bench.hub.attach(seen[owner], "oldest")
        async with asyncio.timeout(20):
            while not all(len(reader.lines) == 2 for reader in seen.values()):
                await asyncio.sleep(0.005)
        for owner, reader in seen.items():
            shown = events(reader)[0]["body"]
            assert [other for other in seen if other * 8 in shown] == [owner]


class MuteNames:
    """Knows one name, and has no answer to others."""

    async def __call__(self, host: str) -> list[str]:
        if host != "shop.example":
            await asyncio.Event().wait()
        return ["127.0.0.1"]

    async def close(self) -> None:
        """Nothing is open."""


async def test_who_has_joined_a_request_does_not_fail_for_the_names_that_its_client_looks_up() -> None:
    async with Raw(page()).running() as server, engine_at(server, lookup=MuteNames()) as bench:
        for turn in range(2):
            mute = [f"http://mute{turn}-{number}.example:{server.port}/" for number in range(60)]
            request = BatchRequest(urls=mute, options=Options(retries=0))
            bench.batches.start(request, owner=Owner("a"), keep=Keep.DETACHED)
            await asyncio.sleep(0.1)
        url = f"http://shop.example:{server.port}/"
        first = asyncio.create_task(bench.fetch(owner="a", url=url, retries=0))
        await asyncio.sleep(0.1)
        [event] = await bench.fetch(owner="b", url=url, retries=0)
        assert event["status"] == 200
        [failed] = await first
        assert (failed["error"], "other look-ups of the same client" in failed["detail"]) == ("dns", True)
