"""Reading beside the service: what is there is read and nothing is changed; what cannot be read says why."""

import os
import shutil
from pathlib import Path

import apsw
import pytest

from service.storage.commit_count import pack_count, unpack_count
from service.storage.errors import StorageUnusable
from service.storage.reader import DatabaseReader, database_of
from service.storage.tables import Table
from tests.storage.stored import add_messages, add_topic, new_database


def test_a_database_is_read_while_it_is_written(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    add_topic(database, 1, "t")
    with DatabaseReader(tmp_path / "sluice.db") as reader:
        assert len(reader.rows.read(Table.TOPICS)) == 1
        with reader.snapshot():
            before = reader.rows.read(Table.MESSAGES)
            add_messages(database, 1, 1, 5)
            assert reader.rows.read(Table.MESSAGES) == before == []
        assert len(reader.rows.read(Table.MESSAGES)) == 5
        assert reader.commits == database.commits == reader.counted_commits()
    add_messages(database, 1, 6, 1)
    database.close()


def test_nothing_can_be_changed(tmp_path: Path) -> None:
    new_database(tmp_path).close()
    with (
        pytest.raises(StorageUnusable, match="cannot be written"),
        DatabaseReader(tmp_path / "sluice.db") as reader,
    ):
        reader.connection.execute("DELETE FROM messages")


def test_a_reader_leaves_no_wal_of_its_own_behind_that_the_service_could_not_use(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    add_topic(database, 1, "t")
    database.close()
    with DatabaseReader(tmp_path / "sluice.db") as reader:
        assert len(reader.rows.read(Table.TOPICS)) == 1
    again = new_database(tmp_path)
    add_messages(again, 1, 1, 1)
    again.close()


def test_a_reader_sees_what_a_killed_service_has_left_in_the_wal(tmp_path: Path) -> None:
    database = new_database(tmp_path / "a")
    add_topic(database, 1, "t")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "sluice.db-shm").unlink()
    database.close()
    with DatabaseReader(tmp_path / "b" / "sluice.db") as reader:
        assert len(reader.rows.read(Table.TOPICS)) == 1


def test_lost_commits_are_seen_by_the_count_beside_the_database(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    add_topic(database, 1, "t")
    commits = database.commits
    database.close()
    (tmp_path / "commits").write_bytes(pack_count(commits + 2))
    with DatabaseReader(tmp_path / "sluice.db") as reader:
        assert reader.counted_commits() - reader.commits == 2
    # Beside a file with another name it is somebody else's.
    (tmp_path / "sluice.db").rename(tmp_path / "backup.db")
    with DatabaseReader(tmp_path / "backup.db") as reader:
        assert reader.counted_commits() == 0


def test_a_count_that_is_damaged_counts_nothing() -> None:
    assert unpack_count(pack_count(7)) == 7
    assert unpack_count(b"") is None
    assert unpack_count(pack_count(7)[:-1] + b"\0") is None


@pytest.mark.parametrize(
    ("content", "named"), [(b"", "is empty"), (b"no database" * 99, "not a database of sluice")]
)
def test_a_file_of_somebody_else_is_refused(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(StorageUnusable, match=named):
        DatabaseReader(path)
    assert sorted(os.listdir(tmp_path)) == ["file"]


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    connection = apsw.Connection(os.fspath(tmp_path / "other.db"))
    connection.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, record BLOB)")
    connection.close()
    with pytest.raises(StorageUnusable, match="not a database of sluice"):
        DatabaseReader(tmp_path / "other.db")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    new_database(tmp_path).close()
    connection = apsw.Connection(os.fspath(tmp_path / "sluice.db"))
    connection.pragma("user_version", 99)
    connection.close()
    with pytest.raises(StorageUnusable, match="format 99"):
        DatabaseReader(tmp_path / "sluice.db")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "fifo").parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / "fifo")
    for path, named in (
        (tmp_path / "missing", "No such file"),
        (tmp_path / "folder", "not a data directory"),
        (tmp_path / "fifo", "is not a file"),
    ):
        with pytest.raises(StorageUnusable, match=named):
            database_of(path)


@pytest.mark.parametrize("error", [apsw.CantOpenError, apsw.ReadOnlyError, apsw.IOError])
def test_a_directory_that_cannot_be_written_is_read_all_the_same(
    error: type[apsw.Error], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = new_database(tmp_path)
    add_topic(database, 1, "t")
    database.close()
    opened = apsw.Connection

    class OnlyReadable(opened):  # type: ignore[misc, valid-type]
        """Without immutable=1, SQLite would make files beside the database."""

        def execute(self, statement: str, *rest: object) -> object:
            if "immutable" not in self.filename and not self.open_flags & apsw.SQLITE_OPEN_URI:
                raise error
            return super().execute(statement, *rest)

    monkeypatch.setattr(apsw, "Connection", OnlyReadable)
    with DatabaseReader(tmp_path / "sluice.db") as reader:
        assert len(reader.rows.read(Table.TOPICS)) == 1
    (tmp_path / "sluice.db-wal").write_bytes(b"x")
    with pytest.raises(StorageUnusable, match="copy the directory elsewhere"):
        DatabaseReader(tmp_path / "sluice.db")
