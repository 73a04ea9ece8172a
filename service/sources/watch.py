"""One watched URL: who wants it how often, and which events go to which topic."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from time import time
from typing import Any, Final, Protocol

import orjson

from service.core.access.grants import EVERY_HOST, HostPatterns
from service.core.correlation import Trace
from service.core.fetching.outcome import FailureKind, Fetched
from service.core.fetching.request import FetchRequest, Options
from service.core.fetching.task import FetchListener
from service.core.owner import SERVICE, Owner
from service.core.pending import Pending, when_known
from service.core.pieces import Pieces, encode_event
from service.core.topics.topic import Position, Topic
from service.runtime.timestamps import timestamp
from service.upstream.content.result_events import encoded_body
from service.work.step import PlannedStep

__all__ = ["Poll", "View", "ViewKey", "ViewSink", "Watch", "WatchKey"]

WatchKey = tuple[str, HostPatterns, str]
"""A URL, the hosts that its watchers may know of, and who shares it with nobody."""
ViewKey = tuple[str | None, str]
"""What is selected, and the steps as JSON."""

_SUSPICIONS: Final = 3
"""Failures of polls with conditions, each followed by an answer without, after which polls have none."""


class ViewSink(Protocol):
    """Where views publish: one for all, as functions made for each would be a fifth of what a watch takes."""

    def publish(self, view: "View", event: bytes | Pieces) -> Position | Pending[Position] | None:
        """Append an event to the topic of a view; return None where the topic is gone."""
        ...

    def remember(self, view: "View", state: str) -> None:
        """Keep a state's digest with the conditions of its answer; called before the state is published."""
        ...


@dataclass(slots=True, eq=False)
class View:
    """What is selected of a URL, and its topic; its methods publish what is new, and nothing twice."""

    url: str
    select: str | None
    steps: tuple[PlannedStep, ...]
    topic: Topic
    watch: "Watch"
    sink: ViewSink
    digest: str = ""
    """Of the last state; empty when it has to be sent again."""
    reported: int = 0
    """The offset of the last state."""
    failing: str | None = None
    """The kind of the error that is not over."""
    unread: bool = False
    """Whether the last body could not be read, so that an upstream that confirms it tells nothing."""
    unfit: str = ""
    """The digest of a state whose steps failed: they are not carried out again."""

    def restore(self) -> None:
        """Go on where the messages of the topic end: with the last state, and an error that is not over."""
        ring = self.topic.ring
        for offset in range(ring.head, ring.first - 1, -1):
            data = ring.data(offset)
            if data is None:
                return  # It is damaged, and may have been the last state: that is sent again.
            event = orjson.loads(data)
            if event["event"] in ("state", "changed"):
                self.digest, self.reported = f"{event['status']} {event['sha256']}", offset
                return
            if event["event"] == "error" and offset == ring.head:
                self.failing = event["error"]

    def runs_steps(self, status: int, state: str) -> bool:
        """Return whether what was selected of an answer is new, and goes through steps."""
        return bool(self.steps) and 200 <= status < 300 and status != 206 and state != self.digest

    def steps_failed(self, state: str, kind: FailureKind, detail: str) -> None:
        """Record that a step failed; if that is the body's fault, the same state is not tried again."""
        if kind == "step_failed":
            self.unfit = state
        self.failed(kind, detail, unread=True)

    def is_unfit(self, state: str) -> bool:
        """Return whether the steps of this state have failed before."""
        return bool(self.unfit) and self.unfit == state

    def show(self, shown: Fetched, state: str, steps: Sequence[bytes] | None = None) -> bool:
        """Take what was selected of an answer, and the results of its steps; return whether it is new."""
        self.unread, self.unfit = False, ""
        self.recovered()
        self.sink.remember(self, state)
        if state == self.digest:
            return False
        now = timestamp(time())
        encoding, text = encoded_body(shown, "auto")
        position = self._publish(
            {
                "event": "changed" if self.reported or self.digest else "state",
                "url": self.url,
                "status": shown.status,
                "etag": shown.headers.get("etag"),
                "sha256": state.partition(" ")[2],
                "encoding": encoding,
                "body": text,
                "truncated": shown.truncated,
                "checked_at": now,
                "changed_at": now,
                **({} if steps is None else {"steps": [orjson.Fragment(one) for one in steps]}),
            }
        )
        self.digest = state
        when_known(position, partial(self._stored, state))
        return True

    def _stored(self, state: str, position: Position | Exception | None) -> None:
        """Take the store's answer about a state; one that is not stored is sent again."""
        if not isinstance(position, Exception):
            self.reported = position.offset if position is not None else 0
        elif self.digest == state:
            self.digest = ""

    def unchanged(self) -> None:
        """Take a 304: the upstream is well again, but a selection that found nothing finds nothing still."""
        if not self.unread:
            self.recovered()

    def failed(self, error: str, detail: str, *, unread: bool = False) -> None:
        """Take an error; it is sent once for as long as its kind stays the same."""
        self.unread = self.unread or unread
        if self.failing != error:
            self._turn(error, {"event": "error", "url": self.url, "error": error, "detail": detail})

    def recovered(self) -> None:
        """Publish that an error is over, if there was one."""
        if self.failing is not None:
            self._turn(None, {"event": "recovered", "url": self.url})

    def _turn(self, failing: str | None, event: dict[str, Any]) -> None:
        """Publish that an error has begun or is over; what is not stored is sent again."""
        position, before, self.failing = self._publish(event), self.failing, failing

        def stored(position: Position | Exception | None) -> None:
            if isinstance(position, Exception) and self.failing == failing:
                self.failing = before

        when_known(position, stored)

    def _publish(self, event: dict[str, Any]) -> Position | Pending[Position] | None:
        return self.sink.publish(self, encode_event(event))


