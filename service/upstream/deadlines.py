"""Time limits of many tasks from one timer."""

import asyncio
from itertools import islice
from typing import Any, Final

from service.runtime.containment import contain
from service.runtime.timer import Periodic

__all__ = ["Deadlines"]

_EVERY: Final = 0.05
"""Seconds between two looks, and so how late a limit may be; a timer for each fetch costs 6 us of its 100."""
_AT_ONCE: Final = 8
"""Tasks that are cancelled in one turn of the loop, 0.1 ms each until they have ended: hundreds may be due."""


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
