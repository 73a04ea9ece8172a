"""Batches on disk are bounded: the client that keeps most loses some, and errors name the share that is used up."""

import asyncio
from dataclasses import replace

import pytest

from service.core.errors import LimitReached, NotFound
from service.core.fetching.batch import Batch
from service.core.fetching.outcome import Fetched
from service.core.owner import Owner
from service.core.topics.topic import OnLag
from service.upstream.attempts import FetchAttempt
from tests.core.readers import FakeReader
from tests.upstream.batch_disk import BatchDisk, Running, url
from tests.upstream.test_batches import LIMITS, Bench
from tests.upstream.test_batches_on_disk import Half
from tests.upstream.test_one_bad_item import raising

BOUND = 300_000
EACH = 10
"""Results of a batch; with 2,000 bytes each it keeps about 26,000 bytes."""


async def finished(life: Running, owner: str, count: int) -> list[Batch]:
    """Have an owner keep some finished batches, one after another."""
    batches = []
    for _ in range(count):
        batches.append(life.start(EACH, retries=0, owner=owner))
        await asyncio.sleep(1)
    assert all(batch.topic.final for batch in batches)
    return batches


def kept(life: Running, batches: list[Batch]) -> list[bool]:
    """Return which batches are still there."""
    found = []
    for batch in batches:
        try:
            found.append(life.batches.find(batch.id) is batch)
        except NotFound:
            found.append(False)
    return found


async def test_the_oldest_finished_batch_of_the_client_that_keeps_most_gives_way(disk: BatchDisk) -> None:
    life = await disk.open(Half(10_000, 2_000), stored_bytes=BOUND)
    few = await finished(life, "few", 2)
    many = await finished(life, "many", 20)
    pool = life.batches.stored.pool
    assert pool.used <= BOUND
    assert kept(life, few) == [True] * 2
    there = kept(life, many)
    assert there == sorted(there), "the oldest go first"
    assert 5 < sum(there) < 20
    more = await finished(life, "few", 3)
    assert all(kept(life, few + more)), "the other keeps more"
    assert sum(kept(life, many)) < sum(there)
    assert pool.used <= BOUND
    assert pool.refused > 0


async def test_what_gave_way_leaves_the_disk(disk: BatchDisk) -> None:
    life = await disk.open(Half(10_000, 2_000), stored_bytes=BOUND)
    await finished(life, "many", 40)
    life.storage.batches.expire()
    await asyncio.sleep(1)
    assert len(life.storage.batches) == life.batches.statistics().retained < 20
    disk.kill()
    again = await disk.open(Half(0), stored_bytes=BOUND)
    assert again.batches.stored.pool.used == pytest.approx(life.batches.stored.pool.used, rel=0.06)


