"""One client against another, with the real process: A takes all that it can get, and B notices nothing.

A client is recognised by its subject, its token, or its address behind a proxy; A comes with two of what
it can change at will (tokens of one subject, addresses of one IPv6 network), which are one client all the same.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jwt
import orjson
import pytest

from tests.end_to_end.processes import Process, free_port, service

SECRET = "0123456789abcdef0123456789abcdef"
Headers = dict[str, str]


def token(**claims: Any) -> Headers:
    """Return the header of a token that grants everything."""
    everything = {"subscribe": ["*"], "publish": ["*"], "fetch": True, "watch": True}
    text = jwt.encode({"exp": int(time.time()) + 86_400, **everything, **claims}, SECRET, "HS256")
    return {"Authorization": f"Bearer {text}"}


def address(text: str) -> Headers:
    return {"X-Forwarded-For": text}


TOKENS = ("--jwt-secret-file", "SECRET")
PROXY = ("--trust-proxy", "127.0.0.1/32")
CLIENTS: dict[str, tuple[tuple[str, ...], list[Headers], Headers]] = {
    "subjects": (TOKENS, [token(sub="ann"), token(sub="ann", jti="renewed")], token(sub="bob")),
    "tokens": (TOKENS, [token(jti="a")], token(jti="b")),
    "addresses": (PROXY, [address("203.0.113.7"), address("198.51.100.1, 203.0.113.7")], address("203.0.113.8")),
    "private addresses": (PROXY, [address("10.0.0.7")], address("10.0.0.8")),
    "networks": (PROXY, [address("2001:db8:0:1::1"), address("2001:db8:0:1::2")], address("2001:db8:0:2::1")),
}
"""For each kind the service's options, the headers that A has, and those of B."""
SMALL = ("--topics", "60", "--watches", "40", "--connections", "20", "--rings-size", "400000", "--ring-size", "60000",
         "--batches-size", "4000000", "--upstream", "40", "--upstream-host", "12", "--drain", "0.2",
         "--heartbeat", "600")  # fmt: skip


class Upstream:
    """Answers, hangs and stalls, at ten addresses of this machine: ten hosts."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.port = free_port()
        self._serving: set[asyncio.Task[None] | None] = set()
        self.going_on = asyncio.Event()

    def url(self, path: str, host: int = 1) -> str:
        return f"http://127.0.0.{host}:{self.port}{path}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Upstream"]:
        hosts = [f"127.0.0.{number}" for number in range(1, 11)]
        server = await asyncio.start_server(self._serve, hosts, self.port)
        try:
            yield self
        finally:
            server.close()
            for task in self._serving:
                assert task is not None
                task.cancel()
            await asyncio.gather(*filter(None, self._serving), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                self.asked[path.partition("?")[0]] += 1
                await self._answer(path.partition("?")[0], writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._serving.discard(asyncio.current_task())
            writer.transport.abort()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        more, body = "", b"ok"
        if path == "/hang":
            await asyncio.sleep(3600)
        if path == "/stall":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 900_000)
            await asyncio.sleep(3600)
        if path == "/large":
            body = b"x" * 200_000
        if path == "/cached":
            more = "Cache-Control: max-age=600\r\n"
        if path == "/held":
            await self.going_on.wait()
        if path == "/private":
            await self.going_on.wait()
            more = f"Cache-Control: private\r\nSet-Cookie: session={self.asked[path]}\r\n"
            body = f"{self.asked[path]}".encode()
        writer.write(f"HTTP/1.1 200 OK\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()


class Tenants:
    """The service, an upstream, and two clients."""

    def __init__(self, server: Process, upstream: Upstream, a: list[Headers], b: Headers) -> None:
        self.url = server.url
        self.upstream = upstream
        self.a = a
        self.b = b
        self._turns = 0
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def close(self) -> None:
        await self._session.close()

    @property
    def some_a(self) -> Headers:
        """Another one of A's headers each time."""
        self._turns += 1
        return self.a[self._turns % len(self.a)]

    async def ask(self, who: Headers, method: str, path: str, body: Any = None, **more: str) -> tuple[int, Any]:
        async with asyncio.timeout(30):
            async with self._session.request(method, self.url + path, json=body, headers={**who, **more}) as answer:
                return answer.status, await answer.json(content_type=None)

    async def stream(self, who: Headers, path: str) -> aiohttp.ClientResponse:
        """Begin to read a stream."""
        async with asyncio.timeout(30):
            return await self._session.get(self.url + path, headers=who)

    def socket(self, who: Headers) -> Any:
        return self._session.ws_connect(self.url.replace("http", "ws") + "/ws", headers=who)

    async def fetch(self, who: Headers, *urls: str, **options: Any) -> dict[str, Any]:
        """Have URLs fetched and return the document."""
        status, document = await self.ask(who, "POST", "/fetch-batch", {"urls": urls, "options": options})
        assert status == 200, document
        return document  # type: ignore[no-any-return]

    async def one(self, who: Headers, url: str, **options: Any) -> dict[str, Any]:
        """Have one URL fetched and return its event."""
        return (await self.fetch(who, url, **options))["results"][0]  # type: ignore[no-any-return]

    async def detached(self, who: Headers, *urls: str, **options: Any) -> str:
        """Begin a batch that runs to its end without readers; return its path."""
        body = {"urls": urls, "options": options}
        status, begun = await self.ask(who, "POST", "/fetch-batch", body, Prefer="respond-async")
        assert status == 202, begun
        return f"/batches/{begun['batch']}"


