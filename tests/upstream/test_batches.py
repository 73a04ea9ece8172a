"""A batch from its beginning to its end: every URL has one event, ``done`` is last, and nothing is kept too long."""

import asyncio
import gc
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from service.core.access.grants import EVERY_HOST
from service.core.errors import Draining, LimitReached, NotFound, Overloaded, TooLarge
from service.core.fetching.batch import Batch, BatchLimits, BatchRequest, IdempotencyKey, Keep, KeyScope
from service.core.fetching.dial_policy import Policy
from service.core.fetching.outcome import Failure, Fetched
from service.core.fetching.request import Options
from service.core.fetching.target import Target
from service.core.memory_budget import UNLIMITED, MemoryBudget
from service.core.owner import Owner
from service.core.pool import Pool
from service.core.ports import TopicStore
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.memory_store import MemoryStore
from service.core.topics.topic import OnLag, Topic
from service.sources.batches import Batches
from service.upstream.attempts import FetchAttempt
from service.upstream.http1.answer_turns import AnswerTurns
from service.upstream.runner import Runner
from tests.core.readers import FakeReader
from tests.virtual import VirtualClockLoop

LIMITS = BatchLimits()


class FakeFetcher:
    """Gives prepared answers, and keeps every attempt."""

    def __init__(self, answer: Callable[[FetchAttempt], Awaitable[Fetched | Failure]], limits: BatchLimits) -> None:
        self.policy = Policy()
        self.reading = Pool("reading_bytes", limits.reading_bytes)
        self.memory = UNLIMITED
        self.answers = AnswerTurns()
        self.orders: list[FetchAttempt] = []
        self.prolonged: list[float] = []
        self.answer = answer

    def keeps(self, target: Target, owner: Owner) -> bool:
        return not target.host.startswith("far")

    def recall(self, attempt: FetchAttempt) -> Fetched | None:
        return None

    def prolong(self, task: asyncio.Task[Any], timeout: float) -> None:
        self.prolonged.append(timeout)

    async def fetch(self, attempt: FetchAttempt, task: asyncio.Task[Any]) -> Fetched | Failure:
        self.orders.append(attempt)
        return await self.answer(attempt)


async def at_once(attempt: FetchAttempt) -> Fetched:
    await asyncio.sleep(0)  # no network answers in the turn in which it was asked
    return Fetched(200, attempt.target, {"content-type": "text/plain"}, b"body", truncated=False)


async def never(attempt: FetchAttempt) -> Fetched:
    await asyncio.Event().wait()
    raise AssertionError


class Bench:
    def __init__(
        self,
        answer: Callable[[FetchAttempt], Awaitable[Any]] = at_once,
        limits: BatchLimits = LIMITS,
        memory: MemoryBudget = UNLIMITED,
        store: TopicStore | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        store = store or MemoryStore(lambda: "e")
        self.hub = Hub(HubLimits(), store, call_soon=loop.call_soon, clock=loop.time)
        self.fetcher = FakeFetcher(answer, limits)
        self.fetcher.memory = memory
        ids = iter(range(1000))
        self.runner = Runner(self.fetcher, limits, chance=lambda: 1.0)  # type: ignore[arg-type]
        self.batches = Batches(
            self.hub, self.fetcher, self.runner, limits, new_id=lambda: f"b{next(ids)}", memory=memory  # type: ignore[arg-type]
        )  # fmt: skip

    async def close(self) -> None:
        self.batches.close()
        await self.runner.close()

    def start(self, count: int = 3, *, keep: Keep = Keep.DETACHED, owner: str = "o", **options: Any) -> Batch:
        urls = [f"http://h{number % 50}.example/{number}" for number in range(count)]
        return self.batches.start(
            BatchRequest(urls=urls, options=Options(**options)), owner=Owner(owner), keep=keep
        )

    def read(self, batch: Batch) -> FakeReader:
        reader = FakeReader(batch.topic, OnLag.DISCONNECT)
        self.hub.attach(reader, "oldest")
        return reader


def events(reader: FakeReader) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in reader.lines]


async def test_every_url_has_one_event_and_done_is_last() -> None:
    bench = Bench()
    batch = bench.start(250)
    reader = bench.read(batch)
    await asyncio.sleep(1)
    reported = events(reader)
    assert sorted(event["index"] for event in reported[:-1]) == list(range(250))
    assert reported[-1] == {"event": "done", "total": 250, "ok": 250, "failed": 0, "by_status": {"200": 250},
                        "elapsed_ms": reported[-1]["elapsed_ms"]}  # fmt: skip
    assert reader.complete
    assert bench.batches.statistics().active == 0


