"""Frames that RFC 6455 forbids end the connection with 1002, however TCP cuts them."""

import asyncio
import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.edge.websocket.frames import ClientFrames
from tests.edge.running import Client, client_of

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = b"\x01\x82\x03\x44"


def frame(
    payload: bytes = b"", opcode: int = TEXT, *, masked: bool = True, first: int = 0x80, wide: int = 0
) -> bytes:
    """Return a frame whose length has at least ``wide`` bytes."""
    size, bit = len(payload), 0x80 if masked else 0
    if wide == 8 or size >= 1 << 16:
        length = struct.pack("!BQ", bit | 127, size)
    elif wide == 2 or size >= 126:
        length = struct.pack("!BH", bit | 126, size)
    else:
        length = bytes((bit | size,))
    body = bytes(byte ^ KEY[n % 4] for n, byte in enumerate(payload))
    return bytes((first | opcode,)) + length + (KEY + body if masked else payload)


def close(code: int) -> bytes:
    return frame(code.to_bytes(2) + b"bye", CLOSE)


LAWFUL = [
    *(frame(b"x" * size) for size in (0, 1, 2, 125, 126, 127, 65535, 65536)),
    *(frame(b"x" * 20, opcode, first=first) for opcode in (0, BINARY, PING) for first in (0x00, 0x80)),
    frame(b"", CLOSE),
    # What aiohttp's reader refuses by itself is none of ours.
    frame(b"x", 3, first=0xF0),
    frame(b"x", CLOSE),
    *(close(code) for code in (1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 4999)),
]
FORBIDDEN = [
    *(frame(b"x" * size, masked=False) for size in (0, 1, 200, 70_000)),
    frame(b"", PING, masked=False),
    frame(b"x" * 125, wide=2),
    frame(b"x" * 125, wide=8),
    frame(b"x" * 65535, wide=8),
    *(close(code) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)),
]


