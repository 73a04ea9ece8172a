"""The database file: what is written is there, what is damaged is noticed, what is not ours is refused."""

import contextlib
import os
import shutil
from array import array
from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec
import pytest

from service.storage.database import Database, RowChanges
from service.storage.errors import CommitFailed, StorageUnusable
from service.storage.records import (
    Damaged,
    Seconds,
    StoredCount,
    read_document,
    read_message,
    read_row,
    write_document,
    write_message,
)
from service.storage.tables import Table


def changes(database: Database, *datas: bytes) -> RowChanges:
    """Return a group that appends messages to topic 1."""
    group = RowChanges(database.next_row)
    for data in datas:
        group.messages.append(write_message(group.next_row, 1, group.next_row, 1.5, data))
    return group


def rows(database: Database, table: Table) -> Iterator[tuple[int, bytes]]:
    """Yield every row in order."""
    for chunk in database.rows.chunks(table):
        yield from chunk


def datas(database: Database) -> list[bytes]:
    """Return what the messages say."""
    return [read_message(row, record).data for row, record in rows(database, Table.MESSAGES)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "sluice.db"


def test_what_is_written_is_there_after_a_kill(path: Path, tmp_path: Path) -> None:
    database = Database(path)
    database.write(changes(database, b"1", b"2"))
    # A copy of the files as they are: nothing is closed, as after a kill.
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tmp_path.glob("sluice.db*"):
        shutil.copy(file, copy)
    database.close()
    again = Database(copy / "sluice.db")
    assert datas(again) == [b"1", b"2"]
    assert again.next_row == 3
    again.close()


def test_rows_are_put_replaced_and_deleted_with_the_messages_of_one_group(path: Path) -> None:
    database = Database(path)
    database.write(changes(database, b"1", b"2", b"3"))
    group = changes(database, b"4")
    group.replace(Table.TOPICS, 7, write_document(7, {"name": "a"}))
    group.replace(Table.TOPICS, 7, write_document(7, {"name": "b"}))
    group.delete(Table.MESSAGES, array("q", [1, 3, 99]))
    database.write(group)
    assert datas(database) == [b"2", b"4"]
    assert [read_document(*row) for row in rows(database, Table.TOPICS)] == [{"name": "b"}]
    database.close()


def test_rows_are_read_in_chunks_without_losing_any(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.storage.tables._CHUNK", 3)
    database = Database(path)
    database.write(changes(database, *(b"%d" % n for n in range(10))))
    assert datas(database) == [b"%d" % n for n in range(10)]
    database.close()


def test_a_row_is_not_used_twice_after_the_newest_was_deleted(path: Path) -> None:
    database = Database(path)
    database.write(changes(database, b"1", b"2"))
    group = RowChanges(database.next_row)
    group.delete(Table.MESSAGES, array("q", [2]))
    database.write(group)
    database.close()
    again = Database(path)
    assert again.next_row == 3
    again.close()


def test_a_group_that_fails_changes_nothing_and_the_next_one_works(path: Path) -> None:
    database = Database(path)
    database.write(changes(database, b"1"))
    wrong = RowChanges(1)
    wrong.replace(Table.TOPICS, 7, write_document(7, {}))
    wrong.messages.append(write_message(1, 1, 1, 1.5, b"in a row that is used"))
    with pytest.raises(CommitFailed):
        database.write(wrong)
    assert list(rows(database, Table.TOPICS)) == []
    database.write(changes(database, b"2"))
    assert datas(database) == [b"1", b"2"]
    database.close()


@pytest.mark.parametrize("bit", [0, 37, 100, 500])
def test_a_flipped_bit_of_a_record_is_noticed(bit: int) -> None:
    record = bytearray(write_message(5, 1, 1, 1.5, b'"' + b"a" * 60 + b'"'))
    record[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damaged):
        read_message(5, bytes(record))


def test_a_record_in_another_row_or_cut_short_is_noticed() -> None:
    record = write_document(5, {"name": "a"})
    assert read_document(5, record) == {"name": "a"}
    for row, content in [(6, record), (5, record[:-1]), (5, b""), (5, b"abc")]:
        with pytest.raises(Damaged):
            read_document(row, content)


def test_any_text_can_be_kept() -> None:
    document = {"owner": "half an emoji: \ud83d", "key": "\x00\u2028"}
    assert read_document(5, write_document(5, document)) == document


def test_a_wal_that_has_lost_its_end_is_noticed(path: Path, tmp_path: Path) -> None:
    database = Database(path)
    for n in range(5):
        database.write(changes(database, b"%d" % n))
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tmp_path.iterdir():
        if file.is_file():
            shutil.copy(file, copy)
    database.close()
    wal = copy / "sluice.db-wal"
    os.truncate(wal, wal.stat().st_size - 100)
    again = Database(copy / "sluice.db")
    assert datas(again) == [b"0", b"1", b"2", b"3"]
    assert again.lost_commits == 1
    again.close()
    # A start that was killed before topics had new epochs leaves it to the next.
    third = Database(copy / "sluice.db")
    assert third.lost_commits == 1
    third.write(changes(third, b"5"))
    third.close()
    fourth = Database(copy / "sluice.db")
    assert fourth.lost_commits == 0
    fourth.close()


def test_nothing_is_missing_after_an_ordinary_end(path: Path) -> None:
    database = Database(path)
    database.write(changes(database, b"1"))
    database.close()
    again = Database(path)
    assert again.lost_commits == 0
    again.close()


def test_a_file_that_is_not_a_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StorageUnusable, match="not a database of sluice; choose another"):
        Database(path)


def test_the_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE t (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StorageUnusable, match="not a database of sluice"):
        Database(path)
    assert path.read_bytes() == before


def test_a_newer_format_is_refused_with_what_to_do(path: Path) -> None:
    Database(path).close()
    later = apsw.Connection(str(path))
    later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(StorageUnusable, match="format 99.*use a newer version"):
        Database(path)


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageUnusable, match="cannot be opened"):
        Database(tmp_path / "missing" / "sluice.db")


