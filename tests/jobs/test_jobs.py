"""Jobs over a store in memory and a fake executor, on virtual time."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import orjson
import pytest

from service.core.access.grants import EVERYTHING, NOTHING, Grant
from service.core.errors import Draining, Forbidden, InvalidParams, LimitReached, NotFound, StorageFailed
from service.core.jobs.agenda import Agenda
from service.core.jobs.events import ProgressEvent
from service.core.jobs.job import Job
from service.core.jobs.kept import KeptJobs
from service.core.jobs.request import JobRequest, MoveRequest
from service.core.jobs.store import MemoryJobs
from service.core.jobs.summary import JobState
from service.core.owner import Owner
from service.core.parsing import convert
from service.core.pending import Pending
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.memory_store import MemoryStore
from service.jobs.executor import AttemptFailed, AttemptLost, JobAttempt
from service.jobs.figures import JobLimits
from service.jobs.jobs import Jobs
from service.jobs.lanes import Lane
from service.jobs.outcomes import AttemptOutcomes
from service.runtime.awaiting import outcome_of
from tests.core.jobs.jobs import new_job
from tests.core.readers import FakeReader

A, B = Owner("a"), Owner("b")
Work = Callable[[JobAttempt], Awaitable[bytes]]


async def _nothing(attempt: JobAttempt) -> bytes:
    return b'"done"'


class FakeExecutor:
    """Carries out what the test says."""

    worker = "fake"
    places = 2

    def __init__(self) -> None:
        self.work: Work = _nothing
        self.attempts: list[JobAttempt] = []
        self.running = self.most = 0

    def check(self, work: Any, grant: Grant) -> Any:
        if work.topic == "bad":
            raise InvalidParams("publish.topic: bad")

    def retries(self, job: Job) -> int | None:
        return 1

    def time(self, job: Job) -> float | None:
        return None

    async def carry_out(self, attempt: JobAttempt) -> bytes:
        self.attempts.append(attempt)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self.work(attempt)
        finally:
            self.running -= 1


class FailingJobs(MemoryJobs):
    """A store that fails on demand, and answers later."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = 0
        self.puts: list[int] = []
        """How many events each commit had."""

    def put(self, job: Job, events: Any) -> Any:
        answer: Pending[Job] = Pending()
        self.puts.append(len(events))
        if self.fails:
            self.fails -= 1
            asyncio.get_running_loop().call_later(0.01, answer.settle, StorageFailed("full"))
            return answer

        def keep() -> None:
            MemoryJobs.put(self, job, events)
            answer.settle(job)

        asyncio.get_running_loop().call_later(0.01, keep)
        return answer


