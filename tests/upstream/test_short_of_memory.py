"""Where the machine has no memory, batches wait for it, each URL for as long as it has time; nothing else fails them."""

import asyncio
from dataclasses import replace
from typing import Any

from service.core.fetching.batch import BatchRequest, Keep
from service.core.fetching.outcome import NO_MEMORY, Failure, Fetched
from service.core.fetching.request import FetchRequest, Options
from service.core.memory_budget import MemoryBudget
from service.core.owner import Owner
from service.upstream.attempts import FetchAttempt
from tests.upstream.test_batches import LIMITS, Bench, at_once, events

LIMIT = 100 << 20


class Memory:
    """The memory of a machine, as far as it is used."""

    def __init__(self, used: int = 0) -> None:
        self.used = used
        self.budget = MemoryBudget(LIMIT, lambda: self.used, asyncio.get_running_loop().time)


def outcomes(reported: list[dict[str, Any]]) -> list[str]:
    return [event.get("error", event["event"]) for event in reported]


async def test_a_batch_waits_for_memory_and_then_goes_on() -> None:
    memory = Memory(used=LIMIT)
    bench = Bench(memory=memory.budget)
    reader = bench.read(bench.start(50, timeout=10.0))
    await asyncio.sleep(8)
    assert (events(reader), bench.fetcher.orders) == ([], [])
    assert bench.batches.shortage == "limit memory: 1 batches wait for it"
    memory.used = 0
    await asyncio.sleep(1)
    assert outcomes(events(reader)) == ["result"] * 50 + ["done"]
    assert bench.batches.shortage == ""


async def test_its_urls_fail_when_they_have_waited_for_all_of_their_time() -> None:
    memory = Memory(used=LIMIT)
    bench = Bench(memory=memory.budget)
    reader = bench.read(bench.start(100, timeout=10.0))
    await asyncio.sleep(9)
    assert events(reader) == []
    await asyncio.sleep(3)
    reported = events(reader)
    assert outcomes(reported) == ["unavailable"] * 100 + ["done"]
    assert {event["detail"] for event in reported[:-1]} == {NO_MEMORY.detail}
    assert bench.batches.shortage == ""
    memory.used = 0
    reader = bench.read(bench.start(1))
    await asyncio.sleep(1)
    assert outcomes(events(reader)) == ["result", "done"]


async def test_a_short_lack_of_memory_has_no_url_fail() -> None:
    memory = Memory()

    async def swinging() -> None:
        while True:
            memory.used = LIMIT - memory.used
            await asyncio.sleep(0.7)

    swing = asyncio.create_task(swinging())
    bench = Bench(memory=memory.budget)
    readers = [bench.read(bench.start(200, owner=f"o{number}", timeout=10.0)) for number in range(5)]
    await asyncio.sleep(60)
    swing.cancel()
    assert [outcomes(events(reader)) for reader in readers] == [["result"] * 200 + ["done"]] * 5


async def test_a_body_that_has_no_room_is_asked_for_again_beside_the_retries() -> None:
    memory = Memory()

    async def large(attempt: FetchAttempt) -> Fetched | Failure:
        await asyncio.sleep(0.1)
        if len(bench.fetcher.orders) == 1:
            memory.used = LIMIT
            asyncio.get_running_loop().call_later(2.0, lambda: setattr(memory, "used", 0))
            return NO_MEMORY
        return Fetched(200, attempt.target, {}, b"x" * (1 << 20), truncated=False)

    bench = Bench(large, memory=memory.budget)
    reader = bench.read(bench.start(1, retries=0))
    await asyncio.sleep(9)
    [result, _] = events(reader)
    assert (result["event"], result["bytes"]) == ("result", 1 << 20)
    assert result["attempts"] == len(bench.fetcher.orders) < 8, "each try is further from the one before"


async def test_a_request_that_may_not_be_repeated_fails_at_once() -> None:
    async def short(attempt: FetchAttempt) -> Failure:
        await asyncio.sleep(0.1)
        return NO_MEMORY

    bench = Bench(short, replace(LIMITS, methods=frozenset({"POST"})))
    batch = bench.batches.start(
        BatchRequest(requests=[FetchRequest("http://h.example/", "POST")], options=Options(method="POST")),
        owner=Owner("o"),
        keep=Keep.DETACHED,
    )
    reader = bench.read(batch)
    await asyncio.sleep(1)
    assert outcomes(events(reader)) == ["unavailable", "done"]
    assert len(bench.fetcher.orders) == 1


async def test_what_the_cache_has_waits_for_memory_too() -> None:
    memory = Memory()
    bench = Bench(memory=memory.budget)
    body = b"x" * (20 << 20)

    def recall(attempt: FetchAttempt) -> Fetched:
        return Fetched(200, attempt.target, {}, body, truncated=False, cache="hit")

    bench.fetcher.recall = recall  # type: ignore[method-assign]
    memory.used = LIMIT // 2
    reader = bench.read(bench.start(1, timeout=10.0))
    await asyncio.sleep(3)
    assert events(reader) == []
    memory.used = 0
    await asyncio.sleep(6)
    assert outcomes(events(reader)) == ["result", "done"]


async def test_no_memory_for_the_batches_of_one_is_none_for_all() -> None:
    """A batch that cannot go on holds nothing that others need: no place at a host, no turn."""
    memory = Memory(used=LIMIT)
    bench = Bench(at_once, LIMITS, memory.budget)
    first = bench.start(10, owner="a", timeout=1.0)
    second = bench.start(10, owner="b", timeout=300.0)
    await asyncio.sleep(3)
    assert (first.done, second.done) == (True, False)
    memory.used = 0
    await asyncio.sleep(1)
    assert second.ok == 10
