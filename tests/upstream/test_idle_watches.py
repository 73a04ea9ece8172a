"""Watches that are kept: who comes back, also after a restart, gets what has changed and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.core.fetching.outcome import Failure
from service.core.pending import Pending
from service.core.pieces import Pieces
from service.core.ports import KeptWatch, PublishKey, UrlOutcome
from service.core.topics.position import Position
from service.core.topics.topic import Since, Topic
from service.sources.watches import WatchLimits
from tests.core.stores import FakeStore
from tests.upstream.test_batches import FakeReader
from tests.upstream.test_watches import URL, Page, Watched, names, reported
from tests.upstream.watch_stores import Kept, WatchStoreContract


class Topics(FakeStore):
    """Answers each append in the next turn of the loop; refuses all of them while it is ``full``."""

    full = False

    def append(
        self, topic: Topic, data: bytes | Pieces, now: float, key: PublishKey | UrlOutcome | None
    ) -> Pending[Position]:
        pending = super().append(topic, data, now, key)
        asyncio.get_running_loop().call_soon(self.fail if self.full else self.answer)
        return pending


class TestFakeStore(WatchStoreContract):
    @pytest.fixture
    def store(self) -> Kept:
        return Kept()


class Disk:
    """What outlives a service."""

    def __init__(self) -> None:
        self.page = Page()
        self.topics = Topics()
        self.kept = Kept()

    @asynccontextmanager
    async def service(self, **limits: Any) -> AsyncIterator["Service"]:
        """Run one over it."""
        bench = Service(self.page, WatchLimits(**limits), self.topics, self.kept)
        try:
            yield bench
        finally:
            await bench.watches.close()
            await bench.close()


class Service(Watched):
    """A service that has read what is kept."""

    def __init__(self, page: Page, limits: WatchLimits, topics: Topics, kept: Kept) -> None:
        page.orders.clear()
        super().__init__(page, limits, topics, kept, [name for name, one in topics.topics.items() if one.messages])

    def resume(self, since: Since, select: str | None = None) -> tuple[FakeReader, bool]:
        """Come back with a position; return the reader, and whether it was recovered."""
        reader = FakeReader(self.watches.watch(URL, 1.0, select).topic)
        return reader, self.hub.attach(reader, since).recovered

    def leave(self, reader: FakeReader, watching: Any) -> None:
        """End a client's interest."""
        reader.detach()
        watching.release()


async def state(disk: Disk, select: str | None = None) -> Position:
    """Have a watch see its first state, and the service end; return the watcher's position."""
    async with disk.service() as bench:
        reader, _ = bench.watch(select=select)
        await asyncio.sleep(3)
        assert names(reader) == ["state"]
        return reader.topic.position


async def test_a_watcher_that_comes_back_after_a_restart_gets_only_what_has_changed() -> None:
    disk = Disk()
    position = await state(disk)
    async with disk.service() as bench:
        reader, recovered = bench.resume(position)
        await asyncio.sleep(5)
        assert (recovered, reader.lines) == (True, [])
        assert all(disk.page.conditional), "the validators were kept"
        assert len(disk.page.orders) >= 5


async def test_what_changed_meanwhile_is_one_message_with_the_next_offset() -> None:
    disk = Disk()
    position = await state(disk)
    disk.page.body = b"two"
    async with disk.service() as bench:
        reader, recovered = bench.resume(position)
        await asyncio.sleep(5)
        assert recovered
        assert [(event["event"], event["body"]) for event in reported(reader)] == [("changed", "two")]
        assert reader.topic.position == Position(position.epoch, position.offset + 1)


async def test_a_new_watcher_has_the_last_state_at_once_though_the_upstream_is_gone() -> None:
    disk = Disk()
    await state(disk)
    disk.page.failure = Failure("connect", "no connection")
    async with disk.service() as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(5)
        assert names(reader) == ["state", "error"]


async def test_a_selection_goes_on_where_it_was_and_another_one_asks_for_all_of_it() -> None:
    disk = Disk()
    disk.page.body = b'{"a": 1, "b": 2}'
    position = await state(disk, "/a")
    async with disk.service() as bench:
        reader, recovered = bench.resume(position, "/a")
        await asyncio.sleep(3)
        assert (recovered, reader.lines) == (True, [])
        assert all(disk.page.conditional)
        other, _ = bench.watch(select="/b")
        await asyncio.sleep(3)
        assert [event["body"] for event in reported(other)] == ["2"]
        assert reader.lines == []


