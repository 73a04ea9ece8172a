"""What the service says, as types: for the documents that it serves, and for tests that hold answers to them.

What is sent is built as plain dicts, for speed; tests convert real answers into these types, strictly.
"""

from typing import Annotated, Any, Literal

import msgspec

from service.core.batch_events import (
    BatchDocument,
    BatchStatus,
    Counted,
    Counts,
    Done,
    Failed,
    NonNegative,
    Places,
    Progress,
    Result,
    Said,
    Timing,
)
from service.core.fetching.outcome import FailureKind

__all__ = [
    "Authenticated",
    "BatchDocument",
    "BatchStatus",
    "Begun",
    "Cancelled",
    "Closing",
    "Counted",
    "Counts",
    "Done",
    "Failed",
    "Gap",
    "Health",
    "Heartbeat",
    "Message",
    "Missed",
    "Nothing",
    "Places",
    "Problem",
    "Progress",
    "Published",
    "PublishedAt",
    "PublishedMany",
    "Readers",
    "Result",
    "Started",
    "Subscribed",
    "Timing",
    "TopicInfo",
    "WatchChanged",
    "WatchError",
    "WatchRecovered",
    "WatchState",
]

_Offset = Annotated[int, msgspec.Meta(ge=1)]


class Started(Said, tag_field="event", tag="start"):
    """The first line of a topic as NDJSON."""

    epoch: str
    offset: NonNegative
    recovered: bool


class Gap(Said, tag_field="event", tag="gap", rename={"first": "from", "last": "to"}):
    """Messages that this reader has missed, both ends included."""

    first: _Offset
    last: _Offset


class Heartbeat(Said, tag_field="event", tag="heartbeat"):
    """Nothing was new for a while."""


class _Shown(Said):
    url: str
    status: int
    etag: str | None
    sha256: str
    encoding: str | None
    body: str | None
    truncated: bool
    checked_at: str
    changed_at: str
    steps: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    """The result of each step of the watch, in order."""


class WatchState(_Shown, tag_field="event", tag="state"):
    """What a watched URL is when its watch begins."""


class WatchChanged(_Shown, tag_field="event", tag="changed"):
    """What a watched URL has become."""


class WatchError(Said, tag_field="event", tag="error"):
    """A watched URL cannot be fetched, or its selection finds nothing."""

    url: str
    error: FailureKind
    detail: str


class WatchRecovered(Said, tag_field="event", tag="recovered"):
    """The error is over."""

    url: str


class Published(Said):
    """Where a message stands, and how many readers its topic has."""

    epoch: str
    offset: int
    readers: int


class PublishedAt(Said):
    """Where a message stands."""

    epoch: str
    offset: int


class PublishedMany(Said):
    """Where a message stands in each topic."""

    topics: dict[str, PublishedAt]


class TopicInfo(Said):
    """Where a topic stands."""

    topic: str
    epoch: str
    offset: int
    oldest: int
    bytes: int
    readers: int
    durable: bool
    """Whether a restart keeps it."""


class Cancelled(Said):
    """How many URLs had not finished."""

    cancelled: int


class Health(Said):
    """Whether the service is there for you."""

    status: Literal["alive", "starting", "ready", "slow", "overloaded", "storage", "draining"]
    why: str | msgspec.UnsetType = msgspec.UNSET


class Subscribed(Said):
    """Where a subscription starts: the offset of the last message that its reader is taken to have."""

    topic: str
    epoch: str
    offset: NonNegative
    recovered: bool
    earlier: NonNegative | msgspec.UnsetType = msgspec.UNSET
    """There where a job runs once more: up to this offset all is of earlier runs."""
    ended: bool | msgspec.UnsetType = msgspec.UNSET
    """There, and true, where a batch or job has ended and nothing is left to come."""


class Readers(Said):
    """How many readers a topic has."""

    readers: NonNegative


class Begun(Said):
    """A batch that has begun; its caller is subscribed to the topic."""

    batch: str
    topic: str
    epoch: str
    total: _Offset


class Authenticated(Said):
    """When the credentials expire, in seconds of the Unix epoch; null is never."""

    expires: float | None


class Nothing(Said):
    """It is done."""


class Message(Said):
    """One message of a topic."""

    topic: str
    offset: _Offset
    data: Any


class Missed(Said, rename={"first": "from", "last": "to"}):
    """Messages of a topic that this reader never gets, both ends included."""

    topic: str
    first: _Offset
    last: _Offset


class Closing(Said):
    """The connection is about to end; come back after this many seconds."""

    reason: str
    retry_after: float


class Problem(Said):
    """Every refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    reason: str
    temporary: bool
    request_id: str
    retry_after: float | msgspec.UnsetType = msgspec.UNSET
