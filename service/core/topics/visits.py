"""Who is visited when: every reader of a topic with news, in slices that let the loop go on.

One visit a loop turn brings each reader of a marked topic all that it has not had. A visit of many readers is
cut into slices, by number and by time, so that neither a large topic nor a busy one holds up the rest of the loop.
Those who publish take turns within a slice and from one to the next, by how many readers were visited for each, and
so do the topics of each: a message to one reader does not wait for hundreds of topics of another client.

How long messages wait for their write is measured a whole slice of readers at once: a clock for each reader would
cost every delivery. A slice looks at the clock when its last reader has been written to, and each message in it
counts as often as readers got it, by its own age and as if they had got it one after the other, evenly.

Theory of operation. An append wakes the visit; from the next loop turn on it goes through the readers that were
there when its round began, in as many slices as that takes. What is appended meanwhile may come after the turn of
some of them, so the round is followed by another. A topic that nobody reads is not visited.

    state      | woken     | begun     | through
    -----------|-----------|-----------|-----------
    IDLE       | SCHEDULED |           |
    SCHEDULED  | SCHEDULED | UNDER_WAY |
    UNDER_WAY  | AGAIN     |           | IDLE
    AGAIN      | AGAIN     |           | SCHEDULED

*Woken*: there is news. *Begun*: a round begins with its first slice. *Through*: no reader is left of the round.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from enum import IntEnum
from typing import Final, Protocol

from service.core.containment import Containment
from service.core.histogram import Histogram
from service.core.owner import Owner
from service.core.rotation import FairQueue
from service.core.topics.ring import Ring

__all__ = ["Latency", "Visit", "VisitState", "Visits"]

# In seconds. Loopback needs 0.3 ms for one client and 100 for ten thousand; finest where alarms are set.
_DELIVERY: Final = (0.0005, 0.001, 0.002, 0.0035, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15,
                    0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)  # fmt: skip
_SPREAD: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class VisitedReader(Protocol):
    """What a visit needs of a reader; one that was detached has an offset beyond all."""

    offset: int

    def visit(self) -> None:
        """Bring it what is new, as far as its peer takes it."""
        ...

    def cut(self) -> None:
        """Leave the topic, and end the connection."""
        ...


class VisitedTopic(Protocol):
    """What a visit needs of a topic."""

    delivered: int
    payer: Owner
    """Who has published most of what it holds: visits of its readers are a part of that client's turns."""
    ring: Ring
    visit: "Visit"

    @property
    def readers(self) -> Collection[VisitedReader]:
        """Those who are brought what is new, in the order in which they came."""
        ...


class VisitState(IntEnum):
    """How far a visit is; from SCHEDULED on there is news that the round may not bring to all."""

    IDLE = 0
    UNDER_WAY = 1
    SCHEDULED = 2
    AGAIN = 3


_IDLE: Final = VisitState.IDLE
_SCHEDULED: Final = VisitState.SCHEDULED
_WOKEN: Final = {
    VisitState.IDLE: VisitState.SCHEDULED,
    VisitState.SCHEDULED: VisitState.SCHEDULED,
    VisitState.UNDER_WAY: VisitState.AGAIN,
    VisitState.AGAIN: VisitState.AGAIN,
}
_BEGUN: Final = {VisitState.SCHEDULED: VisitState.UNDER_WAY}
_THROUGH: Final = {VisitState.UNDER_WAY: VisitState.IDLE, VisitState.AGAIN: VisitState.SCHEDULED}
_NOBODY: Final[Iterator[VisitedReader]] = iter(())
_TIME: Final = 0.002
"""Seconds of a slice, about: a visit takes 10 us with one message, and 100 with all that a write carries."""
_TURN: Final = 64
"""Readers that are visited for one client before it is another's turn, where several have news: 0.6 ms."""
_LOOK: Final = 16
"""Visits between two looks at the clock."""


class Visit:
    """How far the readers of one topic have been visited."""

    __slots__ = ("began", "head", "head_before", "readers", "state")

    def __init__(self, head: int) -> None:
        self.state = VisitState.IDLE
        self.readers: Iterator[VisitedReader] = _NOBODY
        """Those of this round whose turn comes yet."""
        self.head = head
        """The topic's head when this round began, or the last one."""
        self.head_before = head
        """That of the round before: later messages are new to readers that keep up."""
        self.began = 0.0
        """When the first reader of this round was visited; 0 before that."""

    def __repr__(self) -> str:
        return f"<Visit {self.state.name} at {self.head}>"

    def wake(self) -> bool:
        """Record news; return whether the visit has to be queued for that."""
        before = self.state
        self.state = _WOKEN[before]
        return before is _IDLE

    def begin(self, head: int, readers: Iterable[VisitedReader]) -> None:
        """Begin a round with these readers."""
        self.state = _BEGUN[self.state]
        self.readers = iter(tuple(readers))
        self.head_before, self.head = self.head, head
        self.began = 0.0

    def end(self) -> bool:
        """End a round; return whether there is news for another."""
        self.state = _THROUGH[self.state]
        self.readers = _NOBODY
        return self.state is _SCHEDULED

    def begin_anew(self, head: int) -> None:
        """Go on in another epoch of the topic, which has no readers now."""
        self.head = self.head_before = head