class Reader:
    """What the frames are passed on to: it keeps the bytes."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        self.ended = True


def passed(stream: bytes, cuts: list[int]) -> bytes:
    """Return what gets to the reader when the stream comes in these pieces."""
    frames = ClientFrames(reader := Reader())
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(edges):
        frames.feed_data(stream[begin:end])
    return reader.data


CUTS = st.one_of(st.just(list(range(400))), st.lists(st.integers(0, 1 << 20), max_size=12))


@given(st.lists(st.sampled_from(LAWFUL), min_size=1, max_size=6), CUTS)
def test_what_is_lawful_arrives_as_it_is_however_it_is_cut(sent: list[bytes], cuts: list[int]) -> None:
    assert passed(b"".join(sent), cuts) == b"".join(sent)


@given(st.lists(st.sampled_from(LAWFUL), max_size=3), st.sampled_from(FORBIDDEN), CUTS)
def test_the_first_forbidden_frame_is_the_last_thing_that_arrives(
    sent: list[bytes], forbidden: bytes, cuts: list[int]
) -> None:
    before = b"".join(sent)
    assert passed(before + forbidden + frame(b"never"), cuts) == before + b"\xf0\x80"


@given(st.binary(max_size=300), CUTS)
def test_any_bytes_pass_alike_however_they_are_cut(stream: bytes, cuts: list[int]) -> None:
    assert passed(stream, cuts) == passed(stream, [])


class Pinged:
    """A pinger that waits for a pong, or does not."""

    def __init__(self, *, due: bool = True) -> None:
        self.due = due

    def handle_pong(self) -> bool:
        due, self.due = self.due, False
        return due


@pytest.mark.parametrize(
    ("sent", "due", "arrives"),
    [
        ([frame(b"", PONG)], True, b""),
        ([frame(b"", PONG), frame(b"", PONG)], True, frame(b"", PONG)),
        ([frame(b"", PONG)], False, frame(b"", PONG)),
        ([frame(b"p", PONG)], True, frame(b"p", PONG)),
        ([frame(b"", PONG, first=0)], True, frame(b"", PONG, first=0)),
        ([frame(b"", PING)], True, frame(b"", PING)),
        ([frame(b"", PONG)[:3], frame(b"", PONG)[3:]], True, frame(b"", PONG)),
        # The bytes of a pong, as the payload of another frame.
        ([frame(b"x" * 10)[:-6], frame(b"", PONG)], True, frame(b"x" * 10)[:-6] + frame(b"", PONG)),
    ],
    ids=["due", "one of two", "not due", "payload", "fragment", "ping", "cut", "payload of another"],
)
def test_the_pong_that_answers_a_ping_goes_no_further(sent: list[bytes], due: bool, arrives: bytes) -> None:
    frames = ClientFrames(reader := Reader())
    frames.pinged = Pinged(due=due)
    for piece in sent:
        assert frames.feed_data(piece) == (False, b"")
    assert reader.data == arrives


def test_nothing_more_is_read_after_a_forbidden_frame_and_the_end_is_passed_on() -> None:
    frames = ClientFrames(reader := Reader())
    frames.feed_data(frame(b"x", masked=False))
    assert frames.feed_data(frame(b"y")) == (True, b"")
    frames.feed_eof()
    assert reader.ended


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ASKED = b'{"jsonrpc":"2.0","id":7,"method":"ping"}'
ANSWER = b'{"jsonrpc":"2.0","id":7,"result":{}}'


async def everything_after(client: Client, *pieces: bytes) -> bytes:
    """Send the pieces one after the other, and return all that comes until the server has closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            for _ in range(5):
                await asyncio.sleep(0)
        head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        return rest
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("pieces", ["together", "behind", "bytes"])
async def test_an_unmasked_frame_ends_the_connection_after_the_answers_to_what_came_before(pieces: str) -> None:
    stream = frame(ASKED) + frame(ASKED, masked=False) + frame(ASKED)
    sent = {
        "together": [UPGRADE + stream],
        "behind": [UPGRADE, stream],
        # Two bytes of the forbidden frame are enough; more would meet a closed socket.
        "bytes": [UPGRADE, *(stream[n : n + 1] for n in range(len(frame(ASKED)) + 2))],
    }
    async with client_of() as client:
        assert await everything_after(client, *sent[pieces]) == frame(ANSWER, masked=False) + b"\x88\x02\x03\xea"


@pytest.mark.parametrize(
    "forbidden",
    [frame(ASKED, wide=2), close(1006), close(65535), frame(ASKED, first=0xC0), frame(b"", 3), frame(b"", PING, first=0)],
    ids=["wide length", "1006", "65535", "RSV1", "opcode 3", "fragmented ping"],
)  # fmt: skip
async def test_other_forbidden_frames_end_it_too(forbidden: bytes) -> None:
    async with client_of() as client:
        assert await everything_after(client, UPGRADE, forbidden) == b"\x88\x02\x03\xea"


async def test_a_lawful_close_is_answered_and_leaves_nothing_behind() -> None:
    async with client_of() as client:
        assert await everything_after(client, UPGRADE + frame(ASKED) + close(4001)) == (
            frame(ANSWER, masked=False) + b"\x88\x02\x03\xe8"
        )
        assert client.service.sockets.count == 0


@pytest.mark.parametrize(("size", "end"), [(1000, b"\x88\x02\x03\xe8"), (1001, b"\x88\x02\x03\xf1")])
@pytest.mark.parametrize("parts", [1, 3])
async def test_a_message_may_be_as_large_as_the_limit_and_not_larger(size: int, end: bytes, parts: int) -> None:
    data = ASKED + b" " * (size - len(ASKED))
    pieces = [data[n * size // parts : (n + 1) * size // parts] for n in range(parts)]
    frames = [
        frame(piece, opcode=TEXT if n == 0 else 0, first=0x80 if n == parts - 1 else 0)
        for n, piece in enumerate(pieces)
    ]
    async with client_of(message_size=1000) as client:
        answer = frame(ANSWER, masked=False) if size == 1000 else b""
        sent = b"".join(frames) + (close(1000) if size == 1000 else b"")
        assert await everything_after(client, UPGRADE, sent) == answer + end
