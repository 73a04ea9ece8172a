"""A model of batches, plan, memory and readers: every URL ends once and in time, and ``done`` is last.

Random batches of random owners fetch from hosts that answer, fail, hang and ask for pauses; readers join, stall,
leave and come back; batches are cancelled; the bounds are small, or nothing at all.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import orjson
import pytest

from service.core.fetching.batch import BatchLimits, BatchRequest, BatchState, Failure, Keep, Options
from service.core.fetching.task import FetchTask
from service.core.owner import Owner
from service.core.room import Room
from service.core.topics.reader import OnLag
from service.upstream.attempt import Attempt, Fetched
from tests.core.readers import FakeReader
from tests.upstream.test_batches import Bench

STEPS = 200
KERNEL = 300.0
"""Seconds after which the kernel ends a connection whose peer takes nothing."""


class Upstream:
    """Answers as chance has it, within the time of the order like the real fetcher."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.bench: Bench | None = None

    async def __call__(self, order: Attempt) -> Fetched | Failure:
        assert self.bench is not None
        size = self.chance.choice((0, 10, 1000, 20_000))
        reading = self.bench.fetcher.reading
        reading.take(order.owner, size)
        try:
            async with asyncio.timeout(order.timeout):
                return await self._answer(order, size)
        except TimeoutError:
            return Failure("timeout", "too slow")
        finally:
            reading.give_back(order.owner, size)

    async def _answer(self, order: Attempt, size: int) -> Fetched | Failure:
        kind = self.chance.random()
        await asyncio.sleep(1000.0 if kind < 0.05 else self.chance.choice((0.0, 0.01, 0.5, 3.0)))
        if kind < 0.15:
            return Failure("connect", "no connection")
        status, headers = (503, {"retry-after": "2"}) if kind < 0.2 else (200, {})
        return Fetched(status, order.target, headers, b"x" * size, truncated=False)


