"""The lines of a topic: each message once, in order, and a gap for what is damaged."""

from pathlib import Path

import pytest

from service.storage.errors import StorageUnusable
from service.storage.exporting import lines_of
from service.storage.reader import DatabaseReader
from service.storage.tables import Table
from tests.storage.stored import add_messages, add_topic, damage, new_database


def exported(folder: Path, topic: str = "t") -> list[str]:
    """Return the lines of a topic."""
    with DatabaseReader(folder / "sluice.db") as reader:
        return b"".join(lines_of(reader, topic)).decode().splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a directory with a topic whose offsets 3 to 7 are kept, in the rows 1, 2, 4, 5 and 6."""
    database = new_database(tmp_path)
    add_topic(database, 1, "t")
    add_topic(database, 2, "other")
    add_messages(database, 1, 3, 2)
    add_messages(database, 2, 1, 1)
    add_messages(database, 1, 5, 3, data=b'{"a":"\xc3\xbc"}')
    database.close()
    return tmp_path


def lines(*offsets: int) -> list[str]:
    return [
        f'{{"offset":{offset},"data":{chr(34) + "x" + chr(34) if offset < 5 else OBJECT}}}' for offset in offsets
    ]


OBJECT = '{"a":"ü"}'


def gap(first: int, last: int) -> str:
    return f'{{"event":"gap","from":{first},"to":{last}}}'


@pytest.mark.parametrize("chunk", [1, 2, 1000])
def test_messages_come_once_in_order_as_they_were_published(
    folder: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.storage.tables._CHUNK", chunk)
    assert exported(folder) == lines(3, 4, 5, 6, 7)
    assert exported(folder, "other") == ['{"offset":1,"data":"x"}']


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([2], [*lines(3), gap(4, 4), *lines(5, 6, 7)]),
        ([2, 4], [*lines(3), gap(4, 5), *lines(6, 7)]),
        ([1], [gap(3, 3), *lines(4, 5, 6, 7)]),
        ([6], [*lines(3, 4, 5, 6), gap(7, 7)]),
        ([5, 6], [*lines(3, 4, 5), gap(6, 7)]),
    ],
)
def test_what_is_damaged_is_a_gap(folder: Path, rows: list[int], expected: list[str]) -> None:
    for row in rows:
        damage(folder / "sluice.db", Table.MESSAGES, row)
    assert exported(folder) == expected


def test_messages_that_the_topic_has_given_up_are_left_out(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    add_topic(database, 1, "t", head=2)
    add_messages(database, 1, 1, 3)
    database.close()
    assert exported(tmp_path) == ['{"offset":3,"data":"x"}']


def test_a_topic_that_is_not_kept_is_named(folder: Path) -> None:
    damage(folder / "sluice.db", Table.TOPICS, 2)
    for name in ("missing", "other"):
        with pytest.raises(StorageUnusable, match=f"does not have the topic '{name}'"):
            exported(folder, name)


def test_a_service_writes_and_trims_while_the_lines_are_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.storage.tables._CHUNK", 2)
    database = new_database(folder)
    with DatabaseReader(folder / "sluice.db") as reader:
        taken = lines_of(reader, "t")
        first = next(taken)
        database._connection.execute("DELETE FROM messages WHERE id <= 4")
        add_messages(database, 1, 8, 1)
        database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert reader.wal_size() == 0, "no read holds the WAL back"
        rest = b"".join(taken)
    database.close()
    assert (first + rest).decode().splitlines() == [
        *lines(3, 4),
        gap(5, 5),
        *lines(6, 7),
        '{"offset":8,"data":"x"}',
    ]
