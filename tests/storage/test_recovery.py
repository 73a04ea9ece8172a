"""Damage of every kind of row: what is damaged is reported and never delivered, and what is beside it is untouched."""

import asyncio
import contextlib
import random
import shutil
import time
from pathlib import Path

import apsw
import orjson
import pytest

from service.core.errors import SluiceError
from service.core.ports import KeptWatch
from service.core.topics.hub import Hub
from service.core.topics.position import Position
from service.storage.database import Database, RowChanges
from service.storage.errors import StorageUnusable
from service.storage.records import write_filler, write_message
from service.storage.storage import Storage
from service.storage.tables import FILLER_ROW, Table
from tests.storage.stored import add_topic
from tests.storage.test_topic_store import Disk, datas, publish

WATCH = KeptWatch("200 a", {"If-None-Match": '"a"'})


async def filled(disk: Disk) -> dict[str, str]:
    """Write rows of every kind and close; return the epochs. ``a`` has messages in the rows 1, 2, 3, 5, ``b`` 4, 6."""
    storage = await disk.open()
    hub = disk.hub(storage)
    await publish(hub, "a", b"1", key="k")
    await publish(hub, "a", b"2", b"3")
    await publish(hub, "b", b"1")
    await publish(hub, "a", b"4")
    await publish(hub, "b", b"2")
    storage.watches.put("b", WATCH)
    await publish(hub, "c", b"1")
    epochs = {name: topic.epoch for name, topic in hub.topics.items()}
    await closed(disk)
    return epochs


async def closed(disk: Disk) -> None:
    """Close what is open."""
    await disk.close()
    disk.storages.clear()


async def damage(disk: Disk, table: str, row: int, *positions: int) -> None:
    """Flip a bit of a record at each of these positions, beside SQLite's own bookkeeping."""

    def flip() -> None:
        with contextlib.closing(apsw.Connection(str(disk.path / "sluice.db"))) as database:
            record = bytearray(database.execute(f"SELECT record FROM {table} WHERE id = ?", (row,)).get)
            for position in positions:
                record[position] ^= 4
            database.execute(f"UPDATE {table} SET record = ? WHERE id = ?", (bytes(record), row))

    await asyncio.to_thread(flip)


async def opened(disk: Disk) -> tuple[Storage, Hub]:
    """Start once more."""
    storage = await disk.open()
    hub = disk.hub(storage)
    await storage.open_topics(hub)
    return storage, hub


def lines(hub: Hub, name: str) -> list[str]:
    """Return what a topic has: its messages, and ``gap`` for each that is damaged."""
    found = [orjson.loads(line) for _, line in datas(hub.topics[name])]
    return [str(one.get("data", one.get("event"))) for one in found]


A_LINES = ["1", "2", "3", "4"]


@pytest.mark.parametrize("position", [0, 4, 12, 28])
@pytest.mark.parametrize("row", [1, 2, 3])
async def test_a_damaged_message_is_a_gap_and_its_neighbours_are_there(disk: Disk, row: int, position: int) -> None:
    epochs = await filled(disk)
    await damage(disk, "messages", row, position)
    storage, hub = await opened(disk)
    expected = list(A_LINES)
    expected[row - 1] = "gap"
    assert (lines(hub, "a"), lines(hub, "b"), lines(hub, "c")) == (expected, ["1", "2"], ["1"])
    assert {name: topic.epoch for name, topic in hub.topics.items()} == epochs
    assert (storage.recovered.damaged, storage.recovered.renewed) == (1, 0)


@pytest.mark.parametrize(("row", "name"), [(5, "a"), (7, "c")])
@pytest.mark.parametrize("position", [0, 6, 13, 28])
async def test_a_newest_message_with_a_flipped_bit_keeps_its_offset_and_all_epochs(
    disk: Disk, row: int, name: str, position: int
) -> None:
    epochs = await filled(disk)
    await damage(disk, "messages", row, position)
    _, hub = await opened(disk)
    head = hub.topics[name].head
    assert lines(hub, name)[-1] == "gap"
    assert await publish(hub, name, b"9") == Position(epochs[name], head + 1)
    assert head == {"a": 4, "c": 1}[name]


async def test_an_oldest_message_that_is_damaged_badly_costs_no_other_topic_anything(disk: Disk) -> None:
    epochs = await filled(disk)
    await damage(disk, "messages", 4, 20, 28)
    storage, hub = await opened(disk)
    assert {name: topic.epoch for name, topic in hub.topics.items()} == epochs
    assert (lines(hub, "a"), lines(hub, "b"), storage.recovered.renewed) == (A_LINES, ["2"], 0)
    assert hub.topics["b"].first == 2


