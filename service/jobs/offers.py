"""Attempts that are offered to workers elsewhere, and wait to be claimed."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from secrets import token_urlsafe
from typing import Final

from service.core.errors import NotFound
from service.core.jobs.events import Event
from service.core.jobs.job import Job
from service.core.jobs.lease import NotYours, Offer, digest_of
from service.core.jobs.summary import JobState
from service.jobs.broker import Dispatch, TaskMessage
from service.jobs.outcomes import DAMAGED, AttemptOutcomes
from service.jobs.updates import JobUpdates

__all__ = ["OFFERED", "Offers"]

OFFERED: Final = 64
"""Attempts that are offered and not claimed, at once: enough for thousands of claims a second, and few enough that
clients whose jobs are due later have their turns."""
_FIRST_WAIT: Final = 30.0
_LONGEST_WAIT: Final = 600.0
"""Seconds after which an attempt that nobody has claimed is offered again; twice as many after each time."""


class _Open:
    """An offer that stands."""

    def __init__(self) -> None:
        self.offer: Offer | None = None
        self.settled = asyncio.Event()
        """Whether the attempt was claimed, or is not to be made."""


class Offers:
    """Offers, by row; each is made anew, with a new token, until it is claimed or withdrawn."""

    def __init__(self, updates: JobUpdates, dispatch: Dispatch, outcomes: AttemptOutcomes) -> None:
        self.made: Counter[str] = Counter()
        """How many were made: a first one, or again."""
        self._updates = updates
        self._dispatch = dispatch
        self._outcomes = outcomes
        self._open: dict[int, _Open] = {}

    def __repr__(self) -> str:
        return f"<Offers of {len(self._open)} jobs>"

    def __len__(self) -> int:
        return len(self._open)

    async def offer(self, row: int, worked: Callable[[], None]) -> None:
        """Offer an attempt of a job, if it is due, until it is claimed or withdrawn: then its place is free."""
        try:
            job = await self._updates.read(row)
        except NotFound:
            return
        if not self._outcomes.is_due(job):
            await self._updates.schedule(row)
            return
        if not bytes(job.work):
            job = await self._updates.change(row, self._fail, lasting=True)
            if job.state is JobState.FAILED:
                self._outcomes.count_end(job)
            return
        offered = self._open[row] = _Open()
        try:
            await self._offer(job, offered)
        finally:
            del self._open[row]

    def _fail(self, job: Job) -> Sequence[Event]:
        """Fail a job whose request is damaged, unless it was cancelled or moved meanwhile."""
        if not self._outcomes.is_due(job):
            return ()
        return job.begin("service"), self._outcomes.failed(None, DAMAGED, job)

    async def _offer(self, job: Job, offered: _Open) -> None:
        settled = asyncio.get_running_loop().create_task(offered.settled.wait(), name="job offer")
        wait, kind = _FIRST_WAIT, "first"
        try:
            while not settled.done():
                token = token_urlsafe(32)
                offered.offer = Offer(digest_of(token), job.attempt + 1)
                await self._publish(TaskMessage(job.id, job.attempt + 1, token), settled)
                self.made[kind] += 1
                await asyncio.wait((settled,), timeout=wait)
                wait, kind = min(_LONGEST_WAIT, 2 * wait), "again"
        finally:
            settled.cancel()

    async def _publish(self, task: TaskMessage, settled: asyncio.Task[bool]) -> None:
        """Return when the broker has the task, or when the offer is settled."""
        publishing = asyncio.get_running_loop().create_task(self._dispatch.publish(task), name="job offer")
        try:
            await asyncio.wait((publishing, settled), return_when=asyncio.FIRST_COMPLETED)
            if publishing.done():
                publishing.result()
        finally:
            publishing.cancel()

    def check(self, row: int, digest: str, attempt: int) -> None:
        """Raise NotYours for a claim of an attempt that is not offered, or was offered again since."""
        offered = self._open.get(row)
        if offered is None or offered.offer is None:
            raise NotYours("the attempt is not offered any more")
        offered.offer.check(digest, attempt)

    def withdraw(self, row: int) -> None:
        """End an offer: the attempt was claimed, or the job cancelled or moved."""
        offered = self._open.get(row)
        if offered is not None:
            offered.offer = None
            offered.settled.set()

    def withdraw_all(self) -> None:
        """End all offers."""
        for row in tuple(self._open):
            self.withdraw(row)
