"""Backups are whole or not there, and what is restored is what was backed up."""

import fcntl
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from service.storage import copying
from service.storage.commit_count import pack_count, unpack_count
from service.storage.copying import back_up, restore
from service.storage.database import Database
from service.storage.directory import DataDirectory
from service.storage.errors import StorageUnusable
from service.storage.reader import DatabaseReader
from service.storage.tables import Table
from service.storage.verification import Verified, verify
from tests.storage.stored import add_messages, add_topic, new_database

Usage = namedtuple("Usage", "total used free")


def nothing(done: int, total: int) -> None:
    """Show no progress."""


def copied(data: Path, file: Path, *, replace: bool = False) -> None:
    with DatabaseReader(data / "sluice.db") as reader:
        back_up(reader, file, nothing, replace=replace)


def restored(file: Path, data: Path, *, new_epochs: bool = False) -> None:
    with DatabaseReader(file) as reader:
        restore(reader, data, nothing, lambda path: None, new_epochs=new_epochs)


def verified(file: Path) -> Verified:
    with DatabaseReader(file) as reader:
        return verify(reader, nothing)


def kept(file: Path) -> list[list[tuple[int, bytes]]]:
    """Return all rows of topics and messages."""
    with DatabaseReader(file) as reader:
        return [reader.rows.read(table) for table in (Table.TOPICS, Table.MESSAGES)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data directory with a topic of 20 messages, of which nobody is a user."""
    database = new_database(tmp_path / "data")
    add_topic(database, 1, "t")
    add_messages(database, 1, 1, 20)
    database.close()
    return tmp_path / "data"


def test_a_backup_is_one_file_of_its_owner_with_all_rows(data: Path, tmp_path: Path) -> None:
    copied(data, tmp_path / "b")
    assert sorted(os.listdir(tmp_path)) == ["b", "data"]
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert kept(tmp_path / "b") == kept(data / "sluice.db")
    assert verified(tmp_path / "b").sound
    assert sorted(os.listdir(tmp_path)) == ["b", "data"], "no WAL beside it"


def test_a_backup_has_the_state_of_one_moment_however_much_is_written_meanwhile(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_PAGES", 1)
    database = Database(data / "sluice.db")
    add_messages(database, 1, 21, 500, b'"' + b"y" * 200 + b'"')
    before, steps = kept(data / "sluice.db"), 0

    def write(done: int, total: int) -> None:
        nonlocal steps
        add_messages(database, 1, 521 + steps, 1)
        steps += 1

    with DatabaseReader(data / "sluice.db") as reader:
        back_up(reader, tmp_path / "b", write, replace=False)
    assert steps > 10, "in steps, each once"
    assert kept(tmp_path / "b") == before
    assert verified(tmp_path / "b").sound
    assert len(kept(data / "sluice.db")[1]) == 520 + steps
    database.close()


def test_progress_comes_to_its_end(data: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with DatabaseReader(data / "sluice.db") as reader:
        back_up(reader, tmp_path / "b", lambda *two: seen.append(two), replace=False)
    assert seen[-1][0] == seen[-1][1] == (tmp_path / "b").stat().st_size


def test_what_is_restored_is_what_was_backed_up(data: Path, tmp_path: Path) -> None:
    copied(data, tmp_path / "b")
    restored(tmp_path / "b", tmp_path / "new")
    assert kept(tmp_path / "new" / "sluice.db") == kept(data / "sluice.db")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    database = Database(tmp_path / "new" / "sluice.db")
    assert (database.lost_commits, database.next_row) == (0, 21)
    add_messages(database, 1, 21, 1)
    database.close()
    assert verified(tmp_path / "new" / "sluice.db").sound


def test_new_epochs_are_begun_where_the_count_says_that_commits_are_missing(data: Path, tmp_path: Path) -> None:
    copied(data, tmp_path / "b")
    restored(tmp_path / "b", tmp_path / "new", new_epochs=True)
    database = Database(tmp_path / "new" / "sluice.db")
    assert database.lost_commits == 1
    database.close()


def test_a_backup_of_a_database_that_has_lost_commits_says_so_for_ever(data: Path, tmp_path: Path) -> None:
    commits = verified(data / "sluice.db").commits
    (data / "commits").write_bytes(pack_count(commits + 3))
    copied(data, tmp_path / "b")
    assert verified(tmp_path / "b").lost_commits == 3
    restored(tmp_path / "b", tmp_path / "new")
    assert unpack_count((tmp_path / "new" / "commits").read_bytes()) == commits + 3
    copied(tmp_path / "new", tmp_path / "again")
    assert verified(tmp_path / "again").lost_commits == 3


def test_an_existing_file_is_replaced_only_when_that_is_meant(data: Path, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("precious")
    with pytest.raises(StorageUnusable, match="exists; choose another name, or give --force"):
        copied(data, tmp_path / "b")
    assert (tmp_path / "b").read_text() == "precious"
    copied(data, tmp_path / "b", replace=True)
    assert verified(tmp_path / "b").sound


def test_a_file_that_appears_meanwhile_is_not_replaced(data: Path, tmp_path: Path) -> None:
    with DatabaseReader(data / "sluice.db") as reader, pytest.raises(StorageUnusable, match="exists"):
        back_up(reader, tmp_path / "b", lambda *two: (tmp_path / "b").touch(), replace=False)
    assert sorted(os.listdir(tmp_path)) == ["b", "data"]


@pytest.mark.parametrize("name", ["sluice.db", "other", "sub/../sluice.db"])
def test_a_backup_inside_the_data_directory_is_refused(data: Path, name: str) -> None:
    (data / "sub").mkdir()
    before = kept(data / "sluice.db")
    with pytest.raises(StorageUnusable, match="is in the data directory"):
        copied(data, data / name, replace=True)
    assert kept(data / "sluice.db") == before


def test_a_link_to_the_database_is_refused_too(data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data / "sluice.db")
    with pytest.raises(StorageUnusable, match="is in the data directory"):
        copied(data, tmp_path / "link", replace=True)


def test_places_where_no_file_can_be_are_named(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, named in (
        (tmp_path, "is not a file"),
        (Path(os.devnull), "is not a file"),
        (tmp_path / "missing" / "b", "is not a directory; make it first"),
        (tmp_path / "file" / "b", "Not a directory"),
    ):
        with pytest.raises(StorageUnusable, match=named):
            copied(data, path, replace=True)


def test_what_a_killed_backup_has_left_is_in_nobodys_way(data: Path, tmp_path: Path) -> None:
    (tmp_path / "b.partial").write_bytes(b"half of it" * 9999)
    copied(data, tmp_path / "b")
    assert sorted(os.listdir(tmp_path)) == ["b", "data"]
    assert verified(tmp_path / "b").sound


def test_two_backups_into_one_file_do_not_mix(data: Path, tmp_path: Path) -> None:
    with (tmp_path / "b.partial").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StorageUnusable, match="being written by another process"):
            copied(data, tmp_path / "b")
    assert (tmp_path / "b.partial").exists()


def test_an_interrupt_leaves_nothing_behind(data: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with DatabaseReader(data / "sluice.db") as reader:
        with pytest.raises(KeyboardInterrupt):
            back_up(reader, tmp_path / "b", interrupt, replace=False)
        with pytest.raises(KeyboardInterrupt):
            restore(reader, tmp_path / "new", interrupt, lambda path: None, new_epochs=False)
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize(("bound", "free"), [(1, 1 << 40), (1 << 40, 1)])
def test_a_copy_that_makes_the_wal_grow_too_far_is_given_up(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int, free: int
) -> None:
    monkeypatch.setattr(copying, "_PAGES", 1)
    monkeypatch.setattr("service.storage.reader._GROWTH", bound)
    monkeypatch.setattr("service.storage.reader._SMALL_GROWTH", 1)
    monkeypatch.setattr("service.storage.reader.disk_usage", lambda path: Usage(0, 0, free))
    database = Database(data / "sluice.db")
    with (
        DatabaseReader(data / "sluice.db") as reader,
        pytest.raises(StorageUnusable, match="is too slow: the WAL of .* has grown"),
    ):
        back_up(reader, tmp_path / "b", lambda *two: add_messages(database, 1, 21, 9), replace=False)
    database.close()
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize("there", ["sluice.db", "sluice.db-wal", "notes.txt", ".hidden"])
def test_a_directory_that_is_not_empty_is_refused(data: Path, tmp_path: Path, there: str) -> None:
    copied(data, tmp_path / "b")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / there).write_text("")
    with pytest.raises(StorageUnusable, match=f"is not empty: it has {there}"):
        restored(tmp_path / "b", tmp_path / "new")
    assert os.listdir(tmp_path / "new") == [there]


def test_an_empty_directory_and_what_a_killed_restore_has_left_are_taken(data: Path, tmp_path: Path) -> None:
    copied(data, tmp_path / "b")
    (tmp_path / "new").mkdir()
    for name in ("lock", "commits", "sluice.db.partial"):
        (tmp_path / "new" / name).write_text("")
    restored(tmp_path / "b", tmp_path / "new")
    assert sorted(os.listdir(tmp_path / "new")) == ["commits", "lock", "sluice.db"]


def test_a_restore_that_fails_its_verification_leaves_nothing(data: Path, tmp_path: Path) -> None:
    copied(data, tmp_path / "b")

    def refuse(path: Path) -> None:
        assert verified(path).sound
        raise StorageUnusable("damaged")

    with DatabaseReader(tmp_path / "b") as reader, pytest.raises(StorageUnusable, match="damaged"):
        restore(reader, tmp_path / "new", nothing, refuse, new_epochs=False)
    assert sorted(os.listdir(tmp_path)) == ["b", "data"]
    (tmp_path / "new").mkdir()
    with DatabaseReader(tmp_path / "b") as reader, pytest.raises(StorageUnusable, match="damaged"):
        restore(reader, tmp_path / "new", nothing, refuse, new_epochs=False)
    assert os.listdir(tmp_path / "new") == []


def test_no_service_starts_on_a_directory_while_it_is_restored(data: Path, tmp_path: Path) -> None:
    copied(data, tmp_path / "b")

    def start_service(path: Path) -> None:
        with pytest.raises(StorageUnusable, match="another service uses this directory"):
            DataDirectory(tmp_path / "new")

    with DatabaseReader(tmp_path / "b") as reader:
        restore(reader, tmp_path / "new", nothing, start_service, new_epochs=False)
    DataDirectory(tmp_path / "new").close()


def test_the_database_of_a_directory_can_be_restored_as_it_is(data: Path, tmp_path: Path) -> None:
    """Of a service that was killed: with its WAL and its count beside it."""
    database = Database(data / "sluice.db")
    add_messages(database, 1, 21, 3)
    shutil.copytree(data, tmp_path / "copy")
    restored(tmp_path / "copy" / "sluice.db", tmp_path / "new")
    database.close()
    assert len(kept(tmp_path / "new" / "sluice.db")[1]) == 23
    assert verified(tmp_path / "new" / "sluice.db").commits == database.commits
