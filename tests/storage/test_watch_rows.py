"""What is kept of watches: the newest record of each topic, through kills, and gone with its topic."""

import asyncio

import pytest

from service.core.ports import KeptWatch
from service.core.topics.hub import Hub
from service.storage.errors import CommitFailed
from service.storage.storage import Storage
from service.storage.watch_rows import WatchRows
from tests.storage.test_topic_store import A, Disk, answer
from tests.upstream.watch_stores import FIRST, SECOND, WatchStoreContract


class TestWatchRows(WatchStoreContract):
    @pytest.fixture
    async def store(self, disk: Disk) -> WatchRows:
        return (await disk.open()).watches


async def put(storage: Storage, hub: Hub, name: str, watch: KeptWatch) -> None:
    """Have a record and a message of its topic stored, in this order."""
    storage.watches.put(name, watch)
    await answer(hub.append(hub.own(name, owner=A), b"1", hub.clock()))


async def test_the_newest_record_is_there_after_a_kill_as_soon_as_a_later_message_is_stored(disk: Disk) -> None:
    storage = await disk.open()
    hub = disk.hub(storage)
    await put(storage, hub, "watch:a", FIRST)
    await put(storage, hub, "watch:b", FIRST)
    await put(storage, hub, "watch:a", SECOND)
    storage.watches.put("watch:a", SECOND)
    again = await disk.kill()
    assert (again.watches.get("watch:a"), again.watches.get("watch:b")) == (SECOND, FIRST)
    assert again.watches.get("watch:c") is None
    assert (again.recovered.watches, len(again.watches)) == (2, 2)
    # Rows are used on: no two for one topic.
    await put(again, disk.hub(again), "watch:a", FIRST)
    once_more = await disk.kill()
    assert (once_more.recovered.watches, once_more.watches.get("watch:a")) == (2, FIRST)


async def test_what_is_deleted_is_gone_and_what_has_no_messages_too(disk: Disk) -> None:
    storage = await disk.open()
    hub = disk.hub(storage)
    for name in ("watch:a", "watch:b"):
        await put(storage, hub, name, FIRST)
    storage.watches.put("watch:without", FIRST)
    storage.watches.delete("watch:a")
    storage.watches.delete("watch:never")
    await put(storage, hub, "watch:c", FIRST)
    again = await disk.kill()
    assert [again.watches.get(f"watch:{name}") for name in ("a", "b", "without")] == [None, FIRST, None]
    storage.watches.put("watch:a", SECOND)
    await put(storage, hub, "watch:c", SECOND)
    assert storage.watches.get("watch:a") == SECOND


async def test_a_record_that_could_not_be_stored_is_not_relied_on(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = await disk.open()
    hub = disk.hub(storage)
    await put(storage, hub, "watch:a", FIRST)

    def fail(changes: object) -> None:
        raise CommitFailed("the disk is full")

    monkeypatch.setattr(storage._database, "write", fail)
    storage.watches.put("watch:a", SECOND)
    async with asyncio.timeout(30):
        while storage.writer.failing_since is None:
            await asyncio.sleep(0.001)
    assert storage.watches.get("watch:a") is None
    monkeypatch.undo()
    await put(storage, hub, "watch:a", SECOND)
    again = await disk.kill()
    assert again.watches.get("watch:a") == SECOND
