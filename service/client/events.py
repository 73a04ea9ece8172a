"""The events of batches and watches: dictionaries as docs/protocol.md has them, distinguished by ``event``.

A type checker knows what an event has after ``event["event"] == "result"``. Later services may add fields.
"""

from typing import Literal, NotRequired, TypedDict

__all__ = ["BatchEvent", "Changed", "Done", "Event", "Failed", "GapEvent", "Result", "StartEvent", "WatchEvent",
           "WatchFailed", "WatchRecovered"]  # fmt: skip


class Result(TypedDict):
    """An upstream's answer of any status."""

    event: Literal["result"]
    index: int
    url: str
    final_url: str
    status: int
    headers: dict[str, str]
    bytes: int
    truncated: bool
    encoding: str
    body: str
    attempts: int
    cache: str
    timing: dict[str, float]


class Failed(TypedDict):
    """A URL that has no answer; ``error`` is one of docs/protocol.md's kinds."""

    event: Literal["failed"]
    index: int
    url: str
    error: str
    detail: str
    attempts: int
    retry_after: NotRequired[float]
    timing: NotRequired[dict[str, float]]


class Done(TypedDict):
    """The last event of a batch."""

    event: Literal["done"]
    total: int
    ok: int
    failed: int
    by_status: dict[str, int]
    elapsed_ms: float


class Changed(TypedDict):
    """What a watched URL has now."""

    event: Literal["state", "changed"]
    url: str
    status: int
    etag: str | None
    sha256: str
    encoding: str
    body: str
    truncated: bool
    checked_at: str
    changed_at: str


class WatchFailed(TypedDict):
    """A watched URL has an error, until ``recovered``."""

    event: Literal["error"]
    url: str
    error: str
    detail: str


class WatchRecovered(TypedDict):
    """The error of a watched URL is over."""

    event: Literal["recovered"]
    url: str


GapEvent = TypedDict("GapEvent", {"event": Literal["gap"], "from": int, "to": int})
"""These offsets of the stream never come."""


class StartEvent(TypedDict):
    """The stream's topic is not the one that was being read; see Restart."""

    event: Literal["start"]
    epoch: str
    offset: int
    recovered: Literal[False]


BatchEvent = Result | Failed | Done | GapEvent | StartEvent
WatchEvent = Changed | WatchFailed | WatchRecovered | GapEvent | StartEvent
Event = BatchEvent | WatchEvent
