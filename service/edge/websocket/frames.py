"""What RFC 6455 has a server refuse and aiohttp's reader takes: unmasked frames, wide lengths, close codes.

aiohttp reads frames leniently, to get on with clients that are not quite right. An unmasked frame is not a slip,
though: masking is what keeps a page from writing another protocol's bytes through a proxy (section 10.3), and
section 5.1 has the server end the connection. docs/decisions/11-client-frames.md has the ways there were.
"""

from typing import Any, Final, Protocol

from aiohttp import WSMsgType

from service.edge.http.aiohttp_internals import HookedWebSocket, forget_frames

__all__ = ["ClientFrames", "ClientSocket", "Pinged"]

_CLOSE: Final = 0x8
_PONG: Final = 0x8A
"""The first byte of a pong: whole, as control frames have to be, and without reserved bits."""
_MASKED: Final = 0x80
_HEADER: Final = 6
"""Bytes before the payload of a small frame: two, and the key of its mask."""
_SMALL: Final = 126
_UNLAWFUL_FRAME: Final = b"\xf0\x80"
"""All reserved bits set: the reader ends the connection with 1002 when it comes to this."""
_INCOMPLETE: Final = 0
_UNLAWFUL: Final = -1


class Pinged(Protocol):
    """A part that sends pings without a payload."""

    def handle_pong(self) -> bool:
        """Take a pong that may answer the last ping; return whether a pong was due."""
        ...


class ClientFrames:
    """Stands before a connection's reader, checks the header of each frame, and passes on lawful frames.

    In place of an unlawful frame the reader gets one that it refuses by itself: so earlier messages are still
    answered, and the connection ends as after any other broken frame.

    The pong that answers a ping goes no further: an idle client sends nothing else, and waking its task for each
    pong takes 20 us.
    """

    __slots__ = ("_held", "_left", "_reader", "pinged")

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        # The beginning of a header of which the rest has not come.
        self._held = b""
        # Bytes of a frame that are still to come; below 0 when nothing may come any more.
        self._left = 0
        self.pinged: Pinged | None = None
        """The object that gets pongs that answer pings; None if the reader gets all pongs."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Pass on what came; return what aiohttp's reader does: whether this is the end, and nothing."""
        size = len(data)
        if (
            self._left == 0
            and not self._held
            and _HEADER <= size < _HEADER + _SMALL
            and data[1] == _MASKED + size - _HEADER
            and data[0] & 0xF != _CLOSE
        ):
            # Nearly every read is one small frame, whole.
            if size == _HEADER and data[0] == _PONG and self.pinged is not None and self.pinged.handle_pong():
                return False, b""
            return self._feed(data)
        if self._left < 0:
            return True, b""
        return self._feed(self._lawful(self._held + data if self._held else data))

    def feed_eof(self) -> None:
        """Notify the reader that the connection has ended."""
        self._reader.feed_eof()

    def _feed(self, data: bytes) -> tuple[bool, bytes]:
        result: tuple[bool, bytes] = self._reader.feed_data(data)
        return result

    def _lawful(self, data: bytes) -> bytes:
        """Return what the reader may have now, and remember where the next frame begins."""
        begin, size = self._left, len(data)
        self._held = b""
        while begin < size:
            length = _frame_length(data, begin)
            if length == _INCOMPLETE:
                self._left, self._held = 0, data[begin:]
                return data[:begin]
            if length == _UNLAWFUL:
                self._left = _UNLAWFUL
                return data[:begin] + _UNLAWFUL_FRAME
            begin += length
        self._left = begin - size
        return data


def _frame_length(data: bytes, begin: int) -> int:
    """Return the bytes of the frame that begins there, its header included (RFC 6455, section 5.2)."""
    there = len(data) - begin
    if there < 2:
        return _INCOMPLETE
    if data[begin + 1] < _MASKED:
        return _UNLAWFUL
    length = data[begin + 1] - _MASKED
    if length >= _SMALL:
        wide, least = (2, _SMALL) if length == _SMALL else (8, 1 << 16)
        if there < 2 + wide:
            return _INCOMPLETE
        length = int.from_bytes(data[begin + 2 : begin + 2 + wide])
        return _HEADER + wide + length if length >= least else _UNLAWFUL
    if data[begin] & 0xF == _CLOSE and length >= 2:
        if there < _HEADER + 2:
            return _INCOMPLETE
        if not _may_be_sent(*(data[begin + _HEADER + n] ^ data[begin + 2 + n] for n in (0, 1))):
            return _UNLAWFUL
    return _HEADER + length


def _may_be_sent(high: int, low: int) -> bool:
    """Return whether a close frame may have this code (RFC 6455, section 7.4, and IANA's registry)."""
    code = high << 8 | low
    return 3000 <= code < 5000 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))


class ClientSocket(HookedWebSocket):
    """aiohttp's WebSocket with a reader that takes what RFC 6455 allows, and nothing else.

    ``size`` bounds a message in bytes, ``close_timeout`` the wait for the peer's close frame in seconds.
    """

    def __init__(self, protocol: str, size: int, close_timeout: float) -> None:
        super().__init__(
            protocols=(protocol,),
            compress=False,
            # aiohttp refuses a message of just that size, and of more.
            max_msg_size=size + 1,
            writer_limit=16 << 10,
            timeout=close_timeout,
            autoping=False,
            decode_text=False,
        )

    async def answer(self, data: bytes, kind: WSMsgType = WSMsgType.TEXT) -> None:
        """Send a message, unless the client has gone: what it sent before that is still to be read."""
        try:
            await self.send_frame(data, kind)
        except ConnectionError as error:  # not every one that aiohttp raises is a ConnectionResetError
            forget_frames(error)

    def reader(self, reader: Any) -> ClientFrames:
        """Have each frame looked at before aiohttp's reader gets it."""
        return ClientFrames(reader)
