"""Fragments and compressed messages, as other servers send them; and invalid messages."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.messages import CONTINUED, MOST, Assembly, BadMessage


def deflated(compressor: "zlib._Compress", payload: bytes) -> bytes:
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


@given(parts=st.lists(st.binary(max_size=20), min_size=2, max_size=5))
def test_fragments_are_put_together(parts: list[bytes]) -> None:
    assembly = Assembly()
    for _ in range(2):
        assert assembly.add(1 | CONTINUED, parts[0]) is None
        for part in parts[1:-1]:
            assert assembly.add(CONTINUED, part) is None
        assert assembly.add(0, parts[-1]) == b"".join(parts)


@pytest.mark.parametrize("takeover", [True, False])
def test_compressed_messages_are_read(takeover: bool) -> None:
    extensions = "permessage-deflate" + ("" if takeover else "; server_no_context_takeover")
    assembly, compressor = Assembly(extensions), zlib.compressobj(wbits=-15)
    for _ in range(3):
        if not takeover:
            compressor = zlib.compressobj(wbits=-15)
        assert assembly.add(0x41, deflated(compressor, b"hello " * 50)) == b"hello " * 50
    data = deflated(zlib.compressobj(wbits=-15) if not takeover else compressor, b"in two")
    assert assembly.add(0x41 | CONTINUED, data[:3]) is None
    assert assembly.add(0, data[3:]) == b"in two"
    assert assembly.add(1, b"plain") == b"plain"


@pytest.mark.parametrize(
    ("first", "said"),
    [(0, "without a beginning"), (0x41, "--compress"), (0x11, "reserved"), (3, "opcode 3")],
)
def test_invalid_messages_are_refused_with_a_reason(first: int, said: str) -> None:
    with pytest.raises(BadMessage, match=said):
        Assembly().add(first, b"x")


def test_a_message_inside_a_message_is_none() -> None:
    assembly = Assembly()
    assembly.add(1 | CONTINUED, b"x")
    with pytest.raises(BadMessage, match="inside"):
        assembly.add(1, b"y")


def test_what_is_compressed_is_bounded() -> None:
    bomb = deflated(zlib.compressobj(9, wbits=-15), bytes(MOST + 1))
    with pytest.raises(BadMessage, match="64 MiB"):
        Assembly("permessage-deflate").add(0x41, bomb)
    with pytest.raises(BadMessage, match="cannot be read"):
        Assembly("permessage-deflate").add(0x41, b"\xff" * 9)
