"""Delivery by turns: a turn of the loop carries only so much, and all of it comes, in order."""

import asyncio
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from service.core.fetching.batch import Batch, BatchRequest, Keep
from service.core.fetching.outcome import Fetched
from service.core.fetching.request import Options
from service.core.fetching.task import FetchTask
from service.core.owner import Owner
from service.runtime.per_turn import PerTurn
from service.upstream import delivery
from service.upstream.attempts import FetchAttempt
from tests.upstream.test_batches import Bench, events


class Turns:
    """Counts the bytes of the bodies that are delivered in each turn of the loop."""

    def __init__(self, bench: Bench) -> None:
        self.bytes: Counter[int] = Counter()
        self.events: Counter[int] = Counter()
        self.order: list[int] = []
        self.landed: list[int] = []
        self._now = 0
        self._succeeded = bench.batches.succeeded
        bench.batches.succeeded = self._count  # type: ignore[method-assign]
        self._task = asyncio.create_task(self._go_on())

    async def _go_on(self) -> None:
        while True:
            self._now += 1
            await asyncio.sleep(0)

    def _count(self, group: Batch, task: FetchTask, fetched: Fetched, queued: float, *, shared: bool) -> None:
        self.bytes[self._now] += len(fetched.body)
        self.events[self._now] += 1
        self.order.append(task.index)
        self.landed.append(group.landed)
        self._succeeded(group, task, fetched, queued, shared=shared)

    async def run(self, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    async def finish(self, *batches: Batch) -> None:
        """Return when they are done, and their readers have been visited."""
        while not all(batch.done for batch in batches):
            await self.run(1)
        await self.run(5)

    def close(self) -> None:
        self._task.cancel()


def large(size: int) -> Any:
    async def answer(attempt: FetchAttempt) -> Fetched:
        await asyncio.sleep(0)
        return Fetched(200, attempt.target, {"content-type": "text/plain"}, b"x" * size, truncated=False)

    return answer


async def test_large_bodies_that_land_together_are_delivered_in_several_turns_and_in_order() -> None:
    bench = Bench(large(1 << 20))
    turns = Turns(bench)
    batch = bench.start(16, concurrency=16)
    await turns.finish(batch)
    turns.close()
    assert batch.done
    assert batch.ok == 16
    assert turns.order == list(range(16))
    assert max(turns.bytes.values()) <= 4 << 20
    # What is not delivered yet counts as landed still.
    assert turns.landed == [(15 - number) * ((1 << 20) + 300) for number in range(16)]
    assert batch.landed == 0
    await bench.close()


async def test_small_bodies_go_many_at_a_time_and_the_copies_of_one_count_each() -> None:
    bench = Bench(large(10_000))
    turns = Turns(bench)
    batch = bench.start(16)
    await turns.finish(batch)
    assert batch.done
    assert turns.events.most_common(1)[0][1] == 16
    urls = BatchRequest(urls=["http://h.example/"] * 500, options=Options(concurrency=500))
    turns.events.clear()
    copies = bench.batches.start(urls, owner=Owner("o"), keep=Keep.DETACHED)
    await turns.finish(copies)
    turns.close()
    assert copies.done
    assert len(bench.fetcher.orders) == 17
    assert 10 < max(turns.events.values()) <= 100
    await bench.close()


async def test_what_lands_for_another_owner_does_not_wait_for_all_that_landed_before() -> None:
    bench = Bench(large(512 << 10))
    turns = Turns(bench)
    many = bench.start(100, owner="many", concurrency=100)
    while many.landed < 15 * (512 << 10):
        await turns.run(1)
    before = many.ok
    urls = BatchRequest(urls=[f"http://other.example/{number}" for number in range(4)])
    one = bench.batches.start(urls, owner=Owner("one"), keep=Keep.DETACHED)
    while not one.done:
        await turns.run(1)
    # One each by turns, while it is fetched and then delivered: in the order in which they landed it would be all 15.
    assert many.ok - before <= 12
    await turns.finish(many)
    assert many.ok == 100
    turns.close()
    await bench.close()


async def test_who_joined_a_flight_of_another_owner_gets_its_outcome_in_a_turn_of_its_own() -> None:
    bench = Bench(large(1 << 20))
    turns = Turns(bench)
    urls = BatchRequest(urls=["http://h.example/"] * 100, options=Options(concurrency=100))
    many = bench.batches.start(urls, owner=Owner("many"), keep=Keep.DETACHED)
    one = bench.batches.start(BatchRequest(urls=["http://h.example/"]), owner=Owner("one"), keep=Keep.DETACHED)
    while not one.done:
        await turns.run(1)
    assert len(bench.fetcher.orders) == 1
    assert many.ok < 10
    await turns.finish(many)
    turns.close()
    assert many.ok == 100
    await bench.close()


async def test_fewer_requests_begin_in_a_turn_where_several_clients_fetch() -> None:
    bench = Bench(large(10))
    turns = Turns(bench)
    counts: dict[bool, int] = {}
    for owners in (["one"], ["one", "two"]):
        # From many hosts: of each they have 20 at once.
        batches = [
            bench.batches.start(
                BatchRequest(urls=[f"http://far{number}.example/{owner}-{len(owners)}" for number in range(100)]),
                owner=Owner(owner),
                keep=Keep.DETACHED,
            )
            for owner in owners
        ]
        began, most = len(bench.fetcher.orders), 0
        while not all(batch.done for batch in batches):
            await turns.run(1)
            most, began = max(most, len(bench.fetcher.orders) - began), len(bench.fetcher.orders)
        counts[len(owners) > 1] = most
    turns.close()
    assert counts[False] > 10
    assert 2 <= counts[True] <= 4
    await bench.close()


async def test_a_client_that_has_fetched_for_long_begins_one_request_a_turn_beside_a_newcomer() -> None:
    asked = asyncio.Event()

    async def answer(attempt: FetchAttempt) -> Fetched:
        await (asked.wait() if attempt.owner == "new" else asyncio.sleep(0))
        return Fetched(200, attempt.target, {}, b"", truncated=False)

    bench = Bench(answer)
    turns, most = Turns(bench), []
    long = bench.batches.start(
        BatchRequest(urls=[f"http://h{number}.example/" for number in range(500)]),
        owner=Owner("long"),
        keep=Keep.DETACHED,
    )
    for until in (300, 400):
        began, counts = len(bench.fetcher.orders), Counter[int]()
        while len(bench.fetcher.orders) < until:
            await turns.run(1)
            counts[len(bench.fetcher.orders) - began] += 1
            began = len(bench.fetcher.orders)
        most.append(max(counts))
        if until == 300:
            new = bench.start(1, owner="new")
            await turns.run(3)
    assert most[0] > 5
    assert most[1] <= 2, "one of each"
    asked.set()
    await turns.finish(long, new)
    turns.close()
    assert (long.ok, new.ok) == (500, 1)
    await bench.close()


async def test_several_requests_of_a_newcomer_begin_in_a_turn_where_turns_are_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = PerTurn.turn
    monkeypatch.setattr(PerTurn, "turn", lambda turn, _: real(turn, 1 / 8))

    async def answer(attempt: FetchAttempt) -> Fetched:
        await asyncio.sleep(0)
        return Fetched(200, attempt.target, {}, b"", truncated=False)

    bench = Bench(answer)
    turns = Turns(bench)
    long = bench.batches.start(
        BatchRequest(urls=[f"http://h{number}.example/" for number in range(500)]),
        owner=Owner("long"),
        keep=Keep.DETACHED,
    )
    while len(bench.fetcher.orders) < 300:
        await turns.run(1)
    urls = [f"http://new{number}.example/" for number in range(20)]
    new = bench.batches.start(BatchRequest(urls=urls), owner=Owner("new"), keep=Keep.DETACHED)
    most = before = 0
    while not new.done:
        await turns.run(1)
        begun = sum(attempt.owner == "new" for attempt in bench.fetcher.orders)
        most, before = max(most, begun - before), begun
    assert most == 3
    await turns.finish(long)
    turns.close()
    await bench.close()


async def test_a_client_that_has_fetched_for_long_is_given_fewer_answers_in_a_turn_beside_a_newcomer() -> None:
    asked = asyncio.Event()

    async def answer(attempt: FetchAttempt) -> Fetched:
        await (asked.wait() if attempt.owner == "new" or attempt.target.url.endswith("late") else asyncio.sleep(0))
        return Fetched(200, attempt.target, {}, b"", truncated=False)

    bench = Bench(answer)
    turns = Turns(bench)
    urls = [f"http://h{number}.example/{'late' if number >= 300 else ''}" for number in range(400)]
    long = bench.batches.start(
        BatchRequest(urls=urls, options=Options(concurrency=200)), owner=Owner("long"), keep=Keep.DETACHED
    )
    while len(bench.fetcher.orders) < 400:
        await turns.run(1)
    new = bench.start(20, owner="new")
    while len(bench.fetcher.orders) < 420:
        await turns.run(1)
    turns.events.clear()
    asked.set()
    while not new.done:
        await turns.run(1)
    # The newcomer's own come together, and with them those nine of the other that 125 microseconds are for.
    assert max(turns.events.values()) <= 29
    assert long.ok < 330
    await turns.finish(long)
    turns.close()
    assert (long.ok, new.ok) == (400, 20)
    await bench.close()


async def test_large_answers_make_a_client_give_way_that_has_begun_few_requests() -> None:
    bench = Bench(large(512 << 10))
    many = bench.start(30, owner="many", concurrency=30)
    owners = bench.runner.plan.owners
    while many.ok < 10:
        assert not owners.gives_way(Owner("many"))
        await asyncio.sleep(0)
    small = bench.start(1, owner="small")
    assert owners.gives_way(Owner("many"))
    while not (many.done and small.done):
        await asyncio.sleep(0)
    await bench.close()


async def test_a_client_whose_requests_connect_begins_fewer_than_another() -> None:
    bench = Bench(large(10))
    many, one = [
        bench.batches.start(
            BatchRequest(urls=[f"http://{place}{number}.example/" for number in range(200)]),
            owner=Owner(place),
            keep=Keep.DETACHED,
        )
        for place in ("far", "near")
    ]
    while not one.done:
        await asyncio.sleep(0)
    assert 80 <= many.ok <= 120
    while not many.done:
        await asyncio.sleep(0)
    await bench.close()


async def test_a_large_body_is_encoded_in_steps_and_others_go_on_between_them() -> None:
    text = "gr\u00fc\u00df dich, " * 200_000

    async def answer(attempt: FetchAttempt) -> Fetched:
        await asyncio.sleep(0)
        body = text.encode() if attempt.target.url.endswith("large") else b"small"
        return Fetched(200, attempt.target, {"content-type": "text/plain"}, body, truncated=False)

    bench = Bench(answer)
    turns = Turns(bench)
    urls = BatchRequest(
        urls=[f"http://h{number}.example/large" for number in range(3)], options=Options(max_bytes=64 << 20)
    )
    many = bench.batches.start(urls, owner=Owner("many"), keep=Keep.DETACHED)
    reader = bench.read(many)
    while not many.landed:
        await turns.run(1)
    one = bench.batches.start(BatchRequest(urls=["http://small.example/"]), owner=Owner("one"), keep=Keep.DETACHED)
    while not one.done:
        await turns.run(1)
    assert many.ok == 0
    while not many.done:
        await turns.run(1)
    await turns.run(5)
    turns.close()
    assert [event["body"] == text for event in events(reader)[:-1]] == [True] * 3
    await bench.close()


async def test_a_large_body_from_the_cache_is_encoded_in_steps_too() -> None:
    bench = Bench(large(10))
    body = b"x" * (4 << 20)
    bench.fetcher.recall = lambda attempt: Fetched(200, attempt.target, {}, body, truncated=False, cache="hit")  # type: ignore[method-assign]
    reader = bench.read(batch := bench.start(3, max_bytes=64 << 20))
    turns = 0
    while not batch.done:
        await asyncio.sleep(0)
        turns += 1
    await asyncio.sleep(1)
    assert turns > 3
    assert [(event["cache"], event["bytes"], event["attempts"]) for event in events(reader)[:-1]] == [
        ("hit", 4 << 20, 0)
    ] * 3
    assert batch.landed == 0
    await bench.close()


async def test_a_body_that_cannot_be_encoded_in_steps_is_encoded_when_it_is_delivered(monkeypatch: Any) -> None:
    def raising(*_: Any) -> Any:
        raise RuntimeError("a bug")
        yield

    monkeypatch.setattr(delivery, "encode_in_steps", raising)
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context["exception"]))
    bench = Bench(large(1 << 20))
    batch = bench.start(2)
    while not batch.done:
        await asyncio.sleep(0)
    assert batch.ok == 2
    assert len(errors) == 2
    await bench.close()


