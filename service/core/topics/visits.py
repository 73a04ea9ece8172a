"""Who is visited when: every reader of a topic with news, in slices that let the loop go on.

One visit a loop turn brings each reader of a marked topic all that it has not had. A visit of many readers is
cut into slices, and topics take turns slice by slice, so that neither a large topic nor a busy one holds up
the rest of the loop.
"""

from collections import deque
from collections.abc import Callable, Iterator

from service.core.containment import Containment
from service.core.topics.directory import evict
from service.core.topics.latency import Latency
from service.core.topics.reader import Reader
from service.core.topics.topic import Topic

__all__ = ["Visits"]


class Visits:
    """The visits that are due or under way; a slice has at most ``room`` of them."""

    def __init__(
        self,
        room: int,
        latency: Latency,
        contain: Containment,
        *,
        call_soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float],
    ) -> None:
        self.pressed: set[Topic] = set()
        """Topics whose rings fill faster than their visits go round."""
        self._room = room
        self._latency = latency
        self._contain = contain
        self._call_soon = call_soon
        self._clock = clock
        self._visits: deque[tuple[Topic, Iterator[Reader]]] = deque()
        self._running = False

    def wake(self, topic: Topic) -> None:
        """Have all readers of the topic visited, from the next loop turn on."""
        if not topic.readers:
            # Later readers find history.
            topic.visited_at = topic.head
            return
        topic.due = True
        if not topic.visited:
            topic.visited = True
            self._visits.append((topic, iter(())))
            if not self._running:
                self._running = True
                self._call_soon(self._run)

    def _run(self) -> None:
        """Go on with the visits that are due, for one slice."""
        try:
            self._slice(self._room)
        finally:
            self._running = bool(self._visits)
            if self._running:
                self._call_soon(self._run)

    def _slice(self, room: int) -> None:
        latency, clock = self._latency, self._clock
        now = clock()
        while self._visits and room > 0:
            topic, readers = self._visits.popleft()
            left, before = room, topic.delivered
            room, done = self._visit(readers, room)
            if room < left:
                topic.began, begin, now = topic.began or now, now, clock()
                latency.slice(topic, left - room, topic.delivered - before, begin, now)
            if not done:
                self._visits.append((topic, readers))
                continue
            if topic.began:
                latency.visit(topic, now)
            if topic.due:
                # What is appended from here on sets the mark again: it may come after a reader's turn.
                topic.due = False
                topic.since, topic.visited_at = topic.visited_at, topic.head
                self.pressed.discard(topic)
                self._visits.append((topic, iter(tuple(topic.readers))))
            else:
                topic.visited = False
                self.pressed.discard(topic)
                topic.forget()

    def _visit(self, readers: Iterator[Reader], room: int) -> tuple[int, bool]:
        """Visit readers that are behind until this slice is full; return the room that is left.

        A reader whose visit fails is evicted: what it has had of its stream may not be whole.
        """
        for reader in readers:
            if reader.offset < reader.topic.head:
                try:
                    reader.visit()
                except Exception as error:
                    self._contain.report(error)
                    self._contain(evict, reader)
                room -= 1
                if room <= 0:
                    return 0, False
        return room, True
