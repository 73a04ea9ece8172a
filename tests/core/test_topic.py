"""A topic keeps consecutive offsets, and drops by count, bytes and age in order."""

import orjson
import pytest

from service.core.topics.topic import CHUNK, Position, RingLimits, Start, Topic
from service.core.topics.wire import Encoding


def filled(count: int, limits: RingLimits | None = None) -> Topic:
    topic = Topic("t", "e1", limits or RingLimits(messages=10))
    for number in range(1, count + 1):
        topic.append(b"%d" % number, now=float(number))
    return topic


def test_offsets_start_at_one_and_are_consecutive() -> None:
    topic = Topic("t", "e1", RingLimits())
    assert [topic.append(b"0", 0.0) for _ in range(3)] == [1, 2, 3]
    assert (topic.first, topic.head, topic.position) == (1, 3, Position("e1", 3))


def test_a_ring_keeps_the_newest_messages() -> None:
    topic = filled(25)
    assert (topic.first, topic.head) == (16, 25)
    assert topic.chunk(15, Encoding.EVENTS) == (b"16\n17\n18\n19\n20\n21\n22\n23\n24\n25\n", 25)


def test_a_ring_keeps_within_its_bytes_but_always_its_newest_message() -> None:
    topic = Topic("t", "e1", RingLimits(size=400))
    for _ in range(5):
        topic.append(b'"%b"' % (b"x" * 50), 0.0)
    assert topic.size <= 400
    topic.append(b'"%b"' % (b"x" * 1000), 0.0)
    assert (topic.first, topic.head) == (6, 6)


def test_an_append_drops_messages_that_are_too_old() -> None:
    topic = Topic("t", "e1", RingLimits(age=10))
    topic.append(b"1", now=0.0)
    topic.append(b"2", now=5.0)
    topic.append(b"3", now=11.0)
    assert topic.first == 2


def test_the_newest_message_goes_when_it_is_too_old() -> None:
    topic = filled(3, RingLimits(age=10))
    assert topic.expire(now=11.0) == 0
    assert topic.expire(now=100.0) > 0
    assert (topic.first, topic.head, topic.size) == (4, 3, 0)


def test_a_log_keeps_messages_of_any_age() -> None:
    topic = Topic("batch:1", "e1", None)
    for number in range(5000):
        topic.append(b"1", now=float(number))
    assert topic.expire(1e9) == 0
    assert (topic.first, topic.head) == (1, 5000)


def test_memory_being_short_leaves_the_newest_message() -> None:
    topic = filled(5)
    before = topic.size
    assert topic.shrink() == before - topic.size
    assert (topic.first, topic.head) == (5, 5)


@pytest.mark.parametrize(
    ("since", "start"),
    [
        ("newest", Start(Position("e1", 25), recovered=False)),
        ("oldest", Start(Position("e1", 15), recovered=False)),
        (Position("e1", 25), Start(Position("e1", 25), recovered=True)),
        (Position("e1", 15), Start(Position("e1", 15), recovered=True)),
        (Position("e1", 14), Start(Position("e1", 14), recovered=False)),
        (Position("e1", 0), Start(Position("e1", 0), recovered=False)),
        (Position("e1", 26), Start(Position("e1", 15), recovered=False)),
        (Position("e0", 20), Start(Position("e1", 15), recovered=False)),
    ],
)
def test_a_reader_starts_where_the_contract_says(since: Position, start: Start) -> None:
    assert filled(25).start(since) == start


def test_a_chunk_is_joined_once_for_all_readers_at_one_cursor() -> None:
    topic = filled(5)
    assert topic.chunk(2, Encoding.FRAMES)[0] is topic.chunk(2, Encoding.FRAMES)[0]


def test_an_append_outdates_joined_chunks() -> None:
    topic = filled(5)
    topic.chunk(2, Encoding.EVENTS)
    topic.append(b"6", 6.0)
    assert topic.chunk(2, Encoding.EVENTS) == (b"3\n4\n5\n6\n", 6)


def test_a_long_way_to_catch_up_comes_in_bounded_chunks() -> None:
    topic = Topic("batch:1", "e1", None)
    for _ in range(100):
        topic.append(orjson.dumps("x" * 10_000), 0.0)
    at, sizes = 0, []
    while at < topic.head:
        chunk, at = topic.chunk(at, Encoding.FRAMES)
        sizes.append(len(chunk))
    assert max(sizes) <= CHUNK
    assert sum(sizes) == topic.size


def test_a_message_larger_than_a_chunk_comes_alone() -> None:
    topic = Topic("batch:1", "e1", None)
    topic.append(orjson.dumps("x" * CHUNK), 0.0)
    topic.append(b"2", 0.0)
    assert topic.chunk(0, Encoding.FRAMES)[1] == 1


def test_lines_carry_offsets_and_sse_carries_positions() -> None:
    topic = filled(2)
    assert topic.chunk(0, Encoding.LINES)[0] == b'{"offset":1,"data":1}\n{"offset":2,"data":2}\n'
    assert topic.chunk(1, Encoding.SSE)[0] == b"id: e1:2\ndata: 2\n\n"
