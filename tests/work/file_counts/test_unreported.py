"""The parts that are counted again when a counting process is killed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.work.file_counts.messages import CountReport, CountTask
from service.work.file_counts.unreported import Part, Unreported


@contextmanager
def opened(path: Path) -> Iterator[int]:
    path.write_bytes(b"0123456789")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def left(unreported: Unreported) -> list[tuple[str, int, bool]]:
    return [(part.name, part.task.skip, part.again) for part in unreported.again()]


def test_what_a_table_has_is_not_counted_again(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with opened(tmp_path / "file") as descriptor:
        unreported = Unreported()
        for name in "abc":
            unreported.add(Part(name, CountTask(0, 10), descriptor))
            unreported.reported(CountReport(5, ended=name < "c"))
        assert unreported.read == 15
        unreported.reported(CountReport(2, (9, 0, 0, 1), 1, counted=4))
        assert unreported.read == 0
        assert left(unreported) == [("c", 4, True)]
        unreported.add(Part("d", CountTask(0, 10), descriptor))
        unreported.reported(CountReport(2, (9, 0, 0, 1), 1, counted=4, ended=True))
        assert left(unreported) == []
        unreported.reported(CountReport(0, (0, 0, 0, 0), 0, counted=0))  # the last table of a process
        assert left(unreported) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_process_reports_before_it_has_too_many_parts_and_after_each_that_is_counted_again(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "file") as descriptor:
        unreported = Unreported()
        reports = [unreported.add(Part("a", CountTask(0, 10), descriptor)).task.report for _ in range(32)]
        assert reports == [False] * 31 + [True]
        unreported.close()
        assert unreported.add(Part("a", CountTask(0, 10), descriptor, again=True)).task.report
        unreported.close()


def test_a_stream_is_read_again_from_where_it_began(tmp_path: Path) -> None:
    with opened(tmp_path / "file") as descriptor:
        os.read(descriptor, 3)
        unreported = Unreported()
        unreported.add(Part("a", CountTask(), descriptor))
        assert os.read(descriptor, 99) == b"3456789"
        assert not unreported.why_not
        for part in unreported.again():
            assert os.read(part.descriptor, 99) == b"3456789"


def test_a_pipe_and_what_was_tried_twice_cannot_be_counted_again(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    unreported = Unreported()
    unreported.add(Part("a", CountTask(), reading))
    assert unreported.why_not == "a pipe cannot be read again"
    unreported.close()
    os.close(reading)
    os.close(writing)
    with opened(tmp_path / "file") as descriptor:
        unreported.add(Part("a", CountTask(0, 10), descriptor, again=True))
        assert unreported.why_not == "this is the second process that had it"
        unreported.close()
