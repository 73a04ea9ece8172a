"""A batch of fetches: what may be asked for, how far it is, and the events that tell of it.

Every URL ends in exactly one event, ``result`` or ``failed``; ``done`` comes after all of them, always,
and its counts add up to the total.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from service.core.access.grants import EVERY_HOST, HostPatterns
from service.core.correlation import Correlation, Trace
from service.core.errors import InvalidParams, TooLarge
from service.core.fetching.headers import check_headers
from service.core.fetching.outcome import Failure
from service.core.fetching.request import FetchRequest, Options
from service.core.fetching.task import FetchListener
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.topics.topic import Topic

__all__ = [
    "PLACES",
    "Batch",
    "BatchLimits",
    "BatchRequest",
    "IdempotencyKey",
    "Keep",
    "KeyScope",
    "check_request",
    "failed_event",
    "flavour_of",
    "item_of",
]


PLACES: Final = ("network", "loop", "threads", "processes", "waiting")
"""Where the time of a URL goes."""


class Keep(Enum):
    """Who keeps a batch alive."""

    ATTACHED = "its readers: it ends when the last one has left"
    LINGER = "its readers, and a while after the last one has left"
    DETACHED = "nobody: it runs to its end"


class BatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /fetch-batch`` and the parameters of ``fetch``: ``urls`` or ``requests``."""

    urls: list[str] | None = None
    requests: list[FetchRequest] | None = None
    options: Options = Options()


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of batches: counts, bytes, seconds."""

    urls: int = 10_000
    batches: int = 20_000
    """Of all owners; one alone gets half of them."""
    methods: frozenset[str] = frozenset({"GET", "HEAD"})
    retention: float = 600.0
    retained_bytes: int = 256 << 20
    stored_bytes: int = 10 << 30
    """On disk, where batches are kept there."""
    linger: float = 60.0
    credit: int = 16 << 20
    reading_bytes: int = 256 << 20
    # Requests that are not done; one more is taken while they are below it.
    queued_bytes: int = 256 << 20
    active: int = 500
    active_per_client: int = 250
    active_per_host: int = 20
    hosts_shared: bool = False
    """Whether one client leaves a quarter of a host's places to others."""


