"""Jobs whose functions run on workers elsewhere, with a fake broker and no workers, on virtual time."""

import asyncio
from typing import Any

import pytest

from service.core.access.grants import EVERYTHING, Grant
from service.core.jobs.job import Job
from service.core.jobs.reports import Claim, Claimed, Report, Reported
from service.core.jobs.request import JobRequest
from service.core.jobs.store import MemoryJobs
from service.core.owner import Owner
from service.core.parsing import convert
from service.jobs.broker import BrokerAway, TaskMessage
from service.jobs.figures import JobLimits
from service.jobs.jobs import Jobs
from service.jobs.remote_attempts import RemoteAttempts
from tests.jobs.test_jobs import A, Bench

__all__ = ["BrokerContract", "FakeBroker", "Functions", "RemoteBench"]


class Functions:
    """What the service knows of functions."""

    worker = "here"
    places = 1

    def check(self, work: Any, grant: Grant) -> None:
        """Take all."""

    def retries(self, job: Job) -> int:
        return 1

    def time(self, job: Job) -> float:
        return 60.0

    async def carry_out(self, attempt: Any) -> bytes:
        raise AssertionError("it runs here")

    def hasten(self) -> None:
        """There is nothing to kill."""

    async def close(self) -> None:
        """There is nothing to end."""


class BrokerContract:
    """What every broker does; subclasses make one that is reachable, and one that is away."""

    async def broker(self, *, away: bool = False) -> Any:
        """Return a broker that is reachable."""
        raise NotImplementedError

    async def tasks(self, broker: Any) -> list[TaskMessage]:
        """Return the tasks that the broker's workers would get."""
        raise NotImplementedError

    async def test_each_task_that_was_taken_is_there_in_order(self) -> None:
        broker = await self.broker()
        tasks = [TaskMessage("1-" + "0" * 32, attempt, "token") for attempt in (1, 2)]
        for task in tasks:
            await broker.publish(task)
        assert await self.tasks(broker) == tasks
        broker.close()

    async def test_one_that_is_away_says_so_each_time(self) -> None:
        broker = await self.broker(away=True)
        for _ in range(2):
            with pytest.raises(BrokerAway, match="refused"):
                await broker.publish(TaskMessage("1-" + "0" * 32, 1, "token"))
        broker.close()

    async def test_it_may_be_closed_again_and_before_anything_was_published(self) -> None:
        broker = await self.broker()
        broker.close()
        broker.close()


class FakeBroker:
    """Keeps the tasks; may be away, or take its time."""

    def __init__(self) -> None:
        self.tasks: list[TaskMessage] = []
        self.away = False
        self.asked = 0
        self.takes = 0.0
        self.closed = False

    async def publish(self, task: TaskMessage) -> None:
        self.asked += 1
        await asyncio.sleep(self.takes)
        if self.away:
            raise BrokerAway("refused")
        self.tasks.append(task)

    def close(self) -> None:
        self.closed = True

    async def task(self, number: int = 0) -> TaskMessage:
        """Return a task when it has come."""
        async with asyncio.timeout(100_000):
            while len(self.tasks) <= number:
                await asyncio.sleep(0.25)
        return self.tasks[number]


class RemoteBench(Bench):
    """Jobs, the broker, and what a worker would ask."""

    def __init__(self, store: MemoryJobs | None = None, limits: JobLimits | None = None) -> None:
        self.broker = FakeBroker()
        super().__init__(store, limits)

    def _jobs(self, limits: JobLimits | None = None) -> Jobs:
        return Jobs(
            self.hub,
            self.store,
            {"run": Functions()},
            limits or JobLimits(),
            chance=lambda: 0.5,
            wall=self.wall,
            broker=self.broker,
        )

    @property
    def remote(self) -> RemoteAttempts:
        assert self.jobs.remote is not None
        return self.jobs.remote

    async def run_job(self, *, owner: Owner = A, **fields: Any) -> Job:
        request = convert({"run": {"name": "f", "args": {"a": 1}}, **fields}, JobRequest)
        return (await self.jobs.accept(request, owner, EVERYTHING))[0]

    async def claim(self, task: TaskMessage, claim: str = "c" * 32) -> Claimed:
        return await self.remote.claim(task.job, task.attempt, task.token, Claim(claim, "celery@w"))

    async def report(self, task: TaskMessage, first: int = 1, *events: Any) -> Reported:
        return await self.remote.report(task.job, task.attempt, task.token, Report(first, list(events)))

    async def ended(self, job: Job) -> Job:
        async with asyncio.timeout(100_000):
            while not (found := await self.jobs.find(job.id)).state.ended:
                await asyncio.sleep(0.25)
        return found

    async def said(self, job: Job) -> list[str]:
        return [event["event"] for event in await self.events(job)]
