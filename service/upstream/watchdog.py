"""A watchdog for waits that nothing ends: a URL that has no event long after its deadline fails, and is logged.

Every wait of a fetch has an end of its own (ARCHITECTURE.md lists them); what is found here is a bug.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from service.core.fetching.admitted import AdmittedTasks
from service.core.fetching.outcome import Failure
from service.core.fetching.task import FetchTask, asker_of
from service.runtime.containment import contain
from service.runtime.timer import Periodic

__all__ = ["WAITS", "Watchdog", "waits_for"]

_log = logging.getLogger("sluice.batches")

_EVERY: Final = 1.0
"""Seconds between two looks."""
_GRACE: Final = 3.0
"""Seconds after its deadline from which a URL is overdue."""
WAITS: Final = ("place", "request", "delivery")
"""Where one can be overdue: waiting for its place or turn, in a request, or on its way to the client that asked."""


class Watchdog:
    """Looks once a second while anything is on the clock.

    ``drop`` takes a URL out of where it waits, and says which of :data:`WAITS` that is, and for what exactly;
    ``fail`` delivers its failure. Only what is overdue at two looks in a row is ended: at the first look after the
    loop was held up, the usual ends have not had their turn.
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
        self._timer = Periodic("watchdog", _EVERY, self._check)

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
        return _EVERY if self._admitted else None

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
