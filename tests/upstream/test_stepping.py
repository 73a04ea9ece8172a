"""Steps in batches: which bodies they are carried out on, how many wait, and how batches with steps end."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
import pytest

from service.core.errors import InvalidParams, LimitReached
from service.core.fetching.batch import BatchLimits, Keep
from service.core.fetching.outcome import Fetched
from service.core.owner import Owner
from service.core.pool import FOUR_FIFTHS, Pool
from service.sources.batches import Batches
from service.sources.stepping import AHEAD
from service.upstream.attempts import FetchAttempt
from service.work.builtin.count import Count, count
from service.work.opening import import_steps
from service.work.step import Body, PlannedStep
from service.work.step_runner import StepOutcome
from tests.upstream.batch_disk import BatchDisk
from tests.upstream.test_batches import Bench, at_once, events

import_steps()
DIGEST = [{"step": "digest"}]
COUNT = [{"step": "count", "field": 1}]


class FakeSteps:
    """Carries out a list of steps when it may, and keeps the bodies that it was given."""

    blobs = None

    """Each takes longer than the one before by ``took`` seconds."""

    def __init__(self, took: float = 0.0, bodies: int = 1 << 30) -> None:
        self.pool = Pool("step_bytes", bodies, eager=FOUR_FIFTHS)
        self.took = took
        self.bodies: list[Body] = []
        self.owners: list[Owner] = []
        self.stopped = 0
        self.seconds: dict[str, float] = {}
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def run(self, steps: Sequence[PlannedStep], body: Body, owner: Owner) -> StepOutcome:
        self.bodies.append(body)
        self.owners.append(owner)
        size = len(body.data)
        self.pool.charge(owner, size)
        try:
            await self.go_on.wait()
            await asyncio.sleep(self.took * len(self.bodies))
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        finally:
            self.pool.release(owner, size)
        if body.data == b"bug":
            raise KeyError("bug")
        if body.data == b"bad":
            return StepOutcome((b'{"step":"digest"}',), "links", "not a page")
        if body.data == b"full":
            return StepOutcome((), "save", "storage: No space left on device", error="storage")
        tally = count(body, steps[0].parameters).tally if isinstance(steps[0].parameters, Count) else b""
        result = orjson.dumps({"step": steps[0].step.name})
        return StepOutcome((result,), tally=tally, seconds=self.seconds)


class StepBench(Bench):
    def __init__(
        self, answer: Any = at_once, steps: FakeSteps | None = None, limits: BatchLimits | None = None
    ) -> None:
        super().__init__(answer, limits or BatchLimits())
        self.steps = steps or FakeSteps()
        ids = iter(range(1000))
        self.batches = Batches(
            self.hub, self.fetcher, self.runner, limits or BatchLimits(),  # type: ignore[arg-type]
            new_id=lambda: f"b{next(ids)}", steps=self.steps,  # type: ignore[arg-type]
        )  # fmt: skip

    async def close(self) -> None:
        await super().close()
        await self.batches.stepping.close()


def answering(
    status: int = 200, body: bytes = b"body", *, truncated: bool = False
) -> Callable[[FetchAttempt], Awaitable[Fetched]]:
    async def answer(attempt: FetchAttempt) -> Fetched:
        await asyncio.sleep(0)
        return Fetched(status, attempt.target, {"content-type": "text/plain"}, body, truncated=truncated)

    return answer


async def all_events(bench: Bench, total: int = 1, **options: Any) -> list[dict[str, Any]]:
    """Return the events of a batch, ``done`` last."""
    reader = bench.read(bench.start(total, **options))
    await asyncio.sleep(1)
    found = events(reader)
    assert found[-1]["event"] == "done"
    return found


async def test_a_result_carries_its_steps_and_no_body() -> None:
    bench = StepBench()
    result, done = await all_events(bench, steps=DIGEST)
    assert result["event"] == "result"
    assert result["steps"] == [{"step": "digest"}]
    assert not {"body", "encoding"} & result.keys()
    assert (done["ok"], done["failed"]) == (1, 0)
    (body,) = bench.steps.bodies
    assert (body.data, body.type, body.url) == (b"body", "text/plain", "http://h0.example/0")
    await bench.close()


@pytest.mark.parametrize(("mode", "body"), [("auto", "body"), ("text", "body"), ("base64", "Ym9keQ==")])
async def test_a_body_that_is_asked_for_comes_beside_the_steps(mode: str, body: str) -> None:
    bench = StepBench()
    result, _ = await all_events(bench, steps=DIGEST, body=mode)
    assert (result["body"], result["steps"]) == (body, [{"step": "digest"}])
    await bench.close()


async def test_a_body_that_is_not_wanted_is_fetched_for_its_steps() -> None:
    bench = StepBench()
    result, _ = await all_events(bench, steps=DIGEST, body="none")
    assert bench.fetcher.orders[0].want_body
    assert "body" not in result
    await bench.close()


@pytest.mark.parametrize("status", [206, 301, 404, 500])
async def test_another_status_is_an_ordinary_result_without_steps(status: int) -> None:
    bench = StepBench(answering(status))
    result, done = await all_events(bench, steps=DIGEST, retries=0)
    assert (result["status"], result["body"]) == (status, "body")
    assert "steps" not in result
    assert done["ok"] == 1
    assert not bench.steps.bodies
    await bench.close()


async def test_a_body_that_was_cut_is_step_failed() -> None:
    bench = StepBench(answering(truncated=True))
    failed, done = await all_events(bench, steps=DIGEST, max_bytes=4)
    assert (failed["event"], failed["error"], failed["step"], failed["steps"]) == (
        "failed",
        "step_failed",
        "digest",
        [],
    )
    assert "max_bytes (4)" in failed["detail"]
    assert done["failed"] == 1
    await bench.close()


async def test_a_step_that_fails_costs_its_own_url_and_says_what_went_before() -> None:
    async def answer(attempt: FetchAttempt) -> Fetched:
        body = b"bad" if attempt.target.url.endswith("/1") else b"good"
        return await answering(body=body)(attempt)

    bench = StepBench(answer)
    *found, done = await all_events(bench, 3, steps=DIGEST)
    failed = next(event for event in found if event["event"] == "failed")
    assert (failed["index"], failed["error"], failed["detail"]) == (1, "step_failed", "not a page")
    assert (failed["step"], failed["steps"], failed["attempts"]) == ("links", [{"step": "digest"}], 1)
    assert (done["ok"], done["failed"]) == (2, 1)
    assert bench.batches.statistics().failures == {"step_failed": 1}
    await bench.close()


async def test_a_bug_in_steps_costs_its_own_url() -> None:
    bench = StepBench(answering(body=b"bug"))
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
    failed, _ = await all_events(bench, steps=DIGEST)
    assert (failed["error"], failed["step"], failed["detail"]) == (
        "step_failed",
        "digest",
        "internal error (logged)",
    )
    assert [type(error) for error in errors] == [KeyError]
    await bench.close()


@pytest.mark.parametrize(
    ("steps", "says"),
    [([], r"options.steps: 1 to 16"), ([{"step": "no"}], r"options.steps\[0\].step: 'no'"),
     ([{"step": "save"}], "save needs --blobs DIR"), ([{"step": "digest", "x": 1}], r"options.steps\[0\]: .*x"),
     ([{"step": "count", "field": 1}] * 2, "one count step"), ([{"step": "count"}], "give one of field and regex"),
     ([{"step": "count", "regex": "("}], "regex: ")],
)  # fmt: skip
async def test_steps_are_checked_before_a_batch_is_accepted(steps: Any, says: str) -> None:
    bench = StepBench()
    with pytest.raises(InvalidParams, match=says):
        bench.start(steps=steps)
    assert bench.batches.running == 0
    assert not bench.hub.topics
    await bench.close()


async def test_the_time_of_a_url_is_for_fetching_alone() -> None:
    bench = StepBench(steps=FakeSteps(took=100.0))
    reader = bench.read(bench.start(1, steps=DIGEST, timeout=1))
    await asyncio.sleep(200)
    assert [event["event"] for event in events(reader)] == ["result", "done"]
    await bench.close()


async def test_full_steps_hold_back_fetching_and_it_goes_on_when_they_do() -> None:
    bench = StepBench()
    bench.steps.go_on.clear()
    reader = bench.read(bench.start(1000, steps=DIGEST, concurrency=20))
    await asyncio.sleep(30)
    held = len(bench.fetcher.orders)
    assert AHEAD <= held <= AHEAD + 2 * 20
    await asyncio.sleep(30)
    assert len(bench.fetcher.orders) == held
    bench.steps.go_on.set()
    await asyncio.sleep(30)
    assert len(events(reader)) == 1001
    assert bench.steps.pool.used == 0
    await bench.close()


async def test_bodies_that_wait_are_bounded_in_bytes_for_each_owner_and_others_go_on() -> None:
    bench = StepBench(answering(body=bytes(100_000)), FakeSteps(bodies=1_000_000))
    bench.steps.go_on.clear()
    bench.start(200, steps=DIGEST, concurrency=2)
    await asyncio.sleep(30)
    assert bench.steps.pool.used <= 1_000_000
    bench.start(200, steps=DIGEST, concurrency=2, owner="other")
    await asyncio.sleep(30)
    assert bench.steps.pool.held(Owner("other")) >= 100_000
    assert bench.steps.pool.used <= 1_200_000
    bench.steps.go_on.set()
    await asyncio.sleep(60)
    assert bench.batches.running == 0
    await bench.close()


async def test_the_credit_of_a_reader_counts_bodies_whose_steps_wait() -> None:
    bench = StepBench(answering(body=bytes(100_000)), limits=BatchLimits(credit=1_000_000))
    bench.steps.go_on.clear()
    batch = bench.start(200, steps=DIGEST, concurrency=2, keep=Keep.LINGER)
    bench.read(batch)
    await asyncio.sleep(30)
    assert 1_000_000 <= batch.landed <= 1_200_000
    bench.steps.go_on.set()
    await asyncio.sleep(30)
    assert (batch.landed, batch.done) == (0, True)
    await bench.close()


async def test_a_cancel_stops_what_runs_and_each_url_has_one_event() -> None:
    bench = StepBench()
    bench.steps.go_on.clear()
    batch = bench.start(100, steps=COUNT)
    reader = bench.read(batch)
    await asyncio.sleep(1)
    begun = len(bench.steps.bodies)
    assert begun
    bench.batches.cancel(batch.id)
    await asyncio.sleep(1)
    *failed, done = events(reader)
    assert sorted(event["index"] for event in failed) == list(range(100))
    assert {event["error"] for event in failed} == {"cancelled"}
    assert done["failed"] == 100
    assert (bench.steps.stopped, bench.steps.pool.used, batch.landed) == (begun, 0, 0)
    assert bench.batches.stepping.keys.used == 0
    await bench.close()


async def test_an_answer_that_is_shared_has_the_steps_of_each_batch() -> None:
    bench = StepBench()
    readers = [bench.read(bench.start(1, owner=owner, **more)) for owner, more in
               (("a", {"steps": DIGEST}), ("b", {"steps": COUNT}), ("c", {}))]  # fmt: skip
    await asyncio.sleep(1)
    first, second, third = (events(reader)[0] for reader in readers)
    assert len(bench.fetcher.orders) == 1
    assert (first["steps"], second["steps"]) == ([{"step": "digest"}], [{"step": "count"}])
    assert ("steps" in third, third["body"]) == (False, "body")
    assert sorted(one["cache"] for one in (first, second, third)) == ["miss", "shared", "shared"]
    await bench.close()


async def test_counts_are_merged_over_the_batch() -> None:
    async def answer(attempt: FetchAttempt) -> Fetched:
        return await answering(body=b"a 1\nb 1\na 2\n\n")(attempt)

    bench = StepBench(answer)
    batch = bench.start(3, steps=[{"step": "count", "field": 1, "top": 1}])
    reader = bench.read(batch)
    await asyncio.sleep(0.5)
    done = events(reader)[-1]
    assert done["counts"] == {
        "lines": 12, "skipped": 3, "keys": 2, "exact": True, "error_bound": 0, "top": [{"key": "a", "count": 6}],
    }  # fmt: skip
    assert batch.counts()["counts"] == done["counts"]
    assert bench.batches.stepping.keys.used == 0
    await bench.close()


async def test_progress_is_sent_at_most_once_a_second_and_has_offsets() -> None:
    bench = StepBench(answering(body=b"a\n"), FakeSteps(took=0.3))
    batch = bench.start(40, steps=COUNT)
    reader = bench.read(batch)
    while not batch.done:
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.1)
    found = events(reader)
    progress = [event["counts"]["lines"] for event in found if event["event"] == "progress"]
    assert progress == sorted(set(progress))
    assert batch.elapsed_ms is not None
    assert 5 <= len(progress) <= batch.elapsed_ms / 1000
    assert batch.topic.head == len(found) == 41 + len(progress)
    assert found[-1]["counts"]["lines"] == 40
    await bench.close()


async def test_batches_that_count_share_a_pool() -> None:
    bench = StepBench()
    bench.steps.go_on.clear()
    for _ in range(20):
        bench.start(1, steps=COUNT)
    with pytest.raises(LimitReached, match="limit count_keys"):
        [bench.start(1, steps=COUNT) for _ in range(80)]
    bench.start(1, steps=DIGEST)
    bench.start(1, steps=COUNT, owner="other")
    bench.steps.go_on.set()
    await asyncio.sleep(5)
    bench.start(1, steps=COUNT)
    await asyncio.sleep(5)
    assert bench.batches.stepping.keys.used == 0
    await bench.close()


async def test_a_service_without_steps_says_so() -> None:
    bench = Bench()
    with pytest.raises(InvalidParams, match=r"options\.steps"):
        bench.start(1, steps=DIGEST)
    await bench.close()


async def reported_before_a_kill(disk: BatchDisk, **options: Any) -> tuple[str, list[dict[str, Any]]]:
    """Begin a batch of ten, of which the steps of four are carried out, and kill the service."""

    async def answer(attempt: FetchAttempt) -> Fetched:
        if len(steps.bodies) >= 4:
            steps.go_on.clear()
        await asyncio.sleep(0.01)
        return Fetched(200, attempt.target, {"content-type": "text/plain"}, b"a\nb\n", truncated=False)

    disk.steps = steps = FakeSteps()
    life = await disk.open(answer)
    batch = life.start(10, concurrency=1, **options)
    await asyncio.sleep(5)
    reader = life.read(batch.id)
    await asyncio.sleep(1)
    found = events(reader)
    assert [event["event"] for event in found] == ["result"] * 4
    assert len(steps.bodies) == 10
    disk.kill()
    return batch.id, found


async def test_what_was_sent_before_a_kill_is_not_made_again_and_the_rest_is(disk: BatchDisk) -> None:
    batch, before = await reported_before_a_kill(disk, steps=DIGEST)
    disk.steps = FakeSteps()
    life = await disk.open(at_once)
    found = await life.all_of(batch)
    assert found[:4] == before
    assert len(disk.steps.bodies) == 6
    assert sorted(event["index"] for event in found[:-1]) == list(range(10))
    assert all(event["steps"] == [{"step": "digest"}] for event in found[:-1])
    assert found[-1]["ok"] == 10


async def test_counts_say_what_they_miss_after_a_kill(disk: BatchDisk) -> None:
    batch, _ = await reported_before_a_kill(disk, steps=COUNT)
    disk.steps = FakeSteps()
    life = await disk.open(answering(body=b"a\n"))
    counts = (await life.all_of(batch))[-1]["counts"]
    assert (counts["lines"], counts["exact"], counts["missed"]) == (6, False, 4)


async def test_steps_that_are_gone_after_a_restart_fail_what_is_left(disk: BatchDisk) -> None:
    batch, before = await reported_before_a_kill(disk, steps=DIGEST)
    disk.steps = None
    life = await disk.open(at_once)
    found = await life.all_of(batch)
    assert found[:4] == before
    assert [event["error"] for event in found[4:-1]] == ["step_failed"] * 6
    assert not life.asked
    assert found[-1]["failed"] == 6


async def test_progress_is_not_an_outcome_of_a_url_after_a_restart(disk: BatchDisk) -> None:
    disk.steps = FakeSteps(took=1.0)
    life = await disk.open(answering(body=b"a\n"))
    batch = life.start(10, steps=COUNT)
    await asyncio.sleep(0.1)
    reader = life.read(batch.id)
    await asyncio.sleep(4)
    before = events(reader)
    assert "progress" in [event["event"] for event in before]
    disk.kill()
    disk.steps = FakeSteps()
    life = await disk.open(answering(body=b"a\n"))
    found = await life.all_of(batch.id)
    assert found[: len(before)] == before
    assert [event["event"] for event in found].count("done") == 1
    assert found[-1]["ok"] == 10


async def test_a_batch_says_where_its_time_went() -> None:
    bench = StepBench()
    bench.steps.seconds = {"thread": 1.0, "process": 2.0, "waiting": 3.0}
    batch = bench.start(2, steps=DIGEST)
    await asyncio.sleep(1)
    spent = orjson.loads(bench.batches.document(batch))["time_ms"]
    assert (spent["threads"], spent["processes"]) == (2000.0, 4000.0)
    assert spent["waiting"] >= 6000.0
    assert batch.time_ms["loop"] > 0
    assert spent.keys() == {"network", "loop", "threads", "processes", "waiting"}
    await bench.close()
