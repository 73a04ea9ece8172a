"""Jobs whose functions run on workers elsewhere, with a fake broker and no workers, on virtual time."""

import asyncio
from typing import Any

from service.core.access.grants import EVERYTHING, Grant
from service.core.jobs.job import Job
from service.core.jobs.reports import Claim, Claimed, Report, Reported
from service.core.jobs.request import JobRequest
from service.core.jobs.store import MemoryJobs
from service.core.parameters import convert
from service.jobs.broker import BrokerAway, Task
from service.jobs.figures import JobLimits
from service.jobs.jobs import Jobs
from service.jobs.remote_attempts import RemoteAttempts
from tests.jobs.test_jobs import A, Bench

__all__ = ["FakeBroker", "Functions", "RemoteBench"]


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


class FakeBroker:
    """Keeps the tasks; may be away, or take its time."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.away = False
        self.asked = 0
        self.takes = 0.0
        self.closed = False

    async def publish(self, task: Task) -> None:
        self.asked += 1
        await asyncio.sleep(self.takes)
        if self.away:
            raise BrokerAway("refused")
        self.tasks.append(task)

    def close(self) -> None:
        self.closed = True

    async def task(self, number: int = 0) -> Task:
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

    async def run_job(self, **fields: Any) -> Job:
        request = convert({"run": {"name": "f", "args": {"a": 1}}, **fields}, JobRequest)
        return (await self.jobs.accept(request, A, EVERYTHING))[0]

    async def claim(self, task: Task, claim: str = "c" * 32) -> Claimed:
        return await self.remote.claim(task.job, task.attempt, task.token, Claim(claim, "celery@w"))

    async def report(self, task: Task, first: int = 1, *events: Any) -> Reported:
        return await self.remote.report(task.job, task.attempt, task.token, Report(first, list(events)))

    async def ended(self, job: Job) -> Job:
        async with asyncio.timeout(100_000):
            while not (found := await self.jobs.find(job.id)).state.ended:
                await asyncio.sleep(0.25)
        return found

    async def said(self, job: Job) -> list[str]:
        return [event["event"] for event in await self.events(job)]
