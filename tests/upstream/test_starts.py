"""What is fetched next: mostly the next URL of the same group, in the place of the one that has landed."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

from service.core.fetching.batch import BatchRequest, Keep
from service.core.fetching.outcome import Failure, Fetched, Permit
from service.core.fetching.request import Options
from service.core.owner import Owner
from service.upstream.attempts import FetchAttempt
from tests.upstream.test_batches import LIMITS, Bench, at_once, events

ONE_HOST = [f"http://h.example/{number}" for number in range(60)]


class Handing(Bench):
    """Counts what is handed on, and the most requests that ran at once."""

    def __init__(self, answer: Any = at_once, **more: Any) -> None:
        super().__init__(self.counted, replace(LIMITS, active_per_host=10), **more)
        self.handed = self.running = self.most = 0
        self.to_answer = answer
        hand_on = self.runner.plan.hand_on

        def handed_on(*arguments: Any) -> Any:
            task = hand_on(*arguments)
            self.handed += task is not None
            return task

        self.runner.plan.hand_on = handed_on  # type: ignore[assignment, method-assign]

    async def counted(self, attempt: FetchAttempt) -> Fetched | Failure:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self.to_answer(attempt)  # type: ignore[no-any-return]
        finally:
            self.running -= 1

    async def of(self, urls: list[str], **options: Any) -> list[dict[str, Any]]:
        """Fetch a batch, and return its events; nothing is held once it is done."""
        request = BatchRequest(urls=urls, options=Options(concurrency=10, **options))
        batch = self.batches.start(request, owner=Owner("o"), keep=Keep.DETACHED)
        reader = self.read(batch)
        while not batch.done or reader.behind:
            await asyncio.sleep(0.01)
        plan = self.runner.plan
        assert (plan.active, plan.shares.used, batch.active, batch.under_way, batch.landed) == (0, 0, 0, 0, 0)
        assert plan.owners.states == {}
        assert self.runner.hosts.statistics().used == 0
        *each, done = events(reader)
        assert done["event"] == "done"
        assert Counter(event["index"] for event in each) == Counter(range(len(urls)))
        return each


async def test_places_are_handed_on_and_no_more_requests_run_than_places() -> None:
    bench = Handing()
    assert {event["event"] for event in await bench.of(ONE_HOST)} == {"result"}
    assert bench.handed >= len(ONE_HOST) - 10 - len(ONE_HOST) // 32 - 1
    assert bench.most == 10
    await bench.close()


async def test_what_is_answered_from_the_cache_or_joins_needs_no_place() -> None:
    bench = Handing()

    def recall(attempt: FetchAttempt) -> Fetched | None:
        return Fetched(200, attempt.target, {}, b"known", False) if "known" in attempt.target.url else None

    bench.fetcher.recall = recall  # type: ignore[method-assign]
    urls = [f"{url}?known" if number % 3 == 0 else url for number, url in enumerate(ONE_HOST)]
    urls[40:45] = [urls[40]] * 5
    assert {event["event"] for event in await bench.of(urls)} == {"result"}
    assert bench.handed
    assert bench.most <= 10
    await bench.close()


async def test_a_batch_that_is_held_back_or_refused_meanwhile_hands_on_nothing() -> None:
    bench = Handing()
    admit, asked = bench.batches.admit, 0

    def admitted(batch: Any) -> Permit | Failure:
        nonlocal asked
        asked += 1
        if asked > 90:
            return Failure("too_large", "no room")
        return Permit.HOLD if 20 < asked < 24 else admit(batch)

    def held(batch: Any) -> Permit | Failure:
        permit = admitted(batch)
        if permit is Permit.HOLD:
            asyncio.get_running_loop().call_later(0.05, bench.runner.wake, batch)
        return permit

    bench.batches.admit = held  # type: ignore[assignment, method-assign]
    each = await bench.of([f"http://h.example/{number}" for number in range(150)])
    assert Counter(event.get("error") for event in each)["too_large"] > 10
    assert bench.handed > 20
    await bench.close()


async def test_a_listener_that_raises_costs_one_url_its_result_where_places_are_handed_on(caplog: Any) -> None:
    bench = Handing()
    admit, asked = bench.batches.admit, 0

    def admitted(batch: Any) -> Permit | Failure:
        nonlocal asked
        asked += 1
        if asked in (25, 26):
            raise RuntimeError
        return admit(batch)

    bench.batches.admit = admitted  # type: ignore[assignment, method-assign]
    each = await bench.of(ONE_HOST)
    assert Counter(event["event"] for event in each) == {"result": 59, "failed": 1}
    assert "a place could not be handed on" in caplog.text
    await bench.close()


async def test_a_bug_of_the_cache_costs_one_url_its_result_where_its_place_was_handed_on() -> None:
    bench = Handing()

    def recall(attempt: FetchAttempt) -> Fetched | None:
        if attempt.target.url.endswith("/30"):
            raise RuntimeError
        return None

    bench.fetcher.recall = recall  # type: ignore[method-assign]
    each = await bench.of(ONE_HOST)
    assert [event["index"] for event in each if event["event"] == "failed"] == [30]
    await bench.close()


async def test_a_batch_that_is_cancelled_while_it_is_asked_ends_and_holds_no_place(caplog: Any) -> None:
    bench = Handing()
    admit, asked = bench.batches.admit, 0

    def admitted(batch: Any) -> Permit | Failure:
        nonlocal asked
        asked += 1
        if asked == 30:
            bench.batches.cancel(batch.id)
        return admit(batch)

    bench.batches.admit = admitted  # type: ignore[assignment, method-assign]
    each = await bench.of(ONE_HOST)
    assert Counter(event["event"] for event in each)["result"] < 30
    assert "handed on" not in caplog.text
    await bench.close()


async def test_a_failure_to_deliver_frees_the_place(caplog: Any) -> None:
    bench = Handing()
    land, landed = bench.runner._delivery.land, 0

    def broken(*arguments: Any) -> None:
        nonlocal landed
        landed += 1
        if landed == 20:
            raise RuntimeError
        land(*arguments)

    bench.runner._delivery.land = broken  # type: ignore[assignment, method-assign]
    each = await bench.of(ONE_HOST)
    assert Counter(event["event"] for event in each) == {"result": 59, "failed": 1}
    await bench.close()