async def test_two_of_the_oldest_messages_that_are_damaged_badly_cost_no_other_topic_anything(disk: Disk) -> None:
    epochs = await filled(disk)
    for row in (1, 2):
        await damage(disk, "messages", row, 20, 28)
    _, hub = await opened(disk)
    assert {name: topic.epoch for name, topic in hub.topics.items()} == epochs
    assert lines(hub, "a") == ["3", "4"]


async def test_an_only_message_that_is_damaged_badly_costs_its_topic_alone_its_epoch(disk: Disk) -> None:
    epochs = await filled(disk)
    await damage(disk, "messages", 7, 20, 28)
    storage, hub = await opened(disk)
    assert storage.recovered.renewed == 1
    assert {name: hub.topics[name].epoch for name in "ab"} == {name: epochs[name] for name in "ab"}
    after = await publish(hub, "c", b"9")
    assert isinstance(after, Position)
    assert after.epoch != epochs["c"]


async def test_a_newest_message_whose_topic_nobody_knows_begins_all_epochs_anew(disk: Disk) -> None:
    epochs = await filled(disk)
    # More than one bit of its topic and its offset are wrong.
    await damage(disk, "messages", 5, 6, 13)
    storage, hub = await opened(disk)
    assert storage.recovered.renewed == 3
    for name, epoch in epochs.items():
        after = await publish(hub, name, b"9")
        assert isinstance(after, Position)
        assert after.epoch != epoch


async def test_a_message_whose_topic_nobody_knows_is_found_by_the_hole_that_it_leaves(disk: Disk) -> None:
    epochs = await filled(disk)
    await damage(disk, "messages", 2, 6, 13)
    storage, hub = await opened(disk)
    assert (lines(hub, "a"), hub.topics["a"].epoch) == (["1", "gap", "3", "4"], epochs["a"])
    assert storage.recovered.renewed == 0


