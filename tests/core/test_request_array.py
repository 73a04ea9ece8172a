"""Arrays of requests: carried out for a moment at a time, and answered by one array before any message."""

from typing import Any

import orjson
import pytest

from service.core.access.grants import EVERYTHING, Grant
from service.core.pending import Pending
from service.core.sessions.closing import FLOODING, Reply
from service.core.sessions.late_answers import LateAnswers
from service.core.sessions.request_array import RequestArray
from service.core.sessions.session import SessionLimits
from tests.core.peers import FakePeer
from tests.core.test_session import Bench

SLOW = ("authenticate", {"token": "right"})


class SlowBench(Bench):
    """A session for which it takes 0.4 ms to look at a token."""

    def authenticate(self, token: str) -> Grant:
        self.turns.now += 0.0004
        return super().authenticate(token)

    def receive(self, *requests: tuple[str, dict[str, Any]]) -> Reply:
        values = [
            {"jsonrpc": "2.0", "id": number, "method": name, "params": params}
            for number, (name, params) in enumerate(requests)
        ]
        return self.session.receive(orjson.dumps(values), self.turns.now)

    def rest(self, reply: Reply) -> Reply:
        assert reply == Reply(rest=reply.rest), "nothing is sent before all is carried out"
        assert reply.rest is not None
        return reply.rest(self.turns.now)


def test_an_array_that_takes_long_is_carried_out_for_a_millisecond_at_a_time_and_answered_once() -> None:
    bench = SlowBench()
    reply, slices = bench.receive(*[SLOW] * 10), 1
    while reply.rest is not None:
        assert bench.turns.now <= slices * 0.0012 + 1e-9
        reply, slices = bench.rest(reply), slices + 1
    assert slices == 4
    assert reply == Reply()
    assert bench.wire[0] == "hold"
    assert [answer["id"] for answer in bench.wire[1]] == [*range(10)]
    assert bench.wire[2:] == ["resume"]


def test_what_its_first_requests_cause_comes_after_its_answer() -> None:
    bench = SlowBench()
    reply = bench.receive(("subscribe", {"topic": "t"}), ("publish", {"topic": "t", "data": 1}), *[SLOW] * 4)
    bench.turns.settle()
    assert bench.readers[0].lines == []
    assert bench.rest(reply).rest is None
    bench.turns.settle()
    assert bench.readers[0].lines == ["1"]
    assert bench.wire[0] == "hold"
    assert len(bench.wire[1]) == 6


def test_a_drain_waits_for_the_answer_to_an_array_that_has_begun() -> None:
    bench, ended = SlowBench(), list[str]()
    reply = bench.receive(*[SLOW] * 4)
    bench.session.late.when_answered(lambda: ended.append("answered"))
    assert ended == []
    bench.rest(reply)
    assert ended == ["answered"]


def test_what_waits_for_the_store_is_answered_with_the_rest() -> None:
    bench = SlowBench()
    reply = bench.receive(("job", {"publish": {"topic": "t", "data": 1}}), *[SLOW] * 4)
    assert bench.rest(reply) == Reply()
    assert bench.wire == ["hold"]
    bench.made.settle({"job": "j1"})
    assert [answer["id"] for answer in bench.wire[1]] == [*range(5)]


def test_a_client_that_is_too_fast_is_closed_when_its_array_is_through() -> None:
    bench = SlowBench(SessionLimits(rate=1, burst=3, requests_in_array=1000))
    reply = bench.receive(*[SLOW] * 3, *[("ping", {})] * 900)
    while reply.rest is not None:
        reply = bench.rest(reply)
    assert reply == Reply(closing=FLOODING)


@pytest.mark.parametrize("seconds", [0.0, 0.0001, 0.01])
def test_each_call_carries_out_one_request_at_least_and_each_once_in_its_order(seconds: float) -> None:
    peer, now, seen = FakePeer(EVERYTHING), 5.0, list[int]()

    def carry_out(value: int, at: float) -> dict[str, Any] | Pending[dict[str, Any]]:
        nonlocal now
        now += seconds
        seen.append(value)
        return {"id": value}

    array = RequestArray([*range(30)], carry_out, Reply, LateAnswers(peer, {}), lambda: now)  # type: ignore[arg-type]
    assert repr(array) == "<RequestArray 0 carried out, 30 left>"
    calls, reply = 1, array.go_on(now)
    while reply.rest is not None:
        before = len(seen)
        calls, reply = calls + 1, reply.rest(now)
        assert len(seen) > before
    assert seen == [*range(30)]
    assert calls == {0.0: 1, 0.0001: 3, 0.01: 30}[seconds]