def clients(*kinds: str) -> Any:
    return pytest.mark.parametrize("kind", kinds or CLIENTS)


@contextlib.asynccontextmanager
async def tenants(kind: str, tmp_path: Any, *options: str) -> AsyncIterator[Tenants]:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    more, a, b = CLIENTS[kind]
    more = tuple(str(secret) if option == "SECRET" else option for option in more)
    async with Upstream().running() as upstream:
        reach = ("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port))
        async with service(*SMALL, *reach, *more, *options) as server:
            both = Tenants(server, upstream, a, b)
            try:
                yield both
            finally:
                await both.close()


@clients()
async def test_tables_have_shares(kind: str, tmp_path: Any) -> None:
    """D4: topics, rings, watches, requests and sockets."""
    async with tenants(kind, tmp_path) as both, contextlib.AsyncExitStack() as stack:
        for number in range(10):
            assert (await both.ask(both.b, "POST", "/topics/b", {"n": number}))[0] == 200
        # Topics.
        for number in range(60):
            status, answer = await both.ask(both.some_a, "POST", f"/topics/a-{number}", 1)
            if status != 200:
                break
        assert (status, answer["pool"]) == (429, "topics"), answer
        assert "its share of 60" in answer["detail"]
        for number in range(5):
            assert (await both.ask(both.b, "POST", f"/topics/b-{number}", 1))[0] == 200
        # Rings: A fills them, and its own history gives way.
        for number in range(40):
            status, answer = await both.ask(both.some_a, "POST", f"/topics/a-{number % 12}", "x" * 40_000)
            assert status == 200 or answer["pool"] == "rings_size", answer
        assert (await both.ask(both.b, "GET", "/topics/b"))[1]["oldest"] == 1
        assert (await both.ask(both.a[0], "GET", "/topics/a-0"))[1]["oldest"] > 1
        # Streams: each is a request under way.
        begun = []
        while len(begun) < 30 and (stream := await both.stream(both.some_a, "/topics/a-0/events")).status == 200:
            begun.append(stream)
        assert (len(begun), stream.status, (await stream.json())["pool"]) == (20, 503, "connections")
        assert (await both.ask(both.b, "GET", "/topics/b"))[0] == 200
        (await both.stream(both.b, "/topics/b/events")).close()
        for stream in begun:
            stream.close()
        # Watches.
        socket = await stack.enter_async_context(both.socket(both.a[0]))
        answer = {}
        for number in range(40):
            await socket.send_json({"jsonrpc": "2.0", "id": number, "method": "watch",
                                    "params": {"url": both.upstream.url(f"/ok?{number}"), "every": 60}})  # fmt: skip
            while (answer := await socket.receive_json(timeout=30)).get("id") != number:
                pass
            if "error" in answer:
                break
        assert answer["error"]["code"] == -32005
        assert answer["error"]["data"]["pool"] in ("watches", "topics")
        other = await stack.enter_async_context(both.socket(both.b))
        params = {"url": both.upstream.url("/ok?b"), "every": 60}
        await other.send_json({"jsonrpc": "2.0", "id": 1, "method": "watch", "params": params})
        assert "result" in await other.receive_json(timeout=30)


@clients()
async def test_places_upstream_have_shares(kind: str, tmp_path: Any) -> None:
    """D6: A hangs at ten hosts, and in all places at one; B's URL is fetched, or ends in its own time."""
    async with tenants(kind, tmp_path) as both:
        hanging = [both.upstream.url(f"/hang?{number}", number % 10 + 1) for number in range(200)]
        for headers in both.a:
            await both.detached(headers, *hanging, timeout=300, concurrency=200)
        while both.upstream.asked["/hang"] < 30:
            await asyncio.sleep(0.05)
        for host in (1, 5, 10):
            event = await both.one(both.b, both.upstream.url("/ok", host), timeout=20)
            assert event.get("status") == 200, event
        begin = time.monotonic()
        event = await both.one(both.b, both.upstream.url("/hang", 3), timeout=3, retries=0)
        assert (event["error"], 2.5 < time.monotonic() - begin < 15) == ("timeout", True), event


@clients("subjects", "tokens", "networks")
async def test_memory_for_batches_has_shares(kind: str, tmp_path: Any) -> None:
    """D2 and D3: batches that nobody reads, and bodies that stall, are A's trouble alone."""
    async with tenants(kind, tmp_path) as both:
        large = await both.detached(both.some_a, *[both.upstream.url(f"/large?{n}") for n in range(40)])
        stalling = [both.upstream.url(f"/stall?{n}", n % 10 + 1) for n in range(20)]
        await both.detached(both.some_a, *stalling, timeout=300, max_bytes=4_000_000, retries=0)
        while (state := (await both.ask(both.a[0], "GET", large))[1])["state"] != "done":
            await asyncio.sleep(0.1)
        assert 0 < state["ok"] < 40
        async with await both.stream(both.a[0], f"{large}/events") as answer:
            reported = [orjson.loads(line) for line in (await answer.read()).splitlines()]
        failed = [event for event in reported if event["event"] == "failed"]
        assert {event["error"] for event in failed} == {"too_large"}
        assert all("limit batches_size" in event["detail"] and "share" in event["detail"] for event in failed)
        event = await both.one(both.b, both.upstream.url("/large"), timeout=20)
        assert (event.get("status"), event.get("bytes")) == (200, 200_000), event
        assert (await both.ask(both.b, "GET", "/readyz"))[0] == 200


@clients()
async def test_keys_and_private_answers_are_apart(kind: str, tmp_path: Any) -> None:
    """D7 and D10: what is for one client reaches no other, and what is one client's is so under each of its tokens."""
    async with tenants(kind, tmp_path) as both:
        offsets = []
        for who in (*both.a, both.b, *both.a, both.b):
            key = {"Idempotency-Key": "order-17"}
            status, answer = await both.ask(who, "POST", "/topics/orders", {"of": str(who)}, **key)
            assert status == 200
            offsets.append(answer["offset"])
        once = [*[1] * len(both.a), 2]
        assert offsets == [*once, *once]
        asking = [
            asyncio.create_task(both.one(who, both.upstream.url("/private"), timeout=60))
            for who in (*both.a, both.b, both.a[0])
        ]
        while not both.upstream.asked["/private"]:
            await asyncio.sleep(0.01)
        both.upstream.going_on.set()
        events = await asyncio.gather(*asking)
        sessions = [event["headers"]["set-cookie"] for event in events]
        assert sessions[len(both.a)] not in sessions[: len(both.a)], "B has A's session"
        batch = {"urls": [both.upstream.url("/ok")]}
        begun = [
            (await both.ask(who, "POST", "/fetch-batch", batch, **key))[1]["batch"] for who in (*both.a, both.b)
        ]
        assert len(set(begun)) == 2
        assert len(set(begun[:-1])) == 1


@clients("subjects", "tokens", "addresses")
@pytest.mark.parametrize("share", ["public", "none"])
async def test_what_is_fetched_is_shared_or_not(kind: str, share: str, tmp_path: Any) -> None:
    """D7, D8: with `--share none` two owners have no flight, cache entry or poll in common; one still does."""
    async with tenants(kind, tmp_path, "--share", share) as both:
        public = share == "public"
        reported = [
            (await both.one(who, both.upstream.url("/cached")))["cache"] for who in (*both.a, both.b, both.a[0])
        ]
        assert reported == ["miss", *["hit"] * (len(both.a) - 1), "hit" if public else "miss", "hit"]
        asking = [
            asyncio.create_task(both.one(who, both.upstream.url("/held"), timeout=60))
            for who in (*both.a * 2, both.b)
        ]
        while both.upstream.asked["/held"] < 2 - public:
            await asyncio.sleep(0.01)
        await both.one(both.b, both.upstream.url("/ok"))
        both.upstream.going_on.set()
        caches = [event["cache"] for event in await asyncio.gather(*asking)]
        assert both.upstream.asked["/held"] == 2 - public
        assert caches[-1] in ("shared", "miss")
        async with both.socket(both.a[0]) as one, both.socket(both.a[-1]) as two, both.socket(both.b) as other:
            topics = []
            for socket in (one, two, other):
                params = {"url": both.upstream.url("/ok?watched"), "every": 60}
                await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "watch", "params": params})
                topics.append((await socket.receive_json(timeout=30))["result"]["topic"])
        assert topics[0] == topics[1]
        assert (topics[0] == topics[2]) is public


