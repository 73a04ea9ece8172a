"""An event loop whose clock jumps to the next timer as soon as nothing else can run.

Hours of timers run in milliseconds, over real loopback sockets of this process. Time stands still while
a thread does what the loop gave it (``asyncio.to_thread``, ``run_in_executor``), for a few seconds at most.
Other threads and other processes are not seen: time jumps past them.
"""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from time import monotonic, sleep
from typing import Any, TypeVar

_LATE = 0.004
"""Seconds of a wait that say that the machine does other things: what was sent may be late as well."""
_AGAIN = 5
_SILENT = 100
"""Jumps in a row without news of any socket, after which nothing is taken to be on its way: some tests pass hours so."""
_MOMENT = 0.0001
"""Seconds of real time that a jump takes then: ten times less."""
_THREAD = 5.0
"""Seconds of real time for which the clock waits for a thread; a test may have one that never ends."""

T = TypeVar("T")


class _Jumping(selectors.DefaultSelector):
    """Looks for ready sockets without waiting; when there are none, lets the time pass at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.patience = 0.0005
        self.turns = 0
        self.threads: dict[asyncio.Future[Any], float] = {}
        """What threads do for the loop, each with the real time until which the clock waits for it."""
        self._silent = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        ready = super().select(0)
        if not ready and timeout != 0:
            ready = super().select(None) if timeout is None else self._threads_end() or self._jump(timeout)
        if ready:
            self._silent = 0
        return ready

    def _threads_end(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait until a thread has an answer for the loop, which it says over a socket."""
        while self.threads and (left := max(self.threads.values()) - monotonic()) > 0:
            if ready := super().select(left):
                return ready
        return []

    def _jump(self, timeout: float) -> list[tuple[selectors.SelectorKey, int]]:
        """Let the time pass, unless something arrives: loopback needs a moment for what was just sent."""
        self._silent += 1
        if self._silent > _SILENT and self.patience:
            sleep(_MOMENT)
            ready = super().select(0)
        else:
            ready = self._wait()
        if not ready:
            self.now += timeout
        return ready

    def _wait(self) -> list[tuple[selectors.SelectorKey, int]]:
        for _ in range(_AGAIN):
            began = monotonic()
            if ready := super().select(self.patience):
                return ready
            if monotonic() - began < _LATE:
                break
        return []


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """A selector loop on virtual time, in seconds since it was made.

    Where no socket is used, ``patience`` (seconds that loopback is given) may be 0.
    """

    def __init__(self, patience: float | None = None) -> None:
        self._jumping = _Jumping()
        if patience is not None:
            self._jumping.patience = patience
        super().__init__(self._jumping)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., T], *args: object
    ) -> asyncio.Future[T]:
        """Have a thread do it; virtual time stands still meanwhile."""
        future = super().run_in_executor(executor, func, *args)
        self._jumping.threads[future] = monotonic() + _THREAD
        future.add_done_callback(self._jumping.threads.pop)
        return future

    @property
    def turns(self) -> int:
        """How often it has turned: what is done in one turn, nothing else comes between."""
        return self._jumping.turns
