"""The tasks that live as long as the service: each has a name, an owner and an end.

A task that fails is logged with its traceback, counted, and started again after a pause: the sweep that one odd
topic stopped goes on with the next one. Nothing waits for a task that has silently ended.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["Supervisor"]

_log = logging.getLogger("sluice")

_PAUSE: Final = 1.0
"""Seconds before a task that failed is started again."""


class Supervisor:
    """Runs tasks until :meth:`close`."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        """How often each task failed since the start, by its name."""
        self._tasks: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<Supervisor of {', '.join(task.get_name() for task in self._tasks)}>"

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a task until it returns; start it again whenever it raises."""
        self.failures[name] += 0
        self._tasks.append(asyncio.create_task(self._keep_running(name, run), name=name))

    async def _keep_running(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await run()
            except Exception:
                self.failures[name] += 1
                _log.exception("a background task failed and is started again", extra={"task": name})
                await asyncio.sleep(_PAUSE)
            else:
                return

    async def close(self) -> None:
        """End every task."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