class Bench:
    """Jobs, and what they stand on."""

    def __init__(self, store: MemoryJobs | None = None, limits: JobLimits | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.ahead = 1_000_000.0
        self.hub = Hub(HubLimits(), MemoryStore(lambda: "e"), call_soon=loop.call_soon, clock=loop.time)
        self.executor = FakeExecutor()
        self.store = store or MemoryJobs()
        self.jobs = self._jobs(limits)

    def _jobs(self, limits: JobLimits | None = None) -> Jobs:
        return Jobs(
            self.hub,
            self.store,
            {"publish": self.executor},
            limits or JobLimits(),
            chance=lambda: 0.5,
            wall=self.wall,
        )

    async def restart(self) -> None:
        """End the service and start it again with the jobs that it has stored."""
        await self.jobs.close()
        kept = KeptJobs()
        kept.add(list(self.store._jobs.values()))
        self.store.kept = lambda: kept  # type: ignore[method-assign]
        self.jobs = self._jobs()
        await self.jobs.open()

    def wall(self) -> float:
        return self.ahead + asyncio.get_running_loop().time()

    async def make(self, owner: Owner = A, grant: Grant = EVERYTHING, **fields: Any) -> Job:
        request = convert({"publish": {"topic": "t", "data": 1}, **fields}, JobRequest)
        return (await self.jobs.accept(request, owner, grant))[0]

    async def state(self, job: Job) -> JobState:
        return (await self.jobs.find(job.id)).state

    async def ended(self, job: Job) -> Job:
        async with asyncio.timeout(100_000):
            while not (found := await self.jobs.find(job.id)).state.ended:
                await asyncio.sleep(0.01)
        return found

    async def events(self, job: Job) -> list[Any]:
        return [orjson.loads(event) for event in await outcome_of(self.store.read(job.row, 0))]  # type: ignore[arg-type]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.jobs.open()
    yield bench
    await bench.jobs.close()


@pytest.fixture
def store() -> FailingJobs:
    return FailingJobs()


@pytest.fixture
async def failing(store: FailingJobs) -> AsyncIterator[Bench]:
    """A bench on the store that fails on demand."""
    bench = Bench(store)
    await bench.jobs.open()
    yield bench
    await bench.jobs.close()


async def test_a_job_that_is_due_now_is_carried_out_at_once(bench: Bench) -> None:
    job = await bench.ended(await bench.make())
    assert (job.state, bytes(job.result), job.attempt) == (JobState.DONE, b'"done"', 1)
    assert [event["event"] for event in await bench.events(job)] == ["queued", "started", "done"]


async def test_one_that_is_due_later_begins_then_and_not_before(bench: Bench) -> None:
    began = bench.wall()
    job = await bench.make(delay=3600)
    await asyncio.sleep(3599.9)
    assert await bench.state(job) is JobState.SCHEDULED
    job = await bench.ended(job)
    assert job.ended == pytest.approx(began + 3600, abs=0.05)


async def test_nothing_is_looked_at_while_nobody_has_jobs(bench: Bench) -> None:
    timer = bench.jobs.schedule._timer
    await asyncio.sleep(5)
    assert not timer.running
    for _ in range(2):
        await bench.ended(await bench.make(delay=60, keep=10))
        assert timer.running, "it has to be forgotten in time"
        await asyncio.sleep(15)
        assert (len(bench.jobs.agenda), timer.running) == (0, False)


async def test_the_first_job_begins_though_its_client_left_before_it_was_stored(failing: Bench) -> None:
    await asyncio.sleep(5)
    making = asyncio.create_task(failing.make(delay=1))
    await asyncio.sleep(0.005)
    making.cancel()
    await asyncio.wait((making,))
    await asyncio.sleep(5)
    assert len(failing.executor.attempts) == 1


async def test_a_clock_that_is_set_counts_within_a_second(bench: Bench) -> None:
    job = await bench.make(delay=3600)
    await asyncio.sleep(5)
    bench.ahead += 3600
    await asyncio.sleep(1.1)
    assert await bench.state(job) is JobState.DONE
    other = await bench.make(delay=10)
    bench.ahead -= 3600
    await asyncio.sleep(60)
    assert await bench.state(other) is JobState.SCHEDULED


async def test_a_clock_that_is_set_back_as_a_job_begins_has_it_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await bench.make(delay=5)
    carry_out = bench.jobs.schedule.lanes["publish"]._begin

    def begin(row: int, worked: Callable[[], None]) -> Any:
        bench.ahead -= 3600
        monkeypatch.setattr(bench.jobs.schedule.lanes["publish"], "_begin", carry_out)
        return carry_out(row, worked)

    monkeypatch.setattr(bench.jobs.schedule.lanes["publish"], "_begin", begin)
    await asyncio.sleep(10)
    assert await bench.state(job) is JobState.SCHEDULED
    await asyncio.sleep(3600)
    assert await bench.state(job) is JobState.DONE


async def test_in_a_drain_nothing_begins_and_what_runs_goes_on(bench: Bench) -> None:
    async def work(attempt: JobAttempt) -> bytes:
        await asyncio.sleep(3)
        return b"1"

    bench.executor.work = work
    runs, later = await bench.make(), await bench.make(delay=1)
    await asyncio.sleep(0.5)
    bench.jobs.drain()
    assert bench.jobs.running == 1
    assert (await bench.ended(runs)).state is JobState.DONE
    await asyncio.sleep(10)
    assert await bench.state(later) is JobState.SCHEDULED
    assert bench.jobs.running == 0


async def test_what_fails_is_tried_again_later_and_then_fails(bench: Bench) -> None:
    async def fail(attempt: JobAttempt) -> bytes:
        raise AttemptFailed("http_status", "500")

    bench.executor.work = fail
    job = await bench.ended(await bench.make())
    assert (job.state, job.attempt, job.error, job.detail) == (JobState.FAILED, 2, "http_status", "500")
    events = await bench.events(job)
    assert [event["event"] for event in events] == ["queued", "started", "retry", "started", "failed"]
    assert events[2]["at"].endswith("Z")
    job = await bench.ended(await bench.make(retries=3))
    assert job.attempt == 4
    assert len({attempt.key for attempt in bench.executor.attempts if attempt.job.id == job.id}) == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AttemptFailed("blocked", "never", again=False), "blocked"),
        (InvalidParams("topic: bad"), "invalid_params"),
    ],
)
async def test_what_can_never_succeed_is_not_tried_again(bench: Bench, error: Exception, kind: str) -> None:
    async def fail(attempt: JobAttempt) -> bytes:
        raise error

    bench.executor.work = fail
    job = await bench.ended(await bench.make())
    assert (job.state, job.attempt, job.error) == (JobState.FAILED, 1, kind)


