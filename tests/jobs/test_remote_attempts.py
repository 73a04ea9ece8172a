"""Attempts that workers elsewhere make: every way in which tasks, claims and reports go wrong."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from service.core.errors import Draining, NotFound, StorageFailed
from service.core.jobs.kept import KeptJobs
from service.core.jobs.lease import NotYours
from service.core.jobs.reports import Reported, WorkerDone, WorkerFailed, WorkerProgress, WorkerStopped
from service.core.jobs.request import MoveRequest
from service.core.jobs.store import MemoryJobs
from service.core.jobs.summary import JobState
from service.jobs import remote_attempts
from service.jobs.broker import TaskMessage
from service.jobs.figures import JobLimits
from service.jobs.offers import OFFERED
from tests.jobs.remote import BrokerContract, FakeBroker, RemoteBench
from tests.jobs.test_jobs import B, Bench, FailingJobs

DONE = WorkerDone(msgspec.Raw(b'{"b":2}'), "printed")


class TestFakeBroker(BrokerContract):
    async def broker(self, *, away: bool = False) -> FakeBroker:
        broker = FakeBroker()
        broker.away = away
        return broker

    async def tasks(self, broker: FakeBroker) -> list[TaskMessage]:
        return broker.tasks


@pytest.fixture
async def bench() -> AsyncIterator[RemoteBench]:
    bench = RemoteBench()
    await bench.jobs.open()
    yield bench
    await bench.jobs.close()
    assert bench.broker.closed


async def test_an_attempt_is_offered_claimed_and_reported_on(bench: RemoteBench) -> None:
    job = await bench.run_job()
    task = await bench.broker.task()
    assert (await bench.jobs.find(job.id)).shown_state(bench.wall()) is JobState.QUEUED
    claimed = await bench.claim(task)
    assert (claimed.name, claimed.args, claimed.attempt, claimed.timeout) == ("f", {"a": 1}, 1, 60.0)
    assert claimed.key == job.id
    assert await bench.report(task, 1, WorkerProgress(1.0, 2.0), WorkerProgress(data="x")) == (
        Reported(3, stop=False)
    )
    await bench.report(task, 3, DONE)
    ended = await bench.ended(job)
    assert (ended.state, bytes(ended.result), ended.output, ended.lease) == (
        JobState.DONE,
        b'{"b":2}',
        "printed",
        None,
    )
    events = await bench.events(job)
    assert [event["event"] for event in events] == ["queued", "started", "progress", "progress", "done"]
    assert events[1] == {"event": "started", "attempt": 1, "worker": "celery@w"}
    assert (len(bench.remote.offers), bench.remote.running, bench.jobs.running) == (0, 0, 0)
    assert bench.jobs.statistics().attempts == {("run", "done"): 1}


async def test_a_job_is_handed_over_when_it_is_due_and_not_before(bench: RemoteBench) -> None:
    await bench.run_job(delay=125)
    await asyncio.sleep(124)
    assert bench.broker.tasks == []
    await bench.claim(await bench.broker.task())


async def test_a_task_that_comes_twice_runs_once(bench: RemoteBench) -> None:
    job = await bench.run_job()
    task = await bench.broker.task()
    await bench.claim(task)
    with pytest.raises(NotYours, match="another worker"):
        await bench.claim(task, "d" * 32)
    await bench.report(task, 1, DONE)
    for claim in ("c" * 32, "d" * 32):
        with pytest.raises(NotYours, match="done"):
            await bench.claim(task, claim)
    assert (await bench.said(job)).count("started") == 1
    assert bench.remote.claims == {"granted": 1, "refused": 3}


async def test_a_claim_whose_answer_was_lost_is_granted_again(bench: RemoteBench) -> None:
    job = await bench.run_job()
    task = await bench.broker.task()
    assert await bench.claim(task) == await bench.claim(task)
    assert (await bench.said(job)).count("started") == 1
    with pytest.raises(NotYours):
        await bench.claim(TaskMessage(task.job, task.attempt, "wrong"))


async def test_what_nobody_has_claimed_is_offered_again_and_the_older_offer_refused(bench: RemoteBench) -> None:
    await bench.run_job()
    first = await bench.broker.task()
    await asyncio.sleep(35)
    second = await bench.broker.task(1)
    assert len(bench.broker.tasks) == 2
    with pytest.raises(NotYours, match="again"):
        await bench.claim(first)
    await bench.claim(second)
    await asyncio.sleep(20)
    assert bench.remote.offers.made == {"first": 2, "again": 1}  # it was lost meanwhile, and offered anew


async def test_offers_are_made_again_ever_less_often(bench: RemoteBench) -> None:
    await bench.run_job()
    await asyncio.sleep(300)
    assert len(bench.broker.tasks) == 4


async def test_a_wrong_token_attempt_or_job_gets_nothing(bench: RemoteBench) -> None:
    await bench.run_job()
    task = await bench.broker.task()
    for wrong in (
        TaskMessage(task.job, 1, "wrong"),
        TaskMessage(task.job, 2, task.token),
        TaskMessage(task.job, 0, task.token),
    ):
        with pytest.raises(NotYours):
            await bench.claim(wrong)
    await bench.claim(task)
    for wrong in (TaskMessage(task.job, 1, "wrong"), TaskMessage(task.job, 2, task.token)):
        with pytest.raises(NotYours):
            await bench.report(wrong, 1, DONE)
    other = f"{task.job.partition('-')[0]}-{'0' * 32}"
    for act in (bench.claim, bench.report):
        with pytest.raises(NotFound):
            await act(TaskMessage(other, 1, task.token))


async def test_one_that_was_cancelled_before_its_claim_never_runs(bench: RemoteBench) -> None:
    job = await bench.run_job()
    task = await bench.broker.task()
    assert await bench.jobs.cancel(job.id) == (True, JobState.CANCELLED)
    with pytest.raises(NotYours, match="cancelled"):
        await bench.claim(task)
    await asyncio.sleep(100)
    assert (len(bench.broker.tasks), len(bench.remote.offers)) == (1, 0)
    assert await bench.said(job) == ["queued", "cancelled"]


async def test_one_that_was_moved_runs_at_its_new_time_alone(bench: RemoteBench) -> None:
    job = await bench.run_job()
    first = await bench.broker.task()
    await bench.jobs.move(job.id, MoveRequest(delay=50.0))
    with pytest.raises(NotYours, match="must not begin now"):
        await bench.claim(first)
    await asyncio.sleep(51)
    with pytest.raises(NotYours):
        await bench.claim(first)
    await bench.claim(await bench.broker.task(1))


async def test_one_that_is_moved_to_now_is_offered_anew(bench: RemoteBench) -> None:
    job = await bench.run_job()
    first = await bench.broker.task()
    await bench.jobs.move(job.id, MoveRequest(delay=0.0))
    second = await bench.broker.task(1)
    with pytest.raises(NotYours):
        await bench.claim(first)
    await bench.claim(second)


async def test_a_cancel_while_it_runs_is_in_the_next_answer(bench: RemoteBench) -> None:
    job = await bench.run_job()
    task = await bench.broker.task()
    await bench.claim(task)
    assert not (await bench.report(task)).stop
    assert await bench.jobs.cancel(job.id) == (True, JobState.RUNNING)
    assert (await bench.report(task)).stop
    await bench.report(task, 1, WorkerProgress(1.0), WorkerStopped("printed"))
    assert await bench.said(job) == ["queued", "started", "progress", "cancelled"]
    assert (await bench.jobs.find(job.id)).output == "printed"


@pytest.mark.parametrize(
    "last", [DONE, WorkerFailed("exception", "bad"), WorkerStopped()], ids=lambda one: str(one)[:12]
)
async def test_one_that_was_cancelled_ends_so_though_its_worker_says_otherwise(
    bench: RemoteBench, last: object
) -> None:
    job = await bench.run_job()
    task = await bench.broker.task()
    await bench.claim(task)
    await bench.jobs.cancel(job.id)
    await bench.report(task, 1, last)
    assert (await bench.said(job))[-1] == "cancelled"


async def test_a_function_that_failed_is_tried_again_on_a_worker(bench: RemoteBench) -> None:
    job = await bench.run_job()
    for number in range(2):
        task = await bench.broker.task(number)
        assert task.attempt == number + 1
        await bench.claim(task)
        await bench.report(task, 1, WorkerFailed("exception", "bad", output="traceback"))
    ended = await bench.ended(job)
    assert (ended.state, ended.error, ended.detail, ended.output) == (
        JobState.FAILED,
        "exception",
        "bad",
        "traceback",
    )
    assert await bench.said(job) == ["queued", "started", "retry", "started", "failed"]


async def test_a_failure_that_no_other_attempt_helps_is_final(bench: RemoteBench) -> None:
    job = await bench.run_job()
    task = await bench.broker.task()
    await bench.claim(task)
    await bench.report(task, 1, WorkerFailed("exception", "no form in JSON", again=False))
    assert (await bench.said(job))[-1] == "failed"


async def test_a_silent_worker_loses_its_attempt_which_uses_up_no_retry(bench: RemoteBench) -> None:
    job = await bench.run_job(retries=0)
    begun = asyncio.get_running_loop().time()
    first = await bench.broker.task()
    await bench.claim(first)
    second = await bench.broker.task(1)
    assert asyncio.get_running_loop().time() - begun < 15
    with pytest.raises(NotYours):
        await bench.report(first, 1, DONE)
    await bench.claim(second)
    with pytest.raises(NotYours):
        await bench.report(first, 1, DONE)
    await bench.report(second, 1, DONE)
    assert await bench.said(job) == ["queued", "started", "retry", "started", "done"]
    assert bench.remote.lost == 1


async def test_three_attempts_in_a_row_that_are_lost_fail_the_job(bench: RemoteBench) -> None:
    job = await bench.run_job()
    for number in range(3):
        await bench.claim(await bench.broker.task(number))
    ended = await bench.ended(job)
    assert (ended.state, ended.error, ended.attempt) == (JobState.FAILED, "lost", 3)


async def test_a_cancelled_one_whose_worker_is_gone_ends_as_cancelled(bench: RemoteBench) -> None:
    job = await bench.run_job()
    await bench.claim(await bench.broker.task())
    await bench.jobs.cancel(job.id)
    await bench.ended(job)
    assert (await bench.said(job))[-1] == "cancelled"


async def test_a_worker_that_is_heard_keeps_its_attempt(bench: RemoteBench) -> None:
    job = await bench.run_job()
    task = await bench.broker.task()
    await bench.claim(task)
    for _ in range(20):
        await asyncio.sleep(9)
        await bench.report(task)
    assert await bench.said(job) == ["queued", "started"]
    await bench.report(task, 1, DONE)
    assert (await bench.said(job))[-1] == "done"


async def test_reports_that_come_twice_or_overlap_are_taken_in_once(bench: RemoteBench) -> None:
    job = await bench.run_job()
    task = await bench.broker.task()
    await bench.claim(task)
    some = [WorkerProgress(float(number)) for number in range(1, 6)]
    assert (await bench.report(task, 1, *some[:3])).next == 4
    assert (await bench.report(task, 1, *some[:3])).next == 4
    assert (await bench.report(task, 2, *some[1:5])).next == 6
    assert (await bench.report(task, 9, *some)).next == 6  # what lies between is missing
    await bench.report(task, 6, DONE, *some)
    events = await bench.events(job)
    assert [event["done"] for event in events if event["event"] == "progress"] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert events[-1]["event"] == "done"


async def test_progress_beyond_the_bound_is_not_kept_and_the_end_is(
    bench: RemoteBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_attempts, "MOST_EVENTS", 4)
    job = await bench.run_job()
    task = await bench.broker.task()
    await bench.claim(task)
    assert (await bench.report(task, 1, *[WorkerProgress(1.0)] * 9)).next == 10
    await bench.report(task, 10, DONE)
    assert await bench.said(job) == ["queued", "started", "progress", "progress", "done"]


async def test_an_attempt_goes_on_over_a_restart_of_the_service(bench: RemoteBench) -> None:
    job = await bench.run_job()
    task = await bench.broker.task()
    await bench.claim(task)
    await bench.report(task, 1, WorkerProgress(1.0))
    await bench.restart()
    await asyncio.sleep(9)
    assert (await bench.report(task, 1, WorkerProgress(1.0), WorkerProgress(2.0))).next == 3
    await bench.report(task, 3, DONE)
    assert await bench.said(job) == ["queued", "started", "progress", "progress", "done"]


async def test_a_worker_that_does_not_come_back_after_a_restart_loses_its_attempt(bench: RemoteBench) -> None:
    job = await bench.run_job()
    await bench.claim(await bench.broker.task())
    await bench.restart()
    await bench.claim(await bench.broker.task(1))
    assert await bench.said(job) == ["queued", "started", "retry", "started"]


async def test_what_was_offered_before_a_restart_is_offered_anew(bench: RemoteBench) -> None:
    await bench.run_job()
    first = await bench.broker.task()
    await bench.restart()
    with pytest.raises(NotYours):
        await bench.claim(first)
    await bench.claim(await bench.broker.task(1))


async def test_a_draining_service_grants_no_claim_and_takes_in_reports(bench: RemoteBench) -> None:
    running, waiting = await bench.run_job(), await bench.run_job()
    task, other = await bench.broker.task(), await bench.broker.task(1)
    await bench.claim(task)
    bench.jobs.drain()
    with pytest.raises(Draining):
        await bench.claim(other)
    await asyncio.sleep(0.1)
    assert bench.jobs.running == 0  # a drain does not wait for other machines
    await bench.report(task, 1, DONE)
    assert (await bench.said(running))[-1] == "done"
    assert await bench.said(waiting) == ["queued"]


async def test_a_broker_that_is_away_is_tried_again_by_one_and_jobs_stay_queued(
    bench: RemoteBench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bench.broker.away = True
    for _ in range(20):
        await bench.run_job()
    await asyncio.sleep(120)
    assert 20 < bench.broker.asked < 40
    assert bench.remote.dispatch.away
    bench.broker.away = False
    await bench.broker.task(19)
    assert not bench.remote.dispatch.away
    assert len({task.job for task in bench.broker.tasks}) == 20
    assert [record.levelname for record in caplog.records if "broker" in record.message] == ["WARNING", "INFO"]


async def test_a_cancel_does_not_wait_for_a_broker_that_is_away(bench: RemoteBench) -> None:
    bench.broker.takes = 10_000.0
    job = await bench.run_job()
    await asyncio.sleep(1)
    await bench.jobs.cancel(job.id)
    await asyncio.sleep(1)
    assert len(bench.remote.offers) == 0


async def test_a_bounded_number_is_offered_at_once(bench: RemoteBench) -> None:
    for _ in range(OFFERED + 20):
        await bench.run_job()
    await asyncio.sleep(5)
    assert len(bench.broker.tasks) == OFFERED - OFFERED // 10, "a tenth is for others"
    for _ in range(OFFERED):
        await bench.run_job(owner=B)
    await asyncio.sleep(5)
    assert len(bench.broker.tasks) == OFFERED
    for task in bench.broker.tasks[:20]:
        await bench.claim(task)
    await bench.broker.task(OFFERED + 19)


async def test_a_claim_or_report_that_cannot_be_stored_is_asked_again() -> None:
    store = FailingJobs()
    bench = RemoteBench(store)
    await bench.jobs.open()
    job = await bench.run_job()
    task = await bench.broker.task()
    store.fails = 1
    with pytest.raises(StorageFailed):
        await bench.claim(task)
    await bench.claim(task)
    store.fails = 1
    with pytest.raises(StorageFailed):
        await bench.report(task, 1, WorkerProgress(1.0))
    assert (await bench.report(task, 1, WorkerProgress(1.0))).next == 2
    await bench.report(task, 2, DONE)
    assert await bench.said(job) == ["queued", "started", "progress", "done"]
    await bench.jobs.close()


async def test_a_report_that_comes_as_the_lease_runs_out_keeps_the_attempt() -> None:
    store = FailingJobs()
    bench = RemoteBench(store)
    await bench.jobs.open()
    job = await bench.run_job()
    task = await bench.broker.task()
    await bench.claim(task)
    await asyncio.sleep(9.5)
    store.fails = 200  # the loss is decided, and cannot be stored for a while
    await asyncio.sleep(1)
    await bench.report(task)
    store.fails = 0
    await bench.report(task, 1, DONE)
    assert await bench.said(job) == ["queued", "started", "done"]
    await bench.jobs.close()


async def test_a_job_that_is_gone_is_not_offered(bench: RemoteBench) -> None:
    await bench.remote.offers.offer(99, lambda: None)
    assert bench.broker.tasks == []
    assert "0 jobs" in repr(bench.remote.offers)
    assert "0 offered" in repr(bench.remote)


async def test_progress_without_room_is_not_kept_and_the_end_is() -> None:
    bench = RemoteBench(limits=JobLimits(jobs_size=20_000))
    await bench.jobs.open()
    job = await bench.run_job()
    task = await bench.broker.task()
    await bench.claim(task)
    for number in range(1, 21):
        await bench.report(task, number, WorkerProgress(data="x" * 2000))
    await bench.report(task, 21, DONE)
    assert (await bench.said(job)).count("progress") < 10
    assert (await bench.said(job))[-1] == "done"
    await bench.jobs.close()


async def test_a_job_whose_request_is_damaged_is_not_offered_and_fails(bench: RemoteBench) -> None:
    job = await bench.run_job(delay=10)
    bench.store._jobs[job.row].work = msgspec.Raw(b"")
    ended = await bench.ended(job)
    assert (ended.state, ended.error) == (JobState.FAILED, "storage")
    assert bench.broker.tasks == []


async def test_without_workers_a_leased_attempt_is_lost_at_the_start(bench: RemoteBench) -> None:
    job = await bench.run_job()
    await bench.claim(await bench.broker.task())
    kept = KeptJobs()
    kept.add([bench.store._jobs[job.row]])
    store = MemoryJobs()
    store._jobs[job.row] = bench.store._jobs[job.row]
    store.kept = lambda: kept  # type: ignore[method-assign]
    here = Bench(store)
    await here.jobs.open()
    await asyncio.sleep(0.1)
    assert store._jobs[job.row].lost == 1
    await here.jobs.close()
