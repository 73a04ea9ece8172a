"""One bad item hurts itself alone: an error at any seam of a loop turn costs its neighbours nothing.

At each seam an exception is injected for one URL, batch or reader; all others have to finish as if it were not
there, the URL in question ends as ``protocol``, and its batch still ends with ``done``.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from service.core.access.grants import EVERY_HOST
from service.core.batch_store import MemoryBatches
from service.core.fetching.batch import Batch, BatchRequest, IdempotencyKey, Keep, KeyScope
from service.core.fetching.outcome import INTERNAL, Fetched
from service.core.fetching.request import Options
from service.core.fetching.task import FetchTask
from service.core.owner import Owner
from service.upstream.attempts import FetchAttempt
from tests.core.readers import FakeReader
from tests.upstream.test_batches import Bench, events

URLS = [f"http://h{number}.example/{number}" for number in range(6)]
BAD = 2
"""The index of the URL, in the second batch, that meets the bug."""


class Bug(Exception):
    """What is injected."""


def is_bad(work: Any) -> bool:
    return isinstance(work, FetchTask) and work.index == BAD and work.group.id == "b1"


def raising(real: Callable[..., Any], bad: Callable[..., bool], times: int = 1) -> Callable[..., Any]:
    """Return a function that raises for what is bad, so many times."""
    left = times

    def function(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        if left and bad(*arguments):
            left -= 1
            raise Bug
        return real(*arguments, **named)

    return function


def event_of(batch: Batch, event: Any, *_: Any) -> bool:
    return batch.id == "b1" and event.get("index") == BAD


def find_flight(bench: Bench) -> None:
    flights = bench.runner._flights
    flights.find = raising(flights.find, is_bad)  # type: ignore[method-assign]


def recall(bench: Bench) -> None:
    bench.fetcher.recall = raising(  # type: ignore[method-assign]
        bench.fetcher.recall, lambda attempt: str(attempt.target.url) == URLS[BAD]
    )


def fetch(bench: Bench) -> None:
    async def fetched(attempt: FetchAttempt) -> Any:
        if str(attempt.target.url) == URLS[BAD]:
            raise Bug
        return await real(attempt)

    real, bench.fetcher.answer = bench.fetcher.answer, fetched


def retry(bench: Bench) -> None:
    delivery = bench.runner._delivery
    delivery._again = raising(delivery._again, lambda work, outcome: is_bad(work))


def known(bench: Bench) -> None:
    delivery, recalled = bench.runner._delivery, bench.fetcher.recall

    def recall(attempt: FetchAttempt) -> Fetched | None:
        if str(attempt.target.url) == URLS[BAD]:
            return Fetched(200, attempt.target, {}, b"", False)
        return recalled(attempt)

    bench.fetcher.recall = recall  # type: ignore[method-assign]
    delivery.known = raising(delivery.known, lambda work, fetched: is_bad(work))  # type: ignore[method-assign]


def result(bench: Bench) -> None:
    batches = bench.batches
    batches.succeeded = raising(  # type: ignore[method-assign]
        batches.succeeded, lambda batch, work, *_: is_bad(work)
    )


def encoding(bench: Bench) -> None:
    async def odd(attempt: FetchAttempt) -> Any:
        outcome = await real(attempt)
        if str(attempt.target.url) == URLS[BAD]:
            assert isinstance(outcome, Fetched)
            outcome.headers["x-odd"] = "\ud83d"
        return outcome

    real, bench.fetcher.answer = bench.fetcher.answer, odd


def append(bench: Bench) -> None:
    retention = bench.batches.retention
    retention.append = raising(retention.append, event_of)  # type: ignore[method-assign]


def append_twice(bench: Bench) -> None:
    retention = bench.batches.retention
    retention.append = raising(retention.append, event_of, 2)  # type: ignore[method-assign]


def admission(bench: Bench) -> None:
    bench.batches.admit = raising(  # type: ignore[method-assign]
        bench.batches.admit, lambda batch: batch.id == "b1" and batch.active == BAD
    )


def host(bench: Bench) -> None:
    hosts = bench.runner.hosts
    hosts.has_place = raising(hosts.has_place, lambda origin, *_: f"h{BAD}." in origin)  # type: ignore[method-assign]


def free(bench: Bench) -> None:
    hosts = bench.runner.hosts
    hosts.end = raising(hosts.end, lambda origin, *_: f"h{BAD}." in origin)  # type: ignore[method-assign]


SEAMS = (
    find_flight, recall, known, fetch, retry, result, encoding, append, append_twice, admission, host, free,
)  # fmt: skip


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.__name__)
async def test_a_bug_fails_one_url_and_everything_else_ends(
    seam: Callable[[Bench], None], caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench()
    hosts = seam in (host, free)
    seam(bench)
    batches = []
    for number in range(3):
        # Where the bug is a host's, only one batch asks it; else all are different, so that none joins another.
        urls = [f"{url}?{number}" if number != 1 else url for url in URLS]
        if hosts and number != 1:
            urls = [url.replace("//h", f"//g{number}") for url in urls]
        batches.append(bench.batches.start(BatchRequest(urls=urls), owner=Owner(f"o{number}"), keep=Keep.DETACHED))
    readers = [bench.read(batch) for batch in batches]
    await asyncio.sleep(5)
    for batch, reader in zip(batches, readers, strict=True):
        reported = events(reader)
        assert reported[-1]["event"] == "done", batch
        assert sorted(event["index"] for event in reported[:-1]) == list(range(6))
        bad = [event["index"] for event in reported[:-1] if event["event"] == "failed"]
        assert bad == ([BAD] if batch.id == "b1" else [])
    [failure] = [event for event in events(readers[1]) if event["event"] == "failed"]
    assert (failure["error"], failure["detail"]) == (INTERNAL.kind, INTERNAL.detail)
    assert "Traceback" in caplog.text
    assert bench.runner.plan.active == 0
    assert bench.runner.plan.owners.states == {}


async def test_a_url_that_cannot_be_encoded_fails_and_its_batch_ends() -> None:
    bench = Bench()
    request = BatchRequest(urls=["http://h.example/1", "no URL \ud83d", "http://h.example/2"])
    reader = bench.read(bench.batches.start(request, owner=Owner("o"), keep=Keep.DETACHED))
    await asyncio.sleep(1)
    reported = {event.get("index"): event for event in events(reader)}
    assert reported[None] == {**reported[None], "ok": 2, "failed": 1}
    assert (reported[1]["error"], reported[1]["url"]) == ("protocol", "no URL ?")


async def test_one_of_many_in_a_flight_fails_alone() -> None:
    async def slow(attempt: FetchAttempt) -> Fetched:
        await asyncio.sleep(1)
        return Fetched(200, attempt.target, {}, b"body", truncated=False)

    bench = Bench(slow)
    result(bench)
    readers = [
        bench.read(
            bench.batches.start(
                BatchRequest(urls=["http://h.example/"] * 4), owner=Owner(f"o{n}"), keep=Keep.DETACHED
            )
        )
        for n in range(3)
    ]
    await asyncio.sleep(2)
    assert [(events(reader)[-1]["ok"], events(reader)[-1]["failed"]) for reader in readers] == [
        (4, 0), (3, 1), (4, 0),
    ]  # fmt: skip
    assert len(bench.fetcher.orders) == 1


async def test_members_of_a_flight_that_end_late_do_so_each_for_itself() -> None:
    async def never(attempt: FetchAttempt) -> Fetched:
        await asyncio.Event().wait()
        raise AssertionError

    bench = Bench(never)
    bench.batches.failed = raising(  # type: ignore[method-assign]
        bench.batches.failed, lambda batch, index, *_: batch.id == "b1" and index == BAD, 2
    )
    options = Options(timeout=2.0)
    readers = [
        bench.read(
            bench.batches.start(
                BatchRequest(urls=["http://h.example/"] * 4, options=options),
                owner=Owner(f"o{n}"),
                keep=Keep.DETACHED,
            )
        )
        for n in range(3)
    ]
    await asyncio.sleep(5)
    assert events(readers[0])[-1]["failed"] == events(readers[2])[-1]["failed"] == 4
    assert sorted(event["index"] for event in events(readers[1])) == [0, 1, 3], (
        "its own failure could not be reported"
    )


async def test_a_cancel_reports_every_url_though_one_cannot_be_sent() -> None:
    async def never(attempt: FetchAttempt) -> Fetched:
        await asyncio.Event().wait()
        raise AssertionError

    bench = Bench(never)
    append_twice(bench)
    first = bench.start(3)
    second = bench.start(5)
    readers = [bench.read(first), bench.read(second)]
    await asyncio.sleep(1)
    bench.batches.cancel_all()
    await asyncio.sleep(1)
    assert [orjson.loads(reader.lines[-1])["failed"] for reader in readers] == [3, 5]


async def test_a_finished_batch_that_cannot_be_dropped_costs_the_others_no_room() -> None:
    bench = Bench()
    first = bench.start(3)
    await asyncio.sleep(1)
    lifecycle = bench.batches.lifecycle
    lifecycle.forget_key = raising(lifecycle.forget_key, lambda batch: True)  # type: ignore[method-assign]
    bench.batches.retention.pool.bound = 1
    second = bench.read(bench.start(3))
    await asyncio.sleep(1)
    assert first.done
    assert events(second)[-1]["ok"] == 3


async def test_a_batch_that_cannot_be_stored_leaves_nothing_behind() -> None:
    bench = Bench()
    lifecycle = bench.batches.lifecycle
    asked = BatchRequest(urls=["http://h.example/"], options=Options())
    key = IdempotencyKey(Owner("o"), KeyScope(EVERY_HOST, b""), "k", b"")
    before, lifecycle._store = lifecycle._store, MemoryBatches()
    lifecycle._store.begin = raising(lifecycle._store.begin, lambda batch: True)  # type: ignore[method-assign]
    with pytest.raises(Bug):
        bench.batches.start(asked, owner=Owner("o"), keep=Keep.DETACHED, key=key)
    assert (lifecycle.pool.used, lifecycle.queued.used, lifecycle.keys, bench.hub.topics) == (0, 0, {}, {})
    lifecycle._store = before
    batch = bench.batches.start(asked, owner=Owner("o"), keep=Keep.DETACHED, key=key)
    await asyncio.sleep(1)
    assert batch.done


async def test_a_reader_that_raises_is_cut_and_the_others_get_everything() -> None:
    bench = Bench()
    batch = bench.start(20)
    bad, good = FakeReader(batch.topic), FakeReader(batch.topic)
    bad.visit = raising(bad.visit, lambda: True)  # type: ignore[method-assign]
    for reader in (bad, good):
        bench.hub.attach(reader, "oldest")
    other = bench.read(bench.start(20, owner=Owner("other")))
    await asyncio.sleep(1)
    assert bad.evicted
    assert [events(reader)[-1]["ok"] for reader in (good, other)] == [20, 20]


async def test_the_plan_goes_on_after_a_bug_that_is_nobodys() -> None:
    bench = Bench()
    plan = bench.runner.plan
    plan.next = raising(plan.next, lambda now: True)  # type: ignore[method-assign]
    reader = bench.read(bench.start(3))
    await asyncio.sleep(3)
    assert events(reader)[-1]["ok"] == 3