class Latency:
    """What the visits of all topics took; times are in seconds."""

    def __init__(self) -> None:
        self.delivery = Histogram(_DELIVERY)
        """From the publish of a message to its write, once for each reader that keeps up."""
        self.spread = Histogram(_SPREAD)
        """From the first to the last reader of a visit of two or more."""

    def slice(self, topic: VisitedTopic, visited: int, taken: int, begin: float, end: float) -> None:
        """Count a slice that brought ``visited`` readers ``taken`` messages between two times.

        Who keeps up lacked what came since its last visit. What a reader got beyond that is history, of
        which nobody expects that it is written as soon as it is published.
        """
        times = topic.ring.times
        # The ring has no times of messages that have left memory, which a store has read back.
        fresh = min(len(times), topic.ring.head - max(topic.visit.head_before, topic.ring.fresh_after))
        if not taken or fresh <= 0:
            return
        if visited == 1:
            if fresh == 1:
                self.delivery.observe(end - times[-1])
            else:
                self.delivery.observe_since(times[-fresh:], end, min(taken // fresh, 1))
            return
        each = min(taken // fresh, visited)
        for at in times[-fresh:]:
            self.delivery.observe_between(begin - at, end - at, each)


class Visits:
    """The visits that are due or under way; a slice has at most ``room`` of them."""

    def __init__(
        self,
        room: int,
        contain: Containment,
        *,
        call_soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float],
    ) -> None:
        self.pressed: set[VisitedTopic] = set()
        """Topics whose rings fill faster than their visits go round."""
        self.latency = Latency()
        self.going_on = False
        """Whether the last slice has left readers that are still to be visited."""
        self._room = room
        self._contain = contain
        self._call_soon = call_soon
        self._clock = clock
        self._queue: FairQueue[VisitedTopic] = FairQueue(_TURN)
        self._alone: VisitedTopic | None = None
        """Where one topic waits alone, that one: a queue would cost a message to a single reader a tenth more."""
        self._running = False

    def wake(self, topic: VisitedTopic) -> None:
        """Have all readers of the topic visited, from the next loop turn on."""
        if not topic.readers:
            # Later readers find history.
            topic.visit.head = topic.ring.head
        elif topic.visit.wake():
            if self._running:
                self._put(topic)
            else:
                self._running, self._alone = True, topic
                self._call_soon(self._run)

    def _put(self, topic: VisitedTopic) -> None:
        alone, self._alone = self._alone, None
        if alone is not None:
            self._queue.put(alone.payer, alone)
        self._queue.put(topic.payer, topic)

    def _run(self) -> None:
        """Go on with the visits that are due, for one slice."""
        try:
            self._slice(self._room)
        finally:
            self._running = self.going_on = bool(self._queue)
            if self._running:
                self._call_soon(self._run)

    def _slice(self, room: int) -> None:
        now = self._clock()
        until = now + _TIME
        if (alone := self._alone) is not None:
            self._alone = None
            self._round(alone, room, now, until)
            return
        while self._queue and room > 0:
            line, most, visited = self._queue.first, room if self._queue.alone else min(room, _TURN), 0
            try:
                visited, now = self._round(line.items.popleft(), most, now, until)
                room = room - visited if now < until else 0
            finally:
                self._queue.spend(max(1, visited))

    def _round(self, topic: VisitedTopic, room: int, now: float, until: float) -> tuple[int, float]:
        """Go on with the round of a topic, or begin it; return how many were visited, and the time then."""
        visit, before, begin = topic.visit, topic.delivered, now
        if visit.state is _SCHEDULED:
            self.pressed.discard(topic)
            visit.begin(topic.ring.head, topic.readers)
        visited, through = self._visit(topic, room, until)
        if visited:
            visit.began, now = visit.began or begin, self._clock()
            try:
                self.latency.slice(topic, visited, topic.delivered - before, begin, now)
            except Exception as error:
                self._contain.report(error)
        if not through or self._end(topic, now):
            self._put(topic)
        return visited, now

    def _end(self, topic: VisitedTopic, now: float) -> bool:
        """End a round; return whether another is due."""
        visit = topic.visit
        self.pressed.discard(topic)
        if visit.began and len(topic.readers) > 1:
            self._contain(self.latency.spread.observe, now - visit.began)
        if visit.end():
            return True
        topic.ring.forget()
        return False

    def _visit(self, topic: VisitedTopic, room: int, until: float) -> tuple[int, bool]:
        """Visit readers that are behind until this slice is full; return how many, and whether that was all.

        A reader whose visit fails is evicted: what it has had of its stream may not be whole.
        """
        ring, visited, look = topic.ring, 0, min(room, _LOOK)
        for reader in topic.visit.readers:
            if reader.offset < ring.head:
                try:
                    reader.visit()
                except Exception as error:
                    self._contain.report(error)
                    self._contain(reader.cut)
                visited += 1
                if visited == look:
                    if visited == room or self._clock() >= until:
                        return visited, False
                    look = min(room, look + _LOOK)
        return visited, True