async def test_two_selections_of_one_url_share_the_conditions_of_their_answer() -> None:
    disk = Disk()
    disk.page.body = b'{"a": 1, "b": 2}'
    async with disk.service() as bench:
        readers = [bench.watch(select=select)[0] for select in ("/a", "/b")]
        await asyncio.sleep(3)
        positions = [reader.topic.position for reader in readers]
    async with disk.service() as bench:
        again = [
            bench.resume(position, select)[0] for position, select in zip(positions, ("/a", "/b"), strict=True)
        ]
        await asyncio.sleep(3)
        assert all(disk.page.conditional)
        assert [reader.lines for reader in again] == [[], []]


async def test_an_error_that_was_not_over_is_over_for_those_who_come_back() -> None:
    disk = Disk()
    async with disk.service() as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(2)
        disk.page.failure = Failure("connect", "no connection")
        await asyncio.sleep(3)
        assert names(reader) == ["state", "error"]
        position = reader.topic.position
    async with disk.service() as bench:
        again, _ = bench.resume(position)
        await asyncio.sleep(3)
        assert again.lines == [], "the same error is sent once"
        disk.page.failure = None
        await asyncio.sleep(3)
        assert names(again) == ["recovered"]


@pytest.mark.parametrize("lost", ["record", "state", "other state"])
async def test_conditions_without_the_state_that_they_belong_to_are_not_sent(lost: str) -> None:
    disk = Disk()
    position = await state(disk)
    [(name, kept)] = disk.kept.items()
    if lost == "record":
        disk.kept.clear()
    elif lost == "state":
        messages = disk.topics.topics[name].messages
        messages[-1] = None  # it was damaged
    else:
        # The record of a state whose message never reached the disk.
        disk.kept[name] = KeptWatch("200 of another", kept.conditions)
        disk.page.body = b"two"
    async with disk.service() as bench:
        reader, _ = bench.resume(position)
        await asyncio.sleep(3)
        assert not disk.page.conditional[0]
        assert names(reader) == {"record": [], "state": ["state"], "other state": ["changed"]}[lost]


async def test_what_could_not_be_stored_is_sent_when_it_can_be() -> None:
    disk = Disk()
    async with disk.service() as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(2)
        disk.topics.full = True
        disk.page.body = b"two"
        await asyncio.sleep(2)
        disk.page.failure = Failure("connect", "no connection")
        await asyncio.sleep(2)
        assert names(reader) == ["state"]
        disk.topics.full = False
        await asyncio.sleep(2)
        assert names(reader) == ["state", "error"]
        disk.topics.full, disk.page.failure = True, None
        await asyncio.sleep(3)
        disk.topics.full = False
        await asyncio.sleep(2)
        assert names(reader)[:2] == ["state", "error"]
        assert sorted(names(reader)[2:]) == ["changed", "recovered"]


async def test_one_that_nobody_watches_waits_and_is_asked_for_nothing() -> None:
    disk = Disk()
    async with disk.service(idle_age=3600.0) as bench:
        reader, watching = bench.watch()
        await asyncio.sleep(3)
        position = reader.topic.position
        bench.leave(reader, watching)
        await asyncio.sleep(3500)
        assert bench.watches.statistics().idle == 1
        disk.page.orders.clear()
        again, watched = bench.watch()
        assert bench.watches.statistics().idle == 0
        await asyncio.sleep(3)
        assert names(again) == ["state"]
        assert all(disk.page.conditional)
        assert again.topic.position == position
        bench.leave(again, watched)
        await asyncio.sleep(3700)
        assert bench.watches.statistics().idle == 0
        assert (bench.hub.topics, disk.kept) == ({}, {})


async def test_those_beyond_the_bounds_are_forgotten_the_longest_idle_first() -> None:
    disk = Disk()
    async with disk.service(idle=2) as bench:
        for number in range(3):
            reader, watching = bench.watch(f"http://h{number}.example/")
            await asyncio.sleep(1)
            bench.leave(reader, watching)
            await asyncio.sleep(5)
        assert bench.watches.statistics().idle == 2
        assert [reported["url"] for reported in _states(bench)] == ["http://h1.example/", "http://h2.example/"]
        assert len(disk.kept) == 2
        bench.watches._idle._size = 1
        reader, watching = bench.watch("http://h3.example/")
        await asyncio.sleep(1)
        bench.leave(reader, watching)
        await asyncio.sleep(5)
        assert (bench.watches.statistics().idle, len(disk.kept), bench.hub.topics) == (0, 0, {})


def _states(bench: Service) -> list[dict[str, Any]]:
    readers = [FakeReader(topic) for topic in bench.hub.topics.values()]
    for reader in readers:
        bench.hub.attach(reader, "oldest")
        reader.visit()
    return [reported(reader)[0] for reader in readers]