async def test_a_result_has_everything_that_the_contract_names() -> None:
    bench = Bench()
    reader = bench.read(bench.start(1))
    await asyncio.sleep(1)
    result = events(reader)[0]
    assert result.pop("timing")["queued"] >= 0
    assert result == {
        "event": "result", "index": 0, "url": "http://h0.example/0", "final_url": "http://h0.example/0",
        "status": 200, "headers": {"content-type": "text/plain"}, "bytes": 4, "truncated": False,
        "encoding": "utf-8", "body": "body", "attempts": 1, "cache": "miss",
    }  # fmt: skip


async def test_a_late_reader_gets_all_of_it() -> None:
    bench = Bench()
    batch = bench.start(100)
    await asyncio.sleep(300)
    reader = bench.read(batch)
    await asyncio.sleep(1)
    assert len(events(reader)) == 101


async def test_bad_urls_fail_alone() -> None:
    bench = Bench()
    batch = bench.batches.start(
        BatchRequest(urls=["nonsense", "http://ok.example/", "http://127.0.0.1/"]),
        owner=Owner("o"),
        keep=Keep.DETACHED,
    )
    reader = bench.read(batch)
    await asyncio.sleep(1)
    reported = {event.get("index"): event for event in events(reader)}
    assert reported[0]["error"] == "invalid_url"
    assert reported[1]["status"] == 200
    assert reported[2]["error"] == "blocked"
    assert reported[None]["ok"] + reported[None]["failed"] == reported[None]["total"] == 3


async def test_an_attempt_that_failed_in_passing_is_made_again() -> None:
    left = [Failure("connect", "no"), Failure("timeout", "slow")]

    async def answer(attempt: FetchAttempt) -> Fetched | Failure:
        return left.pop() if left else await at_once(attempt)

    bench = Bench(answer)
    reader = bench.read(bench.start(1))
    await asyncio.sleep(5)
    assert events(reader)[0]["attempts"] == 3


async def test_no_retry_goes_beyond_the_time_of_the_url() -> None:
    async def answer(attempt: FetchAttempt) -> Fetched:
        return Fetched(503, attempt.target, {"retry-after": "30"}, b"", truncated=False)

    bench = Bench(answer)
    reader = bench.read(bench.start(1, timeout=10.0))
    await asyncio.sleep(1)
    assert events(reader)[0]["status"] == 503
    assert len(bench.fetcher.orders) == 1


async def test_cancel_fails_what_is_left_and_ends_with_done() -> None:
    async def answer(attempt: FetchAttempt) -> Fetched:
        return await (at_once(attempt) if attempt.target.url.endswith("/0") else never(attempt))

    bench = Bench(answer)
    batch = bench.start(1500, concurrency=10)
    reader = bench.read(batch)
    await asyncio.sleep(1)
    assert bench.batches.cancel(batch.id) == 1499
    assert bench.batches.cancel(batch.id) == 0
    await asyncio.sleep(1)
    reported = events(reader)
    assert reported[-1]["event"] == "done"
    assert (reported[-1]["ok"], reported[-1]["failed"]) == (1, 1499)
    assert {event["error"] for event in reported if event["event"] == "failed"} == {"cancelled"}
    assert bench.batches.statistics().active == 0


async def test_requests_of_a_cancelled_batch_end_a_few_in_each_turn_and_its_places_are_free_at_once() -> None:
    loop, ended = asyncio.get_running_loop(), Counter[int]()
    assert isinstance(loop, VirtualClockLoop)

    async def answer(order: FetchAttempt) -> Fetched:
        try:
            return await never(order)
        finally:
            ended[loop.turns] += 1

    bench = Bench(answer, replace(LIMITS, active=100, active_per_client=100))
    batch = bench.start(100)
    await asyncio.sleep(1)
    assert bench.runner.active == 90
    bench.batches.cancel(batch.id)
    bench.fetcher.answer = at_once
    reader = bench.read(bench.start(90))
    await asyncio.sleep(1)
    assert events(reader)[-1]["ok"] == 90
    assert (max(ended.values()), ended.total(), bench.runner.active) == (8, 90, 0)


