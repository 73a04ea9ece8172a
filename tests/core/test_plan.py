"""Who may start now: fair, bounded, and every URL exactly once."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.access.grants import HostPatterns
from service.core.fetching.batch import Batch, BatchLimits, Keep
from service.core.fetching.dial_policy import Policy
from service.core.fetching.host_limiter import HostLimiter
from service.core.fetching.outcome import INTERNAL, Failure, Permit
from service.core.fetching.plan import FetchPlan
from service.core.fetching.request import Options
from service.core.fetching.task import FetchTask, Rejection, Turn
from service.core.owner import Owner
from service.core.topics.topic import Topic
from tests.core.listeners import FakeListener

LIMITS = BatchLimits(active=500, active_per_host=20)


def batch_of(
    urls: list[str], *, name: str = "b", owner: str = "o", concurrency: int = 100, timeout: float = 10.0
) -> Batch:
    options = Options(concurrency=concurrency, timeout=timeout)
    topic = Topic(f"batch:{name}", "e", None)
    return Batch(name, topic, Owner(owner), Keep.LINGER, urls, options, 0.0, FakeListener())


class Planned:
    """A plan, and what it rejected."""

    def __init__(self, limits: BatchLimits = LIMITS) -> None:
        self.rejected: list[tuple[int, Failure]] = []
        self.hosts = HostLimiter(limits.active_per_host, chance=lambda: 1.0, shared=limits.hosts_shared)
        self.plan = FetchPlan(limits, Policy(), self.hosts)
        self.admit: Callable[[Batch], Permit | Failure] = lambda batch: Permit.START

    def add(self, batch: Batch) -> None:
        self.plan.add(batch)

    def start(self, now: float = 0.0, most: int = 10_000) -> list[FetchTask]:
        started: list[FetchTask] = []
        while len(started) < most and not isinstance(decision := self.plan.next(now), float):
            if isinstance(decision, Rejection):
                self.rejected.append((decision.index, decision.failure))
            elif (task := self._use(decision, now) if isinstance(decision, Turn) else decision) is not None:
                started.append(task)
        return started

    def _use(self, turn: Turn, now: float) -> FetchTask | None:
        assert isinstance(turn.group, Batch)
        try:
            permit = self.admit(turn.group)
        except RuntimeError as error:
            self.plan.refuse(turn, INTERNAL, error)
            return None
        if permit is Permit.START:
            return self.plan.start(turn, now)
        if permit is Permit.HOLD:
            self.plan.hold(turn, now)
        else:
            self.plan.refuse(turn, permit)
        return None


def hosts(count: int, hosts: int = 1) -> list[str]:
    return [f"http://h{number % hosts}.example/{number}" for number in range(count)]


def insist(hosts_: HostLimiter, now: float, seconds: float) -> None:
    """Have four pages of a host ask for a pause, one after another, the last one now."""
    for number in range(4):
        at = now - 0.01 * (3 - number)
        hosts_.record("http://h0.example:80", "slow", at, at, seconds, f"http://h0.example/{number}")


def test_a_host_gets_its_share_and_no_more() -> None:
    planned = Planned()
    planned.add(batch_of(hosts(50)))
    first = planned.start()
    assert len(first) == 20
    planned.plan.free(first[0])
    planned.plan.landed(first[0])
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
    assert Counter(work.group.id for work in started) == {"a": 5, "b": 5}


def test_an_owner_with_many_batches_has_one_turn_like_an_owner_with_one() -> None:
    planned = Planned(replace(LIMITS, active=12))
    for number in range(5):
        planned.add(batch_of(hosts(100, 100), name=f"many{number}", owner="many"))
    planned.add(batch_of(hosts(100, 100), name="one", owner="one"))
    assert Counter(work.group.owner for work in planned.start()) == {"many": 6, "one": 6}


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
    planned.plan.landed(first[0])
    assert planned.start(now=11.0) == []
    assert [(index, failure.kind) for index, failure in planned.rejected] == [(20, "timeout")]


def test_a_url_that_waited_for_its_host_fails_at_once_where_its_batch_fails_meanwhile() -> None:
    planned = Planned()
    batch = batch_of(hosts(22), timeout=10.0)
    planned.add(batch)
    first = planned.start()
    planned.admit = lambda batch: Failure("too_large", "all is used")
    planned.plan.free(first[0])
    planned.plan.landed(first[0])
    assert planned.start(now=1.0) == []
    assert (planned.rejected[0][0], planned.rejected[0][1].kind) == (20, "too_large")


def test_a_retry_comes_back_at_its_time() -> None:
    planned = Planned()
    planned.add(batch_of(hosts(1)))
    (work,) = planned.start()
    planned.plan.free(work)
    planned.plan.landed(work)
    planned.plan.retry(work, 3.0)
    assert planned.plan.wake_at() == 3.0
    assert planned.start(now=2.9) == []
    assert planned.start(now=3.0) == [work]


def test_a_removed_batch_starts_nothing_and_its_places_come_free() -> None:
    planned = Planned(replace(LIMITS, active=2))
    gone, stays = (
        batch_of(hosts(5, 5), name="gone", owner="a"),
        batch_of(hosts(5, 5), name="stays", owner="b"),
    )
    planned.add(gone)
    planned.add(stays)
    started = planned.start()
    planned.plan.remove(gone)
    for work in started:
        planned.plan.free(work)
        planned.plan.landed(work)
    assert {work.group.id for work in planned.start()} == {"stays"}


def test_a_batch_that_may_not_start_is_passed_over_and_looked_at_again() -> None:
    planned = Planned()
    held = batch_of(hosts(1), name="held", owner="a")
    planned.add(held)
    planned.add(batch_of(hosts(1), name="free", owner="b"))
    planned.admit = lambda batch: Permit.START if batch.id == "free" else Permit.HOLD
    assert [work.group.id for work in planned.start()] == ["free"]
    planned.admit = lambda batch: Permit.START
    assert planned.start() == [], "it is asked again when its source says so, and not before"
    planned.plan.wake(held)
    assert [work.group.id for work in planned.start()] == ["held"]


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
    running: list[FetchTask] = []
    seen: Counter[tuple[str, int]] = Counter()
    retried: set[tuple[str, int]] = set()
    now = 0.0
    while True:
        for work in planned.start(now):
            running.append(work)
            seen[(work.group.id, work.index)] += 1
        assert len(running) <= active
        assert all(n <= per_host for n in Counter(work.target.origin for work in running).values())
        for number, (_, concurrency, _) in enumerate(sizes):
            assert sum(work.group.id == f"b{number}" for work in running) <= concurrency
        if not running:
            if planned.plan.wake_at() == inf:
                break
            now = planned.plan.wake_at()
            continue
        work = running.pop(order.randrange(len(running)))
        key = (work.group.id, work.index)
        again = False
        if order.random() < 0.2 and key not in retried:
            retried.add(key)
            seen[key] -= 1
            again = True
        planned.plan.free(work)
        planned.plan.landed(work)
        if again:
            planned.plan.retry(work, now + 0.01)
    assert planned.plan.active == 0
    assert seen == {(f"b{n}", i): 1 for n, (count, _, _) in enumerate(sizes) for i in range(count)}
    assert planned.rejected == []


def test_a_url_that_joined_another_request_leaves_its_place_upstream_and_keeps_its_turn() -> None:
    planned = Planned(replace(LIMITS, active=1))
    planned.add(batch_of(hosts(5, 5), concurrency=2))
    [first] = planned.start()
    planned.plan.free(first)
    assert len(planned.start()) == 1
    planned.plan.landed(first)
    assert planned.start() == []


def test_a_host_that_asks_for_a_pause_gets_it_and_the_others_go_on() -> None:
    planned = Planned()
    insist(planned.hosts, 0.0, 5.0)
    planned.add(batch_of([*hosts(3), "http://other.example/"]))
    assert [work.target.host for work in planned.start()] == ["other.example"]
    assert planned.hosts.opens_at("http://h0.example:80") == 5.0
    assert [work.index for work in planned.start(5.0)] == [0]  # at half of what it had: one


def test_a_fetch_without_time_for_the_pause_fails_with_a_time_to_come_back() -> None:
    planned = Planned()
    insist(planned.hosts, 0.0, 60.0)
    planned.add(batch_of([*hosts(90), "http://other.example/"]))
    assert [work.target.host for work in planned.start()] == ["other.example"]
    assert len(planned.rejected) == 90
    assert {(failure.kind, failure.retry_after) for _, failure in planned.rejected} == {("unavailable", 60.0)}


def test_a_fetch_that_waits_when_the_pause_grows_fails_too() -> None:
    planned = Planned(replace(LIMITS, active_per_host=1))
    planned.add(batch_of(hosts(3)))
    [first] = planned.start()
    insist(planned.hosts, 1.0, 60.0)
    planned.plan.free(first)
    assert planned.start(1.0) == []
    assert [(index, failure.kind) for index, failure in planned.rejected] == [
        (1, "unavailable"),
        (2, "unavailable"),
    ]


def test_a_thousand_that_wait_in_vain_are_rejected_some_at_a_time_and_others_start_in_between() -> None:
    planned = Planned(replace(LIMITS, active_per_host=1))
    planned.add(batch_of(hosts(1001), concurrency=1001))
    planned.add(batch_of(["http://fine.example/"] * 5, name="c", concurrency=1))
    first, fine = planned.start()
    insist(planned.hosts, 1.0, 60.0)
    planned.plan.free(first)
    now, rounds = 1.0, 0
    while len(planned.rejected) < 1000:
        before = len(planned.rejected)
        if rounds < 4:
            planned.plan.free(fine)
            planned.plan.landed(fine)
            [fine] = planned.start(now)
            assert fine.target.host == "fine.example"
        else:
            assert planned.start(now) == []
        assert 1 <= len(planned.rejected) - before <= 100
        assert planned.start(now) == []
        rounds += 1
        now, before_that = planned.plan.wake_at(), now
        assert now > before_that
    assert rounds >= 10
    assert planned.plan.parking.next_deadline() == inf
    assert sorted(index for index, _ in planned.rejected) == list(range(1, 1001))
    assert {failure.kind for _, failure in planned.rejected} == {"unavailable"}
    assert planned.plan.parking.waiting == 0


def test_one_client_leaves_places_to_the_others() -> None:
    planned = Planned(replace(LIMITS, active=10, active_per_client=6))
    planned.add(batch_of(hosts(50, 50), name="a1", owner="a"))
    planned.add(batch_of(hosts(50, 50), name="a2", owner="a"))
    first = planned.start()
    assert len(first) == 6
    planned.add(batch_of(hosts(50, 50), name="b", owner="b"))
    assert [work.group.id for work in planned.start()] == ["b"] * 4
    for work in first:
        planned.plan.free(work)
    assert {work.group.owner for work in planned.start()} == {"a", "b"}
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


def test_the_first_deadline_of_what_waits_is_part_of_the_alarm() -> None:
    planned = Planned()
    planned.add(batch_of(hosts(20), name="hangs", owner="a", timeout=300.0))
    assert len(planned.start()) == 20
    planned.add(batch_of(hosts(2), name="waits", owner="b", timeout=3.0))
    assert planned.start(1.0) == []
    assert planned.plan.wake_at() == 4.0
    assert planned.start(4.0) == []
    assert [failure.kind for _, failure in planned.rejected] == ["timeout", "timeout"]


def test_what_is_offered_a_place_and_has_no_turn_ends_at_its_deadline_and_gives_it_back() -> None:
    planned = Planned(replace(LIMITS, active=2, active_per_host=1))
    planned.plan.shares.resize(1)
    planned.add(batch_of(hosts(2), name="a", owner="a", timeout=5.0))
    [first] = planned.start()
    planned.plan.shares.resize(2)
    assert planned.start() == []
    planned.plan.shares.resize(0)
    planned.plan.free(first)
    assert planned.start(1.0) == []
    assert not planned.hosts.has_place("http://h0.example:80", 1.0), "it is offered the place"
    assert planned.start(5.0) == []
    assert [index for index, _ in planned.rejected] == [1]
    assert planned.hosts.has_place("http://h0.example:80", 5.0)


def test_one_client_leaves_places_at_a_host_to_the_others() -> None:
    planned = Planned(replace(LIMITS, hosts_shared=True))
    planned.add(batch_of(hosts(50), name="a", owner="a"))
    held = planned.start()
    assert len(held) == 15
    planned.add(batch_of(hosts(10), name="b", owner="b"))
    assert [work.group.id for work in planned.start()] == ["b"] * 5
    for work in held[:2]:
        planned.plan.free(work)
        planned.plan.landed(work)
    assert {work.group.id for work in planned.start()} == {"a", "b"}, "places that come free go round"


def test_what_waits_goes_on_when_newer_credentials_give_its_client_a_larger_share() -> None:
    planned = Planned(replace(LIMITS, active_per_host=1))
    planned.add(batch_of(hosts(1), name="b", owner="b"))
    first = planned.start()[0]
    planned.add(replace(batch_of(hosts(1), name="one"), share=1))
    assert planned.start() == [], "its host is full"
    planned.add(replace(batch_of(["http://other.example/"], name="two"), share=1))
    assert [work.group.id for work in planned.start()] == ["two"]
    planned.plan.free(first)
    planned.plan.landed(first)
    assert planned.start() == [], "now the client has all of its share"
    planned.add(batch_of([], name="three"))
    assert [work.group.id for work in planned.start()] == ["one"]


def test_a_place_goes_past_a_client_that_has_all_of_its_share_and_back_to_it_later() -> None:
    planned = Planned(replace(LIMITS, active_per_host=1, active_per_client=2))
    planned.add(batch_of(hosts(2), name="one", owner="other"))
    [first] = planned.start()
    planned.add(batch_of([*hosts(1), *(f"http://g{n}.example/" for n in range(3))], name="two", owner="full"))
    full = planned.start()
    assert len(full) == 2
    planned.plan.free(first)
    assert [work.group.id for work in planned.start()] == ["one"]
    assert len(planned.start()) == 0
    planned.plan.free(full[0])
    assert [work.target.host for work in planned.start()] == ["g2.example"]


def test_a_client_that_has_room_again_goes_on_where_there_is_a_place_and_not_only_where_it_was_passed_over_last() -> (
    None
):
    planned = Planned(replace(LIMITS, active_per_host=1, active_per_client=1))

    def begin(name: str, *urls: str) -> list[FetchTask]:
        planned.add(batch_of(list(urls), name=name, owner=name))
        return planned.start()

    def end(task: FetchTask) -> None:
        planned.plan.free(task)
        planned.plan.landed(task)

    [first] = begin("b", "http://h0.example/")
    [second] = begin("c", "http://h1.example/")
    [held] = begin("full", "http://h0.example/", "http://h1.example/", "http://g.example/")
    for task in (first, second):
        end(task)
        assert planned.start() == [], "it has all of its share"
    assert [task.target.host for task in begin("d", "http://h1.example/")] == ["h1.example"]
    end(held)
    assert [task.target.host for task in planned.start()] == ["h0.example"]


def two_at_a_host_with_one_place() -> tuple[Planned, FetchTask]:
    """Return a plan in which two URLs of one client and one of another wait, and the task that they wait for."""
    planned = Planned(replace(LIMITS, active_per_host=1, hosts_shared=True))
    planned.add(batch_of(hosts(3), name="a", owner="a", timeout=3.0))
    [first] = planned.start()
    planned.add(batch_of(hosts(1), name="b", owner="b", timeout=3.0))
    assert planned.start() == []
    return planned, first


def test_urls_of_one_client_fail_where_its_host_is_left_alone_for_it_and_those_of_others_start() -> None:
    planned, first = two_at_a_host_with_one_place()
    for number in range(2):
        planned.hosts.record("http://h0.example:80", "slow", 0.0, 0.0, 9.0, f"/{number}", Owner("a"))
    planned.plan.free(first)
    planned.plan.landed(first)
    assert [task.group.id for task in planned.start()] == ["b"]
    assert [failure.kind for _, failure in planned.rejected] == ["unavailable"] * 2


@pytest.mark.parametrize(("asked_for_less", "started"), [("aaa", ["b"]), ("aaabc", [])])
def test_urls_that_have_no_time_for_several_pauses_of_their_host_fail_once(
    asked_for_less: str, started: list[str]
) -> None:
    planned, first = two_at_a_host_with_one_place()
    for number, name in enumerate(asked_for_less):
        at = number / 10
        planned.hosts.record("http://h0.example:80", "slow", at, at, 9.0, f"/{number}", Owner(name))
    planned.plan.free(first)
    planned.plan.landed(first)
    assert [task.group.id for task in planned.start(0.5)] == started
    assert [failure.kind for _, failure in planned.rejected] == ["unavailable"] * (3 - len(started))


def test_a_client_that_was_passed_over_hands_on_no_place() -> None:
    planned = Planned(replace(LIMITS, active_per_host=1, active_per_client=1))
    planned.add(batch_of(["http://h0.example/"], name="b", owner="b"))
    [other] = planned.start()
    planned.add(batch_of(["http://h0.example/"], name="one", owner="full"))
    assert planned.start() == []
    planned.add(batch_of(["http://g.example/"] * 3, name="many", owner="full"))
    [held] = planned.start()
    planned.plan.free(other)
    planned.plan.landed(other)
    assert planned.start() == []
    assert planned.plan.successor(held, 0.0) is None


def test_a_step_costs_the_same_however_many_wait() -> None:
    def looks(parked: int) -> int:
        planned = Planned()
        for number in range(20 + parked):
            planned.add(batch_of(hosts(1), name=f"p{number}", owner=f"p{number}", timeout=300.0))
        planned.start()
        count = 0
        room = planned.hosts.has_place

        def counted(*arguments: object) -> bool:
            nonlocal count
            count += 1
            return room(*arguments)  # type: ignore[arg-type]

        planned.hosts.has_place = counted  # type: ignore[method-assign, assignment]
        batch = batch_of(["http://free.example/"], name="free", owner="free")
        planned.add(batch)
        [work] = planned.start()
        planned.plan.free(work)
        planned.plan.landed(work)
        planned.plan.remove(batch)
        assert planned.start() == []
        return count

    assert looks(0) == looks(2000) <= 2


def test_a_bug_in_one_url_or_host_or_source_rejects_what_it_happened_to_alone() -> None:
    planned = Planned()

    def odd(origin: str, now: float, owner: Owner | None = None) -> bool:
        if "h1" in origin:
            raise RuntimeError("its state is odd")
        return room(origin, now, owner)

    room, planned.hosts.has_place = planned.hosts.has_place, odd  # type: ignore[method-assign]
    several = batch_of([*hosts(4, 4), ""], name="odd", owner="a")
    several.items[4] = 7  # type: ignore[call-overload]
    planned.add(several)
    broken = batch_of(hosts(2, 1), name="broken", owner="b")
    planned.add(broken)
    errors = [RuntimeError("a bug")]

    def admit(batch: Batch) -> Permit:
        if batch is broken and errors:
            raise errors.pop()
        return Permit.START

    planned.admit = admit
    assert sorted((work.group.id, work.index) for work in planned.start()) == [
        ("broken", 1), ("odd", 0), ("odd", 2), ("odd", 3),
    ]  # fmt: skip
    assert sorted((index, failure.kind) for index, failure in planned.rejected) == [
        (0, "protocol"), (1, "protocol"), (4, "protocol"),
    ]  # fmt: skip


def test_one_owner_has_most_places_and_leaves_some_to_the_next_ones() -> None:
    planned = Planned(replace(LIMITS, active=100, active_per_client=100))
    planned.add(batch_of(hosts(300, 300), name="a", owner="a", concurrency=300))
    greedy = planned.start()
    assert len(greedy) == 90
    planned.add(batch_of(hosts(300, 300), name="b", owner="b", concurrency=300))
    second = planned.start()
    assert len(second) == 9
    planned.add(batch_of(hosts(3, 3), name="c", owner="c"))
    assert [work.group.owner for work in planned.start()] == ["c"]
    assert planned.plan.shares.statistics().owners == 3
    # As places come free, who was held back has its turn, though nothing of its own has ended.
    for work in greedy:
        planned.plan.free(work)
        planned.plan.landed(work)
    planned.plan.remove(greedy[0].group)
    assert Counter(str(work.group.owner) for work in planned.start())["b"] > 70


def test_an_owner_with_a_small_weight_has_few_places() -> None:
    planned = Planned(replace(LIMITS, active=100, active_per_client=100))
    batch = batch_of(hosts(300, 300), name="a", owner="a", concurrency=300)
    batch.owner = Owner("a", 0.01)
    planned.add(batch)
    assert 1 <= len(planned.start()) <= 10
