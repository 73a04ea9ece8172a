"""The events of batches and watches, as docs/protocol.md has them.

Fields that a later service adds are in ``raw``; an event that it adds, or that has another shape there, is an
:class:`OtherEvent`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

from .stream import Value
from .values import Gap, Message, Restart

__all__ = ["BatchEvent", "Done", "Event", "Failed", "OtherEvent", "Progress", "Result", "Timing", "WatchError",
           "WatchEvent", "WatchRecovered", "WatchState", "read_event", "reader_of"]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Milliseconds; what did not happen is 0."""

    queued: float = 0.0
    dns: float = 0.0
    connect: float = 0.0
    first_byte: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events have."""

    raw: dict[str, Any] = field(repr=False, compare=False)
    """The event as it came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Event):
    """An upstream's answer of any status; ``encoding`` is ``base64`` for what is not text."""

    event: Literal["result"]
    index: int
    url: str
    final_url: str
    status: int
    headers: dict[str, str]
    bytes: int
    truncated: bool
    attempts: int
    cache: str
    timing: Timing
    encoding: str | None = None
    body: str | None = None
    headers_truncated: bool = False
    steps: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """A URL that has no answer; ``error`` is one of docs/protocol.md's kinds."""

    event: Literal["failed"]
    index: int
    url: str
    error: str
    detail: str
    attempts: int
    timing: Timing = Timing()
    retry_after: float | None = None
    step: str | None = None
    steps: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Event):
    """What the step ``count`` has counted in a batch so far."""

    event: Literal["progress"]
    counts: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Event):
    """The last event of a batch."""

    event: Literal["done"]
    total: int
    ok: int
    failed: int
    by_status: dict[str, int]
    elapsed_ms: float
    counts: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchState(Event):
    """What a watched URL has now: ``state`` first, ``changed`` from then on."""

    event: Literal["state", "changed"]
    url: str
    status: int
    etag: str | None
    sha256: str
    encoding: str | None
    body: str | None
    truncated: bool
    checked_at: str
    changed_at: str
    steps: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchError(Event):
    """A watched URL has an error, until :class:`WatchRecovered`."""

    event: Literal["error"]
    url: str
    error: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRecovered(Event):
    """The error of a watched URL is over."""

    event: Literal["recovered"]
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherEvent:
    """An event that this version of the client does not know; programs pass over it."""

    event: str
    raw: Any = field(repr=False)


BatchEvent = Result | Failed | Progress | Done | OtherEvent | Gap | Restart
WatchEvent = WatchState | WatchError | WatchRecovered | OtherEvent | Gap | Restart

_TIMING: Final = tuple(one.name for one in fields(Timing))


def reader_of(kinds: Mapping[str, type[Event]]) -> Callable[[Value], Any]:
    """Return what makes events of these kinds of messages; what a stream has to say of itself stays as it is."""
    names = {kind: tuple(one.name for one in fields(kind) if one.name != "raw") for kind in kinds.values()}

    def read(value: Value) -> Any:
        if not isinstance(value, Message):
            return value
        data = value.data
        name = data.get("event") if isinstance(data, dict) else None
        if not isinstance(name, str):
            return OtherEvent(event="", raw=data)
        kind = kinds.get(name)
        try:
            return OtherEvent(event=name, raw=data) if kind is None else kind(raw=data, **_known(data, names[kind]))
        except TypeError:  # a field is missing
            return OtherEvent(event=name, raw=data)

    return read


def _known(data: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    known = {name: data[name] for name in names if name in data}
    if "timing" in known:
        timing = known["timing"]
        known["timing"] = Timing(**{name: timing[name] for name in _TIMING if name in timing})
    return known


read_event: Final = reader_of(
    {
        "result": Result,
        "failed": Failed,
        "progress": Progress,
        "done": Done,
        "state": WatchState,
        "changed": WatchState,
        "error": WatchError,
        "recovered": WatchRecovered,
    }
)
"""Reads the events of batches and watches."""
