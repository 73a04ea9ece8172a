"""Lines of ranges: each line is in one range, wherever the ranges begin; and streams."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.work.counting import LONGEST_LINE, KeyCounts, LineCounter, by_field
from service.work.file_counts.decoding import PIECE, Unreadable
from service.work.file_counts.reading import lines_in_range, pieces_of


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranges") / "file"


def in_ranges(path: Path, size: int, end: int | None = None) -> list[bytes]:
    """Return what each range of a file has."""
    with path.open("rb") as file:
        whole = os.fstat(file.fileno()).st_size if end is None else end
        return [
            b"".join(lines_in_range(file.fileno(), at, min(at + size, whole)))
            for at in range(0, max(whole, 1), size)
        ]


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"bcd", b"\0", b"\xff"]), max_size=12), st.integers(1, 9))
def test_every_line_is_in_the_range_that_it_begins_in(path: Path, parts: list[bytes], size: int) -> None:
    data = b"".join(parts)
    path.write_bytes(data)
    found = in_ranges(path, size)
    assert b"".join(found) == data
    begins = [0, *(at + 1 for at, byte in enumerate(data) if byte == 10)]
    for number, part in enumerate(found):
        mine = [at for at in begins if number * size <= at < (number + 1) * size and at < len(data)]
        assert part.count(b"\n") + (not part.endswith(b"\n") and bool(part)) == len(mine)


def test_lines_longer_than_ranges_and_pieces_are_in_one_range(path: Path) -> None:
    line = b"x" * (2 * PIECE + 3) + b"\n"
    path.write_bytes(b"a\n" + line + b"b\n" + line)
    found = in_ranges(path, PIECE)
    assert [part for part in found if part] == [b"a\n" + line, b"b\n" + line]


def test_a_line_beyond_the_bound_is_read_only_as_far_as_is_needed(path: Path) -> None:
    path.write_bytes(b"a\n" + b"x" * (10 * LONGEST_LINE) + b"\nb")
    size = path.stat().st_size
    taken = []
    counter = LineCounter(by_field(1), KeyCounts())
    with path.open("rb") as file:
        for at in range(0, size, LONGEST_LINE):
            for data in pieces_of(file.fileno(), at, min(at + LONGEST_LINE, size), taken.append):
                counter.feed(data)
            counter.finish()
    assert counter.counts.summary(9)["top"] == [{"key": "a", "count": 1}, {"key": "b", "count": 1}]
    assert (counter.counts.lines, counter.counts.skipped) == (3, 1)
    assert size <= sum(taken) <= size + 20


def test_a_file_that_becomes_shorter_is_reported(path: Path) -> None:
    path.write_bytes(b"a\n" * 10)
    with pytest.raises(Unreadable, match="^has become shorter while it was read$"):
        in_ranges(path, 30, end=30)
    with pytest.raises(Unreadable):
        in_ranges(path, 5, end=30)


def test_a_file_that_grows_gives_the_lines_that_it_had_with_the_end_of_the_last(path: Path) -> None:
    path.write_bytes(b"a\nb c\nd\n")
    assert in_ranges(path, 10, end=3) == [b"a\nb c\n"]
    assert in_ranges(path, 10, end=2) == [b"a\n"]


def test_a_byte_order_mark_is_left_out_at_the_beginning_alone(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n")
    for size in (4, 5, 100):
        assert b"".join(in_ranges(path, size)) == b"a\n\xef\xbb\xbfb\n"


def test_a_stream_is_read_to_its_end_as_it_comes() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    taken: list[int] = []
    pieces = pieces_of(reading, 0, None, taken.append)
    os.write(writing, b"a b c d\n")
    assert next(pieces) == b"a b c d\n"
    os.write(writing, b"b\n")
    assert next(pieces) == b"b\n"
    os.close(writing)
    assert list(pieces) == []
    os.close(reading)
    assert sum(taken) == 10
