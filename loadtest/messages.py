"""Messages that come in several frames, or compressed."""

import zlib
from typing import Any

from loadtest.frames import MOST

__all__ = ["CONTINUED", "MOST", "Assembly", "BadMessage"]

CONTINUED = 0x80
"""In what :func:`loadtest.frames.frames` yields: more frames of the message follow."""
_COMPRESSED = 0x40
_RESERVED = 0x30


class BadMessage(Exception):
    """Frames that make no message; the text says why."""


class Assembly:
    """The parts of one connection's messages. ``extensions`` is what the server's answer says it uses."""

    def __init__(self, extensions: str = "") -> None:
        self._deflates = "permessage-deflate" in extensions.lower()
        self._keeps_window = "server_no_context_takeover" not in extensions.lower()
        self._inflater: Any = None
        self._parts: list[bytes] = []
        self._size = 0
        self._begun = False
        self._compressed = False

    def add(self, first: int, payload: bytes) -> bytes | None:
        """Take a data frame and return the message that it completes; raises BadMessage.

        ``first`` is the frame's first byte without the final bit, with :data:`CONTINUED` where it is not final.
        """
        opcode = first & 0x0F
        if opcode > 2 or first & _RESERVED:
            raise BadMessage(f"a frame of opcode {opcode} with reserved bits {(first & 0x70) >> 4}")
        if bool(opcode) == self._begun:
            raise BadMessage(
                "a message begins inside a message" if self._begun else "a continuation without a beginning"
            )
        if opcode:
            self._compressed = bool(first & _COMPRESSED)
        if self._compressed and not self._deflates:
            raise BadMessage("a compressed message, but permessage-deflate was not agreed on; --compress offers it")
        self._size += len(payload)
        if self._size > MOST:
            raise BadMessage(f"a message of more than {MOST >> 20} MiB")
        self._parts.append(payload)
        self._begun = bool(first & CONTINUED)
        if self._begun:
            return None
        whole, self._parts, self._size = b"".join(self._parts), [], 0
        return self._inflated(whole) if self._compressed else whole

    def _inflated(self, data: bytes) -> bytes:
        inflater = self._inflater or zlib.decompressobj(wbits=-15)
        try:
            whole: bytes = inflater.decompress(data + b"\x00\x00\xff\xff", MOST)
        except zlib.error as error:
            raise BadMessage(f"a compressed message that cannot be read: {error}") from None
        if inflater.unconsumed_tail:
            raise BadMessage(f"a message of more than {MOST >> 20} MiB")
        self._inflater = inflater if self._keeps_window and not inflater.eof else None
        return whole
