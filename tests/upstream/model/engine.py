"""The engine of the model, and what may happen to it: each event is one action of a client, a host or the machine.

Batches of several owners (one with hardly a share, one that shares nothing, three of one network) fetch from hosts that answer, fail, hang and
redirect; readers join, stall, take again, leave and come back to where they were; URLs are watched; some bodies have
steps, which fail or take long; batches are cancelled and drained; memory, credit and places are small, or nothing at all.
In every second walk there is more: stores that answer later, robots.txt, tokens for some hosts alone, credentials,
traces, methods that are not repeated, bodies that are large, drip or break off, and answers for one client alone.
"""

import asyncio
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any, Final, Literal

import msgspec

import service.work.builtin.digest  # noqa: F401 - registers the step
from service.core.access.grants import EVERY_HOST, EVERYTHING, ClientLimits, Grant, HostPatterns
from service.core.correlation import Correlation, Trace
from service.core.errors import Draining, SluiceError
from service.core.fetching.batch import Batch, BatchLimits, BatchRequest, IdempotencyKey, Keep, KeyScope
from service.core.fetching.dial_policy import Policy
from service.core.fetching.request import Options
from service.core.memory_budget import MemoryBudget
from service.core.owner import Owner
from service.core.pool import FOUR_FIFTHS, Pool
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.memory_store import MemoryStore
from service.core.topics.position import Position
from service.core.topics.topic import OnLag, Since
from service.ops.pools import Pools, pools_of
from service.runtime.turns import Turns
from service.sources.batches import Batches
from service.sources.watches import Watches, WatchLimits
from service.upstream.caching.cache import Cache
from service.upstream.content.select_failed import SelectFailed
from service.upstream.content.selection_process import SelectTimeout
from service.upstream.fetcher import Fetcher
from service.upstream.runner import Runner
from service.work.step import Body
from service.work.step_runner import StepOutcome
from tests.core.readers import FakeReader
from tests.upstream.batch_disk import inline_threads
from tests.upstream.model.late_store import LateBatches, LateStore
from tests.upstream.model.web import HOSTS, PAGES, Web, trace_of

__all__ = ["MEMORY", "OWNERS", "BatchReader", "Engine"]

MEMORY = 100 << 20
CACHE: Final[tuple[Literal["default", "reload", "no-store", "only-if-cached"], ...]] = (
    *("default",) * 9, "reload", "no-store", "only-if-cached",
)  # fmt: skip
OWNERS = (
    *(Owner(f"o{number}") for number in range(3)),
    Owner("hardly", weight=0.001),
    Owner("apart", shares_fetches=False),
    *(Owner(f"8.8.8.{number}", network="8.8.8.0/24") for number in range(3)),
)


class Selecting:
    """Selects, fails or takes too long, at random."""

    def __init__(self, chance: Random) -> None:
        self.pool = Pool("selections", 1)
        self._chance = chance

    async def select(self, body: bytes, *given: Any, **named: Any) -> bytes:
        await asyncio.sleep(self._chance.choice((0.0, 0.1, 2.0)))
        if (kind := self._chance.random()) < 0.2:
            raise SelectTimeout("took longer than 2 s") if kind < 0.1 else SelectFailed("not that")
        return body[:1]

    def refusal(self, owner: Owner, size: int) -> str | None:
        """Refuse a page at random."""
        return "limit selections: none are left" if self._chance.random() < 0.1 else None


class Carrying:
    """Carries steps out in two places and a spare one, or fails, at random."""

    blobs = None

    def __init__(self, chance: Random) -> None:
        self.pool = Pool("step_bytes", chance.choice((1, 10_000, 1 << 20)), eager=FOUR_FIFTHS)
        self.turns = Turns(2, spare=1)
        self.places = self.turns.statistics
        self.kept = lambda: (Pool("blobs_size", 1).statistics(), Pool("blobs", 1).statistics())
        self._chance = chance

    async def run(self, steps: Any, body: Body, owner: Owner) -> StepOutcome:
        """Take a random time; the body counts in the pool as with the real runner."""
        size = len(body.data) + 100
        self.pool.charge(owner, size)
        try:
            async with self.turns.turn(owner):
                await asyncio.sleep(self._chance.choice((0.0, 0.1, 2.0, 20.0)))
        finally:
            self.pool.release(owner, size)
        failed = self._chance.random() < 0.1
        return StepOutcome((), "digest", "not that") if failed else StepOutcome((b'{"step":"digest"}',))


