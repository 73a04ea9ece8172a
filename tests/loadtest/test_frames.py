"""Frames by the RFC, and the short cut that must never see a run where there is none."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.frames import accept_of, frames, masked, quick_run
from service.core.wire import Encoding, gap_chunk, message_frame, message_prefix, text_frame


def unmasked(frame: bytes) -> tuple[int, bytes]:
    """Read a client's frame as section 5.3 says, byte by byte."""
    assert frame[0] & 0x80
    assert frame[1] & 0x80
    size, at = frame[1] & 0x7F, 2
    if size == 126:
        size, at = int.from_bytes(frame[2:4], "big"), 4
    elif size == 127:
        size, at = int.from_bytes(frame[2:10], "big"), 10
    mask, payload = frame[at : at + 4], frame[at + 4 :]
    assert len(payload) == size
    return frame[0] & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def test_the_handshakes_answer_is_the_rfcs() -> None:
    assert accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("size", [0, 1, 3, 4, 125, 126, 127, 65535, 65536])
def test_a_masked_frame_unmasks_to_its_payload(size: int) -> None:
    payload = bytes(i % 251 for i in range(size))
    assert unmasked(masked(0x1, payload)) == (1, payload)


@given(payloads=st.lists(st.binary(max_size=300), max_size=6), cut=st.integers(0, 2000))
def test_frames_come_whole_however_they_are_cut(payloads: list[bytes], cut: int) -> None:
    data = b"".join(map(text_frame, payloads))
    rest, found = b"", []
    for piece in (data[:cut], data[cut:]):
        rest += piece
        whole = list(frames(rest))
        found += [payload for _, payload, _ in whole]
        rest = rest[whole[-1][2] :] if whole else rest
    assert found == payloads
    assert rest == b""


def run_of(first: int, count: int, data: bytes = b'"x"', topic: str = "t") -> bytes:
    prefix = message_prefix(topic)
    return b"".join(message_frame(prefix, first + i, data) for i in range(count))


def test_a_run_is_seen_at_a_glance() -> None:
    assert quick_run(run_of(11, 5)) == (11, 5)
    assert quick_run(run_of(7, 1, b'"' + b"y" * 500 + b'"')) == (7, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        run_of(1, 3)[:-1],
        run_of(1, 1) + run_of(3, 1),
        run_of(1, 1) + run_of(1, 1),
        run_of(9, 2),  # 9 and 10 differ in length
        text_frame(orjson.dumps({"jsonrpc": "2.0", "id": 1, "result": {"topic": "t", "epoch": "e", "offset": 7}})),
        gap_chunk(Encoding.FRAMES, "t", "e", 1, 9),
        b"\x89\x00" * 40,
    ],
)
def test_anything_else_is_walked(data: bytes) -> None:
    assert quick_run(data) is None


@given(pieces=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 4)), min_size=1, max_size=4))
def test_the_short_cut_agrees_with_the_walk(pieces: list[tuple[int, int]]) -> None:
    data = b"".join(run_of(first, count) for first, count in pieces)
    offsets = [orjson.loads(payload)["params"]["offset"] for _, payload, _ in frames(data)]
    quick = quick_run(data)
    if quick is not None:
        # Only the ends are compared: what lies between has the same length, so a swap inside is possible
        # in theory. The service never writes one: a read holds whole runs in the order of the topic.
        assert (offsets[0], len(offsets)) == quick
        assert offsets[-1] == quick[0] + quick[1] - 1
