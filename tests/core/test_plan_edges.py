"""Decisions of the plan that come too late, or twice: each is harmless, and what was counted is counted out."""

import pytest

from service.core.fetching.host_limiter import HostLimiter
from service.core.fetching.outcome import INTERNAL, Failure, Fetched, Permit
from service.core.fetching.request import FetchRequest
from service.core.fetching.target import Target
from service.core.fetching.task import ENDED, LANDED, FetchTask, Turn
from tests.core.test_plan import Planned, batch_of, hosts

GONE = Failure("unavailable", "gone")
HOST = "http://h0.example:80"


def held(planned: Planned, batch_name: str = "b", **more: float) -> tuple[FetchTask, FetchTask]:
    """Fill a host and have one more URL wait for it; return one that runs and the one that waits."""
    batch = batch_of(hosts(21), name=batch_name, **more)  # type: ignore[arg-type]
    planned.add(batch)
    running = planned.start()
    assert len(running) == 20
    [waiting] = [task for task in planned.plan.admitted.of(batch) if task.waiting]
    return running[0], waiting


def offered(planned: Planned, now: float = 0.0) -> tuple[FetchTask, Turn]:
    """Free a place for the URL that waits; return it, and its turn."""
    running, waiting = held(planned)
    planned.plan.free(running)
    planned.plan.landed(running)
    turn = planned.plan.next(now)
    assert isinstance(turn, Turn)
    assert turn.task is waiting
    return waiting, turn


def test_a_group_that_is_removed_takes_what_waits_along() -> None:
    planned = Planned()
    _, waiting = held(planned)
    planned.plan.remove(waiting.group)
    assert waiting.state is ENDED
    assert planned.plan.parking.waiting == 0
    planned.plan.remove(waiting.group)


def test_a_group_that_is_gone_has_no_turn() -> None:
    planned = Planned()
    batch = batch_of(hosts(1))
    planned.add(batch)
    turn = planned.plan.next(0.0)
    assert isinstance(turn, Turn)
    planned.plan.remove(batch)
    planned.plan.wake(batch)
    assert planned.plan.start(turn, 0.0) is None
    planned.plan.hold(turn, 0.0)
    planned.plan.refuse(turn, GONE)
    assert planned.start() == []
    assert planned.rejected == []


def test_a_url_whose_group_holds_back_when_its_place_comes_waits_for_a_moment() -> None:
    planned = Planned()
    waiting, turn = offered(planned)
    planned.plan.hold(turn, 0.0)
    assert planned.hosts.has_place(HOST, 0.0), "the place is free again"
    later = planned.plan.wake_at()
    assert 0.0 < later < waiting.deadline
    assert [task.index for task in planned.start(later)] == [waiting.index]
    assert planned.rejected == []


def test_a_turn_that_is_answered_too_late_changes_nothing() -> None:
    planned = Planned()
    waiting, turn = offered(planned)
    planned.plan.drop(waiting)
    planned.plan.hold(turn, 0.0)
    planned.plan.refuse(turn, GONE)
    assert planned.plan.start(turn, 0.0) is None
    assert waiting.state is LANDED
    assert planned.start() == []
    assert planned.rejected == []


def test_a_place_that_is_offered_to_one_that_was_dropped_goes_on() -> None:
    planned = Planned()
    running, waiting = held(planned)
    planned.plan.free(running)
    planned.plan.landed(running)
    planned.plan._advance(0.0)
    planned.plan.drop(waiting)
    planned.add(batch_of(hosts(1), name="c"))
    assert [task.group.id for task in planned.start()] == ["c"]


def test_one_that_is_tried_again_is_not_admitted_twice() -> None:
    planned = Planned()
    running, waiting = held(planned)
    planned.plan.drop(waiting)
    planned.plan.free(running)
    planned.plan.landed(running)
    running.attempts = 1
    planned.plan.retry(running, 1.0)
    planned.admit = lambda batch: Permit.HOLD
    assert planned.start(0.5) == []
    assert planned.start(1.0) == [running]


def test_one_whose_group_is_gone_is_not_tried_again() -> None:
    planned = Planned()
    running, waiting = held(planned)
    planned.plan.free(running)
    planned.plan.landed(running)
    planned.plan.remove(waiting.group)
    planned.plan.retry(running, 1.0)
    assert planned.start(1.0) == []


def test_an_odd_host_fails_only_those_that_wait_for_it() -> None:
    planned = Planned()
    running, waiting = held(planned)

    class Odd(HostLimiter):
        def opens_at(self, origin: str) -> float:
            raise ValueError("odd")

    planned.plan.free(running)
    planned.plan.landed(running)
    planned.plan._hosts.__class__ = Odd
    planned.start()
    assert planned.rejected == [(waiting.index, INTERNAL)]


def test_a_url_that_runs_out_of_time_when_it_is_tried_again_ends() -> None:
    planned = Planned()
    running, _ = held(planned)
    planned.plan.free(running)
    planned.plan.landed(running)
    planned.plan.retry(running, running.deadline)
    planned.start(running.deadline)
    assert (running.index, Failure("timeout", "timed out before its turn")) in planned.rejected


def test_an_invalid_request_of_a_batch_is_rejected_and_the_next_starts() -> None:
    planned = Planned()
    batch = batch_of(hosts(1))
    batch.items = [FetchRequest("http://h0.example/", method="DELETE"), FetchRequest("http://h0.example/")]
    batch.wanted = range(2)
    planned.add(batch)
    assert [task.index for task in planned.start()] == [1]
    assert [(index, failure.kind) for index, failure in planned.rejected] == [(0, "invalid_request")]


@pytest.mark.parametrize(("headers", "found"), [({}, None), ({"content-type": "text/html"}, "text/html")])
def test_an_answer_says_what_its_body_is(headers: dict[str, str], found: str | None) -> None:
    target = Target("http://h.example/", "http", "h.example", 80, "http://h.example:80", "/")
    assert Fetched(200, target, headers, b"", truncated=False).content_type == found


def test_an_error_after_a_place_was_taken_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = Planned()

    def odd(origin: str, owner: object) -> None:
        raise ValueError("odd")

    monkeypatch.setattr(planned.hosts, "begin", odd)
    monkeypatch.setattr(planned.hosts, "end", lambda origin, owner: None)
    planned.add(batch_of(hosts(1)))
    assert planned.start() == []
    assert planned.rejected == [(0, INTERNAL)]
    assert planned.plan.shares.used == 0


def test_one_that_has_given_up_its_place_for_a_redirect_frees_no_other() -> None:
    planned = Planned()
    running, waiting = held(planned)
    planned.hosts.end(HOST, running.group.owner)
    running.place = ""
    planned.plan.free(running)
    planned.plan.landed(running)
    assert [task.index for task in planned.start()] == [waiting.index]
    assert not planned.hosts.has_place(HOST, 0.0)


def test_a_turn_that_is_refused_out_of_turn_rotates_nobody() -> None:
    planned = Planned()
    for name in "ab":
        planned.add(batch_of(hosts(2), name=name, owner=name))
    turn = planned.plan.next(0.0)
    assert isinstance(turn, Turn)
    planned.plan.owners.passed(planned.plan.owners.states[turn.group.owner])
    planned.plan.refuse(turn, GONE)
    assert {task.group.id for task in planned.start()} == {"b"}
    assert {index for index, _ in planned.rejected} == {0, 1}
