"""Which files are cut into parts, and which cannot be opened."""

import gzip
import os
from pathlib import Path

import pytest

from service.work.file_counts.files import parts_of, size_of, tasks_of
from service.work.file_counts.messages import CountTask
from tests.work.file_counts.frames import zstd_frame

WHOLE = CountTask()


def tasks(path: Path, size: int = 10, seek: int = 0) -> list[CountTask]:
    with path.open("rb") as file:
        file.seek(seek)
        return tasks_of(file.fileno(), size)


def test_plain_files_are_cut_into_ranges(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 25)
    assert tasks(file) == [CountTask(0, 10), CountTask(10, 20), CountTask(20, 25)]
    assert tasks(file, 25) == [CountTask(0, 25)]


def test_what_is_compressed_or_empty_or_begun_or_no_file_is_read_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for data in (gzip.compress(b"x" * 100), zstd_frame(b"x" * 100), b"", b"BZh91AY&SY", b"\xff\xfea\0"):
        file.write_bytes(data)
        assert tasks(file) == [WHOLE]
    file.write_bytes(b"x" * 25)
    assert tasks(file, seek=3) == [WHOLE]
    assert tasks(Path("/proc/self/status")) == [WHOLE]
    assert tasks(Path("/dev/null")) == [WHOLE]


def test_files_are_opened_in_turn_and_those_that_cannot_be_are_reported(tmp_path: Path) -> None:
    good, other = tmp_path / "good", tmp_path / "other"
    good.write_bytes(b"x" * 25)
    other.write_bytes(b"y")
    wrong: list[tuple[str, str]] = []
    names = [str(tmp_path / "none"), str(good), str(tmp_path), str(other), ""]
    parts = parts_of(names, lambda *one: wrong.append(one), 20)
    seen = [(part.name, part.task, os.fstat(part.descriptor).st_ino) for part in parts]
    inode = good.stat().st_ino
    assert seen == [
        (str(good), CountTask(0, 20), inode), (str(good), CountTask(20, 25), inode),
        (str(other), CountTask(0, 1), other.stat().st_ino),
    ]  # fmt: skip
    assert wrong == [
        (names[0], "No such file or directory"), (names[2], "Is a directory"), ("", "No such file or directory"),
    ]  # fmt: skip


def test_the_size_is_that_of_all_files_unless_one_has_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 25)
    assert size_of([str(file), str(file), str(tmp_path / "none"), str(tmp_path)]) == 50
    assert size_of([str(file), "/dev/null"]) is None


def test_standard_input_is_a_file_where_it_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 25)
    before = os.dup(0)
    with file.open("rb") as given:
        os.dup2(given.fileno(), 0)
    try:
        assert size_of(["-"]) == 25
        assert [(part.name, part.task) for part in parts_of(["-"], lambda *one: None, 20)] == [
            ("standard input", CountTask(0, 20)), ("standard input", CountTask(20, 25)),
        ]  # fmt: skip
    finally:
        os.dup2(before, 0)
        os.close(before)
