"""The store on disk: what every store does, and what outlives the process."""

import asyncio
import shutil
from itertools import count
from pathlib import Path

import pytest

from service.core.errors import StorageFailed
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.ports import TopicStore
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.memory_store import MemoryStore
from service.core.topics.position import Position
from service.core.topics.topic import RingLimits, Topic
from service.core.topics.wire import Encoding
from service.storage.database import RowChanges
from service.storage.errors import CommitFailed, StorageUnusable
from service.storage.options import DataOptions
from service.storage.routed_store import RoutedStore
from service.storage.storage import Storage
from tests.core.test_topic_store import TopicStoreContract

A, B = Owner("a"), Owner("b")


class Disk:
    """A data directory that can be killed: what the files hold at that moment is opened anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.epochs = count(1)
        self.storages: list[Storage] = []
        self.now = 0.0

    async def open(self) -> Storage:
        """Open the newest state."""
        storage = await Storage.open(
            self.path,
            DataOptions(self.path, "full", (), 120.0),
            clock=lambda: self.now,
            new_epoch=lambda: f"e{next(self.epochs)}",
        )
        self.storages.append(storage)
        return storage

    async def kill(self) -> Storage:
        """Go on with a copy of the files as they are now, as after ``kill -9``."""
        before, self.path = self.path, self.path.with_name(self.path.name + "x")
        await asyncio.to_thread(shutil.copytree, before, self.path)
        return await self.open()

    def hub(self, storage: Storage, limits: HubLimits | None = None) -> Hub:
        """Return a hub over it."""
        loop = asyncio.get_running_loop()
        return Hub(limits or HubLimits(), storage.topics, call_soon=loop.call_soon, clock=lambda: self.now)

    async def close(self) -> None:
        """Close everything that was opened."""
        for storage in self.storages:
            await storage.close()


async def answer(pending: object) -> object:
    """Wait for what the store answers; raise what it refuses with."""
    if not isinstance(pending, Pending):
        return pending
    future = asyncio.get_running_loop().create_future()
    pending.on_settled(future.set_result)
    async with asyncio.timeout(30):
        outcome: object = await future
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def settled(storage: Storage) -> None:
    """Wait until all that was to be written is on disk."""
    writer = storage.writer
    async with asyncio.timeout(30):
        # What is read comes after what is written.
        while writer.waiting or writer._commit is not None:
            await asyncio.sleep(0.001)
        await answer(writer.read(lambda: True))


async def publish(hub: Hub, name: str, *datas: bytes, key: str | None = None, owner: Owner = A) -> object:
    """Publish one after another, and return the last position."""
    answers = [hub.publish(name, data, hub.clock(), key=key, owner=owner) for data in datas]
    return [await answer(one) for one in answers][-1]


def refuse(changes: RowChanges) -> None:
    """Fail as ``Database.write`` does on a full disk."""
    raise CommitFailed("the disk is full")


def datas(topic: Topic) -> list[tuple[int, bytes]]:
    """Return what a topic has, as its readers get it."""

    ring = topic.ring
    lines, after = [], ring.first - 1
    while after < ring.head:
        chunk, after = ring.chunk(after, Encoding.LINES)
        lines += chunk.splitlines()
    return [(number, line) for number, line in enumerate(lines, ring.first)]


class TestDiskStore(TopicStoreContract):
    """The contract of every store."""

    @pytest.fixture(autouse=True)
    async def _storage(self, disk: Disk) -> None:
        self.storage = await disk.open()

    def make(self) -> TopicStore:
        return self.storage.topics

    async def settle(self, store: TopicStore) -> None:
        async with asyncio.timeout(30):
            while "idle" not in repr(self.storage.writer):
                await asyncio.sleep(0.001)


async def test_topics_have_epoch_offsets_and_messages_after_a_kill(disk: Disk) -> None:
    hub = disk.hub(await disk.open())
    await publish(hub, "a", b"1", b"2", b"3")
    await publish(hub, "b", b'"x"')
    epochs = {name: hub.topics[name].epoch for name in "ab"}
    again = await disk.kill()
    hub = disk.hub(again)
    await again.open_topics(hub)
    assert {name: topic.epoch for name, topic in hub.topics.items()} == epochs
    assert datas(hub.topics["a"]) == [(n, b'{"offset":%d,"data":%d}' % (n, n)) for n in (1, 2, 3)]
    assert hub.topics["a"].owner == A
    assert await publish(hub, "a", b"4") == Position(epochs["a"], 4)
    assert (again.recovered.topics, again.recovered.messages, again.recovered.damaged) == (2, 4, 0)


async def test_an_epoch_that_a_subscriber_was_given_is_kept(disk: Disk) -> None:
    storage = await disk.open()
    topic = disk.hub(storage).ring("a", owner=A)
    assert isinstance(topic, Topic)
    async with asyncio.timeout(30):
        while "idle" not in repr(storage.writer):
            await asyncio.sleep(0.001)
    again = await disk.kill()
    hub = disk.hub(again)
    await again.open_topics(hub)
    assert hub.topics == {}
    assert again.topics.knows("a")
    opened = hub.ring("a", owner=B)
    assert isinstance(opened, Topic)
    assert opened.position == Position(topic.epoch, 0)


async def test_a_key_publishes_once_over_a_kill_for_each_owner(disk: Disk) -> None:
    hub = disk.hub(await disk.open())
    first = await publish(hub, "a", b"1", key="k")
    again = await disk.kill()
    hub = disk.hub(again)
    await again.open_topics(hub)
    assert await publish(hub, "a", b"1", key="k") == first
    assert await publish(hub, "a", b"1", key="k", owner=B) == Position(hub.topics["a"].epoch, 2)
    assert len(again.topics.keys) == 2


async def test_keys_are_forgotten_when_their_time_is_over(disk: Disk) -> None:
    storage = await disk.open()
    hub = disk.hub(storage)
    await publish(hub, "a", b"1", key="k")
    disk.now = 121.0
    storage.topics.expire(disk.now)
    await publish(hub, "a", b"2")
    assert len(storage.topics.keys) == 0
    again = await disk.kill()
    assert again.recovered.keys == 0


async def test_rows_of_messages_that_the_ring_gave_up_are_deleted(disk: Disk) -> None:
    storage = await disk.open()
    hub = disk.hub(storage, HubLimits(ring=RingLimits(messages=10)))
    await publish(hub, "a", *(b"%d" % n for n in range(500)))
    storage.topics.expire(0.0)
    await publish(hub, "b", b"1")
    again = await disk.kill()
    assert again.recovered.messages <= 12
    hub = disk.hub(again, HubLimits(ring=RingLimits(messages=10)))
    await again.open_topics(hub)
    assert datas(hub.topics["a"])[-1] == (500, b'{"offset":500,"data":499}')
    assert hub.topics["a"].first >= 490


async def test_two_sweeps_in_one_commit_delete_each_row_once(disk: Disk) -> None:
    storage = await disk.open()
    hub = disk.hub(storage, HubLimits(ring=RingLimits(messages=10)))
    for _ in range(2):
        await publish(hub, "a", *(b"%d" % n for n in range(100)))
        storage.topics.expire(0.0)
        storage.topics.expire(0.0)
    await publish(hub, "b", b"1")
    again = await disk.kill()
    assert again.recovered.messages == 11


async def test_rows_that_could_not_be_deleted_are_deleted_later(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = await disk.open()
    hub = disk.hub(storage, HubLimits(ring=RingLimits(messages=10)))
    await publish(hub, "a", *(b"%d" % n for n in range(100)))
    monkeypatch.setattr(storage._database, "write", refuse)
    storage.topics.expire(0.0)
    with pytest.raises(StorageFailed):
        await publish(hub, "a", b"1")
    monkeypatch.undo()
    storage.topics.expire(0.0)
    await publish(hub, "a", b"1")
    again = await disk.kill()
    assert again.recovered.messages == 11
    hub = disk.hub(again)
    await again.open_topics(hub)
    assert datas(hub.topics["a"])[-1] == (101, b'{"offset":101,"data":1}')


async def test_a_topic_that_has_aged_out_keeps_its_position(disk: Disk) -> None:
    storage = await disk.open()
    hub = disk.hub(storage)
    await publish(hub, "a", b"1", b"2")
    epoch = hub.topics["a"].epoch
    disk.now = 1000.0
    hub.sweep(disk.now)
    assert hub.topics == {}
    await publish(hub, "b", b"1")
    again = await disk.kill()
    assert again.recovered.messages == 1
    hub = disk.hub(again)
    assert await publish(hub, "a", b"3") == Position(epoch, 3)


async def test_the_age_of_a_ring_runs_on_while_the_service_is_down(disk: Disk) -> None:
    hub = disk.hub(await disk.open())
    await publish(hub, "a", b"1")
    # The next process has another zero of its clock, and its wall clock says 400 s later.
    disk.now = -400.0
    storage = await disk.kill()
    disk.now = 0.0
    hub = disk.hub(storage)
    await storage.open_topics(hub)
    hub.sweep(0.0)
    assert hub.topics == {}


async def test_a_commit_that_fails_refuses_its_messages_and_reuses_their_offsets(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = await disk.open()
    hub = disk.hub(storage)
    await publish(hub, "a", b"1")

    def fail(changes: RowChanges) -> None:
        raise CommitFailed("the disk is full")

    monkeypatch.setattr(storage._database, "write", fail)
    pending = [hub.publish("a", b"%d" % n, 0.0, key=f"k{n}", owner=A) for n in range(5)]
    pending.append(hub.publish("new", b"1", 0.0, owner=A))
    for one in pending:
        with pytest.raises(StorageFailed, match="the disk is full"):
            await answer(one)
    monkeypatch.undo()
    assert await publish(hub, "a", b"9", key="k1") == Position(hub.topics["a"].epoch, 2)
    new = await publish(hub, "new", b"1")
    again = await disk.kill()
    hub = disk.hub(again)
    await again.open_topics(hub)
    assert [line for _, line in datas(hub.topics["a"])] == [b'{"offset":1,"data":1}', b'{"offset":2,"data":9}']
    assert hub.topics["new"].position == new


async def test_what_is_dropped_stays_dropped_and_its_waiting_messages_are_refused(disk: Disk) -> None:
    storage = await disk.open()
    hub = disk.hub(storage)
    await publish(hub, "a", b"1")
    waiting = hub.publish("a", b"2", 0.0, owner=A)
    hub.drop(hub.topics["a"])
    with pytest.raises(StorageFailed):
        await answer(waiting)
    storage.topics.expire(0.0)
    await publish(hub, "b", b"1")
    again = await disk.kill()
    assert (again.recovered.topics, again.recovered.messages) == (1, 1)


async def test_what_could_not_be_deleted_is_when_there_is_room(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = await disk.open()
    hub = disk.hub(storage)
    await publish(hub, "a", b"1", key="k")

    monkeypatch.setattr(storage._database, "write", refuse)
    hub.drop(hub.topics["a"])
    disk.now = 121.0
    storage.topics.expire(disk.now)
    with pytest.raises(StorageFailed):
        await publish(hub, "b", b"1")
    monkeypatch.undo()
    storage.topics.expire(disk.now)
    await publish(hub, "b", b"1")
    again = await disk.kill()
    assert (again.recovered.topics, again.recovered.messages, again.recovered.keys) == (1, 1, 0)


async def test_a_client_whose_name_is_half_an_emoji_publishes_as_any_other(disk: Disk) -> None:
    odd = Owner("half an emoji: \ud83d")
    hub = disk.hub(await disk.open())
    first = await publish(hub, "a", b"1", key="k", owner=odd)
    again = await disk.kill()
    hub = disk.hub(again)
    await again.open_topics(hub)
    assert await publish(hub, "a", b"1", key="k", owner=odd) == first
    assert await publish(hub, "a", b"2", owner=odd) == Position(hub.topics["a"].epoch, 2)


async def test_a_file_that_cannot_be_read_is_one_line_for_the_operator(disk: Disk) -> None:
    storage = await disk.open()
    hub = disk.hub(storage)
    await publish(hub, "a", *(b"%d" % n for n in range(500)))
    await storage.close()
    disk.storages.clear()
    file = disk.path / "sluice.db"
    content = bytearray(file.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    file.write_bytes(content)
    with pytest.raises(StorageUnusable, match="is damaged; restore it from a backup"):
        await disk.open()


async def test_a_message_for_topics_on_disk_and_in_memory_is_in_all_or_in_none(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = await disk.open()
    memory = MemoryStore(lambda: "m")
    routed = RoutedStore(storage.topics, memory, storage.batches, lambda name: not name.startswith("v"))
    loop = asyncio.get_running_loop()
    hub = Hub(HubLimits(), routed, call_soon=loop.call_soon, clock=lambda: 0.0)
    positions = hub.publish_all(["a", "v1", "b"], b"1", 0.0, A)
    hub.publish("v1", b"0", 0.0, owner=A)
    assert await answer(positions) == [
        Position(hub.topics["a"].epoch, 1),
        Position("m", 2),
        Position(hub.topics["b"].epoch, 1),
    ]
    assert hub.topics["v1"].head == 2

    def fail(changes: RowChanges) -> None:
        raise CommitFailed("the disk is full")

    monkeypatch.setattr(storage._database, "write", fail)
    with pytest.raises(StorageFailed):
        await answer(hub.publish_all(["a", "v1"], b"2", 0.0, A))
    assert hub.topics["v1"].head == 2
    monkeypatch.undo()
