"""Jobs that publish one message."""

import asyncio
from typing import Final

import msgspec
import orjson

from service.core.access.grants import Grant
from service.core.errors import TooLarge
from service.core.jobs.request import PublishWork, Work
from service.core.sessions.messages import published
from service.core.topics.hub import Hub
from service.core.topics.names import check_writable
from service.jobs.executor import JobAttempt, ServiceExecutor
from service.runtime.awaiting import outcome_of

__all__ = ["PublishJobs"]

_PLACES: Final = 200


class PublishJobs(ServiceExecutor):
    """An executor; where topics outlive the process, an attempt that is made twice publishes once."""

    places = _PLACES

    def __init__(self, hub: Hub, largest: int) -> None:
        self._hub = hub
        self._largest = largest
        """Bytes of a message, as for clients that publish one themselves."""

    def check(self, work: Work, grant: Grant) -> None:
        """Check the topic, and the size of the message."""
        assert isinstance(work, PublishWork)
        check_writable(work.topic)
        grant.publish.check(work.topic)
        size = len(_encode(work))
        if size > self._largest:
            raise TooLarge(f"limit message: publish.data has {size} of at most {self._largest} bytes")

    async def carry_out(self, attempt: JobAttempt) -> bytes:
        """Publish, and return the position."""
        work = msgspec.json.decode(attempt.job.work, type=PublishWork)
        while self._hub.pressed:  # noqa: ASYNC110 - a turn of the loop is what visits need
            await asyncio.sleep(0)
        key = f"job {attempt.job.run_key}" if self._hub.store.durable(work.topic) else None
        owner = attempt.job.belongs_to()
        answer = self._hub.publish(work.topic, _encode(work), self._hub.clock(), key=key, owner=owner)
        return orjson.dumps(published(await outcome_of(answer)))


def _encode(work: PublishWork) -> bytes:
    try:
        return orjson.dumps(work.data)
    except orjson.JSONEncodeError as error:
        raise TooLarge(f"publish.data: {error}") from None
