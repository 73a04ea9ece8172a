"""Reads one answer from bytes in pieces of any size; knows no sockets.

head --> length -----> done        any state --> ProtocolError
     |-> chunks ---/
     |-> until close --(end)--> done
     `-> (1xx) --> head
"""

from typing import Final

from service.upstream.http1.chunks import Chunks
from service.upstream.http1.errors import Disconnected, ProtocolError
from service.upstream.http1.framing import CHUNKED, UNTIL_CLOSE, framing_of
from service.upstream.http1.greetings import refusal_of
from service.upstream.http1.head import LONGEST_HEAD, LONGEST_LINE, Head, end_of_head, parse_head

__all__ = ["Reader"]

_MOST_INTERIM: Final = 100
"""Answers with 1xx before the answer."""
_SLOP: Final = 4
"""Bytes of empty lines before a status line that are passed over, as browsers do."""


class Reader:
    """Reads one answer. ``head`` is there once it is complete; ``pieces`` have come of the body since."""

    # What is the same in most answers is not written for each: one is made for every fetch.
    head: Head | None = None
    codings: tuple[str, ...] = ()
    """Transfer codings beside chunked, in the order in which they were applied."""
    size = 0
    """Bytes in ``pieces``."""
    done = False
    surplus = False
    """Whether something came after the end."""
    _keep = 0.0
    _left = 0
    _held: bytearray | None = None
    _chunks: Chunks | None = None
    _early = 0
    _interim = 0
    _slop = 0

    def __init__(self, *, bodiless: bool = False) -> None:
        self._bodiless = bodiless
        self.pieces: list[bytes] = []

    @property
    def begun(self) -> bool:
        """Whether a byte of an answer has come."""
        return self.head is not None or bool(self._held) or self._interim > 0

    @property
    def keep(self) -> float:
        """For how many seconds the connection can be kept, now that the answer has ended."""
        return self._keep if self.done and not self.surplus else 0.0

    def read(self) -> bytes:
        """Return what has arrived of the body since the last time."""
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.size = 0
        return data

    def feed(self, data: bytes) -> bool:
        """Take in what has come; return whether to call again, with nothing, in another turn of the loop."""
        if self.head is None:
            rest = self._feed_head(data)
            if rest is None:
                return False
            data = rest
        if self.done:
            self.surplus = self.surplus or bool(data)
        elif self._chunks is not None:
            return self._feed_chunks(self._chunks, data)
        elif data:
            self._feed_body(data)
        return False

    def end(self, *, whole: bool, why: str = "the connection ended") -> None:
        """Take in that nothing comes any more; ``whole`` says that the server wanted it so."""
        if self.done:
            return
        if self.head is None:
            raise Disconnected(silent=not self.begun)
        if self._left == UNTIL_CLOSE and whole:
            self.done = True
        elif self._chunks is not None and self._chunks.complete:
            self.done = self.surplus = True
        elif self._left > 0:
            raise ProtocolError(f"the body broke off, {self._left:,} bytes before its end: {why}")
        else:
            raise ProtocolError(f"the body broke off: {why}")

    def _feed_head(self, data: bytes) -> bytes | None:
        """Read heads up to that of the answer; return what came after it, or None while it is not complete."""
        held: bytes | bytearray = data
        begin = 0
        if self._held is not None:
            begin = max(0, len(self._held) - 2)
            self._held += data
            held = self._held
        while True:
            if held[:5] != b"HTTP/":
                held, begin = self._skip(held), 0
            found = end_of_head(held, begin)
            if found is None:
                self._hold(held)
                return None
            head = parse_head(held[: found[0]])
            held, begin = bytes(held[found[1] :]), 0
            if head.status >= 200 or head.status == 101:
                break
            self._passed_over(found[1])
            self._held = None
        self._held = None
        self._left, self._keep, self.codings = framing_of(head, bodiless=self._bodiless)
        self.head = head
        self.done = self._left == 0
        if self._left == CHUNKED:
            self._chunks = Chunks()
        return held

    def _skip(self, held: bytes | bytearray) -> bytes | bytearray:
        begun = held.lstrip(b"\r\n")
        self._slop += len(held) - len(begun)
        if self._slop > _SLOP:
            raise ProtocolError("the answer begins with empty lines")
        if begun and (refusal := refusal_of(begun)) is not None:
            raise ProtocolError(refusal)
        return begun

    def _hold(self, held: bytes | bytearray) -> None:
        if not isinstance(held, bytearray):
            held = bytearray(held)
        self._held = held
        if len(held) > LONGEST_HEAD:
            raise ProtocolError(f"the head of the answer is longer than {LONGEST_HEAD >> 10} KiB")
        if len(held) > LONGEST_LINE and len(held) - held.rfind(b"\n") > LONGEST_LINE + 2:
            raise ProtocolError(f"a line in the head of the answer is longer than {LONGEST_LINE >> 10} KiB")

    def _passed_over(self, size: int) -> None:
        self._interim += 1
        self._early += size
        if self._interim > _MOST_INTERIM or self._early > LONGEST_HEAD:
            raise ProtocolError(
                f"more than {_MOST_INTERIM} answers of 1xx, or {LONGEST_HEAD >> 10} KiB of them, before the answer"
            )

    def _feed_body(self, data: bytes) -> None:
        left = self._left
        if left >= 0:
            if len(data) > left:
                self.surplus = True
                data = data[:left]
            self._left = left = left - len(data)
            self.done = left == 0
        self.pieces.append(data)
        self.size += len(data)

    def _feed_chunks(self, chunks: Chunks, data: bytes) -> bool:
        had = len(self.pieces)
        more = chunks.feed(data, self.pieces)
        for piece in self.pieces[had:]:
            self.size += len(piece)
        if chunks.done:
            self.done = True
            self.surplus = bool(chunks.rest)
        return more