@pytest.mark.usefixtures("uncollected")
async def test_a_cancelled_request_holds_nothing_that_the_collector_has_to_find() -> None:
    held: weakref.WeakSet[Body] = weakref.WeakSet()

    async def answer(order: FetchAttempt) -> Fetched:
        pieces = Body()
        held.add(pieces)
        await never(order)
        raise AssertionError(pieces)

    bench = Bench(answer)
    batch = bench.start(10)
    await asyncio.sleep(1)
    assert len(held) == 10
    bench.batches.cancel(batch.id)
    await asyncio.sleep(1)
    assert len(held) == 0


class Body:
    """Pieces of an answer."""


async def test_cancelling_before_anything_started_frees_every_place() -> None:
    bench = Bench(never, replace(LIMITS, active=10))
    batch = bench.start(20)
    await asyncio.sleep(0)  # the tasks are made, and none has begun
    bench.batches.cancel(batch.id)
    bench.fetcher.answer = at_once
    reader = bench.read(bench.start(20))
    await asyncio.sleep(1)
    assert events(reader)[-1]["ok"] == 20


async def test_the_task_that_ends_a_batch_goes_on_with_another() -> None:
    bench = Bench(limits=replace(LIMITS, active=1))
    readers = [bench.read(bench.start(5, owner=f"o{number}")) for number in range(4)]
    await asyncio.sleep(1)
    assert [events(reader)[-1]["ok"] for reader in readers] == [5] * 4


async def test_a_bug_in_a_fetch_fails_its_url_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(attempt: FetchAttempt) -> Fetched:
        if attempt.target.url.endswith("/1"):
            raise RuntimeError("secret")
        return await at_once(attempt)

    bench = Bench(answer)
    reader = bench.read(bench.start(3))
    await asyncio.sleep(1)
    reported = events(reader)
    assert (reported[-1]["ok"], reported[-1]["failed"]) == (2, 1)
    assert b"secret" not in b"".join(reader.sent)
    assert "secret" in caplog.text


async def test_an_attached_batch_ends_with_its_caller() -> None:
    bench = Bench(never)
    batch = bench.start(3, keep=Keep.ATTACHED, timeout=300)
    reader = bench.read(batch)
    await asyncio.sleep(100)
    assert not batch.done
    reader.detach()
    await asyncio.sleep(1)
    assert batch.done


async def test_a_batch_lingers_for_a_reader_that_comes_back() -> None:
    bench = Bench(never)
    batch = bench.start(3, keep=Keep.LINGER, timeout=300)
    bench.read(batch).detach()
    await asyncio.sleep(50)
    again = bench.read(batch)
    await asyncio.sleep(100)
    assert not batch.done
    again.detach()
    await asyncio.sleep(59)
    assert not batch.done
    await asyncio.sleep(2)
    assert batch.done


@pytest.mark.parametrize("keep", [Keep.ATTACHED, Keep.LINGER])
async def test_a_batch_whose_reader_never_comes_ends(keep: Keep) -> None:
    """Its client has gone between the request and its answer: nothing is read, and nobody leaves."""
    bench = Bench(never)
    batch = bench.start(3, keep=keep, timeout=300)
    await asyncio.sleep(59)
    assert not batch.done
    await asyncio.sleep(2)
    assert batch.done


async def test_a_batch_that_is_asked_for_again_to_run_to_its_end_does() -> None:
    bench = Bench(never)
    key = IdempotencyKey(Owner("o"), KeyScope(EVERY_HOST, b""), "k", b"digest")
    request = BatchRequest(urls=["http://h.example/"], options=Options(timeout=300))
    batch = bench.batches.start(request, owner=Owner("o"), keep=Keep.LINGER, key=key)
    bench.read(batch).detach()
    bench.batches.start(request, owner=Owner("o"), keep=Keep.DETACHED, key=key)
    await asyncio.sleep(200)
    assert not batch.done


async def test_a_detached_batch_needs_nobody() -> None:
    bench = Bench(never)
    batch = bench.start(3, keep=Keep.DETACHED, timeout=300)
    bench.read(batch).detach()
    await asyncio.sleep(290)
    assert not batch.done


async def test_a_finished_batch_is_kept_for_its_time_and_no_longer() -> None:
    bench = Bench()
    batch = bench.start(3)
    await asyncio.sleep(599)
    assert bench.batches.find(batch.id) is batch
    await asyncio.sleep(2)
    with pytest.raises(NotFound):
        bench.batches.find(batch.id)
    assert bench.hub.log_bytes == 0


