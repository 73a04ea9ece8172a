"""Whole reads recognised: the short cut says what the walk would say, or nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.payloads import Payloads, payload
from loadtest.read_cache import SMALL, ReadCache
from loadtest.targets import Target
from tests.loadtest.test_frames import frame

MARKER, OPENING = b'"offset":', b'{"jsonrpc":"2.0","method":"message",'


def message(offset: int, size: int = 8) -> bytes:
    pad = "x" * size
    return frame(b'{"jsonrpc":"2.0","method":"message","params":{"topic":"t","offset":%d,"data":"%b"}}'
                 % (offset, pad.encode()))  # fmt: skip


def run_of(first: int, count: int, size: int = 8) -> bytes:
    return b"".join(message(offset, size) for offset in range(first, first + count))


@pytest.mark.parametrize("size", [8, SMALL, 40_000])
def test_consecutive_messages_are_one_run_at_first_sight_and_later(size: int) -> None:
    reads = ReadCache(Payloads(MARKER, OPENING))
    for _ in range(2):
        assert reads.run(run_of(998, 3, size)) == (998, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        message(1)[:-1],
        message(1) + b"\x81",
        message(1) + message(3),
        message(2) + message(1),
        message(1) + message(1),
        frame(b'{"jsonrpc":"2.0","id":1,"result":{"offset":7}}'),
        message(1) + frame(b"", 9),
        frame(message(1)[2:], 2),
    ],
)
def test_anything_else_is_for_the_walk(data: bytes) -> None:
    assert ReadCache(Payloads(MARKER, OPENING)).run(data) is None


def test_what_changes_places_inside_a_read_of_known_length_and_ends_is_seen() -> None:
    reads = ReadCache(Payloads(MARKER, OPENING))
    assert reads.run(run_of(1, 9, 200)) == (1, 9)
    swapped = message(1, 200) + message(3, 200) + message(2, 200) + run_of(4, 6, 200)
    assert len(swapped) == len(run_of(1, 9, 200))
    assert reads.run(swapped) is None


@given(pieces=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 12)), min_size=1, max_size=20))
def test_the_short_cut_agrees_with_the_walk(pieces: list[tuple[int, int]]) -> None:
    # One object for all of them: what is kept of earlier reads must never answer for another.
    reads = ReadCache(Payloads(MARKER, OPENING))
    for first, count in pieces:
        size = 8 if count % 2 else 300
        assert reads.run(run_of(first, count, size)) == (first, count)
        broken = run_of(first, count, size) + message(first, size)
        assert reads.run(broken) is None


def test_what_is_kept_is_bounded() -> None:
    reads = ReadCache(Payloads(MARKER, OPENING))
    for first in range(1, 400):
        assert reads.run(message(first, 60_000)) == (first, 1)
    assert reads._held <= (8 << 20) + 62_000


def test_what_is_altered_or_batched_is_for_the_walk() -> None:
    reads = ReadCache(Payloads(Target.MARKER, run="0123abcd"))
    sound = payload("0123abcd", 1, 1.0, 90)
    assert reads.run(frame(sound)) == (1, 1)
    assert reads.run(frame(sound.replace(b"xx", b"x", 1))) is None
    assert reads.run(frame(b"[" + sound + b"," + payload("0123abcd", 2, 1.0, 90) + b"]")) is None


def test_a_server_that_numbers_nothing_has_ours() -> None:
    reads = ReadCache(Payloads(Target.MARKER))
    assert reads.run(frame(b'{"n":9,"t":1,"pad":"x"}') + frame(b'{"n":10,"t":1,"pad":"x"}')) == (9, 2)
