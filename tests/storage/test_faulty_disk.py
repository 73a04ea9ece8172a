"""A disk that is slow, full or broken: publishers wait or are refused, nothing acknowledged is lost, nothing grows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path

import apsw
import pytest

from service.core.errors import Overloaded, StorageFailed
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.memory_store import MemoryStore
from service.core.topics.position import Position
from service.core.topics.ring import RingLimits
from service.storage.options import DataOptions
from service.storage.storage import Storage
from tests.core.readers import FakeReader
from tests.storage.faulty_disk import FaultyDisk, faulty_disk
from tests.storage.test_topic_store import A, answer

LIMITS = HubLimits(ring=RingLimits(messages=100_000, size=64 << 20), unstored=1 << 20)


class Bench:
    """A hub over a data directory on a disk that can be made faulty; ``v`` topics are volatile."""

    def __init__(self, disk: FaultyDisk, path: Path) -> None:
        self.disk = disk
        self.path = path
        self.epochs = count(1)
        self.storage: Storage
        self.hub: Hub

    async def open(self) -> None:
        """Begin, or begin again."""
        loop = asyncio.get_running_loop()
        self.storage = await Storage.open(
            self.path,
            DataOptions(self.path, "full", ("v*",), 120.0),
            clock=loop.time,
            new_epoch=lambda: f"e{next(self.epochs)}",
        )
        store = self.storage.store(MemoryStore(lambda: f"m{next(self.epochs)}"))
        self.hub = Hub(LIMITS, store, call_soon=loop.call_soon, clock=loop.time)
        await self.storage.open_topics(self.hub)

    def publish(self, name: str, size: int = 10, owner: Owner = A) -> Position | Pending[Position]:
        """Publish a text of this many bytes."""
        return self.hub.publish(name, b'"%b"' % (b"x" * (size - 2)), self.hub.clock(), owner=owner)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A service that has begun."""
    with faulty_disk() as disk:
        bench = Bench(disk, tmp_path / "data")
        await bench.open()
        yield bench
        disk.going.set()
        disk.room, disk.broken, disk.delay = None, False, 0.0
        await bench.storage.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread does."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_disk_that_hangs_is_waited_for_and_others_notice_nothing(bench: Bench) -> None:
    await answer(bench.publish("a"))
    reader, volatile = FakeReader(bench.hub.own("a", owner=A)), FakeReader(bench.hub.own("v", owner=A))
    bench.hub.attach(reader, "oldest")
    bench.hub.attach(volatile, "newest")
    bench.disk.going.clear()
    waiting = [bench.publish("b") for _ in range(50)]
    await until(lambda: "committing" in repr(bench.storage.writer))
    late = FakeReader(bench.hub.own("a", owner=A))
    bench.hub.attach(late, "oldest")
    assert isinstance(bench.publish("v"), Position)
    await until(lambda: volatile.lines and late.lines and reader.lines)
    assert all("Pending>" in repr(one) for one in waiting), "none is answered before it is stored"
    bench.disk.going.set()
    positions = [await answer(one) for one in waiting]
    assert [position.offset for position in positions if isinstance(position, Position)] == list(range(1, 51))


