"""What the database has of each batch: its own row, what it asked for, and in which rows its events are."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from service.core.access.grants import HostPatterns
from service.core.correlation import Correlation, Trace
from service.core.fetching.batch import Batch, IdempotencyKey, KeyScope
from service.core.fetching.request import FetchRequest, Options
from service.core.owner import Owner
from service.core.topics.position import Position
from service.storage.records import Seconds, StoredCount

__all__ = [
    "BatchRequestRow",
    "BatchRow",
    "LogRows",
    "RowIds",
    "document_of",
    "hosts_of",
    "key_of",
    "owner_of",
    "slices_of",
    "tracing_of",
]

_SLICE = 256 << 10
"""Bytes of the items that share a row."""


class RowIds:
    """Gives out the ids of rows of one kind."""

    def __init__(self, last: int = 0) -> None:
        self.last = last

    def next(self) -> int:
        """Return the next one."""
        self.last += 1
        return self.last


class KeyFields(msgspec.Struct, frozen=True):
    """An idempotency key, as it is written."""

    owner: tuple[str, float, bool]
    hosts: tuple[str, list[str], list[str]]
    shown: str
    key: str
    digest: str


class BatchRow(msgspec.Struct, frozen=True):
    """The row of a batch; digests are in hexadecimal."""

    id: str
    epoch: str
    owner: tuple[str, float, bool]
    keep: Literal["ATTACHED", "LINGER", "DETACHED"]
    cancelled: bool
    started: Seconds
    total: StoredCount
    options: Options
    hosts: tuple[str, list[str], list[str]]
    share: int | None
    key: KeyFields | None
    request: str | None
    trace: tuple[str, str, int, str] | None


class BatchRequestRow(msgspec.Struct, frozen=True):
    """Some of what a batch asks for: ``first`` is the index of the first item."""

    batch: StoredCount
    first: StoredCount
    items: list[str | FetchRequest]


@dataclass(slots=True, eq=False)
class LogRows:
    """One batch. ``head`` is the newest offset that an event has been given, also in a commit under way."""

    id: int
    name: str
    """Of its topic."""
    epoch: str
    document: dict[str, Any] = field(default_factory=dict)
    """What its row has."""
    head: int = 0
    rows: "array[int]" = field(default_factory=lambda: array("q"))
    """Of its events in order of their offsets, the first of which is 1; -1 for one that is damaged."""
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    """Bytes of these events."""
    requests: "array[int]" = field(default_factory=lambda: array("q"))
    """Rows of what it asked for."""
    refused: bool = False
    """Whether some of what it asked for was not stored."""
    dropped: bool = False

    @property
    def position(self) -> Position:
        """Where it stands."""
        return Position(self.epoch, self.head)


def document_of(batch: Batch, started: float) -> dict[str, Any]:
    """Return the row of a batch that begins; ``started`` is in seconds since 1970."""
    key, correlation = batch.key, batch.correlation
    return {
        "id": batch.id,
        "epoch": batch.topic.epoch,
        "owner": _owner(batch.owner),
        "keep": batch.keep.name,
        "cancelled": batch.cancelled,
        "started": started,
        "total": batch.total,
        "options": msgspec.to_builtins(batch.options),
        "hosts": list(batch.hosts),
        "share": batch.share,
        "key": None if key is None else {
            "owner": _owner(key.owner), "hosts": list(key.scope.hosts), "shown": key.scope.shown.hex(),
            "key": key.key, "digest": key.digest.hex(),
        },
        "request": None if correlation is None else correlation.request_id,
        "trace": None if correlation is None or correlation.trace is None else [
            correlation.trace.id, correlation.trace.parent, correlation.trace.flags, correlation.trace.state,
        ],
    }  # fmt: skip


def slices_of(items: Iterable[FetchRequest | str]) -> Iterator[tuple[int, list[FetchRequest | str]]]:
    """Cut the items of a batch into pieces that fit a row each, with the index of the first."""
    piece: list[FetchRequest | str] = []
    first = size = 0
    for index, item in enumerate(items):
        piece.append(item)
        size += len(item) if isinstance(item, str) else len(item.url) + len(item.body or "") + 200
        if size >= _SLICE:
            yield first, piece
            piece, first, size = [], index + 1, 0
    if piece:
        yield first, piece


def owner_of(fields: list[Any]) -> Owner:
    """Return an owner that was written."""
    name, weight, shares_fetches = fields
    return Owner(name, weight, shares_fetches=shares_fetches)


def hosts_of(fields: list[Any]) -> HostPatterns:
    """Return patterns that were written."""
    claim, names, endings = fields
    return HostPatterns(claim, tuple(names), tuple(endings))


def key_of(fields: dict[str, Any] | None) -> IdempotencyKey | None:
    """Return a key that was written."""
    if fields is None:
        return None
    scope = KeyScope(hosts_of(fields["hosts"]), bytes.fromhex(fields["shown"]))
    return IdempotencyKey(owner_of(fields["owner"]), scope, fields["key"], bytes.fromhex(fields["digest"]))


def tracing_of(document: dict[str, Any]) -> Correlation | None:
    """Return what ties a batch to the request that began it."""
    request, trace = document["request"], document["trace"]
    return None if request is None else Correlation(request, None if trace is None else Trace(*trace))


def _owner(owner: Owner) -> list[Any]:
    return [str(owner), owner.weight, owner.shares_fetches]
