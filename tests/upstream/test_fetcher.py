"""One URL against servers that are fast, slow, moved, broken or hostile: every outcome is a value."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from loadtest.origin import serve_origin
from service.core.access.grants import HostPatterns
from service.core.fetching.outcome import Failure, Fetched
from service.core.owner import Owner
from service.runtime.per_turn import PerTurn
from service.upstream.attempts import FetchAttempt
from service.upstream.caching.cache import Cache
from service.upstream.fetcher import Fetcher
from tests.upstream.servers import Raw, closed_port, policy_for, target_of


def this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


@asynccontextmanager
async def origin() -> AsyncIterator[str]:
    server = await serve_origin("127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def fetch(url: str, *ports: int, **more: Any) -> Fetched | Failure:
    policy = policy_for(urlsplit(url).port or 80, *ports)
    options: dict[str, Any] = {
        "method": "GET", "headers": {}, "body": None, "timeout": 10.0, "max_bytes": 1 << 20, "redirects": 5, **more,
    }  # fmt: skip
    fetcher = Fetcher(policy, Cache(1 << 20, clock=time.time))
    try:
        outcome = await fetcher.fetch(FetchAttempt(target=target_of(url, policy), **options), this_task())
        assert fetcher.reading.used == 0
        return outcome
    finally:
        await fetcher.close()


async def fetched(url: str, **more: Any) -> Fetched:
    outcome = await fetch(url, **more)
    assert isinstance(outcome, Fetched), outcome
    return outcome


async def failed(url: str, **more: Any) -> str:
    outcome = await fetch(url, **more)
    assert isinstance(outcome, Failure), outcome
    return outcome.kind


async def test_a_page() -> None:
    async with origin() as at:
        page = await fetched(f"{at}/bytes/1024")
    assert (page.status, len(page.body), page.truncated) == (200, 1024, False)
    assert page.headers["content-type"] == "text/plain"
    assert set(page.timing) == {"dns", "connect", "first_byte", "total"}
    assert 0 <= page.timing["first_byte"] <= page.timing["total"]


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_any_status_is_an_answer(status: int) -> None:
    async with origin() as at:
        assert (await fetched(f"{at}/status/{status}")).status == status


async def test_a_body_is_cut_where_asked_exactly() -> None:
    async with origin() as at:
        cut = await fetched(f"{at}/bytes/300000", max_bytes=100_000)
        whole = await fetched(f"{at}/bytes/100000", max_bytes=100_000)
    assert (len(cut.body), cut.truncated) == (100_000, True)
    assert (len(whole.body), whole.truncated) == (100_000, False)


async def test_a_body_in_pieces_costs_its_turns_by_its_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs: list[int] = []
    wait = PerTurn.wait

    async def counted(turns: PerTurn, owner: Owner, cost: int = 1) -> None:
        costs.append(cost)
        await wait(turns, owner, cost)

    monkeypatch.setattr(PerTurn, "wait", counted)
    async with origin() as at:
        whole = await fetched(f"{at}/bytes/1000000")
    assert len(costs) > 2
    assert sum(costs) == len(whole.body) == 1_000_000


async def test_a_decompression_bomb_stops_at_the_bound() -> None:
    packed = gzip.compress(bytes(200 << 20))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    async with Raw(head + packed).running() as bomb:
        cut = await fetched(bomb.url, max_bytes=50_000)
    assert (len(cut.body), cut.truncated) == (50_000, True)


async def test_redirects_are_followed_and_counted() -> None:
    async with origin() as at:
        page = await fetched(f"{at}/redirect/4")
        assert (page.status, page.target.request_target) == (200, "/bytes/100")
        assert await failed(f"{at}/redirect/5") == "redirects"
        assert await failed(f"{at}/redirect/0", redirects=0) == "redirects"


async def test_a_redirect_into_a_refused_address_is_never_dialled() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://%b/\r\nContent-Length: 0\r\n\r\n"
    for place in (b"169.254.169.254", b"[::1]:8080", b"10.0.0.1", b"2130706433", b"127.0.0.1:22"):
        async with Raw(moved % place).running() as server:
            assert await failed(server.url) in ("blocked", "invalid_url")
            assert len(server.requests) == 1


async def test_a_redirect_loop_ends() -> None:
    loop = Raw(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
    async with loop.running():
        assert await failed(loop.url) == "redirects"
    assert len(loop.requests) == 6


async def test_private_headers_stay_with_their_origin() -> None:
    async with Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").running() as second:
        to = b"http://127.0.0.1:%d/" % second.port
        first = Raw(b"HTTP/1.1 307 x\r\nLocation: " + to + b"\r\nContent-Length: 0\r\n\r\n")
        async with first.running():
            headers = {"Authorization": "Bearer s", "Cookie": "a=b", "X-Mine": "1"}
            outcome = await fetch(first.url, second.port, headers=headers)
    assert isinstance(outcome, Fetched)
    assert b"Bearer s" in first.requests[0]
    assert b"Bearer" not in second.requests[0]
    assert b"Cookie" not in second.requests[0]
    assert b"X-Mine: 1" in second.requests[0]


@pytest.mark.parametrize(
    ("asked", "status", "method"),
    [
        ("POST", 301, b"GET"), ("POST", 302, b"GET"), ("POST", 303, b"GET"), ("PUT", 303, b"GET"), ("PUT", 302, b"PUT"),
        ("POST", 307, b"POST"), ("POST", 308, b"POST"), ("GET", 303, b"GET"), ("HEAD", 303, b"HEAD"),
    ],
)  # fmt: skip
async def test_a_redirected_request_follows_the_rules(asked: str, status: int, method: bytes) -> None:
    answers = Raw(b"HTTP/1.1 %d x\r\nLocation: /\r\nContent-Length: 0\r\n\r\n" % status)
    headers = {"Content-Type": "a/b", "content-language": "de", "X-Mine": "1"}
    async with answers.running():
        await fetch(answers.url, method=asked, headers=headers, redirects=1)
    first, second = answers.requests
    assert (first.split(b" ")[0], second.split(b" ")[0]) == (asked.encode(), method)
    # What describes a body goes with it.
    assert (b"\r\nContent-Type: a/b\r\n" in second) is (asked.encode() == method)
    assert (b"content-language" in second) is (asked.encode() == method)
    assert b"\r\nX-Mine: 1\r\n" in second


async def test_no_cookie_is_kept() -> None:
    sets = Raw(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")
    async with sets.running():
        policy = policy_for(sets.port)
        fetcher = Fetcher(policy, Cache(1 << 20, clock=time.time))
        for _ in range(2):
            attempt = FetchAttempt(target_of(sets.url, policy), "GET", {}, None, 10.0, 100, 5)
            assert isinstance(await fetcher.fetch(attempt, this_task()), Fetched)
        await fetcher.close()
    assert b"ookie" not in sets.requests[1]


async def test_slower_than_its_time_is_a_timeout_and_the_time_holds() -> None:
    loop = asyncio.get_running_loop()
    async with origin() as at:
        begun = loop.time()
        assert await failed(f"{at}/slow/60000", timeout=3.0) == "timeout"
        assert 3.0 <= loop.time() - begun < 3.2


async def test_a_body_that_drips_is_a_timeout_too() -> None:
    async with Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").running() as drips:
        assert await failed(drips.url, timeout=2.0) == "timeout"


async def test_cancelling_it_is_not_a_timeout() -> None:
    async with origin() as at:
        task = asyncio.create_task(fetch(f"{at}/slow/60000"))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_nobody_listens() -> None:
    assert await failed(f"http://127.0.0.1:{closed_port()}/") == "connect"


HOSTILE: Mapping[str, tuple[bytes, ...]] = {
    "nothing": (b"",),
    "no http": (b"SSH-2.0-OpenSSH\r\n\r\n",),
    "binary": (bytes(range(256)) * 4,),
    "bad status": (b"HTTP/1.1 abc OK\r\n\r\n",),
    "negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",),
    "broken chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",),
    "short body": (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc",),
    "bad gzip": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",),
    "endless header": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",),
    "a thousand headers": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_answer_fails_and_nothing_else(name: str) -> None:
    async with Raw(*HOSTILE[name], close=True).running() as server:
        assert await failed(server.url, timeout=5.0) in ("protocol", "connect", "timeout")


async def test_all_headers_are_there_however_many() -> None:
    many = b"".join(b"X-%d: %b\r\n" % (number, b"v" * 1000) for number in range(60))
    async with Raw(b"HTTP/1.1 200 OK\r\n" + many + b"Vary: x\r\nContent-Length: 0\r\n\r\n").running() as server:
        page = await fetched(server.url)
    assert len(page.headers) == 62
    assert page.headers["vary"] == "x"


async def test_repeated_headers_are_joined() -> None:
    async with Raw(b"HTTP/1.1 200 OK\r\nVia: a\r\nVia: b\r\nContent-Length: 0\r\n\r\n").running() as server:
        assert (await fetched(server.url)).headers["via"] == "a, b"


async def test_a_kept_connection_that_was_closed_is_replaced() -> None:
    async with Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", close=True).running() as server:
        policy = policy_for(server.port)
        fetcher = Fetcher(policy, Cache(1 << 20, clock=time.time))
        for _ in range(3):
            attempt = FetchAttempt(target_of(server.url, policy), "GET", {}, None, 10.0, 100, 5)
            outcome = await fetcher.fetch(attempt, this_task())
            assert isinstance(outcome, Fetched), outcome
        await fetcher.close()


async def test_a_body_that_ends_with_the_connection() -> None:
    async with Raw(b"HTTP/1.0 200 OK\r\n\r\n", b"to the end", close=True).running() as server:
        assert (await fetched(server.url)).body == b"to the end"


async def test_answers_before_the_answer_are_passed_over() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    async with Raw(early, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").running() as server:
        assert (await fetched(server.url)).body == b"ok"


async def test_a_connection_that_was_switched_is_not_used_again() -> None:
    async with Raw(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n").running() as server:
        policy = policy_for(server.port)
        fetcher = Fetcher(policy, Cache(1 << 20, clock=time.time))
        for _ in range(2):
            attempt = FetchAttempt(target_of(server.url, policy), "GET", {}, None, 2.0, 100, 5)
            outcome = await fetcher.fetch(attempt, this_task())
            assert isinstance(outcome, Fetched)
            assert outcome.status == 101
        assert len(server.connections) == 2
        await fetcher.close()


async def test_what_is_sent() -> None:
    async with Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").running() as server:
        await fetched(server.url, headers={"user-agent": "mine", "X-More": "a"}, method="POST", body=b"body")
        lines = server.requests[0].decode().split("\r\n")
        assert lines[0] == "POST / HTTP/1.1"
        sent = dict(line.split(": ", 1) for line in lines[1:] if line)
        assert {name.lower() for name in sent} == {
            "host", "accept", "accept-encoding", "user-agent", "x-more", "content-length", "content-type",
        }  # fmt: skip
        assert sent["Host"] == server.url.split("/")[2]
        assert (sent["X-More"], sent["Content-Length"]) == ("a", "4")
        assert "mine" in sent.values()


async def test_no_header_breaks_out_of_its_line() -> None:
    async with Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").running() as server:
        outcome = await fetch(server.url, server.port, headers={"X": "a\r\nEvil: 1"})
        assert isinstance(outcome, Failure)
        assert outcome.kind == "protocol"
        assert server.requests == []


async def test_a_redirect_to_a_host_that_the_claim_does_not_cover_is_not_followed() -> None:
    there = Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    async with there.running():
        location = f"http://127.0.0.2:{there.port}/".encode()
        moved = Raw(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")
        async with moved.running():
            hosts = HostPatterns("fetch", ("127.0.0.1",))
            outcome = await fetch(moved.url, there.port, hosts=hosts)
    assert isinstance(outcome, Failure)
    assert outcome.kind == "blocked"
    assert "claim fetch: it does not cover the host '127.0.0.2'" in outcome.detail
    assert there.requests == []