class KeyScope(NamedTuple):
    """What tells the keys of one owner apart."""

    hosts: HostPatterns
    """Of its token."""
    shown: bytes
    """A digest of credentials that nobody checks here."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """What makes a repeated POST harmless: whose key, the key, and the digest of the body that came with it."""

    owner: Owner
    scope: KeyScope
    key: str
    digest: bytes = field(compare=False)


def check_request(request: BatchRequest, limits: BatchLimits) -> list[FetchRequest] | list[str]:
    """Return what is to be fetched, or raise InvalidParams or TooLarge that names the field."""
    if (request.urls is None) == (request.requests is None):
        raise InvalidParams("urls, requests: give one of them")
    items: list[FetchRequest] | list[str] = request.urls if request.urls is not None else request.requests or []
    if not items:
        raise InvalidParams("urls: a batch has at least one")
    if len(items) > limits.urls:
        raise TooLarge(f"limit urls a batch: {len(items)} of at most {limits.urls}")
    options = request.options
    if options.method not in limits.methods:
        raise InvalidParams(f"options.method: one of {', '.join(sorted(limits.methods))}")
    if options.headers and (wrong := check_headers(options.headers)):
        raise InvalidParams(f"options.headers: {wrong}")
    return items


def item_of(item: FetchRequest | str, limits: BatchLimits) -> FetchRequest | Failure:
    """Return one request of a batch, or why it is not made."""
    if isinstance(item, str):
        return FetchRequest(item)
    if item.method is not None and item.method not in limits.methods:
        return Failure("invalid_request", f"method: one of {', '.join(sorted(limits.methods))}")
    if item.headers and (wrong := check_headers(item.headers)):
        return Failure("invalid_request", f"headers: {wrong}")
    return item


@dataclass(slots=True, repr=False)
class Batch:
    """A batch: what it asks for, and how far it is."""

    id: str
    topic: Topic
    owner: Owner
    keep: Keep
    items: list[FetchRequest] | list[str]
    options: Options
    started: float
    listener: "FetchListener[Batch]"
    """Who admits its URLs, and gets their outcomes."""
    key: "IdempotencyKey | None" = None
    hosts: HostPatterns = EVERY_HOST
    """What its client may ask, redirects included."""
    share: int | None = None
    """How many fetches its client may have at once, where that is not what everybody may."""
    correlation: Correlation | None = None
    """Which HTTP request began it."""
    ok: int = 0
    failed: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    done: bool = False
    cancelled: bool = False
    elapsed_ms: float | None = None
    accepted: "Pending[Batch] | None" = None
    """Its acceptance, where the store answers later."""
    outgrown: bool = False
    """Whether URLs failed because its events had no room."""
    on_ended: Callable[[], None] | None = None
    """Called when its last event is stored."""
    counted: "Callable[[], Mapping[str, Any]] | None" = None
    """What its count step has counted so far, where it has one."""
    time_ms: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PLACES, 0.0))
    """Where the time of its URLs went."""
    active: int = 0
    under_way: int = 0
    landed: int = 0
    # After each event the bytes of all so far, so that what a reader has not taken is one subtraction; what was
    # given up is among them.
    sums: list[int] = field(default_factory=list)
    finished: bytearray = field(init=False)
    wanted: Sequence[int] = field(init=False)
    """The indices of what is to be fetched."""
    total: int = field(init=False)
    """How many URLs it has."""
    weight: int = field(init=False)
    """Bytes that the requests take in memory, about; they are freed when it is done."""

    flavour: str = field(init=False)
    """What its requests have in common, as far as it decides whether another batch's request is the same."""

    trace: Trace | None = field(init=False)
    """What its requests to upstreams are part of."""

    def __post_init__(self) -> None:
        self.trace = self.correlation.trace if self.correlation is not None else None
        self.flavour = flavour_of(self.options, self.hosts, self.owner)
        self.total = len(self.items)
        self.finished = bytearray(self.total)
        self.wanted = range(self.total)
        self.weight = sum(map(_weight, self.items))

    def __repr__(self) -> str:
        # Gets into logs: neither the whole id nor URLs.
        return f"<Batch {self.id[:6]}… {self.ok} ok, {self.failed} failed of {self.total}>"

    @property
    def complete(self) -> bool:
        """Whether every URL has its event."""
        return self.ok + self.failed == self.total

    def url(self, index: int) -> str:
        """Return the URL as its sender wrote it."""
        item = self.items[index]
        return item if isinstance(item, str) else item.url

    @property
    def unread(self) -> int:
        """How many bytes of events wait to be taken by the reader that is furthest."""
        taken = self.topic.furthest
        appended = self.sums[-1] if self.sums else 0
        return self.landed + appended - (self.sums[taken - 1] if taken else 0)

    def succeed(self, index: int, status: int) -> None:
        """Count a result."""
        self.finished[index] = 1
        self.ok += 1
        self.by_status[str(status)] += 1

    def fail(self, index: int) -> None:
        """Count a failure."""
        self.finished[index] = 1
        self.failed += 1

    def recall(self, ended: Iterable[tuple[int, int]]) -> None:
        """Count what ended before a restart: indices, and statuses, 0 for a failure."""
        for index, status in ended:
            if 0 <= index < self.total and not self.finished[index]:
                if status:
                    self.succeed(index, status)
                else:
                    self.fail(index)
        self.wanted = [index for index in range(self.total) if not self.finished[index]]

    def finish(self, now: float) -> dict[str, Any]:
        """Return the last event."""
        assert self.complete
        self.done = True
        self.items = []
        self.elapsed_ms = round((now - self.started) * 1000, 1)
        return {"event": "done", **self.counts()}

    def counts(self) -> dict[str, Any]:
        """Return the numbers that ``done`` and the JSON answer carry."""
        numbers = {
            "total": self.total,
            "ok": self.ok,
            "failed": self.failed,
            "by_status": self.by_status,
            "elapsed_ms": self.elapsed_ms,
        }
        return numbers if self.counted is None else {**numbers, "counts": self.counted()}


def failed_event(
    index: int, url: str, failure: Failure, attempts: int, timing: Mapping[str, float]
) -> dict[str, Any]:
    """Return the event of a URL that failed; the times are in milliseconds."""
    event = {
        "event": "failed",
        "index": index,
        "url": url,
        "error": failure.kind,
        "detail": failure.detail,
        "attempts": attempts,
        "timing": timing,
    }
    if failure.retry_after is not None:
        event["retry_after"] = failure.retry_after
    if failure.step is not None:
        event |= {"step": failure.step, "steps": [orjson.Fragment(one) for one in failure.steps]}
    return event


def flavour_of(options: Options, hosts: HostPatterns, owner: Owner) -> str:
    """Return what decides, beside the request itself, whether two requests for a URL are the same.

    The hosts are part of it: where a redirect leads may be allowed to one client and not to another. So is an
    owner that shares nothing. A text, since its hash is counted once for a batch, and not for each of its URLs.
    """
    headers = tuple(sorted(options.headers.items()))
    kept = options.cache != "no-store"
    return repr((headers, options.max_bytes, options.redirects, options.want_body, kept, hosts, owner.apart))


def _weight(item: FetchRequest | str) -> int:
    if isinstance(item, str):
        return 64 + len(item)
    headers = sum(len(name) + len(value) + 200 for name, value in (item.headers or {}).items())
    return 256 + len(item.url) + len(item.body or "") + headers
