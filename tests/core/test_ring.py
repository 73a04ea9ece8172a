"""A ring keeps consecutive offsets, and drops by count, bytes and age in order."""

import orjson
import pytest

from service.core.pieces import Pieces
from service.core.topics import ring as ring_module
from service.core.topics.position import Position
from service.core.topics.ring import CHUNK, Ring, RingLimits
from service.core.topics.wire import Encoding


def filled(count: int, limits: RingLimits | None = None) -> Ring:
    ring = Ring("t", Position("e1", 0), limits or RingLimits(messages=10))
    for number in range(1, count + 1):
        ring.append(b"%d" % number, now=float(number))
    return ring


def test_offsets_start_at_one_and_are_consecutive() -> None:
    ring = Ring("t", Position("e1", 0), RingLimits())
    assert [ring.append(b"0", 0.0) for _ in range(3)] == [1, 2, 3]
    assert (ring.first, ring.head, len(ring), repr(ring)[:15]) == (1, 3, 3, "<Ring t 1..3 24")


def test_a_ring_keeps_the_newest_messages() -> None:
    ring = filled(25)
    assert (ring.first, ring.head) == (16, 25)
    assert ring.chunk(15, Encoding.EVENTS) == (b"16\n17\n18\n19\n20\n21\n22\n23\n24\n25\n", 25)


def test_a_ring_keeps_within_its_bytes_but_always_its_newest_message() -> None:
    ring = Ring("t", Position("e1", 0), RingLimits(size=400))
    for _ in range(5):
        ring.append(b'"%b"' % (b"x" * 50), 0.0)
    assert ring.size <= 400
    ring.append(b'"%b"' % (b"x" * 1000), 0.0)
    assert (ring.first, ring.head) == (6, 6)


def test_an_append_drops_messages_that_are_too_old() -> None:
    ring = Ring("t", Position("e1", 0), RingLimits(age=10))
    ring.append(b"1", now=0.0)
    ring.append(b"2", now=5.0)
    ring.append(b"3", now=11.0)
    assert ring.first == 2


def test_the_newest_message_goes_when_it_is_too_old() -> None:
    ring = filled(3, RingLimits(age=10))
    assert ring.expire(now=11.0) == 0
    assert ring.expire(now=100.0) > 0
    assert (ring.first, ring.head, ring.size) == (4, 3, 0)


def test_a_log_keeps_messages_of_any_age() -> None:
    ring = Ring("batch:1", Position("e1", 0), None)
    for number in range(5000):
        ring.append(b"1", now=float(number))
    assert ring.expire(1e9) == 0
    assert (ring.first, ring.head) == (1, 5000)


def test_memory_being_short_leaves_the_newest_message() -> None:
    ring = filled(5)
    before = ring.size
    assert ring.shrink() == before - ring.size
    assert (ring.first, ring.head) == (5, 5)


def test_a_chunk_is_joined_once_for_all_readers_at_one_cursor() -> None:
    ring = filled(5)
    assert ring.chunk(2, Encoding.FRAMES)[0] is ring.chunk(2, Encoding.FRAMES)[0]


def test_an_append_outdates_joined_chunks() -> None:
    ring = filled(5)
    ring.chunk(2, Encoding.EVENTS)
    ring.append(b"6", 6.0)
    assert ring.chunk(2, Encoding.EVENTS) == (b"3\n4\n5\n6\n", 6)


def test_a_long_way_to_catch_up_comes_in_bounded_chunks() -> None:
    ring = Ring("batch:1", Position("e1", 0), None)
    for _ in range(100):
        ring.append(orjson.dumps("x" * 10_000), 0.0)
    at, sizes = 0, []
    while at < ring.head:
        chunk, at = ring.chunk(at, Encoding.FRAMES)
        sizes.append(len(chunk))
    assert max(sizes) <= CHUNK
    assert sum(sizes) == ring.size


def test_a_message_larger_than_a_chunk_comes_alone() -> None:
    ring = Ring("batch:1", Position("e1", 0), None)
    ring.append(orjson.dumps("x" * CHUNK), 0.0)
    ring.append(b"2", 0.0)
    assert ring.chunk(0, Encoding.FRAMES)[1] == 1