class BatchReader(FakeReader):
    """A reader of a batch."""

    whole = True
    """Whether it wants all of it."""
    stuck_at = 0.0
    """Since when it takes nothing."""


class Engine:
    """Everything between batches, watches and the HTTP client."""

    def __init__(self, seed: int) -> None:
        chance = Random(seed)
        limits = BatchLimits(
            retained_bytes=chance.choice((0, 3000, 30_000, 1 << 20)),
            reading_bytes=chance.choice((0, 5000, 1 << 20)),
            credit=chance.choice((0, 500, 10_000)),
            queued_bytes=chance.choice((0, 1 << 20, 1 << 20)),
            batches=chance.choice((8, 1000, 1000)),
            active=chance.choice((1, 5, 50)),
            active_per_client=chance.choice((1, 4, 25)),
            active_per_host=chance.choice((1, 3, 20)),
            hosts_shared=chance.random() < 0.5,
            retention=20.0,
            linger=10.0,
        )
        loop = asyncio.get_running_loop()
        self.used = 0
        self.looks = True
        """Whether it looks for owners that get no place, which makes up for some wake-ups that are lost."""
        self.wide = Random(f"{seed} wide") if seed % 2 == 0 else None
        """Chance for what only every second walk has."""
        self.web = Web(seed, wide=self.wide is not None)
        memory = MemoryBudget(MEMORY, lambda: self.used, loop.time)
        self.hub = Hub(
            HubLimits(ring_bytes=chance.choice((2000, 1 << 20))),
            MemoryStore(lambda: "e") if self.wide is None else LateStore(self.wide),
            call_soon=loop.call_soon,
            clock=loop.time,
        )
        cache = Cache(chance.choice((0, 5000, 1 << 20)), clock=loop.time, wall=loop.time)
        robots = self.wide is not None and self.wide.random() < 0.5
        self.fetcher = Fetcher(
            Policy(), cache, robots=robots, reading_bytes=limits.reading_bytes, memory=memory, lookup=Nobody()
        )
        self.fetcher._client = self.web  # type: ignore[assignment] # the seam: behind it are sockets alone
        self.runner = Runner(self.fetcher, limits, chance=chance.random)
        if self.wide is not None:
            inline_threads()
            limits = replace(limits, methods=frozenset({"GET", "HEAD", "POST"}))
            self.runner.undelivered.bound = self.wide.choice((1, 5000, 16 << 20))
        ids = iter(range(1 << 60))
        self.carrying = Carrying(Random(seed + 2))
        self.batches = Batches(
            self.hub, self.fetcher, self.runner, limits, new_id=lambda: f"b{next(ids)}", memory=memory,
            steps=self.carrying,  # type: ignore[arg-type]
            store=None if self.wide is None else LateBatches(self.wide),
        )  # fmt: skip
        selecting = Selecting(Random(seed + 1))
        self.watches = Watches(
            self.hub, self.runner, WatchLimits(urls=chance.choice((1, 20)), penalty=20.0), policy=Policy(),
            selector=selecting, chance=chance.random,  # type: ignore[arg-type]
        )  # fmt: skip
        edge: Any = SimpleNamespace(
            slots=Pool("connections", 1), pool=Pool("websockets", 1), stalled=Pool("backlogs_size", 1)
        )
        self.pools: Pools = pools_of(
            self.hub, edge, edge, self.batches, self.watches, self.runner, selecting, self.fetcher,  # type: ignore[arg-type]
            self.carrying,  # type: ignore[arg-type]
            SimpleNamespace(pool=Pool("jobs", 1), schedule=SimpleNamespace(places=Pool("job_places", 1).statistics)),  # type: ignore[arg-type]
        )  # fmt: skip

    def start(self, chance: Random) -> Batch | None:
        """Begin a batch, unless it is refused."""
        count = chance.choice((1, 1, 2, 5, 20))
        urls = [f"http://h{chance.randrange(HOSTS)}.example/{chance.randrange(PAGES)}" for _ in range(count)]
        if chance.random() < 0.2:
            urls[0] = chance.choice(("nonsense", "http://127.0.0.1/", "http://h0.example:99/"))
        options = Options(
            concurrency=chance.choice((1, 5, 100)),
            timeout=chance.choice((0.5, 5.0, 15.0)),
            retries=chance.randrange(3),
            redirects=chance.choice((0, 5)),
            cache=chance.choice(CACHE),
            max_bytes=chance.choice((100, 1 << 20)),
            steps=[{"step": "digest"}] if chance.random() < 0.15 else None,
        )
        owner = chance.choice(OWNERS)
        key = (
            IdempotencyKey(owner, KeyScope(EVERY_HOST, b""), str(chance.randrange(3)), b"")
            if chance.random() < 0.1
            else None
        )
        places = chance.choice((None, None, 1))
        grant = replace(EVERYTHING, limits=ClientLimits(fetches=places))
        correlation = None
        if self.wide is not None:
            options, grant, correlation = self._widened(self.wide, options, grant, owner)
        request, keep = BatchRequest(urls=urls, options=options), chance.choice(tuple(Keep))
        try:
            return self.batches.start(
                request, owner=owner, keep=keep, key=key, grant=grant, correlation=correlation
            )
        except SluiceError as error:
            if isinstance(error, Draining) and not self.batches.draining:
                raise
        return None

    def _widened(
        self, wide: Random, options: Options, grant: Grant, owner: Owner
    ) -> tuple[Options, Grant, Correlation | None]:
        """Ask as most clients do not."""
        headers = wide.choice(({}, {}, {"Authorization": "Basic eDp5"}, {"X-Any": "1"}))
        options = msgspec.structs.replace(
            options, headers=headers, method="POST" if wide.random() < 0.1 else "GET",
            body=wide.choice((msgspec.UNSET, msgspec.UNSET, "none")),
        )  # fmt: skip
        if wide.random() < 0.2:
            grant = replace(grant, fetch=HostPatterns("fetch", names=("h0.example", "h1.example")))
        trace = Trace(trace_of(owner), "1" * 16, 0)
        return options, grant, Correlation("r", trace) if wide.random() < 0.3 else None

    def read(self, batch: Batch, chance: Random) -> "BatchReader":
        reader = BatchReader(batch.topic, chance.choice(tuple(OnLag)))
        came_back = Position(batch.topic.epoch, chance.randrange(batch.topic.head + 2))
        since: Since = chance.choice(("oldest", "oldest", "newest", came_back))
        reader.whole = since == "oldest"
        self.hub.attach(reader, since)
        return reader

    def watch(self, chance: Random) -> tuple[FakeReader, Any] | None:
        url = f"http://h{chance.randrange(HOSTS)}.example/{chance.randrange(PAGES)}"
        try:
            watching = self.watches.watch(
                url, chance.choice((1.0, 10.0)), chance.choice((None, "p")), owner=chance.choice(OWNERS)
            )
        except SluiceError:
            return None
        reader = FakeReader(watching.topic, OnLag.LATEST)
        self.hub.attach(reader, watching.since)
        return reader, watching

    async def close(self) -> None:
        self.batches.close()
        await self.watches.close()
        await self.runner.close()
        await self.fetcher.close()


class Nobody:
    """A name server that is never asked."""

    async def __call__(self, host: str) -> list[str]:
        raise AssertionError(host)

    async def close(self) -> None:
        """Nothing is open."""
