"""The client's side of RFC 6455, as much as a load generator needs: handshake, masking, frames."""

import base64
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping

__all__ = ["MOST", "BadFrame", "accept_of", "frames", "handshake", "masked", "new_key"]

MOST = 64 << 20
"""Bytes of one message, and of one frame."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class BadFrame(Exception):
    """Bytes that are not a server's frames; the text says why."""


def new_key() -> str:
    """Return a fresh ``Sec-WebSocket-Key``."""
    return base64.b64encode(os.urandom(16)).decode()


def accept_of(key: str) -> str:
    """Return the ``Sec-WebSocket-Accept`` that belongs to a key (section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def handshake(host: str, path: str, key: str, headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> bytes:
    """Return the upgrade request; a ``Host`` among the headers takes the place of ours."""
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    hosts = [value for name, value in pairs if name.lower() == "host"] or [host]
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {hosts[-1]}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in pairs if name.lower() != "host"),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def masked(opcode: int, payload: bytes) -> bytes:
    """Return one frame as a client sends it, with a random mask (section 5.3)."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    if size == 0:
        return head + mask
    # One big exclusive or: Python's integers are the fastest mask that needs no extension.
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def frames(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield (kind, payload, end) of each whole frame; what follows the last ``end`` is incomplete.

    ``kind`` is the first byte with the final bit turned round: the opcode alone for a frame that is a message.
    Raises BadFrame.
    """
    at, size = 0, len(data)
    while size - at >= 2:
        length, start = data[at + 1], at + 2
        if length > 127:
            raise BadFrame("a masked frame, or bytes that are not a WebSocket frame")
        if length == 126:
            length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif length == 127:
            length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if length > MOST and start <= size:
                raise BadFrame(f"a frame of {length:,} bytes, or bytes that are not a WebSocket frame")
        if start > size or start + length > size:
            return
        yield data[at] ^ 0x80, data[start : start + length], start + length
        at = start + length
