"""The writer: what is to be stored is committed in groups, one after another, by one thread.

Theory of operation. A write that is added waits. When no commit is under way, and the last one began at least
``_PAUSE`` ago, all that wait (at most ``_CHANGES``, or ``_BYTES``) become a group: each says what it changes, and
the thread commits. Where much is coming that is later. Then each write hears in order how it ended: ``committed``
or ``refused``, some in each turn of the loop. Only then does the next group begin, so a write that prepares knows
how all before it ended, and what is refused has changed nothing.

        idle --add--> waiting --pause--> committing --ended, writes wait--> waiting
          ^                                  |
          +-------ended, nothing waits-------+

While commits fail every group is refused. Every ``_PROBE`` s a group is tried that is as large as the largest that
failed and says nothing: storage works again when that, or a real one of the size, is stored. Smaller ones may fit
before that; they are stored, but do not end the probing.

*Lasting* writes, the events of batches, have a queue and groups of their own, smaller ones; where both wait, groups
of both take turns. So a publish waits for at most ``_LASTING_BYTES`` of events, and is not refused because there is
no room for them. Where their commit fails they go back to the front of their queue, and wait there until storage
works again: what has been fetched is not given up.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from service.core.containment import Containment
from service.core.errors import InternalError, StorageFailed
from service.core.histogram import Histogram
from service.core.pending import Pending
from service.runtime.threads import started_thread
from service.storage.database import Database, RowChanges
from service.storage.errors import CommitFailed
from service.storage.reads import Reads
from service.storage.space_probe import SpaceProbe
from service.storage.writes import LastingWrite, Write

__all__ = ["LastingWrite", "Write", "Writer"]

_log = logging.getLogger("sluice.storage")

_PAUSE: Final = 0.002
"""Seconds from the beginning of one commit to that of the next, at least."""
_GATHER: Final = 0.01
_CHECK: Final = 0.001
_FEW: Final = 20
"""A group of that many changes waits for others until ``_GATHER``, as long as each ``_CHECK`` finds some more: a
commit costs 0.3 ms of CPU, with its way to the thread and back, however small it is."""
_CHANGES: Final = 1000
"""Changes of one group, about: to prepare so many takes a turn of the loop of about 2 ms."""
_TURN: Final = 100
"""Changes that go on in one turn of the loop: about 1 ms."""
_BYTES: Final = 4 << 20
"""Bytes of one group, about."""
_LASTING_BYTES: Final = 1 << 20
"""Bytes of one group of lasting writes, about."""
_PROBE: Final = 0.5
_SLOW: Final = 5.0  # seconds after which a commit is worth a word
_DURATIONS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


AnyWrite = TypeVar("AnyWrite", bound=Write)
T = TypeVar("T")


class Writer:
    """Commits writes until :meth:`close`."""

    def __init__(self, database: Database) -> None:
        self.failing_since: float | None = None
        """When commits began to fail, by the loop's clock; None while they work."""
        self._failed_size = 0
        """Bytes of the largest group that failed since then."""
        self._probe_at = 0.0
        self.commits = 0
        self.failures = 0
        self.durations = Histogram(_DURATIONS)
        """Seconds that commits took."""
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._thread = started_thread("storage")
        self.contain = Containment(self._loop.call_soon)
        self._reads = Reads(self._thread, self.contain)
        self._waiting: deque[Write] = deque()
        self.last: Write | None = None
        """What was added last, if no group has it yet."""
        self._lasting: deque[LastingWrite] = deque()
        self._lasting_turn = False
        """Whether the next group is one of lasting writes, where there are both."""
        self._closing = False
        self._seen = 0  # changes that waited at the last check
        self._began = self._loop.time() - _PAUSE
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        """When that is; uvloop's handles do not always know it."""
        self._commit: asyncio.Future[None] | None = None
        self._slow: asyncio.TimerHandle | None = None

    @property
    def unwell_since(self) -> float | None:
        """Since when nothing has been stored that was to be: commits fail, or one does not end; else None."""
        if self.failing_since is not None:
            return self.failing_since
        return self._began if self._commit is not None else None

    @property
    def waiting(self) -> int:
        """How many changes wait for the next commit."""
        return sum(write.count for queue in (self._waiting, self._lasting) for write in queue)

    def read(self, job: Callable[[], T]) -> Pending[T]:
        """Have a job read from the database; return what it returns, or raises."""
        return self._reads.add(job)

    def add_lasting(self, write: LastingWrite) -> None:
        """Store a write, now or when storage works again."""
        self._lasting.append(write)
        if self.failing_since is None:
            self._schedule()

    def add(self, write: Write) -> None:
        """Store a write with the next group. How much waits is bounded by ``core/topics/pending_appends.py``."""
        self._waiting.append(write)
        self.last = write
        if self._timer is None or self.failing_since is not None:
            self._schedule()

    def __repr__(self) -> str:
        state = "committing" if self._commit else "waiting" if self.waiting else "idle"
        return f"<Writer {state}, {self.waiting} changes wait>"

    def _schedule(self, delay: float = 0.0) -> None:
        """Begin the next group when its time has come, unless one is under way."""
        if self._commit is not None:
            return
        at = max(self._began + _PAUSE, self._loop.time() + delay)
        if self._timer is not None:
            if self._due <= at:
                return
            self._timer.cancel()
        self._due = at
        self._timer = self._loop.call_at(at, self._check)

    def _check(self) -> None:
        """Begin the next group, unless there is more to come that it has time for."""
        self._timer = None
        count, seen = sum(write.count for write in self._waiting), self._seen
        if count >= _FEW and count > seen and self._loop.time() < self._began + _GATHER:
            self._seen = count
            self._schedule(_CHECK)
        else:
            self._begin()

    def _begin(self) -> None:
        """Have the thread commit the next group."""
        self._timer, self._seen = None, 0
        self._began = self._loop.time()
        changes = RowChanges(self._database.next_row)
        if self._choose_lasting():
            lasting, size = self._prepare(_pop_group(self._lasting, _LASTING_BYTES), changes)
            end = partial(self._end, lasting, size, self._postpone)
        else:
            group, size = self._prepare(self._next_group(), changes)
            end = partial(self._end, group, size, self._refuse)
        self._commit = self._loop.run_in_executor(self._thread, self._database.write, changes)
        self._commit.add_done_callback(end)
        self._slow = self._loop.call_later(_SLOW, _warn_of_slowness)

    def _choose_lasting(self) -> bool:
        """Choose between lasting writes and others, by turns; return whether the next group is of lasting ones."""
        may = bool(self._lasting) and (self.failing_since is None or self._closing)
        chosen = may and (self._lasting_turn or not self._waiting)
        self._lasting_turn = not chosen
        return chosen

    def _next_group(self) -> "list[Write]":
        """Take a probe while commits fail and its time has come, else what waits."""
        if self.failing_since is None or self._began < self._probe_at:
            group = _pop_group(self._waiting, _BYTES)
            self.last = self._waiting[-1] if self._waiting else None
            return group
        self._probe_at = self._began + _PROBE
        return [SpaceProbe(self._failed_size, self.add)]

    def _prepare(self, writes: "list[AnyWrite]", changes: RowChanges) -> "tuple[list[AnyWrite], int]":
        """Have writes say what they change; return those that did, and how many bytes all of them hold."""
        return [write for write in writes if self._prepared(write, changes)], sum(write.size for write in writes)

    def _prepared(self, write: Write, changes: RowChanges) -> bool:
        """Have a write say what it changes; one that raises is refused alone, and changes nothing."""
        mark = changes.mark()
        try:
            write.prepare(changes)
        except Exception as error:
            changes.undo(mark)
            self.contain.report(error)
            self.contain(write.refused, InternalError("it could not be prepared for storage"))
            return False
        return True

    def _end(
        self,
        group: "list[AnyWrite]",
        size: int,
        give_up: "Callable[[list[AnyWrite], StorageFailed], None]",
        commit: asyncio.Future[None],
    ) -> None:
        """Notify each write of how its commit ended, and begin the next; ``give_up`` gets those not stored."""
        if self._slow is not None:
            self._slow.cancel()
        error = commit.exception()
        if error is None:
            self._succeeded(size)
            self._complete(deque(group))
        else:
            self._failed(size, error)
            give_up(group, StorageFailed(f"storage: {error}"))
            self._go_on()

    def _complete(self, group: "deque[AnyWrite]") -> None:
        """Have writes go on that are stored, as many as a turn of the loop has time for, and then the others."""
        room = _TURN
        while group and room > 0:
            write = group.popleft()
            room -= write.count
            self.contain(write.committed)
        if group:
            self._loop.call_soon(self._complete, group)
        else:
            self._go_on()

    def _refuse(self, group: list[Write], error: StorageFailed) -> None:
        for write in group:
            self.contain(write.refused, error)

    def _postpone(self, group: list[LastingWrite], error: StorageFailed) -> None:
        """Have them tried again; where the service ends they are given up, and fetched again."""
        for write in group:
            self.contain(write.postponed)
        self._lasting.extendleft(reversed(group))
        while self._closing and self._lasting:
            self.contain(self._lasting.popleft().refused, error)

    def _go_on(self) -> None:
        """Begin the next group, if there is anything to do."""
        self._commit = None
        if self._waiting or (self._lasting and (self.failing_since is None or self._closing)):
            self._schedule()
        elif self.failing_since is not None:
            self._schedule(_PROBE)

    def _succeeded(self, size: int) -> None:
        self.commits += 1
        self.durations.observe(self._loop.time() - self._began)
        if self.failing_since is not None and size >= self._failed_size:
            _log.warning("storage works again", extra={"seconds": round(self._loop.time() - self.failing_since, 1)})
            self.failing_since, self._failed_size = None, 0

    def _failed(self, size: int, error: BaseException) -> None:
        self.failures += 1
        self._failed_size = max(self._failed_size, size)
        if self.failing_since is None:
            self.failing_since = self._loop.time()
            self._probe_at = self.failing_since + _PROBE
            known = isinstance(error, CommitFailed)
            _log.error("storage fails", exc_info=None if known else error, extra={"why": str(error)})

    async def close(self) -> None:
        """Commit what waits, and close the database."""
        self._closing = True
        while self.waiting or self._commit is not None:
            if self._commit is not None:
                await asyncio.wait((self._commit,))
            elif self._timer is not None:
                self._timer.cancel()
                self._begin()
        if self._timer is not None:
            self._timer.cancel()
        await self._reads.close()
        await self._loop.run_in_executor(self._thread, self._database.close)
        self._thread.shutdown()


def _pop_group(queue: "deque[AnyWrite]", size: int) -> "list[AnyWrite]":
    """Take out of a queue what a group has room for."""
    writes: list[AnyWrite] = []
    room = _CHANGES
    while queue and size > 0 and room > 0:
        write = queue.popleft()
        size -= write.size
        room -= write.count
        writes.append(write)
    return writes


def _warn_of_slowness() -> None:
    _log.warning("a commit takes long")