@pytest.mark.parametrize("table", ["topics", "keys", "watches", "state"])
async def test_another_row_with_a_flipped_bit_is_reported_and_repaired(
    disk: Disk, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    epochs = await filled(disk)
    await damage(disk, table, 1, 12)
    storage, hub = await opened(disk)
    assert [record.__dict__["table"] for record in caplog.records if "passed over" in record.getMessage()] == [
        table
    ]
    assert (storage.recovered.damaged, storage.recovered.renewed) == (1, 0)
    assert {name: topic.epoch for name, topic in hub.topics.items()} == epochs
    assert (lines(hub, "a"), lines(hub, "b")) == (A_LINES, ["1", "2"])
    assert storage.watches.get("b") == WATCH
    assert await publish(hub, "a", b"1", key="k") == Position(epochs["a"], 1)
    await closed(disk)
    once_more, _ = await opened(disk)
    assert once_more.recovered.damaged == 0


async def test_a_topic_whose_row_is_damaged_badly_is_gone_and_its_neighbours_are_there(disk: Disk) -> None:
    epochs = await filled(disk)
    await damage(disk, "topics", 1, 12, 20)
    storage, hub = await opened(disk)
    assert storage.recovered.damaged == 1
    assert {name: topic.epoch for name, topic in hub.topics.items()} == {name: epochs[name] for name in "bc"}
    after = await publish(hub, "a", b"9")
    assert isinstance(after, Position)
    assert after.epoch != epochs["a"]


async def test_a_state_that_is_damaged_badly_costs_nothing(disk: Disk) -> None:
    epochs = await filled(disk)
    await damage(disk, "state", 1, 12, 20)
    storage, hub = await opened(disk)
    assert (storage.recovered.damaged, storage.recovered.renewed) == (1, 0)
    assert {name: topic.epoch for name, topic in hub.topics.items()} == epochs
    assert await publish(hub, "a", b"5") == Position(epochs["a"], 5)


async def test_a_probe_of_the_writer_that_was_cut_short_leaves_nothing(disk: Disk) -> None:
    epochs = await filled(disk)
    storage = await disk.open()
    changes = RowChanges(storage._database.next_row)
    changes.replace(Table.STATE, FILLER_ROW, write_filler(FILLER_ROW, 1000))
    await asyncio.to_thread(storage._database.write, changes)
    again = await disk.kill()
    assert again._database.rows.get(Table.STATE, FILLER_ROW) is None
    assert again.topics.knows("a")
    assert len(epochs) == again.recovered.topics


def flip_bit(path: Path, bit: int) -> None:
    """Flip a bit of a file."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


async def contents(hub: Hub) -> dict[Position, str]:
    """Return which position of every topic has which content."""
    found: dict[Position, str] = {}
    for name, topic in hub.topics.items():
        for offset, line in zip(range(topic.first, topic.head + 1), lines(hub, name), strict=True):
            found[Position(topic.epoch, offset)] = line
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_no_bit_of_the_file_makes_a_position_have_two_contents(disk: Disk, seed: int) -> None:
    await filled(disk)
    _, hub = await opened(disk)
    before = await contents(hub)
    await closed(disk)
    whole, chance = disk.path, random.Random(seed)
    size = (whole / "sluice.db").stat().st_size
    refused: list[str] = []
    for number in range(15):
        disk.path = whole.with_name(f"flipped{number}")
        await asyncio.to_thread(shutil.copytree, whole, disk.path)
        await asyncio.to_thread(flip_bit, disk.path / "sluice.db", chance.randrange(8 * size))
        try:
            _, hub = await opened(disk)
        except StorageUnusable as error:
            refused.append(str(error))
            continue
        for name in "abc":
            with contextlib.suppress(SluiceError):  # a page may be found to be damaged when it is written
                await publish(hub, name, b"9")
        after = await contents(hub)
        assert all(after[position] in (before[position], "gap") for position in after.keys() & before.keys())
        await closed(disk)
    assert not any("\n" in line for line in refused)


@pytest.mark.parametrize(
    ("left", "tail"),
    [*((left, None) for left in (0, 31, 32, 33, 1000, 0.25, 0.5, 0.75, 0.9, 0.999)), (0.6, 0), (0.6, 0xFF)],
)
async def test_a_wal_is_read_as_far_as_it_goes(disk: Disk, left: float, tail: int | None) -> None:
    storage = await disk.open()
    hub = disk.hub(storage)
    for number in range(20):
        await publish(hub, "a", b"%d" % number)
    epoch = hub.topics["a"].epoch
    await asyncio.to_thread(shutil.copytree, disk.path, cut := disk.path.with_name("cut"))
    wal = cut / "sluice.db-wal"
    await asyncio.to_thread(_lose_the_end, wal, left, tail)
    disk.path = cut
    again, hub = await opened(disk)
    assert again.recovered.renewed == bool(hub.topics), "positions that were given away may be gone"
    if hub.topics:
        assert lines(hub, "a") == [str(number) for number in range(len(lines(hub, "a")))]
    after = await publish(hub, "a", b"9")
    assert isinstance(after, Position)
    assert after.epoch != epoch


async def test_a_database_that_is_gone_while_its_count_is_there_is_an_error(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(disk)
    (disk.path / "sluice.db").unlink()
    _, hub = await opened(disk)
    assert hub.topics == {}
    assert [record.levelname for record in caplog.records if "data directory" in record.getMessage()][-1] == "ERROR"


def _lose_the_end(path: Path, left: float, tail: int | None) -> None:
    """Keep so many bytes, or this part; what follows has another content, or is cut off."""
    content = path.read_bytes()
    kept = int(left * len(content)) if isinstance(left, float) else left
    path.write_bytes(content[:kept] + (b"" if tail is None else bytes([tail]) * (len(content) - kept)))


async def test_a_clock_that_was_set_back_by_an_hour_keeps_messages_and_keys_for_their_time_and_no_longer(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = 1_000_000.0
    monkeypatch.setattr("service.storage.wall_clock.time.time", lambda: wall + disk.now)
    monkeypatch.setattr("service.storage.recovery.time", lambda: wall + disk.now)
    hub = disk.hub(await disk.open())
    await publish(hub, "a", b"1", key="k")
    wall -= 3600.0
    again = await disk.kill()
    hub = disk.hub(again)
    await again.open_topics(hub)
    first = Position(hub.topics["a"].epoch, 1)
    assert await publish(hub, "a", b"1", key="k") == first
    assert await publish(hub, "a", b"2") == Position(first.epoch, 2)
    disk.now = 301.0
    hub.sweep(disk.now)
    assert hub.topics == {}
    assert len(again.topics.keys) == 0
    once_more = await disk.kill()
    hub = disk.hub(once_more)
    assert await publish(hub, "a", b"3") == Position(first.epoch, 3)


async def test_times_of_a_topic_never_go_back_where_the_wall_clock_did(disk: Disk) -> None:
    chance = random.Random(3)
    written: dict[str, list[float]] = {"a": [], "b": []}

    def write() -> None:
        disk.path.mkdir()
        with contextlib.closing(Database(disk.path / "sluice.db")) as database:
            for number, name in enumerate(written):
                add_topic(database, number, name)
            changes = RowChanges(database.next_row)
            now = time.time()
            for _ in range(500):
                name = chance.choice("ab")
                at = now - chance.choice((0.0, 1.0, 100.0, 200.0)) - chance.random()
                written[name].append(at)
                number, offset = "ab".index(name), len(written[name])
                changes.messages.append(write_message(changes.next_row, number, offset, at, b"%d" % offset))
            database.write(changes)

    await asyncio.to_thread(write)
    _, hub = await opened(disk)
    for name, times in written.items():
        ring = hub.topics[name].ring
        # As late as the latest of its own so far, and not of another topic's.
        latest = [max(times[: number + 1]) for number in range(len(times))]
        assert [at - ring.times[-1] for at in ring.times] == pytest.approx([at - latest[-1] for at in latest])
        assert ring.head == len(times)
