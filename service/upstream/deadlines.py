"""Time limits of fetches, from one timer; and a watchdog for waits that nothing ends.

Every wait of a fetch has an end of its own (ARCHITECTURE.md lists them). If a bug leaves a URL without an event
long after its deadline, the watchdog logs it and has it fail.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Any, Final

from service.core.fetching.backlog import AdmittedTasks
from service.core.fetching.outcome import Failure
from service.core.fetching.task import FetchTask, asker_of
from service.runtime.containment import contain
from service.runtime.timer import Periodic

__all__ = ["WAITS", "Deadlines", "Watchdog", "waits_for"]

_log = logging.getLogger("sluice.batches")

_EVERY: Final = 0.05
"""Seconds between two looks, and so how late a limit may be; a timer for each fetch costs 6 us of its 100."""
_AT_ONCE: Final = 8
"""Tasks that are cancelled in one turn of the loop, 0.1 ms each until they have ended: hundreds may be due."""
_WATCH: Final = 1.0
"""Seconds between two looks of the watchdog."""
_GRACE: Final = 3.0
"""Seconds after its deadline from which a URL is overdue."""
WAITS: Final = ("place", "request", "delivery")
"""Where one can be overdue: waiting for its place or turn, in a request, or on its way to the client that asked."""


class Deadlines:
    """Cancels tasks whose time is over; a task has at most one limit at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[asyncio.Task[Any], float] = {}
        self._cut: set[asyncio.Task[Any]] = set()
        self._timer = Periodic("deadlines", _EVERY, self._check)

    def __repr__(self) -> str:
        return f"<Deadlines {len(self._due)}>"

    def begin(self, task: "asyncio.Task[Any]", after: float) -> None:
        """Cancel a task after this many seconds, unless :meth:`end` is called first; again, to change the time."""
        if not self._due:
            self._timer.start()
        self._due[task] = self._loop.time() + after

    def end(self, task: "asyncio.Task[Any]") -> None:
        """Leave the task alone from now on."""
        self._due.pop(task, None)
        if task in self._cut:
            # It was cut at the very moment when it ended by itself: nothing receives the cancellation any more.
            self._cut.discard(task)
            task.uncancel()

    def uncancel(self, task: "asyncio.Task[Any]") -> bool:
        """Take back this object's cancellation of a task; return False if something else has cancelled it too."""
        if task not in self._cut:
            return False
        self._cut.discard(task)
        return task.uncancel() == 0

    def cut(self, task: "asyncio.Task[Any]") -> None:
        """Cancel a task now, as if its time were over."""
        if self._due.pop(task, None) is not None:
            self._cut.add(task)
            contain("a fetch could not be cancelled", task.cancel)

    def _check(self) -> float | None:
        now = self._loop.time()
        due = list(islice((task for task, at in self._due.items() if at <= now), _AT_ONCE))
        for task in due:
            self.cut(task)
        if len(due) == _AT_ONCE:
            return 0.0
        return _EVERY if self._due else None

    def close(self) -> None:
        """Stop looking."""
        self._timer.stop()


class Watchdog:
    """Looks once a second while anything is on the clock.

    ``drop`` takes a URL out of where it waits, and says which of :data:`WAITS` that is, and for what exactly;
    ``fail`` delivers its failure. A URL is ended only if two looks in a row find it overdue: at the first look
    after the loop was held up, the usual ends have not run yet.
    """

    def __init__(
        self,
        admitted: AdmittedTasks,
        drop: Callable[[FetchTask], tuple[str, str]],
        fail: Callable[[FetchTask, Failure], None],
    ) -> None:
        self.ended = Counter(dict.fromkeys(WAITS, 0))
        """How many were overdue since the start, by where."""
        self._admitted = admitted
        self._drop = drop
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._suspects: frozenset[FetchTask] = frozenset()
        self._timer = Periodic("watchdog", _WATCH, self._check)

    def __repr__(self) -> str:
        return f"<Watchdog of {self._admitted!r}, {self.ended.total()} ended>"

    def wake(self) -> None:
        """Look from now on: something is on the clock."""
        self._timer.start()

    def close(self) -> None:
        """Stop looking."""
        self._timer.stop()

    def _check(self) -> float | None:
        late = self._admitted.overdue(self._loop.time() - _GRACE)
        for work in late:
            if work in self._suspects:
                contain("a URL that is overdue could not be ended", self._end, work)
        self._suspects = frozenset(late)
        return _WATCH if self._admitted else None

    def _end(self, work: FetchTask) -> None:
        try:
            where, what = self._drop(work)
            self.ended[where] += 1
            fields = {"asker": asker_of(work.group), "host": work.target.host, "where": where, "what": what}
            late = round(self._loop.time() - work.deadline, 1)
            _log.error("a URL waited beyond its deadline", extra={**fields, "late_s": late})
            self._fail(work, Failure("timeout", f"internal error: it waited beyond its deadline ({where}; logged)"))
        finally:
            self._admitted.end(work.group, work.index)


def waits_for(task: "asyncio.Task[Any]") -> str:
    """Return the innermost coroutine of a task that is suspended, and its line: ``Connection.more:142``."""
    coroutine: Any = task.get_coro()
    found = "nothing"
    while (code := getattr(coroutine, "cr_code", None)) is not None:
        frame = coroutine.cr_frame
        found = f"{code.co_qualname}:{frame.f_lineno if frame is not None else 0}"
        coroutine = coroutine.cr_await
    return found
