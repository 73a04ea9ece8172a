"""Small files are read whole; those without an end are refused or bounded."""

import os
from pathlib import Path
from threading import Thread

import pytest

from service.runtime.bounded_files import read_bounded, read_certificates


def test_a_file_of_just_the_bound_is_read_and_one_byte_more_refused(tmp_path: Path) -> None:
    (file := tmp_path / "file").write_bytes(b"12345")
    (link := tmp_path / "link").symlink_to(file)
    assert read_bounded(file, 5) == read_bounded(link, 5) == b"12345"
    with pytest.raises(OSError, match="it has more than 4 bytes"):
        read_bounded(file, 4)
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "other", 5)


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/full", "/dev/null", "/dev", "fifo"])
def test_other_kinds_of_files_are_refused_without_waiting(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="it is not a regular file|Is a directory"):
        read_bounded(tmp_path / name, 5)


def test_commands_take_pipes_too_and_bound_devices(tmp_path: Path) -> None:
    os.mkfifo(fifo := tmp_path / "fifo")
    writer = Thread(target=fifo.write_bytes, args=(b"12345",))
    writer.start()
    assert read_bounded(fifo, 5, pipes=True) == b"12345"
    writer.join()
    with pytest.raises(OSError, match="it has more than 65,536 bytes"):
        read_bounded("/dev/zero", 65_536, pipes=True)


def test_certificates_are_text_and_a_file_without_any_is_refused(tmp_path: Path) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    (file := tmp_path / "ca.pem").write_text("Bärbel's\n" + pem)
    assert read_certificates(file) == "Brbel's\n" + pem
    file.write_bytes(b"")
    with pytest.raises(OSError, match="it has no certificates"):
        read_certificates(file)
    with pytest.raises(OSError, match="it has more than"):
        read_certificates("/dev/zero", pipes=True)