@dataclass(slots=True, eq=False)
class Watch:
    """One URL and its views."""

    url: str
    due: float
    """When it is polled next, if nothing forbids it."""
    hosts: HostPatterns = EVERY_HOST
    """What its watchers may know of; clients that may know of other hosts have a watch apart."""
    owner: Owner = SERVICE
    """Who began it: its polls and selections take that client's turns."""
    views: dict[ViewKey, View] = field(default_factory=dict)
    intervals: Counter[float] = field(default_factory=Counter)
    """How many want it at which interval, in seconds."""
    timer: asyncio.TimerHandle | None = None
    end: asyncio.TimerHandle | None = None
    polling: bool = False
    stopped: bool = False
    anew: bool = True
    """Whether the next poll asks for all of it."""
    conditions: dict[str, str] = field(default_factory=dict)
    """What the next poll is sent with, unless it asks for all of it."""
    source: str = ""
    """The URL whose answer the conditions are from, where redirects led; empty for its own."""
    refused: int | None = None
    """The status, or 0, with which the last poll was refused that had conditions and was repeated without."""
    unconditional: bool = False
    """Whether its upstream refuses polls with conditions."""
    suspect: bool = False
    """Whether the last poll failed, and had conditions."""
    suspicions: int = 0
    """How often in a row a poll with conditions failed, and the next one, without, was answered."""
    not_before: float = 0.0
    polled: float | None = None
    """When its last poll began."""
    size: int = 0
    """Bytes of the last body."""
    reading: "asyncio.Task[None] | None" = None
    """The task that finds out what changed in the last answer."""

    def stop(self) -> tuple[View, ...]:
        """Stop polling, and stop processing the last answer: if that waits for a selection, others get its turn.

        Return the views, and drop them here: each refers to the watch, a cycle that only the collector would free.
        """
        self.stopped = True
        for waiting in (self.timer, self.end, self.reading):
            if waiting is not None:
                waiting.cancel()
        views = tuple(self.views.values())
        self.views.clear()
        return views

    def repeat(self, status: int, now: float) -> None:
        """Have it asked again at once, without conditions."""
        self.refused, self.anew, self.due = status, True, now

    def failed(self, *, conditional: bool) -> None:
        """Take a failure; as it may be for the conditions, the next poll has none."""
        self.suspect, self.anew = conditional, True

    def answered(self, *, conditional: bool) -> None:
        """Take an answer; an upstream that fails again and again for conditions alone gets none any more."""
        if self.suspect:
            self.suspicions += 1
        elif conditional:
            self.suspicions = 0
        self.suspect = False
        self.unconditional = self.unconditional or self.suspicions >= _SUSPICIONS

    def read(self, status: int, conditions: dict[str, str], source: str) -> None:
        """Take an answer that is not a refusal of conditions; ``conditions`` are those for the next poll."""
        self.source = source
        if self.refused is not None and self.refused not in (304, status):
            self.unconditional = True
        self.refused = None
        self.conditions = {} if self.unconditional else conditions

    @property
    def key(self) -> WatchKey:
        """What makes it one: for which URL, and for whom."""
        return self.url, self.hosts, self.owner.apart

    @property
    def every(self) -> float:
        """The shortest interval that anyone wants."""
        return min(self.intervals, default=inf)

    @property
    def wanted(self) -> bool:
        """Whether anyone watches, or reads one of its topics."""
        return bool(self.intervals) or any(view.topic.readers for view in self.views.values())


@dataclass(slots=True, eq=False)
class Poll:
    """One request of a watch, as the plan knows it."""

    id: str
    watch: Watch
    listener: "FetchListener[Poll]"
    options: Options
    items: list[FetchRequest]
    flavour: str
    hosts: HostPatterns
    owner: Owner
    share: int | None = None
    wanted: Sequence[int] = (0,)
    active: int = 0
    under_way: int = 0
    landed: int = 0
    trace: Trace | None = None
    """A poll is made for all who watch, long after any of them asked for it."""
