"""The states of a batch: the table in the module's text is what the code does, pair by pair."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from service.core.fetching.batch import Batch, BatchLimits, BatchRequest, Keep
from service.core.fetching.outcome import Failure
from service.core.owner import Owner
from service.sources import lifecycle as module
from service.sources.batches import _SLICE, Batches
from tests.core.stores import FakeStore
from tests.core.test_batch_store import LateBatches
from tests.state_tables import transitions
from tests.upstream.test_batches import Bench, never

EVENTS = ("accepted", "refused", "url_ends", "last_ends", "cancel", "abandon", "stored", "expire")
LIMITS = BatchLimits(linger=60.0, retention=600.0)
COUNT = _SLICE + 100
"""URLs: the failures of a cancel do not fit into one turn."""
TABLE = transitions(module, EVENTS)
WAY = {
    "ACCEPTING": (),
    "RUNNING": ("accepted",),
    "CANCELLING": ("accepted", "cancel"),
    "STORING": ("accepted", "last_ends"),
    "KEPT": ("accepted", "last_ends", "stored"),
    "GONE": ("refused",),
}


class Walk:
    """One batch of a service whose stores answer when the test says so."""

    def __init__(self) -> None:
        self.topics, self.store = FakeStore(), LateBatches()
        self.bench = Bench(never, LIMITS, store=self.topics)
        bench = self.bench
        self.batches = Batches(
            bench.hub, bench.fetcher, bench.runner, LIMITS, new_id=lambda: "b", store=self.store  # type: ignore[arg-type]
        )  # fmt: skip
        urls = [f"http://h{number % 50}.example/{number}" for number in range(COUNT)]
        self.batch: Batch = self.batches.start(BatchRequest(urls=urls), owner=Owner("o"), keep=Keep.LINGER)

    def state(self) -> str:
        batch = self.batch
        if batch.id not in self.batches._batches:
            known = batch.accepted is not None and batch.accepted.known
            return "GONE" if known or batch.done else "ACCEPTING"
        if batch.done:
            return "KEPT" if batch.topic.final else "STORING"
        return "CANCELLING" if batch.cancelled else "RUNNING"

    def end(self, index: int) -> None:
        self.batches.failed(self.batch, index, Failure("connect", "refused"), 1, {})

    def refuse(self) -> None:
        self.store.fails = True
        self.store.answer()

    def end_all(self) -> None:
        for index in range(COUNT):
            self.end(index)

    def cancel(self) -> None:
        self.batches.cancel(self.batch.id)
        self.store.answer()

    def store_events(self) -> None:
        while self.topics.appends:
            self.topics.answer()

    async def happen(self, event: str) -> None:
        if event == "expire":
            await asyncio.sleep(LIMITS.retention + 1)
            return
        calls: dict[str, Callable[[], None]] = {
            "accepted": self.store.answer, "refused": self.refuse,
            "url_ends": lambda: self.end(self.batch.finished.index(0)), "last_ends": self.end_all,
            "cancel": self.cancel, "stored": self.store_events,
            # As its timer does: the next turn of the loop would already fail what is left.
            "abandon": lambda: self.batches.lifecycle._abandon(self.batch),
        }  # fmt: skip
        calls[event]()

    async def close(self) -> None:
        self.store_events()
        self.batches.close()
        self.store.answer()
        await self.bench.close()


@pytest.fixture
async def walk() -> AsyncIterator[Walk]:
    walk = Walk()
    yield walk
    await walk.close()


def test_the_table_has_every_state() -> None:
    assert {state for state, _ in TABLE} == set(WAY)


@pytest.mark.parametrize(("state", "event"), [pair for pair, following in TABLE.items() if following])
async def test_each_pair_of_the_table_is_what_happens(walk: Walk, state: str, event: str) -> None:
    for before in WAY[state]:
        await walk.happen(before)
    assert walk.state() == state
    await walk.happen(event)
    assert walk.state() == TABLE[state, event]


@pytest.mark.parametrize("way", WAY.values())
async def test_its_places_are_held_until_its_last_url_has_ended(walk: Walk, way: tuple[str, ...]) -> None:
    for event in way:
        await walk.happen(event)
    held = walk.state() in ("ACCEPTING", "RUNNING", "CANCELLING")
    assert walk.batches.lifecycle.pool.held(Owner("o")) == held
    assert (walk.batches.lifecycle.queued.held(Owner("o")) > 0) == held


async def test_a_change_that_is_not_stored_is_refused_to_those_alone_who_asked_for_it(walk: Walk) -> None:
    await walk.happen("accepted")
    detached: list[Batch] = []
    walk.batches.lifecycle.detach(walk.batch, detached.append)
    first = walk.batch.accepted
    walk.batches.lifecycle.detach(walk.batch, detached.append)
    second = walk.batch.accepted
    walk.refuse()
    assert "StorageFailed" in repr(first)
    assert "StorageFailed" in repr(second)
    assert (walk.batch.accepted, walk.batch.keep, detached) == (None, Keep.LINGER, [])


@pytest.mark.parametrize("stored", [True, False])
async def test_one_that_is_being_detached_is_not_abandoned_before_that_is_stored(walk: Walk, stored: bool) -> None:
    await walk.happen("accepted")
    await asyncio.sleep(LIMITS.linger - 1)
    walk.batches.lifecycle.detach(walk.batch, lambda _: None)
    await asyncio.sleep(5)
    assert not walk.batch.cancelled
    if stored:
        walk.store.answer()
    else:
        walk.refuse()
    walk.batches.lifecycle._abandon(walk.batch)
    assert walk.batch.cancelled is not stored


async def test_one_that_nobody_reads_is_abandoned_after_the_linger(walk: Walk) -> None:
    await walk.happen("accepted")
    await asyncio.sleep(LIMITS.linger - 1)
    assert walk.state() == "RUNNING"
    await asyncio.sleep(2)
    assert walk.state() == "STORING", "what was left has failed"