async def test_what_is_lost_three_times_in_a_row_fails(bench: Bench) -> None:
    async def lose(attempt: JobAttempt) -> bytes:
        raise AttemptLost("the worker is gone")

    bench.executor.work = lose
    job = await bench.ended(await bench.make(retries=0))
    assert (job.attempt, job.error) == (3, "lost")


async def test_what_takes_too_long_is_ended(bench: Bench) -> None:
    async def hang(attempt: JobAttempt) -> bytes:
        await asyncio.Event().wait()
        return b""

    bench.executor.work = hang
    job = await bench.ended(await bench.make(timeout=5, retries=0))
    assert (job.state, job.error, job.detail) == (JobState.FAILED, "timeout", "took longer than 5 s")
    assert bench.executor.running == 0


async def test_a_bug_fails_its_own_job_alone_and_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(attempt: JobAttempt) -> bytes:
        if attempt.job.row == 1:
            raise KeyError("bug")
        return b"1"

    bench.executor.work = fail
    first, second = await bench.make(retries=0), await bench.make()
    assert (await bench.ended(first)).error == "exception"
    assert (await bench.ended(second)).state is JobState.DONE
    assert "unhandled exception in a job" in caplog.text


async def test_a_timeout_error_inside_of_the_work_is_not_the_timeout_of_its_job(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(attempt: JobAttempt) -> bytes:
        raise TimeoutError("a look-up inside of the work took too long")

    bench.executor.work = fail
    job = await bench.ended(await bench.make(timeout=500, retries=0))
    assert (job.error, "500 s" in str(job.detail)) == ("exception", False)
    assert "unhandled exception in a job" in caplog.text


async def test_what_has_not_begun_never_runs_once_it_is_cancelled(bench: Bench) -> None:
    job = await bench.make(delay=10)
    assert await bench.jobs.cancel(job.id) == (True, JobState.CANCELLED)
    await asyncio.sleep(20)
    assert bench.executor.attempts == []
    assert await bench.jobs.cancel(job.id) == (False, JobState.CANCELLED)
    assert [event["event"] for event in await bench.events(job)] == ["queued", "cancelled"]


async def test_what_runs_is_stopped_and_ends_as_cancelled(bench: Bench) -> None:
    stopped = asyncio.Event()

    async def hang(attempt: JobAttempt) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return b""

    bench.executor.work = hang
    job = await bench.make()
    await asyncio.sleep(0.1)
    assert await bench.jobs.cancel(job.id) == (True, JobState.RUNNING)
    await stopped.wait()
    assert (await bench.ended(job)).state is JobState.CANCELLED
    assert [event["event"] for event in await bench.events(job)] == ["queued", "started", "cancelled"]


async def test_a_second_cancel_leaves_what_runs_the_time_that_it_has_to_stop(bench: Bench) -> None:
    async def stop_slowly(attempt: JobAttempt) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(5)
            stopped.append(bench.wall())
        return b""

    stopped: list[float] = []
    bench.executor.work = stop_slowly
    job = await bench.make()
    await asyncio.sleep(0.1)
    asked = bench.wall()
    for _ in range(3):
        assert await bench.jobs.cancel(job.id) == (True, JobState.RUNNING)
        await asyncio.sleep(1)
    assert (await bench.ended(job)).state is JobState.CANCELLED
    assert stopped == [pytest.approx(asked + 5, abs=0.1)]


async def test_a_job_moves_while_it_has_not_begun_and_runs_once_more_when_it_failed(bench: Bench) -> None:
    job = await bench.make(delay=10)
    await bench.jobs.move(job.id, MoveRequest(delay=100))
    await asyncio.sleep(50)
    assert await bench.state(job) is JobState.SCHEDULED
    await bench.jobs.move(job.id, MoveRequest(delay=0))
    job = await bench.ended(job)
    with pytest.raises(InvalidParams, match="is done"):
        await bench.jobs.move(job.id, MoveRequest(delay=0))
    with pytest.raises(InvalidParams, match="give one of them"):
        await bench.jobs.move(job.id, MoveRequest())
    other = await bench.make(delay=10)
    await bench.jobs.cancel(other.id)
    await bench.jobs.move(other.id, MoveRequest(delay=0))
    assert (await bench.ended(other)).run == 2
    names = [event["event"] for event in await bench.events(other)]
    assert names == ["queued", "cancelled", "queued", "started", "done"]


async def test_the_same_key_makes_one_job_also_at_the_same_time(failing: Bench) -> None:
    made = await asyncio.gather(*(failing.make(key="k", delay=5) for _ in range(5)))
    assert len({job.id for job in made}) == 1
    assert (await failing.make(owner=B, key="k", delay=5)).id != made[0].id
    with pytest.raises(InvalidParams, match="another request"):
        await failing.make(key="k", delay=6)


async def test_keys_of_one_hash_make_a_job_each(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.core.jobs.keys._place", lambda owner, key: (1, 1))
    jobs = [await bench.make(key=key, delay=5) for key in ("k", "l")]
    assert [(await bench.make(key=key, delay=5)).id for key in ("k", "l")] == [job.id for job in jobs]


async def test_a_key_is_forgotten_with_its_job(bench: Bench) -> None:
    first = await bench.make(key="k", keep=10)
    await asyncio.sleep(15)
    with pytest.raises(NotFound):
        await bench.jobs.find(first.id)
    assert (await bench.make(key="k", keep=10)).id != first.id
    assert bench.jobs.pool.used < 2 * 1100


async def test_a_job_is_forgotten_once_also_where_its_cancel_came_after_its_end(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    job = await bench.ended(await bench.make(keep=10))
    for _ in range(3):
        assert await bench.jobs.cancel(job.id) == (False, JobState.DONE)
    await asyncio.sleep(15)
    assert (len(bench.jobs.agenda), bench.jobs.pool.used) == (0, 0)
    assert caplog.text == ""


async def test_at_most_this_many_run_and_owners_take_turns(bench: Bench) -> None:
    order: list[str] = []

    async def work(attempt: JobAttempt) -> bytes:
        order.append(attempt.job.owner[0])
        await asyncio.sleep(1)
        return b"1"

    bench.executor.work = work
    jobs = [await bench.make(owner=A) for _ in range(10)] + [await bench.make(owner=B) for _ in range(2)]
    for job in jobs:
        await bench.ended(job)
    assert bench.executor.most == 3, "two, and one more for a client that has none"
    assert "b" in order[2:5]
    assert order.count("b") == 2


async def test_a_place_is_free_as_soon_as_the_work_is_over_though_that_is_not_stored_yet(
    failing: Bench, store: FailingJobs
) -> None:
    began: list[float] = []

    async def work(attempt: JobAttempt) -> bytes:
        began.append(failing.wall())
        await asyncio.sleep(1)
        return b"1"

    failing.executor.work = work
    jobs = [await failing.make() for _ in range(3)]
    await asyncio.sleep(0.5)
    store.fails = 1  # the end of the first, which is tried again
    await asyncio.sleep(0.7)
    assert (len(began), failing.jobs.running) == (3, 2)
    assert await failing.state(jobs[0]) is JobState.RUNNING
    assert [(await failing.ended(job)).state for job in jobs] == [JobState.DONE] * 3
    assert failing.executor.most == 2


async def test_a_job_that_is_due_again_before_its_attempt_is_over_runs_again() -> None:
    agenda, began, end = Agenda(), list[int](), asyncio.Event()
    agenda.put(new_job(1))

    async def begin(row: int, worked: Callable[[], None]) -> None:
        began.append(row)
        await end.wait()

    lane = Lane("publish", agenda, 2, begin)
    lane.pump(110.0)
    await asyncio.sleep(0)
    agenda.put(new_job(1))
    lane.pump(110.0)
    await asyncio.sleep(0)
    assert began == [1]
    end.set()
    await asyncio.sleep(0.1)
    lane.pump(110.0)
    await asyncio.sleep(0)
    assert began == [1, 1]
    await lane.close()


async def test_progress_is_stored_and_read(bench: Bench) -> None:
    async def work(attempt: JobAttempt) -> bytes:
        await attempt.report(ProgressEvent(done=1, total=2, message="half"))
        await attempt.report(ProgressEvent(data={"frame": 7}))
        return b"1"

    bench.executor.work = work
    job = await bench.ended(await bench.make())
    events = await bench.events(job)
    assert events[2:4] == [
        {"event": "progress", "done": 1.0, "total": 2.0, "message": "half"},
        {"event": "progress", "data": {"frame": 7}},
    ]


async def test_a_reader_has_all_events_and_its_stream_ends_with_the_run(bench: Bench) -> None:
    job = await bench.make(delay=10)
    topic = await bench.jobs.topic(job.id, A)
    reader = FakeReader(topic)
    bench.hub.attach(reader, "oldest")
    await bench.ended(job)
    await asyncio.sleep(0.1)
    names = [orjson.loads(line)["event"] for line in b"".join(reader.sent).splitlines()]
    assert names == ["queued", "started", "done"]
    assert reader.complete
    late = FakeReader(await bench.jobs.topic(job.id, A))
    bench.hub.attach(late, "oldest")
    await asyncio.sleep(0.1)
    assert b"".join(late.sent) == b"".join(reader.sent)
    assert late.complete
    await asyncio.sleep(60)
    assert bench.hub.topics == {}


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (None, {"event": "done", "result": "done"}),
        ("broken", {"event": "failed", "error": "exception", "detail": "broken", "attempts": 1}),
        ("cancelled", {"event": "cancelled"}),
    ],
)
async def test_a_reader_that_is_behind_when_the_job_is_forgotten_hears_how_it_ended_and_is_not_cut(
    bench: Bench, error: str | None, last: dict[str, Any]
) -> None:
    async def work(attempt: JobAttempt) -> bytes:
        for number in range(20):
            await attempt.report(ProgressEvent(data=str(number) * 2000))
        if error is not None:
            raise AttemptFailed("exception", error, again=False)
        return b'"done"'

    bench.executor.work = work
    job = await bench.make(keep=10, delay=5 if error == "cancelled" else 0)
    topic = await bench.jobs.topic(job.id, A)
    slow, quick = FakeReader(topic), FakeReader(topic)
    slow.stuck = True
    for reader in (slow, quick):
        bench.hub.attach(reader, "oldest")
    if error == "cancelled":
        await bench.jobs.cancel(job.id)
    await bench.ended(job)
    await asyncio.sleep(30)
    assert (bench.hub.topics, len(bench.jobs.agenda), bench.hub.log_bytes) == ({}, 0, 0)
    assert (slow.evicted, slow.complete, quick.complete) == (False, False, True)
    head = topic.head
    slow.stuck = False
    slow.visit()
    assert [orjson.loads(line) for line in slow.lines] == [{"event": "gap", "from": 1, "to": head - 1}, last]
    assert (slow.evicted, slow.complete, slow.attached) == (False, True, False)
    assert orjson.loads(quick.lines[-1]) == last


async def test_a_topic_that_nobody_reads_is_forgotten(bench: Bench) -> None:
    job = await bench.make(delay=100)
    await outcome_of(bench.hub.find(f"job:{job.id}", A))
    assert len(bench.hub.topics) == 1
    await asyncio.sleep(31)
    assert bench.hub.topics == {}
    with pytest.raises(NotFound):
        await outcome_of(bench.hub.find("job:1-" + 32 * "0", A))


async def test_lists_have_the_owners_jobs_the_newest_first(bench: Bench) -> None:
    jobs = [await bench.make(delay=100 if number % 2 else 0) for number in range(6)]
    await bench.make(owner=B)
    await bench.ended(jobs[4])
    found, after = await bench.jobs.listed(A, None, 4, None)
    assert [job.row for job in found] == [6, 5, 4, 3]
    found, after = await bench.jobs.listed(A, None, 4, after)
    assert ([job.row for job in found], after) == ([2, 1], None)
    assert [job.row for job in (await bench.jobs.listed(A, JobState.DONE, 9, None))[0]] == [5, 3, 1]
    assert [job.row for job in (await bench.jobs.listed(A, JobState.SCHEDULED, 9, None))[0]] == [6, 4, 2]
    assert [job.row for job in (await bench.jobs.listed(A, None, 2, 1 << 40))[0]] == [6, 5]


async def test_what_is_refused_leaves_nothing_behind(bench: Bench) -> None:
    with pytest.raises(InvalidParams, match=r"publish\.topic"):
        await bench.make(publish={"topic": "bad", "data": 1})
    with pytest.raises(Forbidden, match="claim jobs"):
        await bench.make(grant=NOTHING)
    with pytest.raises(NotFound, match="--jobs MODULE"):
        await bench.make(publish=None, run={"name": "f"})
    bench.jobs.draining = True
    with pytest.raises(Draining):
        await bench.make()
    assert (len(bench.jobs.agenda), bench.jobs.pool.used) == (0, 0)


async def test_events_and_results_count_as_well_until_the_job_is_forgotten() -> None:
    bench = Bench(limits=JobLimits(jobs_size=100_000))

    async def work(attempt: JobAttempt) -> bytes:
        for _ in range(50):
            await attempt.report(ProgressEvent(data="x" * 10_000))
        attempt.output = "y" * 1000
        return b'"' + b"z" * 5000 + b'"'

    await bench.jobs.open()
    bench.executor.work = work
    job = await bench.ended(await bench.make(keep=10))
    # Once the client's share is used up, further progress is dropped, and the job ends all the same.
    assert job.state is JobState.DONE
    assert len(await bench.events(job)) == 3 + 8
    assert bench.jobs.pool.used == job.held > 80_000 + 2 * 5000 + 1000
    await asyncio.sleep(15)
    assert bench.jobs.pool.used == 0
    await bench.jobs.close()


async def test_a_job_whose_request_is_damaged_fails_by_itself(bench: Bench) -> None:
    job = await bench.make(delay=10)
    bench.store._jobs[job.row].work = msgspec.Raw(b"")
    job = await bench.ended(job)
    assert (job.state, job.error, job.detail) == (
        JobState.FAILED,
        "storage",
        "its request is damaged on disk",
    )
    assert bench.executor.attempts == []


async def test_an_owner_has_a_share_of_the_bytes() -> None:
    bench = Bench(limits=JobLimits(jobs_size=10_000))
    for _ in range(7):
        await bench.make(delay=100)
    with pytest.raises(LimitReached, match="limit jobs") as caught:
        await bench.make(delay=100)
    assert caught.value.pool == "jobs"
    assert (await bench.make(owner=B, delay=100)).row
    await bench.jobs.close()


async def test_what_cannot_be_stored_is_refused_or_waits(failing: Bench, store: FailingJobs) -> None:
    store.fails = 1
    with pytest.raises(StorageFailed):
        await failing.make()
    assert failing.jobs.pool.used == 0
    job = await failing.make(delay=1)
    store.fails = 1
    with pytest.raises(StorageFailed):
        await failing.jobs.cancel(job.id)
    store.fails = 3
    job = await failing.ended(job)
    assert job.state is JobState.DONE
    assert [event["event"] for event in await failing.events(job)] == ["queued", "started", "done"]


async def test_while_an_outcome_cannot_be_stored_a_cancel_is_refused_at_once_and_holds_once_it_is_stored(
    failing: Bench, store: FailingJobs
) -> None:
    async def work(attempt: JobAttempt) -> bytes:
        store.fails = 1000
        return b"1"

    failing.executor.work = work
    job = await failing.make()
    await asyncio.sleep(10)
    asked = failing.wall()
    with pytest.raises(StorageFailed):
        await failing.jobs.cancel(job.id)
    assert failing.wall() - asked < 0.1
    store.fails = 0
    assert await failing.jobs.cancel(job.id) == (True, JobState.RUNNING)
    assert (await failing.ended(job)).state is JobState.CANCELLED
    assert [event["event"] for event in await failing.events(job)] == ["queued", "started", "cancelled"]


async def test_a_job_that_is_cancelled_while_its_start_cannot_be_stored_never_runs(
    failing: Bench, store: FailingJobs
) -> None:
    job = await failing.make(delay=5)
    await asyncio.sleep(4.9)
    store.fails = 1
    await asyncio.sleep(0.2)  # its start was refused, and is tried again 0.5 s later
    assert await failing.jobs.cancel(job.id) == (True, JobState.CANCELLED)
    await asyncio.sleep(5)
    assert failing.executor.attempts == []


async def test_one_commit_accepts_a_job_and_begins_it_where_there_is_a_place(
    failing: Bench, store: FailingJobs
) -> None:
    stop = asyncio.Event()

    async def work(attempt: JobAttempt) -> bytes:
        await stop.wait()
        return b"1"

    failing.executor.work = work
    jobs = [await failing.make() for _ in range(2)]
    assert [job.state for job in jobs] == [JobState.SCHEDULED] * 2  # in the state in which they were accepted
    assert store.puts == [2, 2]
    waits, later = await failing.make(), await failing.make(delay=5)
    await asyncio.sleep(0.1)
    assert (store.puts, len(failing.executor.attempts)) == ([2, 2, 1, 1], 2)
    stop.set()
    for job in (*jobs, waits, later):
        names = [event["event"] for event in await failing.events(await failing.ended(job))]
        assert names == ["queued", "started", "done"]


async def test_a_job_that_could_not_be_stored_gives_its_place_back(failing: Bench, store: FailingJobs) -> None:
    store.fails = 3
    for _ in range(3):
        with pytest.raises(StorageFailed):
            await failing.make()
    assert failing.executor.attempts == []
    jobs = [await failing.make() for _ in range(2)]
    assert store.puts.count(2) == 5
    assert [(await failing.ended(job)).state for job in jobs] == [JobState.DONE] * 2


async def test_who_comes_later_waits_behind_those_who_wait() -> None:
    agenda = Agenda()

    async def begin(row: int, worked: Callable[[], None]) -> None:
        await asyncio.Event().wait()

    lane = Lane("publish", agenda, 2, begin)
    assert lane.reserve(1, A, 100.0)
    agenda.put(new_job(2, due=100.0))
    assert not lane.reserve(3, A, 100.0)
    lane.pump(100.0)
    assert not lane.reserve(3, A, 100.0)
    lane.free(1)
    assert lane.reserve(3, A, 100.0)
    await lane.close()
    lane.start(3, lambda worked: begin(3, worked))
    assert lane.running == {}


async def test_a_bug_in_a_change_whose_caller_has_gone_is_reported(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*_: Any) -> Any:
        raise KeyError("odd")

    errors: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["message"]))
    job = await bench.make(delay=100)
    for refused, put in ((False, odd), (True, FailingJobs().put)):
        monkeypatch.setattr(bench.store, "put", put)
        if refused:
            put.__self__.fails = 1
        cancelling = asyncio.create_task(bench.jobs.cancel(job.id))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        cancelling.cancel()
        await asyncio.wait((cancelling,))
        await asyncio.sleep(1)
    assert errors == ["a change of a job failed"]


