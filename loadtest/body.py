"""The body of a streamed answer: its chunks taken off (RFC 9112, 7.1)."""

import re

__all__ = ["ArrivingBody", "BadBody"]

_LONGEST_LINE = 1024
_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}")


class BadBody(Exception):
    """Chunks that are none; the text says what is wrong."""


class ArrivingBody:
    """What has arrived of one body. ``chunked`` is how it is framed; else it goes on to the connection's end."""

    def __init__(self, chunked: bool) -> None:
        self._chunked = chunked
        self._rest = b""
        self._left = 0
        """Bytes of the present chunk that are still to come, its line end included."""
        self.ended = False

    @property
    def between_chunks(self) -> bool:
        """Whether all that has come was whole chunks."""
        return not self._chunked or (not self._left and not self._rest)

    def feed(self, data: bytes) -> bytes:
        """Take what has come and return what of it is content; raises BadBody."""
        if not self._chunked:
            return data
        data, self._rest = self._rest + data, b""
        content: list[bytes] = []
        at = 0
        while at < len(data) and not self.ended:
            if not self._left:
                at = self._head(data, at)
                continue
            part = data[at : at + self._left]
            # The last two bytes of a chunk are its line end.
            content.append(part[: max(0, self._left - 2)])
            self._left -= len(part)
            at += len(part)
        return b"".join(content)

    def _head(self, data: bytes, at: int) -> int:
        """Read the size of the next chunk, and return where its content begins."""
        end = data.find(b"\r\n", at)
        if end < 0:
            if len(data) - at > _LONGEST_LINE:
                raise BadBody("a chunk's size has no end")
            self._rest = data[at:]
            return len(data)
        digits = data[at:end].partition(b";")[0].strip()
        if not _SIZE.fullmatch(digits):
            raise BadBody(f"{digits[:20]!r} is not the size of a chunk")
        size = int(digits, 16)
        self.ended = size == 0
        self._left = size + 2 if size else 0
        return end + 2
