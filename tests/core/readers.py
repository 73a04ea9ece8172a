"""Fakes at the hub's seams: a loop that turns on request, and a reader over a connection that stalls on demand."""

from collections import deque
from collections.abc import Callable

from service.core.ports import TopicStore
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.memory_store import MemoryStore
from service.core.topics.topic import OnLag, Reader, Topic
from service.core.topics.wire import Encoding


class Turns:
    """A loop that runs what was asked for when the test says so, and its clock."""

    def __init__(self) -> None:
        self.due: deque[Callable[[], None]] = deque()
        self.now = 0.0

    def clock(self) -> float:
        """Return the time that the test has set."""
        return self.now

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.due.append(callback)

    def turn(self) -> int:
        """Run what was due before this turn, and return how much that was."""
        count = len(self.due)
        for _ in range(count):
            self.due.popleft()()
        return count

    def settle(self) -> None:
        while self.turn():
            pass


class FakeReader(Reader):
    """Keeps what it was sent; takes nothing while it is stuck."""

    def __init__(
        self, topic: Topic, on_lag: OnLag = OnLag.DISCONNECT, encoding: Encoding = Encoding.EVENTS
    ) -> None:
        super().__init__(topic, encoding, on_lag)
        self.sent: list[bytes] = []
        self.stuck = False
        self.evicted = False
        self.complete = False

    def visit(self) -> None:
        if self.stuck:
            if self.overtaken:
                self.read()
            return
        while self.behind and (chunk := self.read()):
            self.sent.append(chunk)

    def evict(self) -> None:
        self.evicted = True

    def finished(self) -> None:
        self.complete = True

    @property
    def lines(self) -> list[str]:
        return b"".join(self.sent).decode().splitlines()


def make_store() -> MemoryStore:
    """Return a store whose epochs are e1, e2, …"""
    count = iter(range(1, 1_000_000))
    return MemoryStore(lambda: f"e{next(count)}")


def make_hub(turns: Turns, limits: HubLimits | None = None, store: TopicStore | None = None) -> Hub:
    """Return a hub over a store, or over memory."""
    return Hub(
        limits or HubLimits(),
        store or make_store(),
        call_soon=turns.call_soon,
        clock=turns.clock,
    )
