"""One upstream request for any number of askers; leaving, expiring and failing change nothing for the others."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from service.core.access.grants import EVERYTHING, ClientLimits, Grant, read_claims
from service.core.fetching.batch import Batch, BatchRequest, Keep
from service.core.fetching.outcome import Failure, Fetched
from service.core.fetching.request import FetchRequest, Options
from service.core.owner import Owner
from service.upstream.attempts import FetchAttempt
from service.upstream.caching.rfc9111 import shareable
from tests.upstream.test_batches import LIMITS, Bench, events

URL = "http://h.example/same"


class Slow:
    """An upstream that answers after a while, and counts."""

    def __init__(self, seconds: float, outcome: Callable[[FetchAttempt], Fetched | Failure] | None = None) -> None:
        self.seconds = seconds
        self.outcome = outcome
        self.cancelled = 0

    async def __call__(self, attempt: FetchAttempt) -> Fetched | Failure:
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.outcome:
            return self.outcome(attempt)
        return Fetched(200, attempt.target, {}, b"body", truncated=False)


def ask(bench: Bench, count: int = 1, url: str = URL, **options: Any) -> Batch:
    request = BatchRequest(urls=[url] * count, options=Options(**options))
    return bench.batches.start(request, owner=Owner(f"o{id(request)}"), keep=Keep.DETACHED)


async def test_ten_thousand_askers_are_one_request() -> None:
    slow = Slow(5.0)
    bench = Bench(slow)
    readers = [bench.read(ask(bench, 50)) for _ in range(100)] + [bench.read(ask(bench, 100)) for _ in range(50)]
    await asyncio.sleep(6)
    assert len(bench.fetcher.orders) == 1
    reported = [event for reader in readers for event in events(reader)]
    results = [event for event in reported if event["event"] == "result"]
    assert len(results) == 10_000
    assert sum(event["cache"] == "miss" for event in results) == 1
    assert sum(event["cache"] == "shared" for event in results) == 9_999
    assert bench.batches.statistics().active == 0


async def test_joining_in_mid_flight_and_the_first_asker_leaving_change_nothing() -> None:
    slow = Slow(5.0)
    bench = Bench(slow)
    first = ask(bench)
    await asyncio.sleep(1)
    second = bench.read(ask(bench))
    await asyncio.sleep(1)
    assert bench.batches.cancel(first.id) == 1
    await asyncio.sleep(4)
    assert first.failed == 1
    assert [event["event"] for event in events(second)] == ["result", "done"]
    assert (len(bench.fetcher.orders), slow.cancelled) == (1, 0)


def places(bench: Bench) -> dict[str, int]:
    return {str(name): state.active for name, state in bench.runner.plan.owners.states.items() if state.active}


@pytest.mark.parametrize("leaves", ["cancel", "timeout"])
async def test_one_that_waits_for_it_has_the_place_of_a_request_whose_asker_has_left(leaves: str) -> None:
    slow = Slow(5.0)
    bench = Bench(slow)
    first = ask(bench, timeout=2.0)
    await asyncio.sleep(1)
    second = ask(bench, timeout=9.0)
    reader = bench.read(second)
    await asyncio.sleep(0.5)
    assert places(bench) == {first.owner: 1}
    if leaves == "cancel":
        bench.batches.cancel(first.id)
    await asyncio.sleep(1)
    assert places(bench) == {second.owner: 1}
    await asyncio.sleep(3)
    assert [event["event"] for event in events(reader)] == ["result", "done"]
    assert (len(bench.fetcher.orders), places(bench), bench.runner.plan.active) == (1, {}, 0)


async def test_those_who_may_not_have_the_place_ask_for_their_own_in_their_turn() -> None:
    slow = Slow(5.0)
    bench = Bench(slow, limits=replace(LIMITS, active_per_client=1))
    first = ask(bench, timeout=2.0)
    await asyncio.sleep(1)
    request = BatchRequest(urls=[URL, "http://h.example/other"], options=Options(timeout=20.0))
    second = bench.batches.start(request, owner=Owner("second"), keep=Keep.DETACHED)
    reader = bench.read(second)
    await asyncio.sleep(2)
    assert (first.failed, places(bench), slow.cancelled) == (1, {"second": 1}, 1)
    await asyncio.sleep(9)
    assert [event["attempts"] for event in events(reader)[:-1]] == [1, 1]
    assert (len(bench.fetcher.orders), places(bench), bench.runner.plan.active) == (3, {}, 0)


async def test_the_request_is_cancelled_when_the_last_asker_has_left() -> None:
    slow = Slow(5.0)
    bench = Bench(slow)
    batches = [ask(bench) for _ in range(3)]
    await asyncio.sleep(1)
    for number, batch in enumerate(batches):
        assert slow.cancelled == 0, number
        bench.batches.cancel(batch.id)
        await asyncio.sleep(0.1)
    assert slow.cancelled == 1
    # And nobody can join what was cancelled.
    after = bench.read(ask(bench))
    await asyncio.sleep(6)
    assert events(after)[-1]["ok"] == 1


async def test_each_asker_has_its_own_time() -> None:
    slow = Slow(5.0)
    bench = Bench(slow)
    short, long_ = bench.read(ask(bench, timeout=2.0)), bench.read(ask(bench, timeout=9.0))
    await asyncio.sleep(3)
    assert [event.get("error") for event in events(short)] == ["timeout", None]
    assert bench.fetcher.prolonged
    await asyncio.sleep(3)
    assert events(long_)[0]["status"] == 200
    assert len(bench.fetcher.orders) == 1


async def test_a_failure_is_shared_and_each_asker_decides_on_its_retries() -> None:
    slow = Slow(1.0, lambda attempt: Failure("connect", "no"))
    bench = Bench(slow)
    none, two = bench.read(ask(bench, retries=0)), bench.read(ask(bench, retries=2))
    await asyncio.sleep(10)
    assert [event.get("attempts") for event in events(none)] == [1, None]
    assert [event.get("attempts") for event in events(two)] == [3, None]
    assert len(bench.fetcher.orders) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"headers": {"Authorization": "a"}}, {"headers": {"Authorization": "b"}}),
        ({"headers": {"Accept": "x"}}, {}),
        ({"max_bytes": 10}, {}),
        ({"body": "none"}, {}),
        ({"method": "HEAD"}, {}),
        ({"redirects": 1}, {}),
    ],
)
async def test_what_is_not_the_same_is_not_shared(one: dict[str, Any], other: dict[str, Any]) -> None:
    bench = Bench(Slow(1.0))
    ask(bench, **one)
    ask(bench, **other)
    await asyncio.sleep(2)
    assert len(bench.fetcher.orders) == 2


async def test_what_changes_something_is_never_shared() -> None:
    bench = Bench(Slow(1.0), replace(LIMITS, methods=frozenset({"GET", "POST"})))
    requests = [FetchRequest(URL, method="POST", body="x")] * 2
    bench.batches.start(BatchRequest(requests=requests), owner=Owner("o"), keep=Keep.DETACHED)
    await asyncio.sleep(2)
    assert len(bench.fetcher.orders) == 2


async def test_copies_in_one_batch_wait_within_its_concurrency() -> None:
    bench = Bench(Slow(1.0))
    reader = bench.read(ask(bench, 250, concurrency=100))
    await asyncio.sleep(0.5)
    assert len(bench.fetcher.orders) == 1
    await asyncio.sleep(5)
    assert events(reader)[-1]["ok"] == 250
    assert len(bench.fetcher.orders) == 3


async def test_close_ends_flights_with_many_aboard() -> None:
    slow = Slow(50.0)
    bench = Bench(slow)
    batches = [ask(bench) for _ in range(5)]
    await asyncio.sleep(1)
    await bench.close()
    assert slow.cancelled == 1
    assert all(batch.done for batch in batches)


def granted(*hosts: str) -> Grant:
    return read_claims({"exp": 1000, "fetch": list(hosts)}, ClientLimits())


async def test_clients_whose_claims_differ_share_no_request_and_those_whose_agree_do() -> None:
    """Where its redirects may lead is decided once for a request: it must be the same for all who wait for it."""
    bench = Bench(Slow(1.0))
    request = BatchRequest(urls=[URL])
    grants = [EVERYTHING, granted("h.example"), granted("h.example", "*.other"), granted("*.other", "h.example")]
    for number, grant in enumerate(grants):
        bench.batches.start(request, owner=Owner(f"o{number}"), keep=Keep.DETACHED, grant=grant)
    await asyncio.sleep(2)
    assert [attempt.hosts for attempt in bench.fetcher.orders] == [grant.fetch for grant in grants[:3]]


async def test_nobody_joins_a_request_for_a_host_that_its_claim_does_not_cover() -> None:
    bench = Bench(Slow(1.0))
    for grant in (EVERYTHING, granted("other.example")):
        batch = bench.batches.start(BatchRequest(urls=[URL]), owner=Owner("o"), keep=Keep.DETACHED, grant=grant)
    reader = bench.read(batch)
    await asyncio.sleep(2)
    failed, done = events(reader)
    assert (failed["event"], failed["error"]) == ("failed", "blocked")
    assert "claim fetch" in failed["detail"]
    assert done["failed"] == 1
    assert len(bench.fetcher.orders) == 1


class Heads(Slow):
    """An upstream whose heads come after a second and whose bodies after more; each answer names its number."""

    def __init__(self, headers: dict[str, str], body: float = 4.0) -> None:
        super().__init__(1.0)
        self.headers = headers
        self.body = body
        self.made = 0

    async def __call__(self, attempt: FetchAttempt) -> Fetched | Failure:
        self.made += 1
        number = self.made
        await asyncio.sleep(self.seconds)
        if not shareable(attempt.headers, self.headers):
            attempt.kept_apart()
        await asyncio.sleep(self.body)
        return Fetched(200, attempt.target, self.headers, b"%d" % number, truncated=False)


def of_owner(bench: Bench, owner: str, **options: Any) -> Any:
    request = BatchRequest(urls=[URL], options=Options(**options))
    return bench.read(bench.batches.start(request, owner=Owner(owner), keep=Keep.DETACHED))


def bodies(readers: list[Any]) -> list[str]:
    return [events(reader)[0]["body"] for reader in readers]


PRIVATE = [
    ({"cache-control": "private"}, {}),
    ({"cache-control": "max-age=60, No-Store"}, {}),
    ({"cache-control": "no-cache"}, {}),
    ({"cache-control": 'private="set-cookie"'}, {}),
    ({"cache-control": "private; max-age=60"}, {}),
    ({"set-cookie2": "session=1"}, {}),
    ({"cache-control": "s-maxage=x"}, {"Authorization": "Basic eDp5"}),
    ({"cache-control": 'must-revalidate="x"'}, {"Authorization": "Basic eDp5"}),
    ({"cache-control": "public, max-age=60", "set-cookie": "session=1"}, {}),
    ({"vary": "accept, *"}, {}),
    ({"cache-control": "max-age=60"}, {"authorization": "Basic x"}),
    ({}, {"Authorization": "Basic x"}),
]
PUBLIC = [
    ({}, {}),
    ({"cache-control": "max-age=0"}, {}),
    ({"vary": "cookie"}, {"Cookie": "a=1"}),
    ({"cache-control": "public, max-age=60"}, {"Authorization": "Basic x"}),
    ({"cache-control": "s-maxage=60"}, {"Authorization": "Basic x"}),
]


@pytest.mark.parametrize(("headers", "asked"), PRIVATE)
async def test_what_is_for_one_alone_is_given_to_its_owner_and_others_ask(
    headers: dict[str, str], asked: dict[str, str]
) -> None:
    bench = Bench(heads := Heads(headers))
    readers = [of_owner(bench, owner, headers=asked) for owner in ("a", "b", "a", "c", "b")]
    await asyncio.sleep(20)
    assert bodies(readers) == ["1", "2", "1", "3", "2"]
    assert heads.made == 3
    assert bench.batches.statistics().active == 0


@pytest.mark.parametrize(("headers", "asked"), PUBLIC)
async def test_what_is_for_all_is_given_to_all(headers: dict[str, str], asked: dict[str, str]) -> None:
    bench = Bench(heads := Heads(headers))
    readers = [of_owner(bench, owner, headers=asked) for owner in ("a", "b", "c")]
    await asyncio.sleep(20)
    assert bodies(readers) == ["1", "1", "1"]
    assert heads.made == 1


async def test_others_do_not_wait_for_the_end_of_an_answer_that_is_not_for_them() -> None:
    bench = Bench(Heads({"cache-control": "private"}, body=100.0))
    first, second = of_owner(bench, "a", timeout=300), of_owner(bench, "b", timeout=300)
    await asyncio.sleep(1.5)
    late = of_owner(bench, "c", timeout=300)
    await asyncio.sleep(0.1)
    assert len(bench.fetcher.orders) == 3
    await asyncio.sleep(120)
    reported = [events(reader)[0] for reader in (first, second, late)]
    assert [(event["cache"], event["attempts"]) for event in reported] == [("miss", 1)] * 3


async def test_what_was_for_one_alone_is_shared_when_it_is_for_all_again() -> None:
    bench = Bench(heads := Heads({"cache-control": "private"}, body=1.0))
    for made, headers in ((2, {"cache-control": "private"}), (4, {}), (5, {}), (7, {"set-cookie": "a=1"})):
        heads.headers = headers
        for owner in ("a", "b"):
            of_owner(bench, owner)
        await asyncio.sleep(10)
        assert heads.made == made, headers


async def test_the_answer_of_an_owner_who_has_left_is_for_the_next_alone() -> None:
    bench = Bench(heads := Heads({"cache-control": "private"}))
    request = BatchRequest(urls=[URL])
    first = bench.batches.start(request, owner=Owner("a"), keep=Keep.DETACHED)
    readers = [of_owner(bench, owner) for owner in ("b", "c")]
    await asyncio.sleep(0.5)
    bench.batches.cancel(first.id)
    await asyncio.sleep(20)
    assert (bodies(readers), heads.made) == (["1", "2"], 2)
