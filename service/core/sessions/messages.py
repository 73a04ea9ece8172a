"""The requests of the WebSocket protocol, each declared once, and how text becomes one of them."""

import re
from typing import Annotated, Any

import msgspec
import orjson

from service.core.errors import InvalidParams, InvalidRequest, SluiceError
from service.core.fetching.target import LONGEST_URL
from service.core.topics.names import NAME
from service.core.topics.topic import OnLag, Position, Since, Start, Topic

__all__ = [
    "SINCE",
    "Answer",
    "Authenticate",
    "Broadcast",
    "Cancel",
    "Empty",
    "Id",
    "Presence",
    "Publish",
    "Request",
    "Subscribe",
    "Unsubscribe",
    "Unwatch",
    "WatchRequest",
    "cancelled",
    "dump",
    "error_answer",
    "id_of",
    "is_utf8",
    "parse_since",
    "publish_answer",
    "published",
    "read_request",
    "result_answer",
    "subscribed",
]

Id = str | int | float | None
Answer = dict[str, Any]
"""An answer as JSON-RPC has it; empty for a request that wants none."""
# The patterns tell readers of the documents what is checked elsewhere; decoding does not look at them.
_Name = Annotated[
    str, msgspec.Meta(min_length=1, max_length=255, extra_json_schema={"pattern": f"^{NAME.pattern}$"})
]


SINCE = "^(newest|oldest|[^:]{1,64}:[0-9]{1,15})$"
"""Where a stream starts, as a query parameter."""
_POSITION = re.compile(r"([^:]{1,64}):([0-9]{1,15})", re.ASCII)


class _Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters by name; an unknown one is a mistake that its sender wants to know of."""


class PositionParam(_Base, frozen=True):
    """A position as an object."""

    epoch: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    offset: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class Subscribe(_Base, frozen=True):
    """Read a topic from a position on."""

    topic: _Name
    since: Annotated[str, msgspec.Meta(extra_json_schema={"pattern": SINCE})] | PositionParam = "newest"
    on_lag: OnLag | None = None


class Unsubscribe(_Base, frozen=True):
    """Stop reading a topic."""

    topic: _Name


class Publish(_Base, frozen=True):
    """Append one message to a topic; the same ``key`` within 2 minutes appends once."""

    topic: _Name
    data: Any
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None


class Broadcast(_Base, frozen=True):
    """One body to many topics."""

    topics: Annotated[list[_Name], msgspec.Meta(min_length=1, max_length=1000)]
    data: Any


class Presence(_Base, frozen=True):
    """Ask how many readers a topic has."""

    topic: _Name


class WatchRequest(_Base, frozen=True):
    """Poll a URL for everyone who watches it, at least every so many seconds, and tell what changes."""

    url: Annotated[
        str,
        msgspec.Meta(
            min_length=1, max_length=LONGEST_URL, extra_json_schema={"pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"}
        ),
    ]
    every: Annotated[float, msgspec.Meta(ge=1, le=86_400)]
    select: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)] | None = None
    steps: list[dict[str, Any]] | None = None
    """What is carried out on the body of each new state, as with the option ``steps`` of a batch."""
    since: str | PositionParam | None = None
    on_lag: OnLag | None = None


class Unwatch(_Base, frozen=True):
    """Stop watching."""

    topic: _Name


class Cancel(_Base, frozen=True):
    """End a batch, whose URLs that have not finished fail as ``cancelled``; or a job."""

    batch: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    job: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None


class Authenticate(_Base, frozen=True):
    """Replace the connection's credentials."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]


class Empty(_Base, frozen=True):
    """No parameters."""


class Request(msgspec.Struct, frozen=True):
    """One JSON-RPC 2.0 request; ``answered`` is false for one without an id, which gets no answer at all."""

    method: str
    params: Any
    id: Id
    answered: bool


def read_request(value: Any) -> Request:
    """Return the request, or raise InvalidRequest."""
    if not isinstance(value, dict):
        raise InvalidRequest("a request is an object")
    request_id = value.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int | float | None):
        raise InvalidRequest("id: a string of whole characters, a number that fits 64 bits, or null")
    method = value.get("method")
    if value.get("jsonrpc") != "2.0":
        raise InvalidRequest('jsonrpc: must be "2.0"')
    if not isinstance(method, str):
        raise InvalidRequest("method: must be a string")
    return Request(method, value.get("params", {}), request_id, "id" in value)


def parse_since(since: str | PositionParam) -> Since:
    """Return where to start: ``newest``, ``oldest``, a position, or ``EPOCH:OFFSET`` of a query."""
    if isinstance(since, PositionParam):
        return Position(since.epoch, since.offset)
    if since == "newest":
        return "newest"
    if since == "oldest":
        return "oldest"
    position = _POSITION.fullmatch(since)
    if position is None:
        raise InvalidParams("since: newest, oldest, or a position as EPOCH:OFFSET")
    return Position(position[1], int(position[2]))


def result_answer(request_id: Id, result: Any) -> dict[str, Any]:
    """Return the answer to a request that succeeded."""
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def published(position: Position) -> dict[str, Any]:
    """Return the result of a publish."""
    return {"epoch": position.epoch, "offset": position.offset}


def publish_answer(request_id: Id, position: Position) -> bytes:
    """Return the answer to a publish as text: what :func:`dump` makes of it, with a fifth of the calls."""
    result = {"epoch": position.epoch, "offset": position.offset}
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "result": result})


def subscribed(topic: Topic, start: Start) -> dict[str, Any]:
    """Return the result of a subscribe: where the reader starts, and what says where the stream ends."""
    position = start.position
    answer = {
        "topic": topic.name, "epoch": position.epoch, "offset": position.offset, "recovered": start.recovered,
    }  # fmt: skip
    if topic.earlier:
        answer["earlier"] = topic.earlier
    if topic.final and position.offset == topic.head:
        answer["ended"] = True
    return answer


def cancelled(left: int) -> dict[str, Any]:
    """Return the result of a cancel."""
    return {"cancelled": left}


def error_answer(request_id: Id, error: SluiceError) -> dict[str, Any]:
    """Return the answer to a request that failed."""
    body = {"code": error.code, "message": error.detail, "data": error.data()}
    return {"jsonrpc": "2.0", "id": request_id, "error": body}


def dump(answer: Any) -> bytes:
    """Return an answer, or an array of them, as text; nothing where it is empty."""
    return orjson.dumps(answer) if answer else b""


def id_of(value: Any) -> Id:
    """Return the id of something that is not a request, where it can be read, so that its sender finds it."""
    found = value.get("id") if isinstance(value, dict) else None
    return found if isinstance(found, str | int | float) and not isinstance(found, bool) else None


def is_utf8(text: bytes) -> bool:
    """Return whether the text is UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
