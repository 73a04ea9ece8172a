"""Delivery by turns: a turn of the loop carries only so much, and all of it comes, in order."""

import asyncio
from collections import Counter
from itertools import pairwise
from typing import Any

from service.core.fetching.batch import BatchRequest, Keep, Options
from service.core.owner import Owner
from service.upstream.attempt import Attempt, Fetched
from tests.upstream.test_batches import Bench, events


class Turns:
    """Counts the bytes of the bodies that are delivered in each turn of the loop."""

    def __init__(self, bench: Bench) -> None:
        self.bytes: Counter[int] = Counter()
        self.events: Counter[int] = Counter()
        self.order: list[int] = []
        self.landed: list[int] = []
        self._now = 0
        self._succeeded = bench.batches.succeeded
        bench.batches.succeeded = self._count  # type: ignore[method-assign]
        self._task = asyncio.create_task(self._go_on())

    async def _go_on(self) -> None:
        while True:
            self._now += 1
            await asyncio.sleep(0)

    def _count(self, work: Any, fetched: Fetched, queued: float, *, shared: bool) -> None:
        self.bytes[self._now] += len(fetched.body)
        self.events[self._now] += 1
        self.order.append(work.index)
        self.landed.append(work.batch.landed)
        self._succeeded(work, fetched, queued, shared=shared)

    async def run(self, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    def close(self) -> None:
        self._task.cancel()


def large(size: int) -> Any:
    async def answer(order: Attempt) -> Fetched:
        await asyncio.sleep(0)
        return Fetched(200, order.target, {"content-type": "text/plain"}, b"x" * size, truncated=False)

    return answer


async def test_large_bodies_that_land_together_are_delivered_in_several_turns_and_in_order() -> None:
    bench = Bench(large(1 << 20))
    turns = Turns(bench)
    batch = bench.start(16, concurrency=16)
    await turns.run(100)
    turns.close()
    assert batch.done
    assert batch.ok == 16
    assert turns.order == list(range(16))
    assert max(turns.bytes.values()) <= 2 << 20
    # What is not delivered yet counts as landed still.
    assert turns.landed == [(15 - number) * ((1 << 20) + 300) for number in range(16)]
    assert batch.landed == 0
    await bench.close()


async def test_small_bodies_go_many_at_a_time_and_the_copies_of_one_count_each() -> None:
    bench = Bench(large(10_000))
    turns = Turns(bench)
    batch = bench.start(16)
    await turns.run(20)
    assert batch.done
    assert turns.events.most_common(1)[0][1] == 16
    urls = BatchRequest(urls=["http://h.example/"] * 500, options=Options(concurrency=500))
    turns.events.clear()
    copies = bench.batches.start(urls, owner=Owner("o"), keep=Keep.DETACHED)
    await turns.run(100)
    turns.close()
    assert copies.done
    assert len(bench.fetcher.orders) == 17
    assert 10 < max(turns.events.values()) <= 100
    await bench.close()


async def test_what_lands_for_another_owner_does_not_wait_for_all_that_landed_before() -> None:
    bench = Bench(large(512 << 10))
    turns = Turns(bench)
    many = bench.start(100, owner="many", concurrency=100)
    while many.landed < 15 * (512 << 10):
        await turns.run(1)
    before = many.ok
    urls = BatchRequest(urls=[f"http://other.example/{number}" for number in range(4)])
    one = bench.batches.start(urls, owner=Owner("one"), keep=Keep.DETACHED)
    while not one.done:
        await turns.run(1)
    # One each by turns, while it is fetched and then delivered: in the order in which they landed it would be all 15.
    assert many.ok - before <= 12
    await turns.run(200)
    assert many.ok == 100
    turns.close()
    await bench.close()


async def test_who_joined_a_flight_of_another_owner_gets_its_outcome_in_a_turn_of_its_own() -> None:
    bench = Bench(large(1 << 20))
    turns = Turns(bench)
    urls = BatchRequest(urls=["http://h.example/"] * 100, options=Options(concurrency=100))
    many = bench.batches.start(urls, owner=Owner("many"), keep=Keep.DETACHED)
    one = bench.batches.start(BatchRequest(urls=["http://h.example/"]), owner=Owner("one"), keep=Keep.DETACHED)
    while not one.done:
        await turns.run(1)
    assert len(bench.fetcher.orders) == 1
    assert many.ok < 10
    await turns.run(200)
    turns.close()
    assert many.ok == 100
    await bench.close()


async def test_a_bug_in_one_body_of_several_turns_fails_that_one_alone() -> None:
    bench = Bench(large(1 << 20))
    turns = Turns(bench)
    append = bench.batches.retention.append

    def raising(batch: Any, event: Any, now: float) -> None:
        if event.get("index") == 5 and event["event"] == "result":
            raise RuntimeError("a bug")
        append(batch, event, now)

    bench.batches.retention.append = raising  # type: ignore[method-assign]
    reader = bench.read(batch := bench.start(16))
    await turns.run(100)
    turns.close()
    assert (batch.ok, batch.failed, batch.landed) == (15, 1, 0)
    assert [event["index"] for event in events(reader) if event["event"] == "failed"] == [5]
    await bench.close()


async def test_what_has_landed_is_delivered_though_the_runner_is_closed() -> None:
    bench = Bench(large(1 << 20))
    turns = Turns(bench)
    batch = bench.start(16)
    while not turns.order:
        await turns.run(1)
    assert batch.landed
    await bench.runner.close()
    turns.close()
    assert batch.done
    assert batch.ok == 16
    await bench.close()


async def test_rejections_and_answers_of_the_cache_are_spread_over_turns() -> None:
    bench = Bench(large(10))
    turns = Turns(bench)
    rejected = bench.batches.start(BatchRequest(urls=["nonsense"] * 500), owner=Owner("o"), keep=Keep.DETACHED)
    counts = [0]
    while not rejected.done:
        await turns.run(1)
        counts.append(rejected.failed)
    assert max(after - before for before, after in pairwise(counts)) <= 100
    bench.fetcher.recall = lambda order: Fetched(200, order.target, {}, b"x" * (1 << 20), truncated=False)  # type: ignore[method-assign]
    batch = bench.start(16)
    await turns.run(100)
    turns.close()
    assert batch.done
    assert max(turns.bytes.values()) <= 2 << 20
    await bench.close()


async def test_nothing_begins_while_much_waits_to_be_delivered() -> None:
    bench = Bench(large(1 << 20))
    batches = [bench.start(50, owner=f"o{number}", headers={"x": f"{number}"}, body="none") for number in range(10)]
    most = 0
    while not all(batch.done for batch in batches):
        await asyncio.sleep(0)
        most = max(most, sum(batch.landed for batch in batches))
    # What was under way comes on top.
    assert most <= 64 << 20
    assert all(batch.ok == 50 for batch in batches)
    await bench.close()
