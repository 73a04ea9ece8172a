"""Every damaged record is found, with its table, its id and whose message it was."""

import os
from pathlib import Path

import apsw
import pytest

from service.storage.commit_count import pack_count
from service.storage.database import Database
from service.storage.errors import StorageUnusable
from service.storage.reader import DatabaseReader
from service.storage.records import write_document
from service.storage.tables import Table
from service.storage.verification import DamagedRow, Verified, verify
from tests.storage.stored import add_messages, add_topic, damage, new_database


def found_in(folder: Path) -> Verified:
    """Verify the database of a directory."""
    with DatabaseReader(folder / "sluice.db") as reader:
        return verify(reader, lambda done, total: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a directory with two topics, of ten messages and of one."""
    database = new_database(tmp_path)
    add_topic(database, 1, "ten", head=5)
    add_topic(database, 2, "one")
    add_messages(database, 1, 6, 10)
    add_messages(database, 2, 1, 1)
    database.close()
    return tmp_path


def execute(folder: Path, statement: str, *values: object) -> None:
    connection = apsw.Connection(os.fspath(folder / "sluice.db"))
    connection.execute(statement, values)
    connection.close()


def test_what_is_kept_is_counted(folder: Path) -> None:
    found = found_in(folder)
    assert found.sound
    assert (found.rows["topics"], found.rows["messages"], found.rows["keys"]) == (2, 11, 0)
    assert found.bytes["messages"] == 11 * (4 + 24 + 3)
    assert (found.oldest, found.newest) == (1001.0, 1015.0)
    assert found.size == (folder / "sluice.db").stat().st_size
    assert (found.damaged, found.missing, found.lost_commits, found.unsound, found.listed) == (0, 0, 0, [], [])


def test_progress_comes_to_its_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.storage.tables._CHUNK", 4)
    seen: list[tuple[int, int]] = []
    with DatabaseReader(folder / "sluice.db") as reader:
        verify(reader, lambda done, total: seen.append((done, total)))
    assert len(seen) >= 4
    assert seen == sorted(seen)
    assert seen[-1] == (14, 14)


def test_a_check_that_makes_the_wal_grow_too_far_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.storage.tables._CHUNK", 4)
    monkeypatch.setattr("service.storage.reader._GROWTH", 20_000)
    database = Database(folder / "sluice.db")
    with (
        DatabaseReader(folder / "sluice.db") as reader,
        pytest.raises(StorageUnusable, match="the check takes too long: the WAL of .* has grown"),
    ):
        verify(reader, lambda done, total: add_messages(database, 1, 16 + 20 * done, 20))
    database.close()
    assert found_in(folder).damaged == 0


def test_a_flipped_bit_of_a_message_is_found_with_its_topic_and_offset(folder: Path) -> None:
    damage(folder / "sluice.db", Table.MESSAGES, 3)
    found = found_in(folder)
    assert found.listed == [DamagedRow("messages", 3, "ten", 8)]
    assert (found.damaged, found.missing, found.sound) == (1, 0, False)


def test_damage_that_hides_whose_message_it_was_is_found_all_the_same(folder: Path) -> None:
    damage(folder / "sluice.db", Table.MESSAGES, 3, at=8)
    found = found_in(folder)
    assert found.listed == [DamagedRow("messages", 3)]
    assert found.damaged == 1
    execute(folder, "UPDATE messages SET record = x'01' WHERE id = 3")
    assert found_in(folder).listed == [DamagedRow("messages", 3)]


@pytest.mark.parametrize("value", ["NULL", "7", "'text'", "x''"])
def test_a_record_that_became_another_type_is_damaged(folder: Path, value: str) -> None:
    execute(folder, "CREATE TABLE other (id INTEGER PRIMARY KEY, record)")
    execute(folder, "INSERT INTO other SELECT * FROM keys")
    execute(folder, "DROP TABLE keys")
    execute(folder, "ALTER TABLE other RENAME TO keys")
    execute(folder, f"INSERT INTO keys VALUES (5, {value})")
    assert found_in(folder).listed == [DamagedRow("keys", 5)]


@pytest.mark.parametrize("table", list(Table))
def test_damage_is_found_in_every_table(folder: Path, table: Table) -> None:
    execute(folder, f"INSERT OR REPLACE INTO {table} VALUES (1, ?)", write_document(1, {"name": "n"})[:-1])
    found = found_in(folder)
    assert DamagedRow(table.value, 1) in found.listed
    assert not found.sound


def test_a_topic_that_is_damaged_hides_no_message(folder: Path) -> None:
    damage(folder / "sluice.db", Table.TOPICS, 1)
    damage(folder / "sluice.db", Table.MESSAGES, 1)
    found = found_in(folder)
    assert found.listed == [DamagedRow("topics", 1), DamagedRow("messages", 1)]
    assert found.rows["messages"] == 11


def test_messages_that_are_missing_between_others_are_counted(folder: Path) -> None:
    execute(folder, "DELETE FROM messages WHERE id IN (4, 5, 7)")
    found = found_in(folder)
    assert (found.missing, found.damaged, found.sound) == (3, 0, False)
    # At the beginning of a topic, messages are given up all the time.
    execute(folder, "DELETE FROM messages WHERE id < 9")
    assert found_in(folder).missing == 0


def test_a_database_that_has_lost_its_last_commits_is_not_sound(folder: Path) -> None:
    commits = found_in(folder).commits
    (folder / "commits").write_bytes(pack_count(commits + 1))
    found = found_in(folder)
    assert (found.lost_commits, found.sound) == (1, False)


def test_of_many_damaged_records_the_first_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.storage.verification._LISTED", 2)
    for row in (1, 2, 3, 4):
        damage(folder / "sluice.db", Table.MESSAGES, row)
    found = found_in(folder)
    assert (found.damaged, len(found.listed)) == (4, 2)


@pytest.mark.parametrize("at", range(4096, 5 * 4096, 4096))
def test_a_page_of_garbage_is_found(folder: Path, at: int) -> None:
    path = folder / "sluice.db"
    content = bytearray(path.read_bytes())
    assert len(content) >= at + 4096
    content[at : at + 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    assert not found_in(folder).sound