async def test_a_bug_in_one_body_of_several_turns_fails_that_one_alone() -> None:
    bench = Bench(large(1 << 20))
    turns = Turns(bench)
    append = bench.batches.retention.append

    def raising(batch: Any, event: Any, now: float) -> Any:
        if event.get("index") == 5 and event["event"] == "result":
            raise RuntimeError("a bug")
        return append(batch, event, now)

    bench.batches.retention.append = raising  # type: ignore[method-assign]
    reader = bench.read(batch := bench.start(16))
    await turns.finish(batch)
    turns.close()
    assert (batch.ok, batch.failed, batch.landed) == (15, 1, 0)
    assert [event["index"] for event in events(reader) if event["event"] == "failed"] == [5]
    await bench.close()


async def test_what_has_landed_is_delivered_though_the_runner_is_closed() -> None:
    bench = Bench(large(1 << 20))
    turns = Turns(bench)
    batch = bench.start(16)
    while not turns.order:
        await turns.run(1)
    assert batch.landed
    await bench.runner.close()
    turns.close()
    assert batch.done
    assert batch.ok == 16
    await bench.close()


async def test_rejections_and_answers_of_the_cache_are_spread_over_turns() -> None:
    bench = Bench(large(10))
    turns = Turns(bench)
    rejected = bench.batches.start(BatchRequest(urls=["nonsense"] * 500), owner=Owner("o"), keep=Keep.DETACHED)
    counts = [0]
    while not rejected.done:
        await turns.run(1)
        counts.append(rejected.failed)
    assert max(after - before for before, after in pairwise(counts)) <= 100
    bench.fetcher.recall = lambda attempt: Fetched(200, attempt.target, {}, b"x" * (1 << 20), truncated=False)  # type: ignore[method-assign]
    batch = bench.start(16)
    await turns.finish(batch)
    turns.close()
    assert batch.done
    # Copying one takes 0.5 ms of the turn's 3; what encoding adds is measured, and a fast machine needs hardly any.
    assert max(turns.bytes.values()) <= 6 << 20
    await bench.close()


