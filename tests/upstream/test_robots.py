"""robots.txt in its place: asked once for all, heeded on redirects too, and what unreachable ones mean."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.core.fetching.outcome import NO_MEMORY, Failure, Fetched
from service.core.owner import SERVICE, Owner
from service.upstream.attempts import FetchAttempt
from service.upstream.caching.cache import Cache
from service.upstream.fetcher import Fetcher
from service.upstream.robots import Robots
from tests.threads import start_no_threads
from tests.upstream.servers import policy_for, target_of


class Site:
    """A server that answers by path and counts."""

    def __init__(self, pages: dict[str, bytes]) -> None:
        self.pages = pages
        self.asked: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
                self.asked.append(path)
                writer.write(self.pages.get(path, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def text(body: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body.encode())}\r\n\r\n{body}".encode()


@asynccontextmanager
async def site(**pages: bytes) -> AsyncIterator[tuple[Site, Any]]:
    there = Site({"/" + name.replace("robots", "robots.txt"): page for name, page in pages.items()})
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    policy = policy_for(port)
    fetcher = Fetcher(policy, Cache(0, clock=time.time), robots=True)

    async def fetch(path: str, owner: Owner = SERVICE) -> str:
        attempt = FetchAttempt(target_of(f"http://127.0.0.1:{port}{path}", policy), "GET", {}, None, 5.0, 100, 5)
        attempt.owner = owner
        task = asyncio.current_task()
        assert task is not None
        outcome = await fetcher.fetch(attempt, task)
        return outcome.kind if isinstance(outcome, Failure) else str(outcome.status)

    try:
        yield there, fetch
    finally:
        await fetcher.close()
        server.close()
        for writer in there.writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def test_it_is_asked_once_for_all_and_heeded() -> None:
    async with site(robots=text("User-agent: *\nDisallow: /private")) as (there, fetch):
        paths = ["/a", "/private", "/b", "/private/c"]
        assert await asyncio.gather(*map(fetch, paths)) == ["200", "blocked", "200", "blocked"]
        assert await fetch("/d") == "200"
        assert there.asked.count("/robots.txt") == 1
        assert "/private" not in there.asked


async def test_a_redirect_leads_nowhere_else() -> None:
    moved = b"HTTP/1.1 302 Found\r\nlocation: /private\r\ncontent-length: 0\r\n\r\n"
    async with site(robots=text("User-agent: *\nDisallow: /private"), moved=moved) as (there, fetch):
        assert await fetch("/moved") == "blocked"
        assert "/private" not in there.asked


@pytest.mark.parametrize(
    ("status", "outcome"), [("404 Not Found", "200"), ("500 Oh", "blocked"), ("403 No", "200")]
)
async def test_what_an_answer_without_rules_means(status: str, outcome: str) -> None:
    async with site(robots=text("", status)) as (_, fetch):
        assert await fetch("/a") == outcome


async def test_rules_grow_old() -> None:
    async with site(robots=text("User-agent: *\nDisallow: /a")) as (there, fetch):
        assert await fetch("/a") == "blocked"
        there.pages["/robots.txt"] = text("")
        await asyncio.sleep(4000)
        assert await fetch("/a") == "200"


async def test_where_no_thread_can_be_started_a_url_is_unavailable_and_nothing_is_said_of_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with site(robots=text("User-agent: *\nDisallow: /b")) as (_, fetch):
        with monkeypatch.context() as patch:
            start_no_threads(patch)
            assert await fetch("/a") == "unavailable"
        assert await fetch("/a") == "200"


async def test_a_caller_that_gives_up_does_not_stop_the_others() -> None:
    async with site(robots=text("")) as (_, fetch):
        first = asyncio.create_task(fetch("/a"))
        others = [asyncio.create_task(fetch(f"/{number}")) for number in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        assert await asyncio.gather(*others) == ["200"] * 5


async def test_a_long_one_is_read_to_the_end_and_half_a_rule_is_none() -> None:
    lines = (
        "\ufeffUser-agent: Sluice/1.0\n"
        + "".join(f"Disallow: /{number}\n" for number in range(3000))
        + "Disallow: /last"
    )
    async with site(robots=text(lines)) as (_, fetch):
        assert [await fetch(path) for path in ("/last", "/2999", "/other")] == ["blocked", "blocked", "200"]
    filler = "# " + "x" * 97 + "\n"
    cut = "User-agent: *\nDisallow: /a\n" + filler * 5242
    cut += "Disallow: /" + "y" * ((512 << 10) - len(cut)) + "\n"
    async with site(robots=text(cut)) as (_, fetch):
        assert [await fetch(path) for path in ("/a", "/" + "y" * 100, "/b")] == ["blocked", "200", "200"]


async def test_octets_of_a_rule_are_those_of_a_url() -> None:
    rules = b"User-agent: *\r\nDisallow: /caf\xe9\r\n"
    page = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(rules) + rules
    async with site(robots=page) as (_, fetch):
        assert [await fetch(path) for path in ("/caf%E9", "/caf%e9", "/caf")] == ["blocked", "blocked", "200"]


async def test_one_that_redirects_for_ever_is_as_if_it_were_not_there() -> None:
    async with site(robots=b"HTTP/1.1 302 x\r\nlocation: /robots.txt\r\ncontent-length: 0\r\n\r\n") as (_, fetch):
        assert await fetch("/a") == "200"


async def test_what_takes_long_to_match_does_not_hold_up_the_loop() -> None:
    rules = "User-agent: *\n" + "\n".join(f"Disallow: /*{number}x" for number in range(20_000))
    async with site(robots=text(rules)) as (_, fetch):
        assert [await fetch(path) for path in ("/" + "b" * 2000, "/b19999x")] == ["200", "blocked"]


async def test_one_client_does_not_wait_for_what_another_has_asked_and_shares_no_connection_with_it() -> None:
    async with site(robots=b"") as (there, fetch):
        first = asyncio.create_task(fetch("/a", Owner("a")))
        while not there.asked:
            await asyncio.sleep(0.001)
        there.pages["/robots.txt"] = text("User-agent: *\nDisallow: /private")
        assert [await fetch(path, Owner("b")) for path in ("/b", "/private")] == ["200", "blocked"]
        assert there.asked == ["/robots.txt", "/robots.txt", "/b"]
        assert len(there.writers) == 3, "robots.txt is asked for on a connection that carries nothing else"
        first.cancel()
        await asyncio.wait([first])


@pytest.mark.parametrize(
    ("failure", "apart", "others"),
    [
        (Failure("dns", "the name waited 5 s for other look-ups of the same client"), True, True),
        (NO_MEMORY, False, True),
        (Failure("connect", "no connection"), False, False),
    ],
)
async def test_what_only_one_client_cannot_read_forbids_nothing_to_others(
    failure: Failure, apart: bool, others: bool
) -> None:
    target = target_of("http://h.example/a", policy_for(80))
    asked: list[str] = []

    async def fetch(attempt: FetchAttempt, _: "asyncio.Task[Any]") -> Fetched | Failure:
        asked.append(attempt.owner.removeprefix("robots.txt for "))
        if asked[-1] == "b":
            return Fetched(404, attempt.target, {}, b"", False)
        if apart:
            attempt.kept_apart()
        return failure

    robots = Robots(fetch)
    for _ in range(2):
        assert not await robots.allows(target, Owner("a"))
    assert await robots.allows(target, Owner("b")) == others
    assert asked == ["a", "b"][: 1 + others], "what could not be read is not asked for again at once"
    assert await robots.allows(target, Owner("a")) == others