async def test_a_token_says_whether_its_client_shares(tmp_path: Any) -> None:
    async with tenants("subjects", tmp_path) as both:
        apart, back = token(sub="eve", share="none"), token(sub="fay", share="public")
        whose = (both.a[0], apart, apart, back)
        reported = [(await both.one(who, both.upstream.url("/cached")))["cache"] for who in whose]
        assert reported == ["miss", "miss", "hit", "hit"]


async def test_a_token_has_a_smaller_share_and_no_larger_one_than_the_operator_allows(tmp_path: Any) -> None:
    async with tenants("subjects", tmp_path) as both:
        made = Counter[str]()
        for name, weight in (("usual", 1), ("light", 0.2), ("heavy", 5)):
            who = token(sub=name, limits={"weight": weight})
            while (await both.ask(who, "POST", f"/topics/{name}-{made[name]}", 1))[0] == 200:
                made[name] += 1
        assert made["usual"] == 30
        assert 1 <= made["light"] < 10
        assert made["heavy"] <= 15


async def test_a_subject_has_its_share_of_websockets_and_ten_thousand_of_one_address_have_all(
    tmp_path: Any,
) -> None:
    async with tenants("subjects", tmp_path, "--websockets", "20") as both, contextlib.AsyncExitStack() as stack:
        for _ in range(10):
            await stack.enter_async_context(both.socket(both.some_a))
        with pytest.raises(aiohttp.WSServerHandshakeError, match="429"):
            await both.socket(both.some_a)
        await stack.enter_async_context(both.socket(both.b))
        nameless = token(jti="all visitors")
        for _ in range(9):
            await stack.enter_async_context(both.socket(nameless))
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await both.socket(nameless)


async def test_a_subject_that_authenticates_later_has_the_same_share(tmp_path: Any) -> None:
    options = ("--websockets", "16", "--auth-time", "30")
    async with tenants("subjects", tmp_path, *options) as both, contextlib.AsyncExitStack() as stack:
        refused = []
        for number in range(12):
            socket = await stack.enter_async_context(both.socket({}))
            text = both.a[number % 2]["Authorization"].removeprefix("Bearer ")
            params = {"token": text}
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "authenticate", "params": params})
            answer = await socket.receive_json(timeout=30)
            refused.append(answer.get("error", {}).get("data", {}).get("pool"))
        assert refused == [None] * 8 + ["websockets"] * 4
