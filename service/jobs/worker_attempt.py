"""One attempt in a worker: claimed, carried out in a process of its own, and reported to the service."""

import asyncio
import logging
from collections.abc import Callable
from secrets import token_hex
from typing import Any, Final, Protocol

import msgspec

from service.core.jobs.reports import (
    Claim,
    Claimed,
    Reported,
    WorkerDone,
    WorkerEvent,
    WorkerFailed,
    WorkerProgress,
    WorkerStopped,
)
from service.jobs.broker import TaskMessage
from service.jobs.executor import AttemptFailed
from service.jobs.outbox import AttemptRefused, Outbox, ServiceUnreachable
from service.jobs.slot_messages import Ask
from service.jobs.slot_process import ProgressSink
from service.runtime.running_time import running_timeout

__all__ = ["Runs", "ServiceLink", "WorkerAttempt"]

_log = logging.getLogger("sluice.worker")

_CLAIM_TIME: Final = 30.0
"""Seconds for the service to answer a claim; then the task is given up: the service offers the attempt again."""
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 3.0
_PATIENCE: Final = 900.0
"""Seconds after the end of a function for the service to hear of it; then its outcome is given up."""


class ServiceLink(Protocol):
    """The service, as a worker reaches it, for one attempt.

    Both are called on the worker's loop, one at a time, and end within 10 s, which is less than a lease: with
    what the service answered; with AttemptRefused where it would refuse the same again; or with
    ServiceUnreachable for anything else, such as an answer that is not the service's. Then nobody knows whether
    the service has acted, and the caller may ask the same again: a claim has a text of its own, and a report its
    number. A call that is cancelled ends at once, and the next one is answered as if it had not been made.
    """

    async def claim(self, task: TaskMessage, claim: Claim) -> Claimed:
        """Ask for an attempt; the same claim gets the same answer."""
        ...

    async def report(self, task: TaskMessage, body: bytes) -> Reported:
        """Send a report, which is JSON; events that the service has already are passed over."""
        ...


class Runs(Protocol):
    """What runs functions: ``Slots``."""

    async def run(self, asked: Ask, report: ProgressSink, printed: Callable[[str], None]) -> bytes:
        """Run one; raise AttemptFailed."""
        ...


class WorkerAttempt:
    """The attempt of one task; ``name`` is that of the worker."""

    def __init__(self, task: TaskMessage, link: ServiceLink, functions: Runs, name: str) -> None:
        self._task = task
        self._link = link
        self._functions = functions
        self._name = name
        self._output = ""

    def __repr__(self) -> str:
        return f"<WorkerAttempt {self._task.attempt} of {self._task.job[:6]}…>"

    async def run(self) -> None:
        """Make the attempt, if it is this worker's to make; return when the service knows its outcome."""
        claimed = await self._claim()
        if claimed is not None:
            await self._make(claimed)

    async def _claim(self) -> Claimed | None:
        claim, pause = Claim(token_hex(16), self._name), _FIRST_PAUSE
        try:
            async with asyncio.timeout(_CLAIM_TIME):
                while True:
                    try:
                        return await self._link.claim(self._task, claim)
                    except ServiceUnreachable as error:
                        why = str(error)
                    await asyncio.sleep(pause)
                    pause = min(_LONGEST_PAUSE, 2 * pause)
        except AttemptRefused as error:
            if error.unknown:
                _log.warning(
                    "the service does not know a task: the job is forgotten, or SLUICE_URL or the broker is wrong",
                    extra={"job": repr(self), "why": str(error)},
                )
            else:
                _log.info("an attempt is not to be made", extra={"job": repr(self), "why": str(error)})
        except TimeoutError:
            _log.warning("the service was not reached, and a task given up", extra={"job": repr(self), "why": why})
        return None

    async def _make(self, claimed: Claimed) -> None:
        work = asyncio.get_running_loop().create_task(self._carry_out(claimed), name="worker attempt")
        self._outbox = Outbox(self._report, heartbeat=claimed.heartbeat, on_stop=work.cancel)
        sending = asyncio.get_running_loop().create_task(self._outbox.run(), name="worker reports")
        try:
            await asyncio.wait((work, sending), return_when=asyncio.FIRST_COMPLETED)
            work.cancel()  # where it has not ended: the attempt was lost
            await asyncio.wait((work,))
            self._outbox.finish(_last_event(work, self._output))
            async with asyncio.timeout(_PATIENCE):
                await sending
        except AttemptRefused as error:
            _log.warning("an attempt was lost to another worker", extra={"job": repr(self), "why": str(error)})
        except TimeoutError:
            _log.error("the service was not reached, and an outcome given up", extra={"job": repr(self)})
        finally:
            await _end(work, sending)

    async def _report(self, body: bytes) -> Reported:
        return await self._link.report(self._task, body)

    async def _carry_out(self, claimed: Claimed) -> WorkerEvent:
        asked = Ask(claimed.name, claimed.args, claimed.job, claimed.attempt, claimed.key)
        try:
            async with running_timeout(claimed.timeout):
                result = await self._functions.run(asked, self._progress, self._printed)
        except TimeoutError:
            return WorkerFailed("timeout", f"took longer than {claimed.timeout:g} s")
        except AttemptFailed as error:
            return WorkerFailed(error.error, error.detail[:4000], error.again, error.after)
        return WorkerDone(msgspec.Raw(result))

    async def _progress(self, progress: dict[str, Any]) -> None:
        await self._outbox.put(msgspec.convert(progress, WorkerProgress))

    def _printed(self, output: str) -> None:
        self._output = output


def _last_event(work: asyncio.Task[WorkerEvent], output: str) -> WorkerEvent:
    if work.cancelled():
        return WorkerStopped(output)
    error = work.exception()
    if error is None:
        return msgspec.structs.replace(work.result(), output=output)
    _log.error("unhandled exception in an attempt", exc_info=error)
    return WorkerFailed("exception", f"a bug in sluice: {error!r}"[:200], output=output)


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
