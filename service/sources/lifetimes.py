"""How long each batch lives: who keeps it alive while it runs, and how long it stays when it is done."""

import asyncio
from collections.abc import Callable

from service.core.fetching.batch import Batch, Keep

__all__ = ["Lifetimes"]


class Lifetimes:
    """One timer for each batch: how long it waits for a reader, and later, how long it is kept.

    ``abandoned`` gets a batch that has waited in vain, ``expired`` one that has been kept long enough.
    """

    def __init__(
        self,
        linger: float,
        retention: float,
        abandoned: Callable[[Batch], None],
        expired: Callable[[Batch], None],
    ) -> None:
        self._linger = linger
        self._retention = retention
        self._abandoned = abandoned
        self._expired = expired
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def __repr__(self) -> str:
        return f"<Lifetimes of {len(self._timers)}>"

    def begin(self, batch: Batch) -> None:
        """Wait for the first reader: it comes at once, or never, as the client may have gone meanwhile."""
        batch.topic.on_idle = lambda: self.left(batch)
        if batch.keep is not Keep.DETACHED:
            self._time(batch, self._linger, self._abandon)

    def left(self, batch: Batch) -> None:
        """Decide how long a batch goes on whose last reader has left."""
        if not batch.done and batch.keep is not Keep.DETACHED:
            self._time(batch, self._linger if batch.keep is Keep.LINGER else 0.0, self._abandon)

    def end(self, batch: Batch, passed: float = 0.0) -> None:
        """Keep a batch that is done since so many seconds."""
        self._time(batch, max(0.0, self._retention - passed), self._expired)

    def forget(self, batch: Batch) -> None:
        """Take out a batch that is gone."""
        if (timer := self._timers.pop(batch.id, None)) is not None:
            timer.cancel()

    def close(self) -> None:
        """End all waiting."""
        for timer in self._timers.values():
            timer.cancel()

    def _abandon(self, batch: Batch) -> None:
        if not (batch.topic.readers or batch.done or batch.keep is Keep.DETACHED):
            self._abandoned(batch)

    def _time(self, batch: Batch, delay: float, then: Callable[[Batch], None]) -> None:
        self.forget(batch)
        self._timers[batch.id] = self._loop.call_later(delay, then, batch)
