"""Jobs that are batches of fetches."""

import asyncio
from dataclasses import replace
from typing import Final

import msgspec
import orjson

from service.core.access.grants import EVERYTHING, ClientLimits, Grant, HostPatterns
from service.core.errors import NotFound
from service.core.fetching.batch import Batch, BatchRequest, IdempotencyKey, Keep, KeyScope
from service.core.jobs.request import FetchWork, Work
from service.jobs.executor import JobAttempt, ServiceExecutor
from service.runtime.awaiting import outcome_of
from service.sources.batches import Batches

__all__ = ["FetchJobs"]

_PLACES: Final = 100


class Granted(msgspec.Struct, frozen=True):
    """What is kept of a grant."""

    claim: str
    names: tuple[str, ...]
    endings: tuple[str, ...]
    fetches: int | None


class FetchJobs(ServiceExecutor):
    """An executor; an attempt after one that was lost joins the batch of that one, where it is kept."""

    places = _PLACES

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def check(self, work: Work, grant: Grant) -> object:
        """Check what is asked for; what is kept of the grant is the hosts and the limit of fetches."""
        assert isinstance(work, FetchWork)
        grant.fetch.check_any()
        self._batches.check(_batch(work))
        return msgspec.to_builtins(Granted(*grant.fetch, grant.limits.fetches))

    async def carry_out(self, attempt: JobAttempt) -> bytes:
        """Fetch, and return which batch has the results."""
        job = attempt.job
        granted = msgspec.json.decode(job.grant, type=Granted)
        owner = job.belongs_to()
        hosts = HostPatterns(granted.claim, granted.names, granted.endings)
        grant = replace(EVERYTHING, fetch=hosts, limits=ClientLimits(fetches=granted.fetches))
        # After a failure, such as its timeout, the batch of the attempt before has been cancelled.
        name = f"job {job.run_key} {job.failures}"
        key = IdempotencyKey(owner, KeyScope(hosts, b""), name, job.id.encode())
        work = msgspec.json.decode(job.work, type=FetchWork)
        batch = self._batches.start(_batch(work), owner=owner, keep=Keep.DETACHED, key=key, grant=grant)
        await outcome_of(batch.accepted or batch)
        try:
            await self._end_of(batch)
        except asyncio.CancelledError:
            if not self._batches.draining:  # else it goes on after a restart, as far as it is kept
                self._cancel(batch)
            raise
        return orjson.dumps({"batch": batch.id, "ok": batch.ok, "failed": batch.failed})

    async def _end_of(self, batch: Batch) -> None:
        ended = asyncio.get_running_loop().create_future()

        def settle() -> None:
            if not ended.done():
                ended.set_result(None)

        batch.on_ended = settle
        if not batch.topic.final:
            await ended

    def _cancel(self, batch: Batch) -> None:
        try:
            self._batches.cancel(batch.id)
        except NotFound:
            return  # it has ended, and was dropped


def _batch(work: FetchWork) -> BatchRequest:
    return BatchRequest(work.urls, work.requests, work.options)
