"""The topics ``job:ID``: made for the first reader, given each stored event, forgotten after the last reader."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from service.core.jobs.job import Job
from service.core.jobs.store import JobStore
from service.core.owner import Owner
from service.core.ports import KeptTopic
from service.core.topics.hub import Hub
from service.core.topics.position import Position
from service.core.topics.topic import Topic
from service.jobs.times import encode_event
from service.runtime.containment import contain

__all__ = ["PREFIX", "JobTopics"]

PREFIX: Final = "job:"
_UNREAD: Final = 30.0
"""Seconds that a topic waits for its first reader."""
_KEPT: Final = 16 << 10
"""Bytes of events of one topic in memory; the others are read back."""


class JobTopics:
    """Topics of jobs; their events are stored before they come here."""

    def __init__(self, hub: Hub, store: JobStore) -> None:
        self._hub = hub
        self._store = store
        self._loop = asyncio.get_running_loop()

    def open(self, job: Job, owner: Owner) -> Topic:
        """Return the topic of a job, made for this reader where it is missing; raise LimitReached."""
        name = PREFIX + job.id
        topic = self._hub.topics.get(name)
        if topic is None:
            kept = KeptTopic(Position(job.epoch, job.head), read=partial(self._store.read, job.row))
            topic = self._hub.adopt(name, kept, owner)
            topic.final, topic.earlier = job.state.ended, job.first - 1
            topic.on_idle = partial(self._close, topic)
            self._loop.call_later(_UNREAD, self._close, topic)
        return topic

    def publish(self, job: Job, events: Sequence[bytes]) -> None:
        """Bring readers the newest events, which are stored; a run that has ended ends its readers."""
        topic = self._hub.topics.get(PREFIX + job.id)
        if topic is None:
            return
        topic.final, topic.earlier = False, job.first - 1
        for event in events[max(0, topic.head - (job.head - len(events))) :]:
            self._hub.add_stored(topic, event)
        if topic.size > _KEPT:
            self._hub.spill(topic, topic.size)
        if job.state.ended:
            self._hub.finish(topic)

    def forget(self, job: Job) -> None:
        """Drop the topic of a job that is gone; readers that are behind get a gap and the job's last event."""
        topic = self._hub.topics.get(PREFIX + job.id)
        if topic is not None:
            self._hub.conclude(topic, encode_event(job.outcome()))

    def _close(self, topic: Topic) -> None:
        if not topic.readers:
            contain("a job's topic could not be closed", self._hub.release, topic)
