"""What the service says, as types: for the documents that it serves, and for tests that hold answers to them.

What is sent is built as plain dicts, for speed; tests convert real answers into these types, strictly.
"""

from typing import Annotated, Any, Literal

import msgspec

from service.core.fetching.outcome import FailureKind

__all__ = [
    "Authenticated",
    "BatchDocument",
    "BatchStatus",
    "Begun",
    "Cancelled",
    "Closing",
    "Done",
    "Failed",
    "Gap",
    "Health",
    "Heartbeat",
    "Message",
    "Missed",
    "Nothing",
    "Problem",
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

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Offset = Annotated[int, msgspec.Meta(ge=1)]


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    """Fields may be added in time: clients ignore what they do not know, and tests do not."""


class Timing(_Said):
    """Milliseconds; what did not happen is 0 or missing."""

    queued: float = 0.0
    dns: float = 0.0
    connect: float = 0.0
    first_byte: float = 0.0
    total: float = 0.0


class Result(_Said, tag_field="event", tag="result"):
    """A URL was answered, with any status."""

    index: _Count
    url: str
    final_url: str
    status: int
    headers: dict[str, str]
    bytes: int
    truncated: bool
    encoding: str | None
    body: str | None
    attempts: _Count
    cache: Literal["miss", "hit", "revalidated", "shared"]
    timing: Timing
    headers_truncated: bool | msgspec.UnsetType = msgspec.UNSET
    """There, and true, where headers beyond 16 KiB were left out."""


class Failed(_Said, tag_field="event", tag="failed"):
    """A URL was not answered."""

    index: _Count
    url: str
    error: FailureKind
    detail: str
    attempts: _Count
    timing: Timing
    retry_after: float | msgspec.UnsetType = msgspec.UNSET


class Done(_Said, tag_field="event", tag="done"):
    """Every URL of the batch has had its event."""

    total: int
    ok: int
    failed: int
    by_status: dict[str, int]
    elapsed_ms: float


class Started(_Said, tag_field="event", tag="start"):
    """The first line of a topic as NDJSON."""

    epoch: str
    offset: _Count
    recovered: bool


class Gap(_Said, tag_field="event", tag="gap", rename={"first": "from", "last": "to"}):
    """Messages that this reader has missed, both ends included."""

    first: _Offset
    last: _Offset


class Heartbeat(_Said, tag_field="event", tag="heartbeat"):
    """Nothing was new for a while."""


class _Shown(_Said):
    url: str
    status: int
    etag: str | None
    sha256: str
    encoding: str | None
    body: str | None
    truncated: bool
    checked_at: str
    changed_at: str


class WatchState(_Shown, tag_field="event", tag="state"):
    """What a watched URL is when its watch begins."""


class WatchChanged(_Shown, tag_field="event", tag="changed"):
    """What a watched URL has become."""


class WatchError(_Said, tag_field="event", tag="error"):
    """A watched URL cannot be fetched, or its selection finds nothing."""

    url: str
    error: FailureKind
    detail: str


class WatchRecovered(_Said, tag_field="event", tag="recovered"):
    """The error is over."""

    url: str


class BatchDocument(_Said):
    """All results of a batch, in the order of its URLs."""

    batch: str
    total: int
    ok: int
    failed: int
    by_status: dict[str, int]
    elapsed_ms: float | None
    results: list[Result | Failed]


class BatchStatus(_Said):
    """How far a batch is."""

    batch: str
    topic: str
    epoch: str
    state: Literal["running", "cancelling", "done"]
    total: int
    ok: int
    failed: int
    by_status: dict[str, int]
    elapsed_ms: float | None


class Published(_Said):
    """Where a message stands, and how many readers its topic has."""

    epoch: str
    offset: int
    readers: int


class PublishedAt(_Said):
    """Where a message stands."""

    epoch: str
    offset: int


class PublishedMany(_Said):
    """Where a message stands in each topic."""

    topics: dict[str, PublishedAt]


class TopicInfo(_Said):
    """Where a topic stands."""

    topic: str
    epoch: str
    offset: int
    oldest: int
    bytes: int
    readers: int
    durable: bool
    """Whether a restart keeps it."""


class Cancelled(_Said):
    """How many URLs had not finished."""

    cancelled: int


class Health(_Said):
    """Whether the service is there for you."""

    status: Literal["alive", "ready", "slow", "overloaded", "draining"]
    why: str | msgspec.UnsetType = msgspec.UNSET


class Subscribed(_Said):
    """Where a subscription starts: the offset of the last message that its reader is taken to have."""

    topic: str
    epoch: str
    offset: _Count
    recovered: bool


class Readers(_Said):
    """How many readers a topic has."""

    readers: _Count


class Begun(_Said):
    """A batch that has begun; its caller is subscribed to the topic."""

    batch: str
    topic: str
    epoch: str
    total: _Offset


class Authenticated(_Said):
    """When the credentials expire, in seconds of the Unix epoch; null is never."""

    expires: float | None


class Nothing(_Said):
    """It is done."""


class Message(_Said):
    """One message of a topic."""

    topic: str
    offset: _Offset
    data: Any


class Missed(_Said, rename={"first": "from", "last": "to"}):
    """Messages of a topic that this reader never gets, both ends included."""

    topic: str
    first: _Offset
    last: _Offset


class Closing(_Said):
    """The connection is about to end; come back after so many seconds."""

    reason: str
    retry_after: float


class Problem(_Said):
    """Every refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    reason: str
    temporary: bool
    request_id: str
    retry_after: float | msgspec.UnsetType = msgspec.UNSET
