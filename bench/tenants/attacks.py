"""What the other client does: one function for each kind of docs/tenants.md, each as much of it as it can."""

import asyncio
from collections.abc import Awaitable, Callable

from bench.tenants.attacker import Attack, Attacker
from bench.tenants.variations import bursts, crowd, in_turn, together

__all__ = ["ATTACKS"]

_PAUSE = 0.2
_HELD = 0.02
"""Seconds between two requests of one that is held back."""
_STALLS = ("nothing", "status", "head", "body", "size", "chunk", "gzip", "drip")


async def _surplus(a: Attacker) -> None:
    async def step(number: int) -> None:
        paths = [f"{kind}/{number}-{one}" for kind in ("surplus/s", "surplus/n", "surplus/l", "longer/")
                 for one in range(5)]  # fmt: skip
        await a.batch([a.near(place, path) for place, path in enumerate(paths)], cache="no-store")

    await asyncio.gather(*(a.steadily(step, _PAUSE) for _ in range(4)))


async def _large(a: Attacker) -> None:
    """Batches of a million bytes each that nobody reads."""

    async def step(number: int) -> None:
        urls = [a.far(one, f"bytes/1000000/{number}-{one}") for one in range(400)]
        await a.batch(urls, detached=True, cache="no-store")

    await asyncio.gather(a.steadily(step, _PAUSE), a.steadily(lambda _: a.read_last_events(), 1.0))


async def _stalls(a: Attacker) -> None:
    """Bodies that stall wherever they can."""

    async def step(number: int) -> None:
        urls = [a.far(one, f"stall/{_STALLS[one % 8]}/{number}-{one}") for one in range(320)]
        await a.batch(urls, timeout=300, max_bytes=64 << 20, concurrency=500, cache="no-store")

    await asyncio.gather(*(a.steadily(step, _PAUSE) for _ in range(4)))


async def _topics(a: Attacker) -> None:
    async def step(number: int) -> None:
        names = [f"mine/{number}-{one}" for one in range(1000)]
        await a.post("/publish", {"topics": names, "data": 1})

    await a.steadily(step)


async def _keys(a: Attacker) -> None:
    """More keys than it may have, over four connections: each of them may publish 1,000 times a second."""

    async def one(name: int) -> None:
        async with a.socket() as socket:

            async def step(number: int) -> None:
                several = [{"topic": "mine", "data": 1, "key": f"{name}-{number}-{key}"} for key in range(90)]
                await a.request(socket, "publish", *several)

            await a.steadily(step, 0.1)

    await asyncio.gather(*map(one, range(4)))


async def _rings(a: Attacker) -> None:
    """More messages than all rings may keep."""

    async def step(number: int) -> None:
        await a.post(f"/topics/ring/{number % 2000}", "x" * 60_000)

    await asyncio.gather(*(a.steadily(step) for _ in range(4)))


async def _batches(a: Attacker) -> None:
    """Batches that wait, as many as it may have."""

    async def step(number: int) -> None:
        status = await a.batch([a.far(0, f"hang/{number}")], detached=True, timeout=300)
        await asyncio.sleep(_HELD if status >= 400 else 0)

    await asyncio.gather(*(a.steadily(step) for _ in range(4)))


async def _queued(a: Attacker) -> None:
    """Batches of large requests that wait."""

    async def step(number: int) -> None:
        urls = [a.far(one, f"hang/{number}-{one}-{'x' * 1500}") for one in range(8000)]
        await a.batch(urls, detached=True, timeout=300)

    await a.steadily(step, _PAUSE)


async def _streams(a: Attacker) -> None:
    """Streams that never end."""

    def one(number: int) -> Callable[[int], Awaitable[None]]:
        async def stream(_: int) -> None:
            async with a.get(f"/topics/stream-{number}/events", Accept="text/event-stream") as answer:
                await a.note(answer)
                await answer.read()

        return stream

    await asyncio.gather(*(a.steadily(one(number), 1.0) for number in range(700)))


async def _sockets(a: Attacker) -> None:
    """WebSockets that read nothing of a busy topic."""

    async def one(_: int) -> None:
        async with a.socket() as socket:
            await a.request(socket, "subscribe", {"topic": "t"})
            await asyncio.sleep(3600)

    await asyncio.gather(*(a.steadily(one, 1.0) for _ in range(1200)))


async def _watches(a: Attacker, path: str = "hang", count: int = 12_000, **more: str) -> None:
    """Pages to poll each second."""

    def one(first: int) -> Callable[[int], Awaitable[None]]:
        async def watch(_: int) -> None:
            async with a.socket() as socket:
                for number in range(first, first + 100):
                    await a.request(socket, "watch", {"url": a.far(number, f"{path}/{number}"), "every": 1, **more})
                await asyncio.sleep(3600)

        return watch

    await asyncio.gather(*(a.steadily(one(first)) for first in range(0, count, 100)))


async def _parked(a: Attacker) -> None:
    """Batches of one URL at one host that hangs."""

    async def step(number: int) -> None:
        await a.batch([a.far(1, f"hang/{number}")], detached=True, timeout=20)

    await asyncio.gather(*(a.steadily(step) for _ in range(8)))


