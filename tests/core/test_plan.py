"""Who may start now: fair, bounded, and every URL exactly once."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.address import Policy
from service.core.batch import BatchLimits, BatchState, Failure, Keep, Options
from service.core.grants import HostPatterns
from service.core.hosts import Hosts
from service.core.plan import FetchPlan
from service.core.topic import Topic
from service.core.work import Work

LIMITS = BatchLimits(active=500, active_per_host=20)


def batch_of(
    urls: list[str], *, name: str = "b", owner: str = "o", concurrency: int = 100, timeout: float = 10.0
) -> BatchState:
    options = Options(concurrency=concurrency, timeout=timeout)
    return BatchState(name, Topic(f"batch:{name}", "e", None), owner, Keep.LINGER, urls, options, 0.0)


class Planned:
    """A plan, and what it rejected."""

    def __init__(self, limits: BatchLimits = LIMITS) -> None:
        self.rejected: list[tuple[int, Failure]] = []
        self.hosts = Hosts(limits.active_per_host, chance=lambda: 1.0)
        self.plan = FetchPlan(limits, Policy(), self.hosts)
        self.may_start = lambda batch: True

    def add(self, batch: BatchState) -> None:
        batch.source = self
        self.plan.add(batch)

    def failed(self, batch: BatchState, index: int, failure: Failure, attempts: int, timing: object) -> None:
        self.rejected.append((index, failure))

    def start(self, now: float = 0.0, most: int = 10_000) -> list[Work]:
        started: list[Work] = []
        while len(started) < most and (work := self.plan.next(now)):
            started.append(work)
        return started


def hosts(count: int, hosts: int = 1) -> list[str]:
    return [f"http://h{number % hosts}.example/{number}" for number in range(count)]


def test_a_host_gets_its_share_and_no_more() -> None:
    planned = Planned()
    planned.add(batch_of(hosts(50)))
    first = planned.start()
    assert len(first) == 20
    planned.plan.free(first[0])
    planned.plan.finished(first[0])
    assert [work.index for work in planned.start()] == [20]


def test_a_full_host_does_not_hold_up_the_others() -> None:
    planned = Planned()
    planned.add(batch_of([*hosts(30), "http://other.example/"]))
    assert "other.example" in {work.target.host for work in planned.start()}


def test_a_batch_runs_and_parks_no_more_than_its_concurrency() -> None:
    planned = Planned()
    planned.add(batch_of(hosts(1000, 500), concurrency=7))
    assert len(planned.start()) == 7


def test_all_together_are_bounded() -> None:
    planned = Planned(replace(LIMITS, active=10))
    planned.add(batch_of(hosts(1000, 500), name="a", owner="a"))
    planned.add(batch_of(hosts(1000, 500), name="b", owner="b"))
    started = planned.start()
    assert Counter(work.batch.id for work in started) == {"a": 5, "b": 5}


def test_an_owner_with_many_batches_has_one_turn_like_an_owner_with_one() -> None:
    planned = Planned(replace(LIMITS, active=12))
    for number in range(5):
        planned.add(batch_of(hosts(100, 100), name=f"many{number}", owner="many"))
    planned.add(batch_of(hosts(100, 100), name="one", owner="one"))
    assert Counter(work.batch.owner for work in planned.start()) == {"many": 6, "one": 6}


def test_what_cannot_be_fetched_is_rejected_and_the_rest_goes_on() -> None:
    planned = Planned()
    planned.add(batch_of(["ftp://x/", "http://127.0.0.1/", "http://ok.example/"]))
    assert [work.index for work in planned.start()] == [2]
    assert [(index, failure.kind) for index, failure in planned.rejected] == [(0, "invalid_url"), (1, "blocked")]


def test_a_url_that_waited_too_long_for_its_host_fails_as_timeout() -> None:
    planned = Planned()
    planned.add(batch_of(hosts(21), timeout=10.0))
    first = planned.start()
    planned.plan.free(first[0])
    planned.plan.finished(first[0])
    assert planned.start(now=11.0) == []
    assert [(index, failure.kind) for index, failure in planned.rejected] == [(20, "timeout")]


def test_a_retry_comes_back_at_its_time() -> None:
    planned = Planned()
    planned.add(batch_of(hosts(1)))
    (work,) = planned.start()
    planned.plan.free(work)
    planned.plan.finished(work)
    planned.plan.later(work, 3.0)
    assert planned.plan.wake_at(0.0) == 3.0
    assert planned.start(now=2.9) == []
    assert planned.start(now=3.0) == [work]


def test_a_removed_batch_starts_nothing_and_its_places_come_free() -> None:
    planned = Planned(replace(LIMITS, active=2))
    gone, stays = batch_of(hosts(5, 5), name="gone", owner="a"), batch_of(hosts(5, 5), name="stays", owner="b")
    planned.add(gone)
    planned.add(stays)
    started = planned.start()
    planned.plan.remove(gone)
    for work in started:
        planned.plan.free(work)
        planned.plan.finished(work)
    assert {work.batch.id for work in planned.start()} == {"stays"}


def test_a_batch_that_may_not_start_is_passed_over_and_looked_at_again() -> None:
    planned = Planned()
    planned.add(batch_of(hosts(1), name="held", owner="a"))
    planned.add(batch_of(hosts(1), name="free", owner="b"))
    planned.may_start = lambda batch: batch.id == "free"
    work = planned.plan.next(0.0)
    assert work is not None
    assert work.batch.id == "free"
    planned.may_start = lambda batch: False
    assert planned.plan.next(0.0) is None
    assert planned.plan.held


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 8), st.integers(1, 4)), min_size=1, max_size=5),
    order=st.randoms(use_true_random=False),
    active=st.integers(1, 12),
    per_host=st.integers(1, 4),
)
def test_every_url_starts_once_and_no_bound_is_passed(sizes, order, active, per_host) -> None:  # type: ignore[no-untyped-def]
    planned = Planned(replace(LIMITS, active=active, active_per_host=per_host))
    for number, (count, concurrency, spread) in enumerate(sizes):
        planned.add(
            batch_of(hosts(count, spread), name=f"b{number}", owner=f"o{number % 2}", concurrency=concurrency)
        )
    running: list[Work] = []
    seen: Counter[tuple[str, int]] = Counter()
    retried: set[tuple[str, int]] = set()
    now = 0.0
    while True:
        for work in planned.start(now):
            running.append(work)
            seen[(work.batch.id, work.index)] += 1
        assert len(running) <= active
        assert all(n <= per_host for n in Counter(work.target.origin for work in running).values())
        for number, (_, concurrency, _) in enumerate(sizes):
            assert sum(work.batch.id == f"b{number}" for work in running) <= concurrency
        if not running:
            if planned.plan.wake_at(now) is None:
                break
            now = planned.plan.wake_at(now) or now
            continue
        work = running.pop(order.randrange(len(running)))
        key = (work.batch.id, work.index)
        if order.random() < 0.2 and key not in retried:
            retried.add(key)
            seen[key] -= 1
            planned.plan.later(work, now + 0.01)
        planned.plan.free(work)
        planned.plan.finished(work)
    assert planned.plan.active == 0
    assert seen == {(f"b{n}", i): 1 for n, (count, _, _) in enumerate(sizes) for i in range(count)}
    assert planned.rejected == []


def test_a_url_that_joined_another_request_leaves_its_place_upstream_and_keeps_its_turn() -> None:
    planned = Planned(replace(LIMITS, active=1))
    planned.add(batch_of(hosts(5, 5), concurrency=2))
    first = planned.plan.next(0.0)
    assert first is not None
    assert planned.start() == []
    planned.plan.free(first)
    assert len(planned.start()) == 1
    planned.plan.finished(first)
    assert planned.start() == []


def test_a_host_that_asks_for_a_pause_gets_it_and_the_others_go_on() -> None:
    planned = Planned()
    planned.hosts.heard("http://h0.example:80", "slow", 0.0, 0.0, 5.0)
    planned.add(batch_of([*hosts(3), "http://other.example/"]))
    assert [work.target.host for work in planned.start()] == ["other.example"]
    assert planned.plan.wake_at(0.0) == 5.0
    assert [work.index for work in planned.start(5.0)] == [0]  # at half of what it had: one


def test_whoever_has_no_time_for_the_pause_is_told_when_to_come_back() -> None:
    planned = Planned()
    planned.hosts.heard("http://h0.example:80", "slow", 0.0, 0.0, 60.0)
    planned.add(batch_of([*hosts(90), "http://other.example/"]))
    assert [work.target.host for work in planned.start()] == ["other.example"]
    assert len(planned.rejected) == 90
    assert {(failure.kind, failure.retry_after) for _, failure in planned.rejected} == {("unavailable", 60.0)}


def test_whoever_waits_already_when_the_pause_grows_is_told_too() -> None:
    planned = Planned(replace(LIMITS, active_per_host=1))
    planned.add(batch_of(hosts(3)))
    [first] = planned.start()
    planned.hosts.heard("http://h0.example:80", "slow", 0.0, 1.0, 60.0)
    planned.plan.free(first)
    assert planned.start(1.0) == []
    assert [(index, failure.kind) for index, failure in planned.rejected] == [
        (1, "unavailable"),
        (2, "unavailable"),
    ]


def test_one_client_leaves_places_to_the_others() -> None:
    planned = Planned(replace(LIMITS, active=10, active_per_client=6))
    planned.add(batch_of(hosts(50, 50), name="a1", owner="a"))
    planned.add(batch_of(hosts(50, 50), name="a2", owner="a"))
    first = planned.start()
    assert len(first) == 6
    planned.add(batch_of(hosts(50, 50), name="b", owner="b"))
    assert [work.batch.id for work in planned.start()] == ["b"] * 4
    for work in first:
        planned.plan.free(work)
    assert {work.batch.owner for work in planned.start()} == {"a", "b"}
    assert planned.plan.active == 10


def test_a_host_that_no_claim_covers_fails_before_anything_is_asked() -> None:
    planned = Planned()
    batch = replace(
        batch_of(["http://a.example/", "http://b.example/"]), hosts=HostPatterns("fetch", ("a.example",))
    )
    planned.add(batch)
    assert [work.target.host for work in planned.start()] == ["a.example"]
    ((index, failure),) = planned.rejected
    assert (index, failure.kind) == (1, "blocked")
    assert "claim fetch" in failure.detail


def test_the_newest_credentials_of_an_owner_say_how_many_it_has_at_once() -> None:
    planned = Planned(replace(LIMITS, active_per_client=3, active_per_host=100))
    planned.add(replace(batch_of(hosts(20), name="one"), share=2))
    assert len(planned.start()) == 2
    planned.add(replace(batch_of(hosts(20), name="two"), share=5))
    assert len(planned.start()) == 3
    planned.add(batch_of(hosts(20), name="three", owner="other"))
    assert len(planned.start()) == 3
