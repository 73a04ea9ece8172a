"""The contract of an executor of jobs: for messages, calls and fetches, and for the fake one of other tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Literal

import msgspec
import pytest

from service.core.access.grants import EVERYTHING, Grant, TopicPatterns
from service.core.errors import SluiceError, StorageFailed, TooLarge
from service.core.fetching.dial_policy import Policy
from service.core.fetching.outcome import Failure, Fetched
from service.core.jobs.events import ProgressEvent
from service.core.jobs.job import Job
from service.core.jobs.request import CallWork, FetchWork, PublishWork, Work
from service.core.topics.hub import Hub, HubLimits
from service.jobs.executor import AttemptFailed, AttemptLost, Executor, JobAttempt
from service.sources.call_jobs import CallJobs
from service.sources.fetch_jobs import FetchJobs
from service.sources.publish_jobs import PublishJobs
from service.upstream.attempts import FetchAttempt
from tests.core.jobs.jobs import new_job
from tests.core.stores import FakeStore
from tests.jobs.test_jobs import FakeExecutor
from tests.upstream.test_batches import Bench, at_once, never

__all__ = ["Does", "ExecutorContract"]

Does = Literal["succeeds", "fails", "hangs"]
"""What happens to the work."""
SOON = 10.0
"""Seconds that an executor may need to end what was cancelled."""


class ExecutorContract:
    """Subclasses make an executor, one work that it takes, and one that it refuses."""

    kind: str
    work: Work
    refused: Work

    @asynccontextmanager
    async def made(self, does: Does) -> AsyncIterator[Executor]:
        """Make one whose work succeeds, fails or hangs."""
        raise NotImplementedError
        yield

    def busy(self) -> int:
        """Return how much work is under way below the executor."""
        return 0

    async def hanging(self, attempt: JobAttempt) -> None:
        """Return when the work of an attempt that hangs is under way."""
        async with asyncio.timeout(60):
            while not self.busy():
                await asyncio.sleep(0.001)

    def attempt(self, executor: Executor, row: int = 1) -> JobAttempt:
        kept = executor.check(self.work, EVERYTHING)
        job = new_job(
            row,
            kind=self.kind,
            work=msgspec.Raw(msgspec.json.encode(self.work)),
            grant=msgspec.Raw(msgspec.json.encode(kept)),
        )
        return JobAttempt(job, self.report)

    async def report(self, progress: ProgressEvent) -> None:
        """Take progress."""

    async def test_it_says_who_it_is_and_how_many_it_carries_out_at_once(self) -> None:
        async with self.made("succeeds") as executor:
            assert executor.worker
            assert executor.places >= 1

    async def test_what_it_keeps_of_a_grant_is_json_and_what_can_never_succeed_is_refused(self) -> None:
        async with self.made("succeeds") as executor:
            assert msgspec.json.encode(executor.check(self.work, EVERYTHING))
            with pytest.raises(SluiceError) as raised:
                executor.check(self.refused, EVERYTHING)
            assert raised.value.detail

    async def test_the_limits_of_the_work_are_numbers_or_left_to_the_request(self) -> None:
        async with self.made("succeeds") as executor:
            job: Job = self.attempt(executor).job
            retries, seconds = executor.retries(job), executor.time(job)
            assert retries is None or retries >= 0
            assert seconds is None or seconds > 0

    async def test_a_result_is_json(self) -> None:
        async with self.made("succeeds") as executor:
            async with asyncio.timeout(60):
                msgspec.json.decode(await executor.carry_out(self.attempt(executor)))
            assert self.busy() == 0

    async def test_attempts_of_several_jobs_are_made_at_the_same_time(self) -> None:
        async with self.made("succeeds") as executor:
            rows = range(1, min(3, executor.places) + 1)
            async with asyncio.timeout(60):
                results = await asyncio.gather(*(executor.carry_out(self.attempt(executor, row)) for row in rows))
            assert len(results) == len(rows)

    async def test_work_that_fails_raises_why(self) -> None:
        async with self.made("fails") as executor:
            async with asyncio.timeout(60):
                with pytest.raises((AttemptFailed, AttemptLost, SluiceError)) as raised:
                    await executor.carry_out(self.attempt(executor))
            assert str(raised.value)
            assert self.busy() == 0

    async def test_one_that_is_cancelled_ends_soon_and_its_work_with_it(self) -> None:
        async with self.made("hangs") as executor:
            attempt = self.attempt(executor)
            task = asyncio.create_task(executor.carry_out(attempt))
            await self.hanging(attempt)
            task.cancel()
            async with asyncio.timeout(SOON):
                with pytest.raises(asyncio.CancelledError):
                    await task
                while self.busy():
                    await asyncio.sleep(0.001)


class TestFakeExecutor(ExecutorContract):
    """The one of the tests of jobs."""

    kind = "publish"
    work = PublishWork("t", 1)
    refused = PublishWork("bad", 1)

    @asynccontextmanager
    async def made(self, does: Does) -> AsyncIterator[Executor]:
        self.fake = FakeExecutor()

        async def work(attempt: JobAttempt) -> bytes:
            if does == "hangs":
                await asyncio.Event().wait()
            if does == "fails":
                raise AttemptFailed("exception", "it was asked to")
            return b"1"

        self.fake.work = work
        yield self.fake

    def busy(self) -> int:
        return self.fake.running


class TestPublishJobs(ExecutorContract):
    """A message whose store stores, refuses, or does not answer."""

    kind = "publish"
    work = PublishWork("t", {"a": 1})
    refused = PublishWork("_stats", 1)

    @asynccontextmanager
    async def made(self, does: Does) -> AsyncIterator[Executor]:
        loop, self.store = asyncio.get_running_loop(), FakeStore()
        self.begun = self.ended = 0
        hub = Hub(HubLimits(), self.store, call_soon=loop.call_soon, clock=loop.time)

        async def answer() -> None:
            while True:
                await asyncio.sleep(0.01)
                while self.store.appends and does != "hangs":
                    if does == "fails":
                        self.store.appends.popleft().pending.settle(StorageFailed("the disk is full"))
                    else:
                        self.store.answer()

        answering = asyncio.create_task(answer())
        yield PublishJobs(hub, 1000)
        answering.cancel()
        await asyncio.wait([answering])

    async def hanging(self, attempt: JobAttempt) -> None:
        while not self.store.appends:
            await asyncio.sleep(0.001)

    async def test_a_run_publishes_once_though_its_key_was_used_before(self) -> None:
        async with self.made("succeeds") as executor:
            offsets = []
            for row, run in ((1, 1), (1, 1), (1, 2), (2, 1)):
                attempt = self.attempt(executor, row)
                attempt.job.run, attempt.job.key = run, "daily"
                offsets.append(msgspec.json.decode(await executor.carry_out(attempt))["offset"])
            assert offsets == [1, 1, 2, 3]

    async def test_a_message_is_as_large_as_one_that_a_client_publishes(self) -> None:
        async with self.made("succeeds") as executor:
            executor.check(PublishWork("t", "x" * 998), EVERYTHING)
            with pytest.raises(TooLarge, match=r"publish\.data has 1001 of at most 1000 bytes"):
                executor.check(PublishWork("t", "x" * 999), EVERYTHING)

    async def test_a_topic_that_is_not_granted_is_refused(self) -> None:
        async with self.made("succeeds") as executor:
            none: Grant = replace(EVERYTHING, publish=TopicPatterns("publish", (), ()))
            with pytest.raises(SluiceError):
                executor.check(self.work, none)


class Engine(ExecutorContract):
    """What both executors need that fetch: an engine without a network."""

    @asynccontextmanager
    async def engine(self, does: Does) -> AsyncIterator[Bench]:
        async def fails(attempt: FetchAttempt) -> Fetched | Failure:
            return Failure("connect", "the port is closed")

        self.bench = Bench({"succeeds": at_once, "fails": fails, "hangs": never}[does])
        yield self.bench
        await self.bench.close()

    def busy(self) -> int:
        return self.bench.runner.active


class TestCallJobs(Engine):
    """A request that is answered, refused, or hangs."""

    kind = "call"
    work = CallWork("http://h.example/hook", body={"a": 1})
    refused = CallWork("ftp://h.example/")

    @asynccontextmanager
    async def made(self, does: Does) -> AsyncIterator[Executor]:
        async with self.engine(does) as bench:
            yield CallJobs(bench.runner, Policy(), b"x" * 32)

    async def test_an_answer_may_take_as_long_as_the_job_allows(self) -> None:
        async def slow(attempt: FetchAttempt) -> Fetched | Failure:
            await asyncio.sleep(1500)
            return await at_once(attempt)

        bench = Bench(slow)
        executor = CallJobs(bench.runner, Policy())
        attempt = self.attempt(executor)
        attempt.job.timeout = 2000.0
        assert msgspec.json.decode(await executor.carry_out(attempt))["status"] == 200
        await bench.close()


class TestFetchJobs(Engine):
    """A batch whose URLs are answered, or hang; a URL that fails is a result."""

    kind = "fetch"
    work = FetchWork(urls=["http://h.example/1", "http://h.example/2"])
    refused = FetchWork(urls=[])

    @asynccontextmanager
    async def made(self, does: Does) -> AsyncIterator[Executor]:
        async with self.engine(does) as bench:
            if does == "fails":
                bench.batches.draining = True
            yield FetchJobs(bench.batches)

    async def test_only_after_an_attempt_that_was_lost_its_batch_is_joined(self) -> None:
        async with self.made("succeeds") as executor:
            batches = []
            for row, run, failures in ((1, 1, 0), (1, 1, 0), (1, 1, 1), (1, 2, 0), (2, 1, 0)):
                attempt = self.attempt(executor, row)
                attempt.job.run, attempt.job.failures, attempt.job.key = run, failures, "daily"
                batches.append(msgspec.json.decode(await executor.carry_out(attempt))["batch"])
            assert batches[0] == batches[1]
            assert len(set(batches)) == 4
