"""Waits that nothing ends: each is made by breaking what would end it, and found by the watchdog."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import pytest

from service.core.fetching.batch import BatchRequest, Keep
from service.core.fetching.outcome import Failure, Fetched
from service.core.fetching.request import Options
from service.core.fetching.task import FetchTask
from service.core.owner import SERVICE
from service.upstream.attempts import FetchAttempt
from service.upstream.deadlines import waits_for
from tests.upstream.test_batches import Bench, at_once, events

HOST = "http://h.example/"
LATE = 10.0 + 3.0 + 2.0
"""Seconds until the watchdog has looked twice."""


async def stuck(attempt: FetchAttempt) -> Fetched:
    """Answer all but the first URL, which waits for something that never comes, and heeds the second cancellation."""
    if attempt.target.url == f"{HOST}0":
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()
    return await at_once(attempt)


def request_that_heeds_nothing(bench: Bench) -> None:
    bench.fetcher.answer = stuck


def deadlines_that_nobody_looks_at(bench: Bench) -> None:
    """Have the first URL parked for ever: its host is full of requests of another, and time means nothing."""
    plan, hosts = bench.runner.plan, bench.runner.hosts
    plan.parking.pop_late = lambda now: []  # type: ignore[method-assign]
    plan.parking.next_deadline = lambda: float("inf")  # type: ignore[method-assign]
    room = hosts.has_place
    taken = iter(range(1000))
    hosts.has_place = lambda origin, now, owner=None: next(taken) > 0 and room(origin, now, owner)  # type: ignore[method-assign]
    plan._fill = lambda origin, now: None  # type: ignore[method-assign]


def answers_that_are_lost(bench: Bench) -> None:
    """Have the first answer forgotten between its arrival and its asker."""
    delivery = bench.runner._delivery
    deliver = delivery._deliver

    def lossy(landed: Any, work: FetchTask) -> None:
        if work.index != 0:
            deliver(landed, work)

    delivery._deliver = lossy  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("broken", "where", "what"),
    [
        (request_that_heeds_nothing, "request", "Event.wait:"),
        (deadlines_that_nobody_looks_at, "place", "a place at its host"),
        (answers_that_are_lost, "delivery", "an answer"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_wait_that_nothing_ends_fails_its_url_and_is_named(
    broken: Callable[[Bench], None], where: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench()
    broken(bench)
    urls = [f"{HOST}{number}" if number else f"{HOST}0" for number in range(3)]
    batch = bench.batches.start(
        BatchRequest(urls=urls, options=Options(retries=0)), owner=SERVICE, keep=Keep.DETACHED
    )
    reader = bench.read(batch)
    await asyncio.sleep(LATE)
    reported = {event.get("index", "done"): event for event in events(reader)}
    assert reported["done"]["ok"] == (2 if where != "place" else reported["done"]["ok"])
    assert reported[0]["error"] == "timeout"
    assert where in reported[0]["detail"]
    assert bench.runner.statistics().overdue[where] >= 1
    logged = [record for record in caplog.records if "beyond its deadline" in record.message]
    assert logged[0].levelno == logging.ERROR
    assert (logged[0].host, logged[0].where) == ("h.example", where)  # type: ignore[attr-defined]
    assert what in logged[0].what  # type: ignore[attr-defined]
    assert bench.runner.plan.active == 0
    await bench.close()


async def test_a_request_that_ends_after_it_was_given_up_frees_nothing_twice() -> None:
    bench = Bench(stuck)
    batch = bench.batches.start(
        BatchRequest(urls=[f"{HOST}0"], options=Options(retries=0)), owner=SERVICE, keep=Keep.DETACHED
    )
    reader = bench.read(batch)
    await asyncio.sleep(LATE)
    [task] = bench.runner._tasks
    assert bench.runner.plan.active == 0
    task.cancel()
    await asyncio.sleep(1)
    assert not bench.runner._tasks
    assert bench.runner.plan.active == 0
    assert [event["event"] for event in events(reader)] == ["failed", "done"]
    other = bench.read(bench.start(40))
    await asyncio.sleep(1)
    assert events(other)[-1]["ok"] == 40


async def test_what_is_late_because_the_loop_was_held_up_ends_as_usual(caplog: pytest.LogCaptureFixture) -> None:
    async def slow(attempt: FetchAttempt) -> Failure:
        await asyncio.sleep(attempt.timeout)
        return Failure("timeout", "took too long")

    bench = Bench(slow)
    reader = bench.read(bench.start(100, retries=0))
    await asyncio.sleep(0.5)
    asyncio.get_running_loop()._jumping.now += 60  # type: ignore[attr-defined]
    await asyncio.sleep(5)
    assert events(reader)[-1]["failed"] == 100
    assert not bench.runner._watchdog.ended.total()
    assert "beyond" not in caplog.text


async def test_nothing_is_looked_for_while_nothing_is_on_the_clock() -> None:
    bench = Bench()
    batch = bench.start(300)
    reader = bench.read(batch)
    await asyncio.sleep(5)
    assert events(reader)[-1]["ok"] == 300
    assert not bench.runner.plan.admitted
    assert not bench.runner._watchdog._timer.running


async def test_what_was_cancelled_is_on_the_clock_no_more() -> None:
    async def never(attempt: FetchAttempt) -> Fetched:
        await asyncio.Event().wait()
        raise AssertionError

    bench = Bench(never)
    batch = bench.start(300)
    await asyncio.sleep(1)
    assert bench.runner.plan.admitted
    bench.batches.cancel(batch.id)
    await asyncio.sleep(1)
    assert not bench.runner.plan.admitted
    await bench.close()


async def test_the_innermost_coroutine_of_a_task_is_named() -> None:
    async def inner() -> None:
        await asyncio.get_running_loop().create_future()

    async def outer() -> None:
        await inner()

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    assert ".inner:" in waits_for(task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert waits_for(task).endswith(":0") or waits_for(task) == "nothing"
