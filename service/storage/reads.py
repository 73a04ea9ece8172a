"""Reading while the service runs: by the writer's thread, which has the one connection, between its commits."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from service.core.containment import Containment
from service.core.errors import StorageFailed
from service.core.pending import Pending

__all__ = ["Reads"]

T = TypeVar("T")


class Reads:
    """Reads that wait for the storage thread: it gets one at a time, so a commit waits for one read at most."""

    def __init__(self, thread: Executor, contain: Containment) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = thread
        self._contain = contain
        self._waiting: deque[tuple[Callable[[], Any], Pending[Any]]] = deque()
        self._job: asyncio.Future[Any] | None = None

    def __repr__(self) -> str:
        return f"<Reads {len(self._waiting)} wait>"

    def add(self, job: Callable[[], T]) -> Pending[T]:
        """Return what the job returns, or raises."""
        answer: Pending[T] = Pending()
        self._waiting.append((job, answer))
        self._next()
        return answer

    def _next(self) -> None:
        if self._waiting and self._job is None:
            job, answer = self._waiting.popleft()
            self._job = self._loop.run_in_executor(self._thread, job)
            self._job.add_done_callback(lambda done: self._ended(done, answer))

    def _ended(self, job: asyncio.Future[Any], answer: Pending[Any]) -> None:
        self._job = None
        error = job.exception()
        known = error if isinstance(error, Exception) else StorageFailed(f"storage: {error}")
        self._contain(answer.settle, job.result() if error is None else known)
        self._next()

    async def close(self) -> None:
        """Refuse what waits, and wait for the job that runs."""
        while self._waiting:
            self._contain(self._waiting.popleft()[1].settle, StorageFailed("the service ends"))
        if self._job is not None:
            await asyncio.wait((self._job,))