class Model:
    """The engine, what it was asked, and what it sent."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = Random(seed)
        upstream = Upstream(chance)
        limits = BatchLimits(
            retained_bytes=chance.choice((0, 5000, 100_000, 1 << 20)),
            reading_bytes=chance.choice((0, 30_000, 1 << 20)),
            credit=chance.choice((0, 1000, 50_000)),
            active=chance.choice((1, 5, 50)),
            active_per_client=chance.choice((1, 4, 25)),
            active_per_host=chance.choice((1, 3, 20)),
            hosts_shared=chance.random() < 0.5,
            retention=20.0,
            linger=10.0,
        )
        self.used = 0
        self.swings = chance.random() < 0.5
        """Whether the machine is short of memory now and then."""
        room = Room(100 << 20, lambda: self.used, asyncio.get_running_loop().time)
        self.bench = upstream.bench = Bench(upstream, limits, room)
        self.batches: list[BatchState] = []
        self.readers: dict[FakeReader, float] = {}
        """Each reader, and since when it is stuck."""
        self.reported: dict[str, list[dict[str, Any]]] = {}
        self.late: list[tuple[str, int, float]] = []
        self.deadlines: dict[tuple[str, int], float] = {}
        self._listen()

    def _listen(self) -> None:
        plan, retention = self.bench.runner.plan, self.bench.batches.retention
        admit, append = plan._admit, retention.append

        def admitted(queue: Any, work: FetchTask, now: float) -> bool:
            self.deadlines[work.batch.id, work.index] = work.deadline
            return admit(queue, work, now)

        def appended(batch: BatchState, event: Mapping[str, Any], now: float) -> Any:
            reported = orjson.loads(orjson.dumps(event))
            self.reported.setdefault(batch.id, []).append(reported)
            deadline = self.deadlines.get((batch.id, reported.get("index", -1)), now)
            if now > deadline + 1.0:
                self.late.append((batch.id, reported["index"], now - deadline))
            return append(batch, event, now)

        plan._admit, retention.append = admitted, appended  # type: ignore[method-assign]

    def step(self) -> None:
        if self.swings and self.chance.random() < 0.05:
            self.used = (100 << 20) - self.used
        choices = (self.start, self.start, self.join, self.join, self.stall, self.leave, self.cancel)
        self.chance.choice(choices)()

    def start(self) -> None:
        chance = self.chance
        urls = [
            f"http://h{chance.randrange(4)}.example/{chance.randrange(20)}" for _ in range(chance.randrange(1, 30))
        ]
        if chance.random() < 0.2:
            urls[0] = chance.choice(("nonsense", "http://127.0.0.1/", "http://h0.example/\ud83d"))
        options = Options(
            concurrency=chance.choice((1, 5, 100)),
            timeout=chance.choice((0.5, 5.0, 60.0)),
            retries=chance.randrange(3),
        )
        keep = chance.choice(tuple(Keep))
        batch = self.bench.batches.start(
            BatchRequest(urls=urls, options=options), owner=Owner(f"o{chance.randrange(4)}"), keep=keep
        )
        self.batches.append(batch)
        if keep is not Keep.DETACHED:
            self._read(batch)

    def join(self) -> None:
        batch = self.chance.choice(self.batches)
        if self.bench.hub.topics.get(batch.topic.name) is batch.topic:
            self._read(batch)

    def _read(self, batch: BatchState) -> None:
        reader = FakeReader(batch.topic, self.chance.choice(tuple(OnLag)))
        self.bench.hub.attach(reader, self.chance.choice(("oldest", "newest")))
        self.readers[reader] = 0.0

    def stall(self) -> None:
        attached = [reader for reader in self.readers if reader.attached]
        if attached:
            reader = self.chance.choice(attached)
            reader.stuck = not reader.stuck
            self.readers[reader] = asyncio.get_running_loop().time()
            self.bench.hub.wake(reader.topic)

    def leave(self) -> None:
        for reader in [reader for reader in self.readers if self.chance.random() < 0.1]:
            reader.detach()

    def cancel(self) -> None:
        running = [batch for batch in self.batches if not batch.done]
        if running and self.chance.random() < 0.3:
            self.bench.batches.cancel(self.chance.choice(running).id)

    def kernel(self) -> None:
        now = asyncio.get_running_loop().time()
        for reader, since in tuple(self.readers.items()):
            if not reader.attached:
                del self.readers[reader]
            elif reader.stuck and now - since > KERNEL:
                reader.detach()

    def check(self) -> None:
        assert self.late == []
        for batch in self.batches:
            *events, done = self.reported[batch.id]
            assert done["event"] == "done", batch
            assert Counter(event["index"] for event in events) == Counter(range(batch.total))
            outcomes = Counter(event["event"] for event in events)
            assert (outcomes["result"], outcomes["failed"]) == (done["ok"], done["failed"])


@pytest.mark.parametrize("seed", range(8))
async def test_every_url_ends_once_and_in_time(seed: int) -> None:
    loop = asyncio.get_running_loop()
    model = Model(seed)
    model.start()
    for _ in range(STEPS):
        model.step()
        model.kernel()
        await asyncio.sleep(model.chance.choice((0.0, 0.0, 0.01, 0.3, 2.0)))
    for _ in range(60):
        if all(batch.done for batch in model.batches):
            break
        model.kernel()
        await asyncio.sleep(20.0)
    model.check()
    assert model.bench.batches.running == 0
    for reader in model.readers:
        reader.detach()
    await asyncio.sleep(30.0)
    assert model.bench.hub.log_bytes == 0
    assert model.bench.batches.retention.pool.used == model.bench.fetcher.reading.used == 0
    plan = model.bench.runner.plan
    assert (plan.active, plan._owners, plan._queues, plan.parking.waiting) == (0, {}, {}, 0)
    assert model.bench.runner.hosts._active == {}
    assert loop.time() > 0
