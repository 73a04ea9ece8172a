"""Runs the tasks that live as long as the service, and decides what a failure of one of them does."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from service.runtime.background import BACKGROUND, OTHER, OnFailure

__all__ = ["Supervisor"]

_log = logging.getLogger("sluice")

_FIRST_PAUSE: Final = 1.0
"""Seconds before a task that failed is restarted; twice as many after each further failure in a row."""
_LONGEST_PAUSE: Final = 60.0
_STEADY: Final = 300.0
"""Seconds that a task has to run for its failures before to be forgotten."""
_RESTARTS: Final = 8
"""Failures in a row after which a task is not restarted: two minutes of trying."""


class Supervisor:
    """Runs the tasks of ``BACKGROUND`` until :meth:`close`, and counts what fails anywhere on the loop.

    ``failures`` may be shared with work that runs outside the loop, such as the log's thread.
    """

    def __init__(self, failures: Counter[str] | None = None) -> None:
        self.failures: Counter[str] = Counter() if failures is None else failures
        """How often each work of ``BACKGROUND`` has failed since the start."""
        self.failures.update(dict.fromkeys((*BACKGROUND, OTHER), 0))
        self.failed = False
        """Whether the service has to stop: a task that it cannot do without keeps failing."""
        self.on_failed: Callable[[], None] | None = None
        """Called when that happens."""
        self._tasks: list[asyncio.Task[None]] = []
        self._clock = asyncio.get_running_loop().time

    def __repr__(self) -> str:
        return f"<Supervisor of {', '.join(task.get_name() for task in self._tasks)}>"

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a task of ``BACKGROUND`` until it returns; restart it when it raises."""
        policy = BACKGROUND[name]
        self._tasks.append(asyncio.create_task(self._keep_running(name, policy, run), name=name))

    async def _keep_running(self, name: str, policy: OnFailure, run: Callable[[], Awaitable[None]]) -> None:
        in_a_row, pause = 0, _FIRST_PAUSE
        while True:
            began = self._clock()
            try:
                await run()
            except Exception as error:
                if self._clock() - began >= _STEADY:
                    in_a_row, pause = 0, _FIRST_PAUSE
                in_a_row += 1
                self.failures[name] += 1
                if in_a_row > _RESTARTS:
                    self._give_up(name, policy, error)
                    return
                _log.exception("a background task failed and is restarted", extra={"task": name, "pause_s": pause})
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                return

    def _give_up(self, name: str, policy: OnFailure, error: Exception) -> None:
        if policy is OnFailure.STOP:
            _log.critical(
                "a background task keeps failing: the service stops", exc_info=error, extra={"task": name}
            )
            self.failed = True
            if self.on_failed is not None:
                self.on_failed()
        else:
            _log.error("a background task keeps failing: it stays off", exc_info=error, extra={"task": name})

    def on_loop_error(self, _: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Log and count an error that no caller gets: the exception handler of the service's loop."""
        name = context.get("background", OTHER)
        self.failures[name] += 1
        _log.error(
            "unhandled exception in the event loop",
            exc_info=context.get("exception"),
            extra={
                "what": context.get("message"),
                "where": context.get("handle") or context.get("task") or context.get("future"),
                "task": name,
            },
        )

    async def close(self) -> None:
        """End every task."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
