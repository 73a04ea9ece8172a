"""Who is visited when: every reader of a topic with news, in slices that let the loop go on.

One visit a loop turn brings each reader of a marked topic all that it has not had. A visit of many readers is
cut into slices, and topics take turns slice by slice, so that neither a large topic nor a busy one holds up
the rest of the loop.
"""

from collections import deque
from collections.abc import Callable

from service.core.containment import Containment
from service.core.topics.directory import evict
from service.core.topics.latency import Latency
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
        self._queue: deque[Topic] = deque()
        self._running = False

    def wake(self, topic: Topic) -> None:
        """Have all readers of the topic visited, from the next loop turn on."""
        if not topic.readers:
            # Later readers find history.
            topic.visit.head = topic.ring.head
        elif topic.visit.wake():
            self._queue.append(topic)
            if not self._running:
                self._running = True
                self._call_soon(self._run)

    def _run(self) -> None:
        """Go on with the visits that are due, for one slice."""
        try:
            self._slice(self._room)
        finally:
            self._running = bool(self._queue)
            if self._running:
                self._call_soon(self._run)

    def _slice(self, room: int) -> None:
        now = self._clock()
        while self._queue and room > 0:
            topic = self._queue.popleft()
            left, before, begin = room, topic.delivered, now
            room, through = self._visit(topic, room)
            if room < left:
                topic.visit.began, now = topic.visit.began or begin, self._clock()
                self._latency.slice(topic, left - room, topic.delivered - before, begin, now)
            if not through or self._next_round(topic, now):
                self._queue.append(topic)

    def _next_round(self, topic: Topic, now: float) -> bool:
        """End a round; return whether another begins."""
        self.pressed.discard(topic)
        if topic.visit.began:
            self._latency.round(topic, now)
        if topic.visit.next_round(topic.ring.head, topic.readers):
            return True
        topic.ring.forget()
        return False

    def _visit(self, topic: Topic, room: int) -> tuple[int, bool]:
        """Visit readers that are behind until this slice is full; return the room left, and whether that was all.

        A reader whose visit fails is evicted: what it has had of its stream may not be whole.
        """
        ring = topic.ring
        for reader in topic.visit.readers:
            if reader.offset < ring.head:
                try:
                    reader.visit()
                except Exception as error:
                    self._contain.report(error)
                    self._contain(evict, reader)
                room -= 1
                if room <= 0:
                    return 0, False
        return room, True