@pytest.mark.parametrize("size", [10, 70_000, 300_000])
def test_a_message_in_pieces_is_kept_and_read_as_a_whole_one(size: int) -> None:
    text = orjson.dumps("x" * size)
    whole, pieces = (Ring("batch:1", Position("e1", 0), None) for _ in range(2))
    whole.append(text, 0.0)
    pieces.append(Pieces(text[:7], text[7:9], text[9:]), 0.0)

    assert pieces.size == whole.size
    assert pieces.data(1) == text
    for encoding in Encoding:
        assert pieces.chunk(0, encoding) == whole.chunk(0, encoding)
        assert b"".join(pieces.parts(1, encoding)) == whole.chunk(0, encoding)[0]
    assert whole.chunk(0, Encoding.EVENTS)[0] == text + b"\n"
    assert whole.chunk(0, Encoding.LINES)[0] == b'{"offset":1,"data":%b}\n' % text
    assert whole.chunk(0, Encoding.SSE)[0] == b"id: e1:1\ndata: %b\n\n" % text


def test_lines_carry_offsets_and_sse_carries_positions() -> None:
    ring = filled(2)
    assert ring.chunk(0, Encoding.LINES)[0] == b'{"offset":1,"data":1}\n{"offset":2,"data":2}\n'
    assert ring.chunk(1, Encoding.SSE)[0] == b"id: e1:2\ndata: 2\n\n"


def test_what_was_skipped_is_neither_kept_nor_joined() -> None:
    ring = filled(5)
    size = ring.size
    ring.chunk(2, Encoding.FRAMES)
    assert ring.skip(20) == size
    assert (ring.first, ring.head, ring.size, ring.fresh_after) == (21, 20, 0, -1)
    ring.append(b"21", 6.0)
    assert ring.chunk(20, Encoding.EVENTS) == (b"21\n", 21)


def test_another_epoch_begins_with_nothing() -> None:
    ring = filled(5)
    ring.begin_anew(Position("e2", 2))
    assert (ring.epoch, ring.first, ring.head) == ("e2", 3, 2)
    assert ring.append(b"3", 6.0) == 3
    assert ring.chunk(2, Encoding.SSE)[0] == b"id: e2:3\ndata: 3\n\n"


def test_what_is_damaged_counts_in_the_bounds_and_is_a_gap_in_every_encoding() -> None:
    ring = Ring("t", Position("e1", 0), RingLimits(messages=3))
    ring.restore([b"1", None, b"3", b"4"], [0.0] * 4)
    assert (ring.first, ring.size_of(3) > 0) == (2, True)
    assert ring.chunk(1, Encoding.EVENTS)[0] == b'{"event":"gap","from":2,"to":2}\n3\n4\n'
    ring.append(b"5", 0.0)
    assert ring.chunk(2, Encoding.EVENTS)[0] == b"3\n4\n5\n"


def test_no_two_cursors_and_encodings_share_what_is_joined() -> None:
    ring = filled(5)
    for after in range(5):
        for encoding in Encoding:
            assert ring.chunk(after, encoding) == filled(5).chunk(after, encoding)


def test_only_so_many_joined_chunks_are_kept() -> None:
    count = ring_module._CHUNKS + 3
    ring = filled(count, RingLimits())
    for after in range(count):
        assert ring.chunk(after, Encoding.EVENTS)[1] == count
    assert len(ring._chunks) == ring_module._CHUNKS


def test_a_damaged_message_of_a_log_is_a_gap_among_the_others() -> None:
    log = Ring("batch:b", Position("e1", 0), None)
    log.restore([b"1", None, b"3"], [0.0] * 3)
    assert log.chunk(0, Encoding.LINES) == (
        b'{"offset":1,"data":1}\n{"event":"gap","from":2,"to":2}\n{"offset":3,"data":3}\n',
        3,
    )
    assert log.size == sum(log.size_of(offset) for offset in (1, 2, 3))
    assert log.parts(2, Encoding.LINES) == (b'{"event":"gap","from":2,"to":2}\n',)


def test_the_data_of_a_message_can_be_read_and_nothing_of_a_damaged_one() -> None:
    ring = Ring("t", Position("e1", 4), RingLimits())
    ring.restore([b'{"a":1}', None], [1.0, 1.0])
    ring.append(b"7", 2.0)
    assert [ring.data(offset) for offset in range(ring.first, ring.head + 1)] == [b'{"a":1}', None, b"7"]
