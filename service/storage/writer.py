"""The writer: what is to be stored is committed in groups, one after another, by one thread.

Theory of operation. An item that is added waits. When no commit is under way, and the last one began at least
``PAUSE`` ago, all that wait (at most ``_ITEMS``, or ``_BYTES``) become a group: each says what it changes, and the
thread commits. Then each item hears in order how it ended: ``committed`` or ``refused``. Only then does the next
group begin, so an item that prepares knows how all before it ended, and what is refused has changed nothing.

        idle --add--> waiting --PAUSE--> committing --ended, items wait--> waiting
          ^                                  |
          +-------ended, nothing waits-------+

While commits fail every group is refused; a group without items is tried each ``_PROBE`` s, so that the writer
knows when there is room again even if nobody asks.
"""

import asyncio
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, Protocol

from service.core.containment import Containment
from service.core.errors import InternalError, SluiceError, StorageFailed
from service.core.histogram import Histogram
from service.storage.database import Changes, Database
from service.storage.errors import CommitFailed

__all__ = ["Item", "Writer"]

_log = logging.getLogger("sluice.storage")

PAUSE: Final = 0.002
"""Seconds from the beginning of one commit to that of the next, at least: a commit has a price of its own."""
_ITEMS: Final = 1000
"""Items of one group: to go on with so many takes a turn of the loop of about 3 ms."""
_BYTES: Final = 4 << 20
"""Bytes of one group, about."""
_PROBE: Final = 0.5
_DURATIONS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Item(Protocol):
    """Something to be stored, whole or not at all."""

    size: int
    """Bytes that it holds while it waits."""

    def prepare(self, changes: Changes) -> None:
        """Add what it changes; all before it have ended."""
        ...

    def committed(self) -> None:
        """Go on: it is stored."""
        ...

    def refused(self, error: SluiceError) -> None:
        """Give it up: nothing of it is stored."""
        ...


class Writer:
    """Commits items until :meth:`close`."""

    def __init__(self, database: Database) -> None:
        self.failing_since: float | None = None
        """When commits began to fail, by the loop's clock; None while they work."""
        self.commits = 0
        self.failures = 0
        self.durations = Histogram(_DURATIONS)
        """Seconds that commits took."""
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="storage")
        self._contain = Containment(self._loop.call_soon)
        self._waiting: deque[Item] = deque()
        self._began = self._loop.time() - PAUSE
        self._timer: asyncio.TimerHandle | None = None
        self._commit: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        """How many items wait for the next commit."""
        return len(self._waiting)

    def add(self, item: Item) -> None:
        """Store an item with the next group. How much waits is bounded by the hub (``core/topics/unstored.py``)."""
        self._waiting.append(item)
        self._schedule()

    def __repr__(self) -> str:
        state = "committing" if self._commit else "waiting" if self._waiting else "idle"
        return f"<Writer {state}, {len(self._waiting)} items wait>"

    def _schedule(self, delay: float = 0.0) -> None:
        """Begin the next group when its time has come, unless one is under way."""
        if self._commit is None and self._timer is None:
            self._timer = self._loop.call_at(max(self._began + PAUSE, self._loop.time() + delay), self._begin)

    def _begin(self) -> None:
        """Have the thread commit the next group."""
        self._timer = None
        self._began = self._loop.time()
        changes = Changes(self._database.next_row)
        group = [item for item in self._next_items() if self._prepared(item, changes)]
        self._commit = self._loop.run_in_executor(self._thread, self._database.write, changes)
        self._commit.add_done_callback(partial(self._end, group))

    def _next_items(self) -> list[Item]:
        """Take what the next group consists of out of the queue."""
        items: list[Item] = []
        room = _BYTES
        while self._waiting and room > 0 and len(items) < _ITEMS:
            item = self._waiting.popleft()
            room -= item.size
            items.append(item)
        return items

    def _prepared(self, item: Item, changes: Changes) -> bool:
        """Have an item say what it changes; one that raises is refused alone, and changes nothing."""
        mark = changes.mark()
        try:
            item.prepare(changes)
        except Exception as error:
            changes.undo(mark)
            self._contain.report(error)
            self._contain(item.refused, InternalError("it could not be prepared for storage"))
            return False
        return True

    def _end(self, group: list[Item], commit: asyncio.Future[None]) -> None:
        """Say to each item how its commit ended, and begin the next."""
        self._commit = None
        error = commit.exception()
        if error is None:
            self._succeeded(group)
        else:
            self._failed(group, error)
        if self._waiting or self.failing_since is not None:
            self._schedule(0.0 if self._waiting else _PROBE)

    def _succeeded(self, group: list[Item]) -> None:
        self.commits += 1
        self.durations.observe(self._loop.time() - self._began)
        if self.failing_since is not None:
            _log.warning("storage works again", extra={"seconds": round(self._loop.time() - self.failing_since, 1)})
            self.failing_since = None
        for item in group:
            self._contain(item.committed)

    def _failed(self, group: list[Item], error: BaseException) -> None:
        self.failures += 1
        if self.failing_since is None:
            self.failing_since = self._loop.time()
            known = isinstance(error, CommitFailed)
            _log.error("storage fails", exc_info=None if known else error, extra={"why": str(error)})
        for item in group:
            self._contain(item.refused, StorageFailed(f"storage: {error}"))

    async def close(self) -> None:
        """Commit what waits, and close the database."""
        while self._waiting or self._commit is not None:
            if self._commit is not None:
                await asyncio.wait((self._commit,))
            elif self._timer is not None:
                self._timer.cancel()
                self._begin()
        if self._timer is not None:
            self._timer.cancel()
        await self._loop.run_in_executor(self._thread, self._database.close)
        self._thread.shutdown()