async def test_what_changes_nothing_is_not_stored(failing: Bench, store: FailingJobs) -> None:
    job = await failing.ended(await failing.make())
    store.fails = 1
    assert await failing.jobs.cancel(job.id) == (False, JobState.DONE)
    assert store.fails == 1


async def test_what_ran_when_the_service_ended_is_lost_and_runs_again() -> None:
    bench = Bench()
    await bench.jobs.open()

    async def hang(attempt: JobAttempt) -> bytes:
        await asyncio.Event().wait()
        return b""

    bench.executor.work = hang
    runs, stops, later = await bench.make(), await bench.make(), await bench.make(delay=5, key="k")
    await asyncio.sleep(0.1)
    bench.store._jobs[stops.row].stopping = True
    await bench.jobs.close()
    assert bench.executor.running == 0

    bench.executor.work = _nothing
    await bench.restart()
    assert (await bench.ended(runs)).attempt == 2
    names = [event["event"] for event in await bench.events(runs)]
    assert names == ["queued", "started", "retry", "started", "done"]
    assert (await bench.ended(stops)).state is JobState.CANCELLED
    assert (await bench.ended(later)).state is JobState.DONE
    assert (await bench.make(delay=5, key="k")).id == later.id
    await bench.jobs.close()


async def test_jobs_whose_kind_has_no_executor_after_a_restart_wait_and_are_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = await bench.make(delay=5), await bench.make(delay=5)
    for job in (one, other):
        bench.store._jobs[job.row].kind = "run"
    await bench.restart()
    [line] = [record for record in caplog.records if record.getMessage().startswith("jobs cannot begin")]
    assert line.__dict__["jobs"] == 2
    await asyncio.sleep(10)
    assert await bench.state(one) is JobState.SCHEDULED
    assert await bench.jobs.cancel(other.id) == (True, JobState.CANCELLED)


async def test_ids_that_are_nearly_right_are_not_found(bench: Bench) -> None:
    job = await bench.make(delay=5)
    for wrong in (job.id[:-1] + ("0" if job.id[-1] != "0" else "1"), job.id + "0", "1", "", "zz-" + 32 * "0"):
        with pytest.raises(NotFound):
            await bench.jobs.find(wrong)


def test_requests_with_their_members_in_another_order_are_the_same() -> None:
    one, other = ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")


def test_a_result_that_is_kept_takes_no_more_memory_than_its_text() -> None:
    outcomes = AttemptOutcomes(lambda: 120.0, lambda: 0.5)
    jobs = [new_job(row) for row in range(100)]
    for job in jobs:
        job.accept()
        job.begin("w")
    tracemalloc.start()
    try:
        for job in jobs:
            outcomes.succeeded(orjson.dumps({"ok": 1}), job)
        assert tracemalloc.get_traced_memory()[0] / len(jobs) < 1000
    finally:
        tracemalloc.stop()
