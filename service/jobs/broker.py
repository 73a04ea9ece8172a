"""The port of a broker, which brings offered attempts to workers elsewhere; and how it is used while it is away."""

import asyncio
import logging
from typing import Final, Protocol

import msgspec

__all__ = ["Broker", "BrokerAway", "Dispatch", "TaskMessage"]

_log = logging.getLogger("sluice.jobs")

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 5.0
"""Seconds between two tries of a broker that is away; twice as many after each."""


class TaskMessage(msgspec.Struct, frozen=True):
    """What a worker gets: which attempt it may claim, and by which token. The service says what is to be done."""

    job: str
    attempt: int
    token: str


class BrokerAway(Exception):
    """The broker did not take a task; the text says why."""


class Broker(Protocol):
    """Brings each task to a worker: usually once, but a failure may lose it or deliver it more than once."""

    async def publish(self, task: TaskMessage) -> None:
        """Return when the broker has taken it; raise BrokerAway, also for one that does not answer in time."""
        ...

    def close(self) -> None:
        """End its connections; doing it again is harmless."""
        ...


class Dispatch:
    """Publishes tasks, and waits for a broker that is away: then one of them at a time tries again."""

    def __init__(self, broker: Broker) -> None:
        self.away = False
        """Whether the broker took nothing the last time."""
        self.failures = 0
        self._broker = broker
        self._pause = _FIRST_PAUSE
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Dispatch, the broker is {'away' if self.away else 'there'}>"

    async def publish(self, task: TaskMessage) -> None:
        """Return when the broker has taken a task; it may take as long as the broker is away."""
        if not self.away and await self._try(task):
            return
        async with self._turn:
            while not await self._try(task):
                await asyncio.sleep(self._pause)
                self._pause = min(_LONGEST_PAUSE, 2 * self._pause)

    async def _try(self, task: TaskMessage) -> bool:
        try:
            await self._broker.publish(task)
        except BrokerAway as error:
            self._failed(str(error))
            return False
        if self.away:
            _log.info("the broker of jobs is back")
        self.away, self._pause = False, _FIRST_PAUSE
        return True

    def _failed(self, why: str) -> None:
        self.failures += 1
        if not self.away:
            _log.warning("the broker of jobs is away; they stay queued until it is back", extra={"why": why})
        self.away = True