async def test_memory_short_drops_finished_batches_oldest_first() -> None:
    bench = Bench(limits=replace(LIMITS, retained_bytes=30_000))
    first = bench.start(40)
    await asyncio.sleep(1)
    second = bench.start(40)
    await asyncio.sleep(1)
    bench.start(40)
    await asyncio.sleep(1)
    with pytest.raises(NotFound):
        bench.batches.find(first.id)
    assert bench.batches.find(second.id)


async def test_a_caller_who_takes_nothing_holds_up_its_own_fetches_alone() -> None:
    bench = Bench(limits=replace(LIMITS, credit=2000))
    slow, quick = (
        bench.start(50, keep=Keep.LINGER, concurrency=1),
        bench.start(50, keep=Keep.LINGER, owner="q"),
    )
    stuck, reader = bench.read(slow), bench.read(quick)
    stuck.stuck = True
    await asyncio.sleep(5)
    assert events(reader)[-1]["ok"] == 50
    assert slow.ok < 15
    stuck.stuck = False
    bench.hub.wake(slow.topic)
    await asyncio.sleep(5)
    assert events(stuck)[-1]["ok"] == 50


async def test_what_is_refused_leaves_nothing_behind() -> None:
    bench = Bench(limits=replace(LIMITS, batches=1))
    with pytest.raises(TooLarge):
        bench.start(10_001)
    bench.fetcher.answer = never
    bench.start(1)
    with pytest.raises(LimitReached):
        bench.start(1)
    assert len(bench.hub.topics) == 1


async def test_who_runs_many_batches_is_refused_and_others_are_not() -> None:
    bench = Bench(never, replace(LIMITS, batches=20))
    greedy = [bench.start(1, owner="greedy") for _ in range(10)]
    with pytest.raises(LimitReached, match="limit batches: this client has 10, its share of 20; wait"):
        bench.start(1, owner="greedy")
    for _ in range(3):
        bench.start(1, owner="careful")
    bench.batches.cancel(greedy[0].id)
    await asyncio.sleep(1)
    with pytest.raises(LimitReached):
        bench.start(1, owner="greedy")
    bench.batches.cancel_all()
    await asyncio.sleep(1)
    assert (bench.batches.lifecycle.pool.used, bench.batches.lifecycle.queued.used) == (0, 0)
    bench.start(1, owner="greedy")


async def test_who_has_much_waiting_is_refused_and_others_are_not() -> None:
    bench = Bench(never, replace(LIMITS, queued_bytes=100_000))
    bench.start(1000, owner="greedy")
    with pytest.raises(Overloaded, match=r"limit queued_bytes: this client has \d+, its share of"):
        bench.start(1, owner="greedy")
    bench.start(100, owner="careful")
    await bench.close()


async def test_requests_that_wait_are_bounded_in_bytes() -> None:
    bench = Bench(never, replace(LIMITS, queued_bytes=1000))
    batch = bench.start(50)
    with pytest.raises(Overloaded):
        bench.start(1)
    bench.batches.cancel(batch.id)
    await asyncio.sleep(1)
    bench.start(1)
    await bench.close()


async def test_draining_takes_no_new_batch_and_close_ends_every_task() -> None:
    bench = Bench(never)
    batch = bench.start(3)
    await asyncio.sleep(1)
    await bench.close()
    assert batch.done
    with pytest.raises(Draining):
        bench.start(1)
    assert bench.batches.statistics().active == 0


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("keep", Keep)
async def test_what_a_batch_kept_is_freed_when_it_is_dropped(keep: Keep) -> None:
    # Without the collector of cycles: it comes after millions of allocations.
    bench = Bench()
    # Earlier tests have left theirs.
    known = {id(one) for one in gc.get_objects() if isinstance(one, Batch | Topic)}
    reader = bench.read(bench.start(3, keep=keep))
    await asyncio.sleep(1)
    assert events(reader)[-1]["event"] == "done"
    reader.detach()
    del reader
    bench.fetcher.orders.clear()
    await asyncio.sleep(600)
    assert bench.hub.log_bytes == 0
    ours = [one for one in gc.get_objects() if isinstance(one, Batch | Topic) and id(one) not in known]
    assert ours == []
