"""Whole reads recognised: what ten thousand sockets get at once is looked at once.

Theory of operation. All subscribers of a topic are sent the same bytes, so what one of them reads at once
is mostly, byte for byte, what others read too. The first time, a read is walked frame by frame; if it is
nothing but consecutive messages, it is kept under its length and its first bytes. A later read that is equal to it
(a comparison at the speed of memory, no hash over it, no parsing) is the same run. What is not equal, or
is not a plain run, is walked: nothing is guessed, so two messages that change places inside one read are seen.
"""

import re
from collections.abc import Sequence
from typing import Final

from loadtest.frames import frames
from loadtest.payloads import FOREIGN, Payloads

__all__ = ["SMALL", "ReadCache"]

_TEXT: Final = 1
_BEGINNING: Final = 512
"""Bytes that tell reads apart: the number of the first message is in them, topic names are at most 255 long."""
SMALL: Final = 1024
"""Up to here a hash over all of it is faster than a beginning that has to be cut off first."""
_ENOUGH: Final = 8 << 20


class ReadCache:
    """Recognises runs of messages; one for all sockets of a process.

    :attr:`number` says which message a payload is. ``position`` is where a message has what a client comes back
    with; such texts are the same for all readers, so they are kept by the message's number.
    """

    def __init__(
        self, payloads: Payloads, separator: bytes = b"", position: re.Pattern[bytes] | None = None
    ) -> None:
        self._separator = separator
        self.number = payloads.number
        self.numbers = payloads.numbers
        self.compare = payloads.compare
        self._position = position
        self.positions: dict[int, bytes] = {}
        self.foreign = 0
        """Messages of other runs that have come."""
        self.altered = 0
        """Messages whose filling was not as it had been sent."""
        self._runs: dict[tuple[bytes, int], tuple[bytes, tuple[int, int]]] = {}
        self.small: dict[bytes, tuple[int, int]] = {}
        self._held = 0

    def run(self, data: bytes) -> tuple[int, int] | None:
        """Return (first number, count) when a read is a run of consecutive whole messages, else None."""
        if len(data) <= SMALL:
            found = self.small.get(data)
            return found if found is not None else self._new(data)
        known = self._runs.get((data[:_BEGINNING], len(data)))
        if known is not None and known[0] == data:
            return known[1]
        return self._new(data)

    def _new(self, data: bytes) -> tuple[int, int] | None:
        run = self._walk(data)
        if run is not None:
            self.keep(data, run)
        return run

    def parts(self, payload: bytes) -> Sequence[bytes]:
        """Return the messages of one payload: several where the server joins them with a separator."""
        return [part for part in payload.split(self._separator) if part] if self._separator else (payload,)

    def _walk(self, data: bytes) -> tuple[int, int] | None:
        first, count, end = 0, 0, 0
        for opcode, payload, end in frames(data):  # noqa: B007 - the last end is used
            for part in self.parts(payload):
                number = self.number(part) if opcode == _TEXT else None
                if number is None or not self.is_plain(part, number, first, count):
                    return None
                first = first if count else number
                count += 1
        return (first, count) if count and end == len(data) else None

    def is_plain(self, payload: bytes, number: int, first: int, count: int) -> bool:
        """Return whether a message goes on with a run of ``count`` from ``first`` on, and is as it was sent."""
        if number == FOREIGN or (count and number != first + count) or self.compare(payload, number):
            return False
        if len(self.numbers(payload)) > 1:
            return False
        self.note_position(payload, number)
        return True

    def note_position(self, payload: bytes, number: int) -> None:
        """Keep what a client that has had this message comes back with."""
        found = self._position.search(payload) if self._position else None
        if found:
            self.positions[number] = found[1]

    def keep(self, data: bytes, run: tuple[int, int]) -> None:
        """Know a read again."""
        # What is old is not read again: all of it may go at once.
        if self._held > _ENOUGH:
            self._runs.clear()
            self.small.clear()
            self._held = 0
        self._held += len(data) + _BEGINNING
        if len(data) <= SMALL:
            self.small[data] = run
            return
        self._runs[data[:_BEGINNING], len(data)] = (data, run)
