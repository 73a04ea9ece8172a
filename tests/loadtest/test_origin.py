"""The simulated upstream answers as its table says, and its ledger has every request."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from statistics import mean, median
from typing import Any

import aiohttp
import pytest

from loadtest import origin as package
from loadtest.origin import protocol, serve_origin
from loadtest.origin.distributions import parse_distribution
from loadtest.origin.hostile import HOSTILE


@asynccontextmanager
async def origin(**options: str) -> AsyncIterator[aiohttp.ClientSession]:
    server = await serve_origin("127.0.0.1", 0, **options)
    port = server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session
    server.close()


async def ledger(session: aiohttp.ClientSession, reset: str = "") -> Any:
    async with session.get(f"/ledger{reset}") as response:
        return await response.json()


@pytest.mark.parametrize(
    ("path", "status", "size"),
    [
        ("/bytes/0", 200, 0),
        ("/bytes/1024", 200, 1024),
        ("/bytes/200000", 200, 200_000),
        ("/bytes/99999999", 400, None),
        ("/bytes/x", 404, None),
        ("/slow/50", 200, 4),
        ("/slow/100000000", 400, None),
        ("/status/418", 418, None),
        ("/status/999", 400, None),
        ("/redirect/3", 200, 100),
        ("/page/a?size=77", 200, 77),
        ("/page/a?size=nan", 400, None),
        ("/page/a?latency=-1", 400, None),
        ("/etag/a?period=x", 400, None),
        ("/etag/a?period=1e-320", 400, None),
        ("/hostile", 200, None),
        ("/hostile/nothing-known", 404, None),
        ("/nowhere", 404, None),
    ],
)
async def test_answers(path: str, status: int, size: int | None) -> None:
    async with origin() as session, session.get(path) as response:
        body = await response.read()
        assert response.status == status
        assert size is None or len(body) == size


def test_every_path_is_in_the_help() -> None:
    assert package.__doc__ is not None
    reported = set(re.findall(r"^``/(\w+)", package.__doc__, re.MULTILINE))
    assert reported == set(protocol._ANSWERS)


async def test_a_reset() -> None:
    async with origin() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get("/fail")


async def test_an_etag_is_answered_with_304_until_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([9.0, 9.9, 10.0, 10.0])
    monkeypatch.setattr(time, "time", lambda: next(times, 10.0))
    async with origin() as session:
        async with session.get("/etag/a?period=5") as first:
            tag = first.headers["ETag"]
            assert (await first.json())["version"] == 1
        async with session.get("/etag/a?period=5", headers={"If-None-Match": tag}) as second:
            assert second.status == 304
        async with session.get("/etag/a?period=5", headers={"If-None-Match": tag}) as third:
            assert (third.status, (await third.json())["at"]) == (200, 10.0)
        counted = await ledger(session)
    assert (counted["kinds"], counted["conditional"], counted["not_modified"]) == ({"etag": 3}, 2, 1)


async def test_a_limit_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [5.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    async with origin() as session:
        statuses = []
        for at in (5.0, 5.5, 5.9, 6.0):
            now[0] = at
            async with session.get("/limited/2") as response:
                statuses.append((response.status, response.headers.get("Retry-After")))
    assert statuses == [(200, None), (200, None), (429, "1"), (200, None)]


async def test_the_ledger_is_exact_and_begins_anew() -> None:
    async with origin() as session:
        for path in ("/bytes/1", "/bytes/2", "/nowhere", "/slow/20"):
            async with session.get(path):
                pass
        before = await ledger(session, "/reset")
        after = await ledger(session)
    assert before["kinds"] == {"bytes": 2, "other": 1, "slow": 1}
    assert (before["requests"], before["most_active"], before["active"]) == (4, 1, 0)
    assert (after["requests"], after["kinds"]) == (0, {})


async def test_head_has_no_body_and_the_connection_goes_on() -> None:
    async with origin() as session:
        for _ in range(3):
            async with session.head("/bytes/1000") as response:
                assert response.headers["Content-Length"] == "1000"
        async with session.get("/bytes/10") as response:
            assert len(await response.read()) == 10


async def test_a_page_is_as_long_and_as_late_as_its_key_says() -> None:
    async with origin(size="100..5000", latency="10..50") as session:
        sizes = []
        for key in ("a", "b", "a"):
            async with session.get(f"/page/{key}") as response:
                sizes.append(len(await response.read()))
    assert sizes[0] == sizes[2] != sizes[1]
    assert all(100 <= size <= 5000 for size in sizes)


async def test_requests_that_come_in_one_read_are_answered_in_order() -> None:
    import asyncio

    server = await serve_origin("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    writer.write(b"GET /slow/20 HTTP/1.1\r\n\r\nGET /status/201 HTTP/1.1\r\n\r\n")
    first = await reader.readuntil(b"slow")
    second = await reader.readuntil(b"status 201")
    assert first.startswith(b"HTTP/1.1 200")
    assert second.startswith(b"HTTP/1.1 201")
    writer.close()
    server.close()


@pytest.mark.parametrize(
    "text", ["", "x", "1..", "exp:", "exp:-1", "lognormal:1", "inf", "nan", "1e400", "exp:inf"]
)
def test_a_wrong_distribution_shows_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match="lognormal:20:1.5"):
        parse_distribution(text)


@pytest.mark.parametrize(
    ("text", "middle", "average"),
    [
        ("20", 20, 20),
        ("10..50", 30, 30),
        ("exp:20", 13.9, 20),
        ("lognormal:20:1", 20, 33),
        ("0", 0, 0),
        ("exp:0", 0, 0),
    ],
)
def test_distributions_have_their_median_and_mean(text: str, middle: float, average: float) -> None:
    drawn = [parse_distribution(text).of(str(key)) for key in range(5000)]
    assert median(drawn) == pytest.approx(middle, rel=0.08)
    assert mean(drawn) == pytest.approx(average, rel=0.08)


def test_a_key_has_always_the_same_and_never_too_much() -> None:
    wild = parse_distribution("lognormal:999999999:999999999")
    assert all(0 <= wild.of(str(key)) <= 1e9 for key in range(200))
    assert wild.of("a") == parse_distribution(wild.text).of("a")
    assert wild.draw(Random(1)) >= 0


@pytest.mark.parametrize("name", HOSTILE)
async def test_every_hostile_answer_begins(name: str) -> None:
    """What happens to each at the service is an end-to-end test; here only that it is served at all."""
    import asyncio

    server = await serve_origin("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    writer.write(f"GET /hostile/{name} HTTP/1.1\r\n\r\n".encode())
    if name == "never-answers":
        done, _ = await asyncio.wait([asyncio.ensure_future(reader.read(1))], timeout=5.0)
        assert not done
    else:
        assert bool(await reader.read(1)) is (name != "closes")
    writer.transport.abort()
    server.close()
    await asyncio.sleep(0.01)
