"""The server's answer to an upgrade request (RFC 6455, 4.1)."""

import re

from loadtest.frames import accept_of

__all__ = ["LONGEST", "UpgradeRefused", "accepted"]

LONGEST = 64 << 10
"""Bytes of an answer's head."""
_STATUS = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3})(?: (.*))?")


class UpgradeRefused(Exception):
    """An answer that is not an upgrade; the text says why."""


def accepted(head: bytes, key: str) -> str:
    """Return the extensions that the answer to ``key`` agrees on; raises UpgradeRefused."""
    first, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        raise UpgradeRefused("refused: the answer is not HTTP")
    fields = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    if status[1] != b"101":
        where = next((value for name, value in fields if name == b"location"), b"")
        text = f"refused: {status[1].decode()} {(status[2] or b'').decode('latin-1')[:80]}".rstrip()
        raise UpgradeRefused(f"{text}, to {where.decode('latin-1')[:100]}" if where else text)
    if accept_of(key).encode() not in (value for name, value in fields if name == b"sec-websocket-accept"):
        raise UpgradeRefused("the answer does not fit the request: is it a WebSocket server?")
    return ", ".join(value.decode("latin-1") for name, value in fields if name == b"sec-websocket-extensions")
