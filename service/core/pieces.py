"""Events whose body is large: it is encoded a few KiB at a time, and copied once more, into its frame."""

from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["Pieces", "encode_event"]

_BODY = "body"


class Pieces:
    """JSON in pieces that follow each other: where ``bytes`` would do, without copying it into one object."""

    __slots__ = ("_size", "each")

    def __init__(self, *each: bytes) -> None:
        self.each = each
        self._size = sum(map(len, each))

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self.each)


def encode_event(event: Mapping[str, Any]) -> bytes | Pieces:
    """Return an event as JSON; in pieces where its ``body`` is, which has other fields before and after it."""
    body = event.get(_BODY)
    if not isinstance(body, Pieces):
        return orjson.dumps(event)
    fields = list(event.items())
    at = list(event).index(_BODY)
    before, after = orjson.dumps(dict(fields[:at])), orjson.dumps(dict(fields[at + 1 :]))
    return Pieces(before[:-1], b',"body":', *body.each, b",", after[1:])
