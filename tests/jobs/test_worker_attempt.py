"""One attempt in a worker: claimed, made and reported, or not; with a fake service and fake functions."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from service.core.jobs.reports import Claim, Claimed, Reported
from service.jobs.broker import TaskMessage
from service.jobs.executor import AttemptFailed
from service.jobs.outbox import AttemptRefused, ServiceUnreachable
from service.jobs.slot_messages import Ask
from service.jobs.worker_attempt import WorkerAttempt
from tests.jobs.test_outbox import Service

TASK = TaskMessage("1-" + "0" * 32, 1, "token")


class Link:
    """The service as a worker reaches it."""

    def __init__(self) -> None:
        self.service = Service()
        self.claims: list[Claim] = []
        self.claim_fails: Exception | None = None
        self.timeout = 60.0

    async def claim(self, task: TaskMessage, claim: Claim) -> Claimed:
        await asyncio.sleep(0.01)
        self.claims.append(claim)
        if self.claim_fails is not None:
            raise self.claim_fails
        return Claimed(task.job, task.attempt, "key", "f", [1], self.timeout, 3.0)

    async def report(self, task: TaskMessage, body: bytes) -> Reported:
        return await self.service.send(body)


class Functions:
    """Runs what the test says, and stops when it is cancelled, after a second."""

    def __init__(self) -> None:
        self.asked: list[Ask] = []
        self.work: Callable[[Any], Awaitable[bytes]] = self.at_once
        self.stopped = 0

    async def at_once(self, report: Any) -> bytes:
        await report({"done": 1})
        return b'{"a":1}'

    async def for_ever(self, report: Any) -> bytes:
        while True:
            await asyncio.sleep(1)
            await report({"data": None})

    async def run(self, asked: Ask, report: Any, printed: Callable[[str], None]) -> bytes:
        self.asked.append(asked)
        try:
            return await self.work(report)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
            self.stopped += 1
            raise
        finally:
            printed("printed")


class Bench:
    def __init__(self) -> None:
        self.link, self.functions = Link(), Functions()
        self.service = self.link.service

    async def run(self) -> None:
        async with asyncio.timeout(10_000):
            await WorkerAttempt(TASK, self.link, self.functions, "celery@w").run()

    @property
    def last(self) -> Any:
        return self.service.taken[-1]


async def test_a_function_runs_and_its_outcome_is_reported() -> None:
    bench = Bench()
    await bench.run()
    assert bench.functions.asked == [Ask("f", [1], TASK.job, 1, "key")]
    assert bench.service.taken == [
        {"event": "progress", "done": 1.0},
        {"event": "done", "result": {"a": 1}, "output": "printed"},
    ]


async def test_what_is_not_to_be_made_is_not_begun(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    bench = Bench()
    bench.link.claim_fails = AttemptRefused("409: another worker")
    await bench.run()
    assert (bench.functions.asked, len(bench.link.claims), bench.service.reports) == ([], 1, [])
    assert "not to be made" in caplog.text


async def test_a_claim_is_repeated_as_the_same_one_until_it_is_answered() -> None:
    bench = Bench()
    bench.link.claim_fails = ServiceUnreachable("refused")
    running = asyncio.create_task(bench.run())
    await asyncio.sleep(10)
    bench.link.claim_fails = None
    await running
    assert len({claim.claim for claim in bench.link.claims}) == 1 < len(bench.link.claims) < 10
    assert bench.last["event"] == "done"


async def test_a_service_that_is_away_has_the_task_given_up(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.link.claim_fails = ServiceUnreachable("refused")
    begun = asyncio.get_running_loop().time()
    await bench.run()
    assert asyncio.get_running_loop().time() - begun <= 31
    assert (bench.functions.asked, "task given up" in caplog.text) == ([], True)


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (AttemptFailed("exception", "x" * 9000), {"error": "exception", "detail": "x" * 4000}),
        (AttemptFailed("killed", "ended", after=0.2), {"error": "killed", "detail": "ended", "after": 0.2}),
        (AttemptFailed("exception", "no", again=False), {"error": "exception", "detail": "no", "again": False}),
        (KeyError("bug"), {"error": "exception", "detail": "a bug in sluice: KeyError('bug')"}),
    ],
)
async def test_each_failure_is_reported_with_what_was_printed(error: Exception, event: Any) -> None:
    bench = Bench()

    async def fail(report: Any) -> bytes:
        raise error

    bench.functions.work = fail
    await bench.run()
    assert bench.last == {"event": "failed", **event, "output": "printed"}


async def test_one_that_takes_too_long_is_ended() -> None:
    bench = Bench()
    bench.functions.work = bench.functions.for_ever
    bench.link.timeout = 5.0
    await bench.run()
    assert bench.functions.stopped == 1
    assert (bench.last["error"], bench.last["detail"]) == ("timeout", "took longer than 5 s")


async def test_one_that_is_cancelled_is_asked_to_stop_and_reported_when_it_has() -> None:
    bench = Bench()
    bench.functions.work = bench.functions.for_ever
    running = asyncio.create_task(bench.run())
    await asyncio.sleep(5)
    bench.service.stop = True
    await running
    assert bench.functions.stopped == 1
    assert bench.last == {"event": "stopped", "output": "printed"}


async def test_one_that_was_lost_is_stopped_and_not_reported() -> None:
    bench = Bench()
    bench.functions.work = bench.functions.for_ever
    running = asyncio.create_task(bench.run())
    await asyncio.sleep(5)
    bench.service.refuses = "409: lost"
    await running
    assert bench.functions.stopped == 1
    assert bench.last["event"] == "progress"


async def test_a_service_that_is_away_at_the_end_hears_of_it_later() -> None:
    bench = Bench()
    bench.service.away = True
    running = asyncio.create_task(bench.run())
    await asyncio.sleep(600)
    bench.service.away = False
    await running
    assert bench.last["event"] == "done"


async def test_an_outcome_that_nobody_takes_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.service.away = True
    await bench.run()
    assert "outcome given up" in caplog.text


@pytest.mark.parametrize(("unknown", "level"), [(True, "WARNING"), (False, "INFO")])
async def test_a_server_that_does_not_know_the_task_is_a_warning(
    unknown: bool, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bench = Bench()
    bench.link.claim_fails = AttemptRefused("404: the job does not exist", unknown=unknown)
    await bench.run()
    (record,) = caplog.records
    assert (record.levelname, "SLUICE_URL or the broker is wrong" in record.getMessage()) == (level, unknown)
