"""JSON for requests, made before they are queued: what cannot be encoded fails alone, and at once."""

import json
from math import isfinite
from typing import Any, Final, TypeVar

import orjson

from .errors import Refused

__all__ = ["copied", "decode", "encode", "expected", "request"]

_T = TypeVar("_T")

# Only what comes out as it went in: a datetime would arrive as a text.
_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


def encode(value: Any) -> bytes:
    """Return the JSON text of a value; raises Refused (``invalid_params``) for what JSON cannot say."""
    try:
        text = orjson.dumps(value, option=_OPTIONS)
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused("invalid_params", f"this cannot be sent as JSON: {error}") from error
    # orjson writes NaN and the infinities as null.
    if b"null" in text and not _finite(value):
        raise Refused("invalid_params", "this cannot be sent as JSON: NaN and infinities are not numbers there")
    return text


def copied(params: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of parameters that nobody changes afterwards; raises Refused."""
    copy: dict[str, Any] = orjson.loads(encode(params))
    return copy


def request(method: str, params: bytes, request_id: int | None = None) -> bytes:
    """Return the text of a JSON-RPC request."""
    number = {} if request_id is None else {"id": request_id}
    return orjson.dumps({"jsonrpc": "2.0", **number, "method": method, "params": orjson.Fragment(params)})


def decode(text: bytes) -> Any:
    """Read a frame; half of a surrogate pair, which others may have sent, is read as Python's own reader does."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def expected(answer: dict[str, Any], name: str, kind: type[_T]) -> _T:
    """Return a field of an answer; raises Refused (``internal``) where it is not there."""
    value = answer.get(name)
    if not isinstance(value, kind):
        raise Refused("internal", f"the answer has no {name}")
    return value


def _finite(value: Any) -> bool:
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, float):
            if not isfinite(item):
                return False
        elif isinstance(item, dict):
            left += item.values()
        elif isinstance(item, list | tuple):
            left += item
    return True