async def test_a_client_with_much_to_be_delivered_does_not_keep_others_from_fetching(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(large(1 << 20))
    undelivered, orders = bench.runner.undelivered, bench.fetcher.orders
    with monkeypatch.context() as patch:
        # Nothing is delivered for now.
        patch.setattr(delivery, "_TURN", 0)
        patch.setattr(delivery, "_TURN_SHARED", 0)
        many = bench.start(100, owner="many", concurrency=100)
        while bench.runner.active or not orders:
            await asyncio.sleep(0)
        begun = len(orders)
        assert 16 <= begun < 50
        one = bench.start(3, owner="one", headers={"x": "other"})
        while len(orders) < begun + 3:
            await asyncio.sleep(0)
        assert {attempt.owner for attempt in orders[begun:]} == {"one"}
    while not (many.done and one.done):
        await asyncio.sleep(0)
    assert (one.ok, many.ok, undelivered.used) == (3, 100, 0)
    await bench.close()


async def test_nothing_begins_while_much_waits_to_be_delivered() -> None:
    bench = Bench(large(1 << 20))
    batches = [bench.start(50, owner=f"o{number}", headers={"x": f"{number}"}, body="none") for number in range(10)]
    most = 0
    while not all(batch.done for batch in batches):
        await asyncio.sleep(0)
        most = max(most, sum(batch.landed for batch in batches))
    # Each has one body, or its share; what was under way comes on top.
    assert most <= 160 << 20
    assert all(batch.ok == 50 for batch in batches)
    await bench.close()


async def test_a_bug_in_what_is_common_to_all_answers_holds_them_up_for_a_second(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(large(10))
    calls = []

    def gives_way(owner: Owner) -> bool:
        calls.append(owner)
        if len(calls) == 1:
            raise ValueError("odd")
        return False

    monkeypatch.setattr(bench.runner.plan.owners, "gives_way", gives_way)
    batch = bench.start(5, concurrency=5)
    await asyncio.sleep(0.5)
    assert not batch.done
    await asyncio.sleep(1.0)
    assert (batch.done, batch.ok) == (True, 5)
    assert [record.message for record in caplog.records] == ["outcomes could not be delivered"]


async def test_answers_take_turns_while_several_clients_fetch() -> None:
    bench = Bench(large(100))
    answers = bench.fetcher.answers
    one = bench.start(30, owner="one")
    assert not answers.contended()
    other = bench.start(1, owner="other")
    assert answers.contended()
    while not (one.done and other.done):
        await asyncio.sleep(0)
    assert not answers.contended()
    await bench.close()