async def test_a_running_batch_ends_within_its_share_and_hurts_nobody_else(
    disk: BatchDisk, caplog: pytest.LogCaptureFixture
) -> None:
    life = await disk.open(Half(10_000, 2_000), stored_bytes=BOUND)
    greedy = life.start(300, retries=0, owner="greedy")
    other = life.start(EACH, retries=0, owner="other")
    await asyncio.sleep(1)
    after = await life.all_of(greedy.id)
    assert after[-1]["event"] == "done"
    failed = [event for event in after if event.get("error") == "too_large"]
    assert 100 < len(failed) < 300
    assert "limit stored_batches" in failed[-1]["detail"]
    assert "its share" in failed[-1]["detail"]
    assert "wait for others to end, lower max_bytes, or split the batch" in failed[-1]["detail"]
    kept_bytes = sum(len(event.get("body", "")) for event in after)
    assert BOUND / 3 < kept_bytes < BOUND * 4 / 5
    (warning,) = [record.__dict__ for record in caplog.records if "share of the disk" in record.message]
    assert (warning["batch"], warning["readers"]) == (greedy.id, 0)
    assert (warning["held_bytes"] > BOUND / 2, warning["share_bytes"]) == (True, BOUND * 4 // 9)
    assert not any(event.get("error") == "too_large" for event in await life.all_of(other.id))


async def test_a_result_that_is_larger_than_what_is_left_fails_alone(disk: BatchDisk) -> None:
    life = await disk.open(Half(1, BOUND), stored_bytes=BOUND)
    batch = life.start(1, retries=0, owner="greedy")
    await asyncio.sleep(1)
    event, _ = await life.all_of(batch.id)
    assert event["error"] == "too_large"
    small = life.start(1, retries=0, owner="greedy")
    await asyncio.sleep(1)
    assert not small.outgrown


async def all_but_the_last(order: FetchAttempt) -> Fetched:
    await asyncio.sleep(0.01)
    if order.target.url == url(EACH - 1):
        await asyncio.Event().wait()
    return Fetched(200, order.target, {}, b"b" * 2_000, truncated=False)


async def begin_many(life: Running, owner: str, count: int) -> None:
    for _ in range(count):
        life.start(EACH, retries=0, owner=owner, timeout=300)
        await asyncio.sleep(1)


async def test_a_client_whose_running_batches_use_up_its_share_is_refused_by_name(disk: BatchDisk) -> None:
    life = await disk.open(all_but_the_last, stored_bytes=BOUND)
    why = f"limit stored_batches: this client has .* its share of {BOUND}"
    with pytest.raises(LimitReached, match=why) as refused:
        await begin_many(life, "greedy", 19)
    assert refused.value.pool == "stored_batches"
    assert BOUND / 2 < life.batches.stored.pool.used < BOUND
    await begin_many(life, "other", 1)


async def test_a_finished_batch_that_is_read_does_not_give_way(disk: BatchDisk) -> None:
    class Stuck(FakeReader):
        def visit(self) -> None:
            pass

    life = await disk.open(Half(10_000, 2_000), stored_bytes=BOUND)
    (read,) = await finished(life, "many", 1)
    life.hub.attach(Stuck(read.topic, OnLag.DISCONNECT), "oldest")
    many = await finished(life, "many", 20)
    assert kept(life, [read, many[0]]) == [True, False]


async def test_a_finished_batch_that_cannot_be_dropped_refuses_nobody(disk: BatchDisk) -> None:
    life = await disk.open(Half(10_000, 2_000), stored_bytes=BOUND)
    (first,) = await finished(life, "many", 1)
    lifecycle = life.batches.lifecycle
    lifecycle.forget_key = raising(  # type: ignore[method-assign]
        lifecycle.forget_key, lambda batch: batch is first
    )
    await finished(life, "many", 20)
    assert life.batches.stored.pool.used <= BOUND


async def test_a_restart_counts_what_is_kept_and_its_end_gives_it_back(disk: BatchDisk) -> None:
    life = await disk.open(Half(45, 2_000), stored_bytes=BOUND)
    await finished(life, "a", 2)
    await finished(life, "b", 2)
    running = life.start(EACH, retries=0, owner="b", timeout=300)
    await asyncio.sleep(1)
    before = life.batches.stored.pool
    assert running.ok
    disk.kill()
    again = await disk.open(Half(0), stored_bytes=BOUND)
    after = again.batches.stored.pool
    for owner in map(Owner, "ab"):
        assert after.held(owner) == pytest.approx(before.held(owner), rel=0.06)
    assert after.held(Owner("b")) > after.held(Owner("a")) > 40_000
    again.batches.cancel(running.id)
    await asyncio.sleep(601)
    assert (after.used, again.batches.statistics().retained) == (0, 0)


async def test_a_directory_that_has_more_than_a_lower_bound_gives_way_to_the_next_batch(disk: BatchDisk) -> None:
    life = await disk.open(Half(10_000, 2_000), stored_bytes=BOUND)
    await finished(life, "a", 8)
    disk.kill()
    again = await disk.open(Half(10_000, 2_000), stored_bytes=BOUND // 3)
    assert again.batches.stored.pool.used > BOUND // 3
    await finished(again, "a", 1)
    assert again.batches.stored.pool.used <= BOUND // 3


async def test_batches_in_memory_alone_are_not_counted() -> None:
    bench = Bench(Half(10_000, 2_000), replace(LIMITS, stored_bytes=1024))
    batches = [bench.start(EACH) for _ in range(3)]
    await asyncio.sleep(5)
    assert [batch.failed for batch in batches] == [batches[0].failed] * 3
    assert bench.batches.stored.pool.used == 0
    assert not any(batch.outgrown for batch in batches)