class Pair(msgspec.Struct):
    name: str
    count: StoredCount
    at: Seconds


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"name": "a", "count": 1},
        {"name": 1, "count": 1, "at": 1.0},
        {"\ud83dname": "a", "count": 1, "at": 1.0},
        {"name": "a", "count": -1, "at": 1.0},
        {"name": "a", "count": 1 << 60, "at": 1.0},
        {"name": "a", "count": 1, "at": float("nan")},
        {"name": "a", "count": 1, "at": float("inf")},
    ],
)
def test_a_row_without_its_fields_is_damaged_though_its_checksum_is_right(document: dict[str, object]) -> None:
    good = {"name": "a", "count": 1, "at": 1.0}
    assert read_row(5, write_document(5, good), Pair) == Pair("a", 1, 1.0)
    with pytest.raises(Damaged):
        read_row(5, write_document(5, document), Pair)


@pytest.mark.parametrize(("offset", "at"), [(1 << 60, 1.5), (1, float("nan")), (1, 1e300)])
def test_a_message_with_numbers_that_none_has_is_damaged(offset: int, at: float) -> None:
    with pytest.raises(Damaged):
        read_message(5, write_message(5, 1, offset, at, b"1"))


@pytest.mark.parametrize("state", [{"commits": "x"}, {"commits": -1, "next_row": []}, {"next_row": 1e300}])
def test_a_state_that_is_odd_is_counted_as_none(path: Path, state: dict[str, object]) -> None:
    database = Database(path)
    database.write(changes(database, b"1"))
    database.close()
    with contextlib.closing(apsw.Connection(str(path))) as odd:
        odd.execute("UPDATE state SET record = ?", (write_document(1, state),))
    again = Database(path)
    assert (again.next_row, datas(again)) == (2, [b"1"])
    again.close()
