"""What SQLite cannot do is refused in words: an old version, and names that it cannot take."""

import os
from pathlib import Path

import apsw
import pytest

from service.storage.database import Database
from service.storage.errors import StorageUnusable
from service.storage.library import check_library, file_name
from service.storage.reader import DatabaseReader


@pytest.mark.parametrize("version", ["3.7.0", "3.40.1", "3.51.2"])
def test_an_old_library_is_refused_with_what_to_do(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    with pytest.raises(StorageUnusable, match=f"SQLite {version}.*pip install --upgrade apsw"):
        check_library()


@pytest.mark.parametrize("version", ["3.51.3", "3.54.1", "4.0.0"])
def test_a_new_one_is_taken(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    check_library()


def test_a_name_that_is_not_utf_8_is_refused_by_all_who_open_a_database(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xff"))
    folder.mkdir()
    for opened in (Database, DatabaseReader, file_name):
        with pytest.raises(StorageUnusable, match="is not a name in UTF-8"):
            opened(folder / "sluice.db")


def test_a_name_that_means_something_to_sqlite_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (":memory:", "file:x?mode=memory", ""):
        assert file_name(Path(name)) == os.path.join(tmp_path, name).rstrip("/")
