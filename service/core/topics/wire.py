"""The bytes on the wire: WebSocket frames (RFC 6455, section 5.2) and the lines of NDJSON and SSE.

A server's frame has no mask, and without extensions it is the same bytes for every client: it is
encoded once, when a message is appended to its topic, and that one object goes to every socket.
Everything else that is sent of a message is cut out of this frame.
"""

from enum import IntEnum
from struct import Struct

import orjson

from service.core.pieces import Pieces

__all__ = [
    "Encoding",
    "close_frame",
    "closing_frame",
    "gap_chunk",
    "message_data",
    "message_frame",
    "message_line",
    "message_prefix",
    "text_frame",
]

_TEXT = 0x81
_CLOSE = 0x88
_DATA = b',"data":'
_END = b"}}"
_LARGE = 64 << 10
_MEDIUM = Struct(">BBH").pack


class Encoding(IntEnum):
    """How a reader wants the messages of a topic."""

    FRAMES = 0
    """WebSocket text frames, each a ``message`` notification."""
    LINES = 1
    """NDJSON of a topic: ``{"offset": N, "data": ...}`` a line."""
    EVENTS = 2
    """NDJSON of a batch: the data alone, the Nth line has offset N."""
    SSE = 3
    """Server-sent events: ``id: EPOCH:OFFSET``, then the data."""


def text_frame(payload: bytes) -> bytes:
    """Wrap a payload into one unmasked text frame."""
    return _header(_TEXT, len(payload)) + payload


def close_frame(code: int, reason: str) -> bytes:
    """Return a close frame; the reason is cut to the 123 bytes that fit a control frame."""
    payload = code.to_bytes(2, "big") + reason.encode()[:123]
    return _header(_CLOSE, len(payload)) + payload


def message_prefix(topic: str) -> bytes:
    """Return what every ``message`` notification of the topic begins with."""
    return b'{"jsonrpc":"2.0","method":"message","params":{"topic":%b,"offset":' % orjson.dumps(topic)


def message_frame(prefix: bytes, offset: int, data: bytes | Pieces) -> bytes:
    """Encode one message, once: a frame with the notification; ``data`` is compact JSON."""
    begin = b"%b%d%b" % (prefix, offset, _DATA)
    size = len(begin) + len(data) + len(_END)
    # Nearly all are of this size, and a start has a million of them: a call less.
    header = _MEDIUM(_TEXT, 126, size) if 126 <= size < 1 << 16 else _header(_TEXT, size)
    if isinstance(data, Pieces):
        return b"".join((header, begin, *data.each, _END))
    return b"".join((header, begin, data, _END))


def message_data(frame: bytes) -> bytes | memoryview:
    """Cut the data out of a frame that :func:`message_frame` made; large data are not copied.

    The name of a topic cannot have what comes before the data: quotation marks are escaped in it.
    """
    begin, end = frame.index(_DATA) + len(_DATA), len(frame) - len(_END)
    return memoryview(frame)[begin:end] if end > _LARGE else frame[begin:end]


def message_line(offset: int, data: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
    """Return the parts of one message as a line of NDJSON; ``data`` is compact JSON."""
    return b'{"offset":%d,"data":' % offset, data, b"}\n"


def gap_chunk(encoding: Encoding, topic: str, epoch: str, first: int, last: int) -> bytes:
    """Say in the reader's encoding that the offsets from ``first`` to ``last`` never come."""
    if encoding is Encoding.FRAMES:
        return _notification("gap", {"topic": topic, "from": first, "to": last})
    if encoding is Encoding.SSE:
        # The id moves on, so that a client which comes back after this does not hear of it again.
        return b'id: %b:%d\nevent: gap\ndata: {"from":%d,"to":%d}\n\n' % (epoch.encode(), last, first, last)
    return b'{"event":"gap","from":%d,"to":%d}\n' % (first, last)


def closing_frame(reason: str, retry_after: float) -> bytes:
    """Announce that the connection will end and when to come back, in seconds."""
    return _notification("closing", {"reason": reason, "retry_after": retry_after})


def _notification(method: str, params: dict[str, object]) -> bytes:
    return text_frame(orjson.dumps({"jsonrpc": "2.0", "method": method, "params": params}))


def _header(first: int, size: int) -> bytes:
    if size < 126:
        return bytes((first, size))
    if size < 1 << 16:
        return _MEDIUM(first, 126, size)
    return bytes((first, 127)) + size.to_bytes(8, "big")
