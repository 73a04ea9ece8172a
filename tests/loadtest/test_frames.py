"""Frames as a client sends and reads them, checked against the `websockets` library's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from loadtest.frames import BadFrame, accept_of, frames, handshake, masked


def frame(payload: bytes, opcode: int = 1) -> bytes:
    return Frame(Opcode(opcode), payload).serialize(mask=False)


def test_the_accept_of_the_rfc() -> None:
    assert accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_handshake_has_what_was_asked_for_and_ends_once() -> None:
    text = handshake("example.org:81", "/ws", "key", {"Authorization": "Bearer t"})
    assert text.startswith(b"GET /ws HTTP/1.1\r\nHost: example.org:81\r\n")
    assert b"\r\nAuthorization: Bearer t\r\n" in text
    assert text.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_what_is_masked_is_read_by_others(size: int) -> None:
    payload, reader = b"\x01\xff" * (size // 2) + b"x" * (size % 2), StreamReader()
    reader.feed_data(masked(1, payload))
    parsing = Frame.parse(reader.read_exact, mask=True, max_size=None)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    assert done.value.value.data == payload


@given(payloads=st.lists(st.binary(max_size=300), max_size=5), cut=st.integers(0, 600))
def test_whole_frames_are_found_and_the_rest_is_left(payloads: list[bytes], cut: int) -> None:
    data = b"".join(frame(payload, 2) for payload in payloads)
    found = list(frames(data[:cut]))
    ends = [0]
    for payload in payloads:
        ends.append(ends[-1] + len(frame(payload, 2)))
    whole = sum(end <= cut for end in ends[1:])
    assert [payload for _, payload, _ in found] == payloads[:whole]
    assert [end for _, _, end in found] == ends[1 : whole + 1]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (masked(1, b"hello"), "a masked frame"),
        (b"\xff\xff\xff\xff garbage", "a masked frame"),
        (b"\x81\x7f" + (1 << 62).to_bytes(8, "big"), "a frame of 4,611,686,018,427,387,904 bytes"),
    ],
    ids=["masked", "garbage", "endless"],  # a mask is random, and every worker has to collect the same tests
)
def test_what_no_server_may_send_is_said(data: bytes, said: str) -> None:
    with pytest.raises(BadFrame, match=said):
        list(frames(frame(b"x") + data))


def test_the_length_of_a_frame_is_not_judged_before_it_is_there() -> None:
    assert [payload for _, payload, _ in frames(frame(b"x") + b"\x81\x7f\x40")] == [b"x"]
