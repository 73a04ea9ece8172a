"""The writer: what is to be stored is committed in groups, one after another, by one thread.

Theory of operation. An item that is added waits. When no commit is under way, and the last one began at least
``PAUSE`` ago, all that wait (at most ``_ITEMS``, or ``_BYTES``) become a group: each says what it changes, and the
thread commits. Then each item hears in order how it ended: ``committed`` or ``refused``. Only then does the next
group begin, so an item that prepares knows how all before it ended, and what is refused has changed nothing.

        idle --add--> waiting --PAUSE--> committing --ended, items wait--> waiting
          ^                                  |
          +-------ended, nothing waits-------+

While commits fail every group is refused. Every ``_PROBE`` s a group is tried that is as large as the largest that
failed and says nothing: storage works again when that, or a real one of the size, is stored. Smaller ones may have
room before; they are stored, and change nothing of it.
"""

import asyncio
import logging
from array import array
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, Protocol

from service.core.containment import Containment
from service.core.errors import InternalError, SluiceError, StorageFailed
from service.core.histogram import Histogram
from service.storage.database import Changes, Database
from service.storage.errors import CommitFailed
from service.storage.records import write_filler
from service.storage.tables import FILLER_ROW, Table

__all__ = ["Item", "Writer"]

_log = logging.getLogger("sluice.storage")

PAUSE: Final = 0.002
"""Seconds from the beginning of one commit to that of the next, at least: a commit has a price of its own."""
_ITEMS: Final = 1000
"""Items of one group: to go on with so many takes a turn of the loop of about 3 ms."""
_BYTES: Final = 4 << 20
"""Bytes of one group, about."""
_PROBE: Final = 0.5
_SLOW: Final = 5.0
"""Seconds after which a commit is worth a word."""
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


class _Trial:
    """As many bytes as could not be stored, stored to see whether they can be now; then they are deleted."""

    __slots__ = ("_add", "size")

    def __init__(self, size: int, add: Callable[[Item], None]) -> None:
        self.size = size
        self._add = add

    def prepare(self, changes: Changes) -> None:
        """Put a filler."""
        changes.replace(Table.STATE, FILLER_ROW, write_filler(FILLER_ROW, self.size))

    def committed(self) -> None:
        """Have it deleted."""
        self._add(_TrialEnd())

    def refused(self, error: SluiceError) -> None:
        """Leave it at that."""


class _TrialEnd:
    """The end of a trial; where it is refused, the next trial takes the same row."""

    size = 0

    def prepare(self, changes: Changes) -> None:
        """Delete the filler."""
        changes.delete(Table.STATE, array("q", [FILLER_ROW]))

    def committed(self) -> None:
        """Go on: its room is used by what comes."""

    def refused(self, error: SluiceError) -> None:
        """Leave it to the next trial."""


class Writer:
    """Commits items until :meth:`close`."""

    def __init__(self, database: Database) -> None:
        self.failing_since: float | None = None
        """When commits began to fail, by the loop's clock; None while they work."""
        self._failed_size = 0
        """Bytes of the largest group that failed since then."""
        self._trial_at = 0.0
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
        self._slow: asyncio.TimerHandle | None = None

    @property
    def unwell_since(self) -> float | None:
        """Since when nothing has been stored that was to be: commits fail, or one does not end; else None."""
        if self.failing_since is not None:
            return self.failing_since
        return self._began if self._commit is not None else None

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
        items = self._next_group()
        size = sum(item.size for item in items)
        group = [item for item in items if self._prepared(item, changes)]
        self._commit = self._loop.run_in_executor(self._thread, self._database.write, changes)
        self._commit.add_done_callback(partial(self._end, group, size))
        self._slow = self._loop.call_later(_SLOW, _warn_of_slowness)

    def _next_group(self) -> "list[Item]":
        """Take a trial while commits fail and its time has come, else what waits."""
        if self.failing_since is None or self._began < self._trial_at:
            return self._next_items()
        self._trial_at = self._began + _PROBE
        return [_Trial(self._failed_size, self.add)]

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

    def _end(self, group: list[Item], size: int, commit: asyncio.Future[None]) -> None:
        """Say to each item how its commit ended, and begin the next."""
        self._commit = None
        if self._slow is not None:
            self._slow.cancel()
        error = commit.exception()
        if error is None:
            self._succeeded(group, size)
        else:
            self._failed(group, size, error)
        if self._waiting or self.failing_since is not None:
            self._schedule(0.0 if self._waiting else _PROBE)

    def _succeeded(self, group: list[Item], size: int) -> None:
        self.commits += 1
        self.durations.observe(self._loop.time() - self._began)
        if self.failing_since is not None and size >= self._failed_size:
            _log.warning("storage works again", extra={"seconds": round(self._loop.time() - self.failing_since, 1)})
            self.failing_since, self._failed_size = None, 0
        for item in group:
            self._contain(item.committed)

    def _failed(self, group: list[Item], size: int, error: BaseException) -> None:
        self.failures += 1
        self._failed_size = max(self._failed_size, size)
        if self.failing_since is None:
            self.failing_since = self._loop.time()
            self._trial_at = self.failing_since + _PROBE
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


def _warn_of_slowness() -> None:
    _log.warning("a commit takes long")
