"""Frames and chunks are what RFC 6455 and the contract say, byte for byte."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.topics.wire import (
    Encoding,
    close_frame,
    closing_frame,
    gap_chunk,
    message_data,
    message_frame,
    message_prefix,
    text_frame,
)


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_text_frame_has_the_shortest_header_that_fits(size: int, header: bytes) -> None:
    assert text_frame(b"x" * size) == header + b"x" * size


def test_a_message_is_a_notification_with_topic_offset_and_data() -> None:
    frame = message_frame(message_prefix('a"b'), 7, b'{"x":1}')
    assert orjson.loads(frame[2:]) == {
        "jsonrpc": "2.0",
        "method": "message",
        "params": {"topic": 'a"b', "offset": 7, "data": {"x": 1}},
    }


@given(
    topic=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=255),
    offset=st.integers(1, 1 << 53),
    size=st.sampled_from([0, 10, 60, 100, 200, 65000, 66000, 200_000]),
)
def test_data_is_cut_out_of_its_frame_unchanged(topic: str, offset: int, size: int) -> None:
    prefix, data = message_prefix(topic), orjson.dumps("x" * size)
    assert message_data(message_frame(prefix, offset, data)) == data


def test_a_gap_is_sent_in_the_readers_own_encoding() -> None:
    frame = gap_chunk(Encoding.FRAMES, "t", "e1", 3, 9)
    assert orjson.loads(frame[2:])["params"] == {"topic": "t", "from": 3, "to": 9}
    assert gap_chunk(Encoding.LINES, "t", "e1", 3, 9) == b'{"event":"gap","from":3,"to":9}\n'
    assert gap_chunk(Encoding.SSE, "t", "e1", 3, 9) == b'id: e1:9\nevent: gap\ndata: {"from":3,"to":9}\n\n'


def test_closing_tells_why_and_when_to_come_back() -> None:
    assert orjson.loads(closing_frame("draining", 2.5)[2:]) == {
        "jsonrpc": "2.0",
        "method": "closing",
        "params": {"reason": "draining", "retry_after": 2.5},
    }


def test_a_close_frame_fits_a_control_frame_with_any_reason() -> None:
    frame = close_frame(4408, "r" * 500)
    assert frame[:4] == b"\x88\x7d\x11\x38"
    assert len(frame) == 2 + 125
