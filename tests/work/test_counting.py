"""Counting keys: exact up to the bound, within the error bound after that, however the input is cut or merged."""

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.work.counting import LONGEST_KEY, LONGEST_LINE, KeyCounts, Keys, LineCounter, by_field, by_regex


def count(data: bytes, keys: Keys, *, bound: int = 1000, piece: int = 1 << 20) -> KeyCounts:
    counter = LineCounter(keys, KeyCounts(bound))
    for at in range(0, len(data), piece):
        counter.feed(data[at : at + piece])
    counter.finish()
    return counter.counts


def top(counts: KeyCounts, most: int = 100) -> list[tuple[str, int]]:
    return [(one["key"], one["count"]) for one in counts.summary(most)["top"]]


@pytest.mark.parametrize(
    ("data", "keys", "found", "lines", "skipped"),
    [
        (b"a x\nb x\na y", by_field(1), [("a", 2), ("b", 1)], 3, 0),
        (b"  a   x \n\tb\tx\n", by_field(2), [("x", 2)], 2, 0),
        (b"a\n\nb c\n \n", by_field(2), [("c", 1)], 4, 3),
        (b"a,b\r\n,b\r\nc\r\n\r\n", by_field(2, b","), [("b", 2)], 4, 2),
        (b"a,b\n,b\n", by_field(1, b","), [("", 1), ("a", 1)], 2, 0),
        (b"a b\r\n", by_field(2), [("b", 1)], 1, 0),
        (b"\n\n", by_field(1), [], 2, 2),
        (b"", by_field(1), [], 0, 0),
        (b"id=1 id=2\nx\nid=1", by_regex(re.compile(rb"id=(\d+)")), [("1", 2)], 3, 1),
        (b"a\nb\n", by_regex(re.compile(rb"a|(b)")), [("b", 1)], 2, 1),
        (b"\xff \xc3\xa4\n", by_field(1), [("\\xff", 1)], 1, 0),
    ],
)
def test_keys_are_found_in_lines(
    data: bytes, keys: Keys, found: list[tuple[str, int]], lines: int, skipped: int
) -> None:
    counts = count(data, keys)
    assert (top(counts), counts.lines, counts.skipped) == (found, lines, skipped)
    assert counts.exact


@given(st.lists(st.sampled_from([b"a", b"b b", b"", b" c", b"\r"])), st.integers(1, 7), st.booleans())
def test_it_does_not_matter_how_the_input_is_cut(lines: list[bytes], piece: int, ended: bool) -> None:
    data = b"\n".join(lines) + b"\n" * ended
    whole = count(data, by_field(1))
    parts = count(data, by_field(1), piece=piece)
    assert parts.summary(100) == whole.summary(100)


def test_the_order_is_by_count_and_then_by_key_and_ends_after_the_top() -> None:
    counts = count(b"b\na\nc\nc\nd\n", by_field(1))
    assert [top(counts, most) for most in (1, 2, 3, 9)] == [
        [("c", 2)],
        [("c", 2), ("a", 1)],
        [("c", 2), ("a", 1), ("b", 1)],
        [("c", 2), ("a", 1), ("b", 1), ("d", 1)],
    ]


def _zipf(lines: int, keys: int, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    return [b"key%d" % int(keys ** chance.random()) for _ in range(lines)]


def _check(counts: KeyCounts, true: "Counter[bytes]", bound: int) -> None:
    """Each count is right, or too low by at most the error bound; a key that is not in the table counts as 0."""
    lines = sum(true.values())
    assert counts.lines == lines
    assert counts.error_bound <= lines / (bound // 2)
    reported = dict(top(counts, 10 * bound))
    assert len(reported) <= bound
    for key, right in true.items():
        assert right - counts.error_bound <= reported.get(key.decode(), 0) <= right


@pytest.mark.parametrize("seed", range(5))
def test_beyond_the_bound_each_count_is_within_the_error_bound(seed: int) -> None:
    keys = _zipf(20_000, 5_000, seed)
    counts = count(b"\n".join(keys), by_field(1), bound=200, piece=4096)
    assert not counts.exact
    _check(counts, Counter(keys), 200)
    assert counts.summary(1)["keys"] >= 200


@pytest.mark.parametrize("seed", range(5))
def test_tables_that_are_merged_keep_the_bound(seed: int) -> None:
    keys = _zipf(20_000, 5_000, seed)
    merged = KeyCounts(200)
    for at in range(0, len(keys), 3000):
        part = count(b"\n".join(keys[at : at + 3000]), by_field(1), bound=200, piece=4096)
        written = b"\n".join(part.pieces())
        for _ in merged.merge_pieces(KeyCounts.read(written)):
            pass
    _check(merged, Counter(keys), 200)


def test_tables_that_fit_are_merged_exactly_also_beyond_one_piece() -> None:
    keys = [b"%d" % (number % 3000) for number in range(7000)]
    first, second = (count(b"\n".join(half), by_field(1), bound=5000) for half in (keys[:3500], keys[3500:]))
    first.merge(second)
    assert first.summary(5000) == count(b"\n".join(keys), by_field(1), bound=5000).summary(5000)
    assert (first.exact, first.summary(1)["keys"]) == (True, 3000)


def test_keys_that_are_written_alike_are_added_up() -> None:
    counts = count(b"\xff\n\\xff\n", by_field(1))
    merged = KeyCounts()
    for _ in merged.merge_pieces(KeyCounts.read(b"\n".join(counts.pieces()))):
        pass
    assert top(merged) == [("\\xff", 2)]


def test_a_table_that_spills_loses_nothing() -> None:
    keys = _zipf(20_000, 5_000, 1)
    merged = KeyCounts(10_000)

    def spill() -> None:
        assert len(small) <= 400, "one hundred lines more than fit, at most"
        merged.merge_pieces([small.drain()]).send(None)

    small = KeyCounts(300, spill=spill)
    counter = LineCounter(by_field(1), small)
    for at in range(0, len(keys), 100):
        counter.feed(b"\n".join(keys[at : at + 100]) + b"\n")
    spill()
    assert (len(small), small.lines) == (0, 0)
    assert merged.summary(10_000) == count(b"\n".join(keys), by_field(1), bound=10_000).summary(10_000)


def test_long_lines_and_keys_are_skipped_and_not_held() -> None:
    counter = LineCounter(by_field(1), KeyCounts(1000))
    for _ in range(3):
        counter.feed(b"x" * LONGEST_LINE)
        assert sum(map(len, counter._rest)) <= LONGEST_LINE
    counter.feed(b"y\nshort\n" + b"k" * (LONGEST_KEY + 1) + b"\n")
    counter.finish()
    assert (counter.counts.lines, counter.counts.skipped, top(counter.counts)) == (3, 2, [("short", 1)])


def test_memory_is_bounded_also_where_keys_are_long() -> None:
    counts = KeyCounts(1000)
    for number in range(50):
        counts.add([b"%d" % (1000 * number + one) + b"x" * 1000 for one in range(50)], 50)
    assert sum(map(len, counts._table)) < 2 * 64 * 1000
    assert not counts.exact


def test_the_summary_has_the_shape_of_the_contract() -> None:
    counts = count(b"a\nb\na\n\n", by_field(1))
    assert counts.summary(1) == {
        "lines": 4, "skipped": 1, "keys": 2, "exact": True, "error_bound": 0, "top": [{"key": "a", "count": 2}],
    }  # fmt: skip
