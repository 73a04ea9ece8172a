"""The writer: groups in order, one at a time; what fails fails alone or with its group, and all goes on."""

import asyncio
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from service.core.errors import InternalError, SluiceError, StorageFailed
from service.storage.database import Database, RowChanges
from service.storage.errors import CommitFailed
from service.storage.records import read_message, write_message
from service.storage.tables import Table
from service.storage.writer import Write, Writer
from tests.storage.test_database import rows


class Appended(Write):
    """A message that notes how it ended."""

    count = 1

    def __init__(self, data: bytes, ended: list[object]) -> None:
        self.bytes = len(data)
        self.data = data
        self.ended = ended

    @property
    def size(self) -> int:
        return self.bytes

    def prepare(self, changes: RowChanges) -> None:
        changes.messages.append(write_message(changes.next_row, 1, changes.next_row, 1.5, self.data))

    def committed(self) -> None:
        self.ended.append(self.data)

    def refused(self, error: SluiceError) -> None:
        self.ended.append(error)


class Gated(Database):
    """A database whose commits wait to be let through, and may fail."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = threading.Event()
        self.groups: list[int] = []
        self.error: Exception | None = None

    def write(self, changes: RowChanges) -> None:
        assert self.gate.wait(30)
        self.groups.append(len(changes.messages))
        if self.error is not None:
            raise self.error
        super().write(changes)


@pytest.fixture
def database(tmp_path: Path) -> Gated:
    """A database whose gate is closed."""
    return Gated(tmp_path / "sluice.db")


def failing(writer: Writer) -> bool:
    """Return whether commits fail."""
    return writer.failing_since is not None


async def until(ended: list[object], count: int) -> None:
    """Wait until so many items have ended."""
    async with asyncio.timeout(30):
        while len(ended) < count:
            await asyncio.sleep(0.001)


async def test_what_comes_during_a_commit_is_the_next_group(database: Gated) -> None:
    writer, ended = Writer(database), list[object]()
    writer.add(Appended(b"1", ended))
    async with asyncio.timeout(30):
        while "committing" not in repr(writer):
            await asyncio.sleep(0.001)
    for n in range(2, 6):
        writer.add(Appended(b"%d" % n, ended))
    assert ended == []
    database.gate.set()
    await until(ended, 5)
    assert ended == [b"1", b"2", b"3", b"4", b"5"]
    assert database.groups == [1, 4]
    await writer.close()


async def test_commits_need_no_thread_that_is_started_later(
    database: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    writer, ended = Writer(database), list[object]()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    database.gate.set()
    writer.add(Appended(b"1", ended))
    await until(ended, 1)
    assert ended == [b"1"]
    await writer.close()


async def test_close_commits_what_waits(database: Gated, tmp_path: Path) -> None:
    writer, ended = Writer(database), list[object]()
    for n in range(2500):
        writer.add(Appended(b"%d" % n, ended))
    database.gate.set()
    await writer.close()
    assert ended == [b"%d" % n for n in range(2500)]
    assert database.groups == [1000, 1000, 500]
    again = Database(tmp_path / "sluice.db")
    assert [read_message(*row).data for row in rows(again, Table.MESSAGES)] == ended
    again.close()


async def test_an_item_that_cannot_be_prepared_is_refused_alone(database: Gated) -> None:
    class Odd(Appended):
        def prepare(self, changes: RowChanges) -> None:
            super().prepare(changes)
            raise RuntimeError("odd")

    errors: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
    database.gate.set()
    writer, ended = Writer(database), list[object]()
    for item in (Appended(b"1", ended), Odd(b"2", ended), Appended(b"3", ended)):
        writer.add(item)
    await until(ended, 3)
    assert isinstance(ended[0], InternalError)
    assert ended[1:] == [b"1", b"3"]
    assert [str(error) for error in errors] == ["odd"]
    assert database.groups == [2], "none of it is stored"
    await writer.close()


async def test_an_item_that_raises_at_its_end_costs_no_other_its_end(database: Gated) -> None:
    class Odd(Appended):
        def committed(self) -> None:
            raise RuntimeError("odd")

    errors: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
    database.gate.set()
    writer, ended = Writer(database), list[object]()
    for item in (Odd(b"1", ended), Appended(b"2", ended)):
        writer.add(item)
    await until(ended, 1)
    assert ended == [b"2"]
    await writer.close()
    assert [str(error) for error in errors] == ["odd"]


async def test_a_commit_that_fails_refuses_its_group_and_the_next_one_is_stored(
    database: Gated, caplog: pytest.LogCaptureFixture
) -> None:
    database.gate.set()
    database.error = CommitFailed("the disk is full")
    writer, ended = Writer(database), list[object]()
    writer.add(Appended(b"1", ended))
    writer.add(Appended(b"2", ended))
    await until(ended, 2)
    assert [str(error) for error in ended] == ["storage: the disk is full"] * 2
    assert all(isinstance(error, StorageFailed) for error in ended)
    assert failing(writer)
    database.error = None
    writer.add(Appended(b"3", ended))
    await until(ended, 3)
    assert ended[2] == b"3"
    async with asyncio.timeout(30):
        while failing(writer):
            await asyncio.sleep(0.01)
    assert [record.getMessage() for record in caplog.records] == [
        "storage fails",
        "storage works again",
    ]
    await writer.close()


async def test_that_storage_works_again_is_found_without_an_item(
    database: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.storage.writer._PROBE", 0.01)
    database.gate.set()
    database.error = CommitFailed("the disk is full")
    writer, ended = Writer(database), list[object]()
    writer.add(Appended(b"1", ended))
    await until(ended, 1)
    database.error = None
    async with asyncio.timeout(30):
        while failing(writer):
            await asyncio.sleep(0.001)
    await writer.close()


async def test_other_callbacks_have_their_turn_while_a_large_group_goes_on(database: Gated) -> None:
    writer, ended = Writer(database), list[object]()
    turns: list[int] = []
    loop = asyncio.get_running_loop()

    def turn() -> None:
        turns.append(len(ended))
        if len(ended) < 1000:
            loop.call_soon(turn)

    for n in range(1000):
        writer.add(Appended(b"%d" % n, ended))
    database.gate.set()
    turn()
    await until(ended, 1000)
    await writer.close()
    steps = sorted(set(turns))
    assert max(after - before for before, after in pairwise(steps)) == 100


async def test_the_next_group_begins_when_all_of_the_last_have_gone_on(database: Gated) -> None:
    class Added(Appended):
        def prepare(self, changes: RowChanges) -> None:
            self.ended.append("prepared")
            super().prepare(changes)

    writer, ended = Writer(database), list[object]()
    for n in range(300):
        writer.add(Appended(b"%d" % n, ended))
    async with asyncio.timeout(30):
        while "committing" not in repr(writer):
            await asyncio.sleep(0.001)
    writer.add(Added(b"last", ended))
    database.gate.set()
    await until(ended, 302)
    assert ended[300:] == ["prepared", b"last"]
    await writer.close()


async def test_a_large_group_waits_for_others_as_long_as_more_comes(
    database: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.storage.writer._GATHER", 60.0)
    database.gate.set()
    writer, ended = Writer(database), list[object]()
    loop, left = asyncio.get_running_loop(), 20

    def add() -> None:
        nonlocal left
        for _ in range(30):
            writer.add(Appended(b"x", ended))
        left -= 1
        if left:
            loop.call_later(0.0003, add)

    add()
    await until(ended, 600)
    assert database.groups == [600]
    await writer.close()


async def test_a_group_waits_for_others_only_for_a_while(database: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.storage.writer._CHECK", 0.0)
    database.gate.set()
    writer, ended = Writer(database), list[object]()
    loop, added = asyncio.get_running_loop(), 0

    def add() -> None:
        nonlocal added
        for _ in range(20):
            writer.add(Appended(b"x", ended))
        added += 20
        if not ended:
            loop.call_soon(add)

    writer._began = loop.time()
    add()
    await until(ended, 1)
    await until(ended, added)
    await writer.close()


async def test_a_group_that_waits_for_others_is_stored_at_the_end(
    database: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.storage.writer._GATHER", 60.0)
    monkeypatch.setattr("service.storage.writer._CHECK", 60.0)
    database.gate.set()
    writer, ended = Writer(database), list[object]()
    for _ in range(100):
        writer.add(Appended(b"x", ended))
    async with asyncio.timeout(30):
        while not writer._seen:
            await asyncio.sleep(0.001)
        await writer.close()
    assert len(ended) == 100


async def test_a_large_group_that_is_complete_does_not_wait(
    database: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.storage.writer._GATHER", 60.0)
    database.gate.set()
    writer, ended = Writer(database), list[object]()
    for number in range(3):
        for _ in range(100):
            writer.add(Appended(b"x", ended))
        await until(ended, 100 * (number + 1))
    assert database.groups == [100, 100, 100]
    await writer.close()