async def _hosts(a: Attacker) -> None:
    """Requests that hang at the hosts of others."""

    async def step(number: int) -> None:
        urls = [a.near(one, f"hang/{number}-{one}") for one in range(2000)]
        await a.batch(urls, timeout=20, concurrency=500, retries=0)

    await asyncio.gather(*(a.steadily(step, _PAUSE) for _ in range(4)))


async def _private(a: Attacker) -> None:
    """Ask in the same moment for what is meant for somebody else."""

    async def step(number: int) -> None:
        await a.batch([a.near(one, f"private/{number % 3}") for one in range(20)])

    await asyncio.gather(*(a.steadily(step) for _ in range(4)))


async def _poison(a: Attacker) -> None:
    """Headers that upstreams show, and some that make them fail."""
    names = ("User-Agent", "Referer", "Origin", "Accept-Language", "X-Forwarded-Host", "X-Original-URL", "Cookie",
             "X-HTTP-Method-Override", "Forwarded", "X-Custom")  # fmt: skip

    async def step(number: int) -> None:
        name = names[number % len(names)]
        value = "poison" if number % 3 else "x" * 4000
        urls = [a.near(one, f"shared/{one % 7}") for one in range(20)]
        await a.batch(urls, headers={name: value}, cache="reload" if number % 2 else "default")

    await a.steadily(step, 0.05)


async def _selections(a: Attacker) -> None:
    """Selections that take as long as they may."""
    await _watches(a, "paragraphs", 100, select="p:nth-last-child(n)")


async def _same_keys(a: Attacker) -> None:
    """Publish with the keys that somebody else will use."""
    async with a.socket() as socket:

        async def step(number: int) -> None:
            several = [
                {"topic": "orders", "data": "mine", "key": f"order-{number * 90 + one}"} for one in range(90)
            ]
            await a.request(socket, "publish", *several)

        await a.steadily(step, 0.5)


async def _names(a: Attacker) -> None:
    """Other names of a host of others."""
    names = ("localhost.", "LOCALHOST", "LocalHost.", "localhost..", "%6cocalhost", "127.1", "2130706433")

    async def step(number: int) -> None:
        await a.batch([a.named(name, f"echo/{number}") for name in names])

    await a.steadily(step, 0.05)


async def _wishes(a: Attacker) -> None:
    """Pages of the hosts of others that ask for less, or fail."""
    kinds = ("limit", "busy/a", "busy/b", "reset", "hang")

    async def step(number: int) -> None:
        urls = [a.near(one, f"{kinds[one // 20]}/{number}-{one}") for one in range(100)]
        await a.batch(urls, timeout=2, retries=3)

    await asyncio.gather(*(a.steadily(step, 0.05) for _ in range(2)))


async def _requests(a: Attacker) -> None:
    """As many requests as fit, of all kinds."""

    async def step(number: int) -> None:
        async with a.get(("/topics/t", "/healthz", "/batches/none", "/readyz")[number % 4]) as answer:
            await answer.read()
            a.reported[str(answer.status)] += 1

    await asyncio.gather(*(a.steadily(step) for _ in range(50)))


async def _documents(a: Attacker) -> None:
    """Documents as large as they may be, of which nothing can be fetched."""
    urls = [f"ftp://example.com/{number}/{'x' * 1500}" for number in range(9900)]

    async def step(number: int) -> None:
        await a.batch(urls)

    await a.steadily(step)


async def _downloads(a: Attacker) -> None:
    """Results as fast as they can be read."""

    async def step(number: int) -> None:
        await a.drain([a.far(one, f"kept/1000000/{one}") for one in range(20)])

    await asyncio.gather(*(a.steadily(step) for _ in range(8)))


async def _uploads(a: Attacker) -> None:
    """Documents as fast as they can be sent, each of which is refused when it has come."""
    text = b'{"urls": []' + b" " * 15_000_000 + b"}"

    async def step(number: int) -> None:
        await a.send("/fetch-batch", text)

    await asyncio.gather(*(a.steadily(step) for _ in range(8)))


async def _odd(a: Attacker) -> None:
    """Requests that are not HTTP, or hardly."""
    heads = [
        b"POST /topics/t HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: evil@127.0.0.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /watch?url=http://127.0.1.1/ HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
    ]

    async def step(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", a.port)
        try:
            writer.write(heads[number % len(heads)])
            async with asyncio.timeout(1):
                a.reported[(await reader.readline())[9:12].decode() or "cut"] += 1
        except (OSError, TimeoutError) as error:
            a.reported[type(error).__name__] += 1
        finally:
            writer.transport.abort()

    await asyncio.gather(*(a.steadily(step, 0.01) for _ in range(8)))


_KINDS: dict[str, Attack] = {
    "surplus": _surplus, "large": _large, "stalls": _stalls, "topics": _topics, "keys": _keys, "rings": _rings,
    "batches": _batches, "queued": _queued, "streams": _streams, "sockets": _sockets, "watches": _watches,
    "parked": _parked, "hosts": _hosts, "private": _private, "poison": _poison, "selections": _selections,
    "same-keys": _same_keys, "names": _names, "wishes": _wishes, "odd": _odd, "requests": _requests,
    "documents": _documents, "downloads": _downloads, "uploads": _uploads, "bursts": bursts, "crowd": crowd,
}  # fmt: skip
ATTACKS: dict[str, Attack] = {
    **_KINDS,
    "mix": together(_KINDS, 3, 3.0),
    "shifts": in_turn(_KINDS, 1.0),
}
"""By name."""