async def test_what_waits_for_a_slow_disk_is_bounded_and_refused_beyond_that(bench: Bench) -> None:
    await answer(bench.publish("a"))
    bench.disk.going.clear()
    # Half of the bound, as one owner has; each counts 1 KiB more than its data.
    waiting = [bench.publish("a", 1000) for _ in range(LIMITS.unstored // 2 // 2024)]
    with pytest.raises(Overloaded, match="the store is slower than its publishers"):
        bench.publish("a", 1000)
    another = bench.publish("b", 1000, Owner("another"))
    for _ in range(1000):
        with pytest.raises(Overloaded):
            bench.publish("a", 1000)
    assert bench.storage.writer.waiting <= len(waiting) + 2, "what is refused is not kept"
    bench.disk.going.set()
    offsets = [await answer(one) for one in waiting]
    assert [one.offset for one in offsets if isinstance(one, Position)] == list(range(2, len(waiting) + 2))
    assert isinstance(await answer(another), Position)
    assert isinstance(await answer(bench.publish("a", 1000)), Position)
    assert bench.hub.pending_appends.pool.used == 0


async def test_sweeps_do_not_pile_up_before_a_disk_that_hangs(bench: Bench) -> None:
    await answer(bench.publish("a"))
    bench.disk.going.clear()
    pending = bench.publish("b")
    await until(lambda: "committing" in repr(bench.storage.writer))
    for second in range(100):
        name = f"old{second}"
        topic = bench.hub.own(name, owner=A)
        bench.hub.retire(topic)
        bench.hub.sweep(bench.hub.clock())
    begun = 100
    assert bench.storage.writer.waiting <= begun + 1
    bench.disk.going.set()
    await answer(pending)


async def test_a_commit_that_does_not_end_is_seen_by_those_who_ask_whether_it_is_ready(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("service.storage.storage._PATIENCE", 0.05)
    monkeypatch.setattr("service.storage.writer._SLOW", 0.05)
    await answer(bench.publish("a"))
    assert bench.storage.failing == ""
    bench.disk.going.clear()
    pending = bench.publish("a")
    await until(lambda: bench.storage.failing)
    assert bench.storage.failing == "storage"
    await until(lambda: "a commit takes long" in caplog.messages)
    bench.disk.going.set()
    await answer(pending)
    assert bench.storage.failing == ""


@pytest.mark.parametrize("fault", ["full", "broken"])
async def test_a_disk_that_fails_refuses_loses_nothing_and_goes_on(
    bench: Bench, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = await answer(bench.publish("a"))
    assert isinstance(first, Position)

    def fails(*, now: bool) -> None:
        bench.disk.room = 0 if now and fault == "full" else None
        bench.disk.broken = now and fault == "broken"

    fails(now=True)
    refused = [bench.publish("a", 3000) for _ in range(20)]
    for one in refused:
        with pytest.raises(StorageFailed):
            await answer(one)
    assert [line for line in caplog.messages if "storage" in line] == ["storage fails"]
    fails(now=False)
    await until(lambda: bench.storage.writer.failing_since is None)
    assert [line for line in caplog.messages if "storage" in line] == ["storage fails", "storage works again"]
    assert await answer(bench.publish("a")) == Position(first.epoch, 2)
    await bench.storage.close()
    await bench.open()
    assert bench.hub.topics["a"].position == Position(first.epoch, 2)


async def test_little_room_is_not_taken_for_enough(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.storage.writer._PROBE", 0.05)
    await answer(bench.publish("a"))
    bench.disk.room = 60_000
    with pytest.raises(StorageFailed, match="the disk is full"):
        await answer(bench.publish("a", 500_000))
    # Small ones have room, and a probe of the size that failed has none, again and again.
    for _ in range(3):
        assert isinstance(await answer(bench.publish("a", 10)), Position)
    failures = bench.storage.writer.failures
    await until(lambda: bench.storage.writer.failures > failures)
    assert bench.storage.writer.failing_since is not None
    bench.disk.room = None
    await until(lambda: bench.storage.writer.failing_since is None)
    assert isinstance(await answer(bench.publish("a", 500_000)), Position)
    assert [line for line in caplog.messages if "storage" in line] == ["storage fails", "storage works again"]


@pytest.mark.parametrize("name", ["sluice.db", "sluice.db-wal"])
async def test_a_file_that_is_moved_away_refuses_until_it_is_back(bench: Bench, name: str) -> None:
    first = await answer(bench.publish("a"))
    assert isinstance(first, Position)
    file, elsewhere = bench.path / name, bench.path / "moved"
    file.rename(elsewhere)
    with pytest.raises(StorageFailed, match="No such file"):
        await answer(bench.publish("a"))
    file.write_bytes(b"another")
    with pytest.raises(StorageFailed, match="was replaced while the service runs"):
        await answer(bench.publish("a"))
    elsewhere.replace(file)
    assert await answer(bench.publish("a")) == Position(first.epoch, 2)


async def test_a_lock_of_an_operator_is_waited_for(bench: Bench) -> None:
    await answer(bench.publish("a"))
    shell = apsw.Connection(str(bench.path / "sluice.db"))
    shell.execute("BEGIN IMMEDIATE")
    pending = bench.publish("a")
    await until(lambda: "committing" in repr(bench.storage.writer))
    shell.execute("ROLLBACK")
    shell.close()
    assert isinstance(await answer(pending), Position)
    assert bench.storage.writer.failures == 0


async def test_the_wal_shrinks_again_after_a_long_read_of_another_process(bench: Bench) -> None:
    reader = apsw.Connection(str(bench.path / "sluice.db"), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM messages").fetchall()
    wal = bench.path / "sluice.db-wal"
    for number in range(50):
        await answer(bench.publish("a", 400_000, Owner(str(number))))
    assert wal.stat().st_size > 16 << 20
    reader.execute("COMMIT")
    reader.close()
    for number in range(3):
        await answer(bench.publish("a", 400_000, Owner(str(number))))
    assert wal.stat().st_size <= 10 << 20


async def test_it_starts_on_a_full_disk_and_what_is_kept_is_there(bench: Bench) -> None:
    first = await answer(bench.publish("a"))
    assert isinstance(first, Position)
    await bench.storage.close()
    bench.disk.room = 0
    await bench.open()
    assert bench.hub.topics["a"].position == first
    with pytest.raises(StorageFailed, match="the disk is full"):
        await answer(bench.publish("a"))
    bench.disk.room = None
    assert await answer(bench.publish("a")) == Position(first.epoch, 2)
