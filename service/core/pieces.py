"""Events whose body is large: it is encoded a few KiB at a time, and copied once more, into its event."""

from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["Pieces", "encode_event"]

_BODY = "body"


class Pieces(tuple[bytes, ...]):
    """A JSON value in pieces that follow each other."""

    __slots__ = ()


def encode_event(event: Mapping[str, Any]) -> bytes:
    """Return an event as JSON; its ``body`` may be in :class:`Pieces`, with other fields before and after it."""
    body = event.get(_BODY)
    if not isinstance(body, Pieces):
        return orjson.dumps(event)
    fields = list(event.items())
    at = list(event).index(_BODY)
    before, after = orjson.dumps(dict(fields[:at])), orjson.dumps(dict(fields[at + 1 :]))
    return b"".join((before[:-1], b',"body":', *body, b",", after[1:]))
