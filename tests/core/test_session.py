"""One client's protocol, request by request: answers, errors with names, and what a connection survives."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest

from service.core.access.grants import EVERYTHING, NOTHING, Grant
from service.core.errors import NotFound, Unauthorized
from service.core.fetching.batch import BatchRequest
from service.core.jobs.request import JobRequest
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.ports import Refusals, TopicStore
from service.core.sessions.closing import FLOODING, NOT_TEXT, UNAUTHORIZED
from service.core.sessions.session import Session, SessionLimits
from service.core.topics.hub import HubLimits
from service.core.topics.topic import RingLimits, Topic
from tests.core.peers import FakePeer
from tests.core.readers import Turns, make_hub


class FakeBatch:
    def __init__(self, topic: Topic, total: int) -> None:
        self.id = topic.name.removeprefix("batch:")
        self.topic = topic
        self.total = total
        self.accepted: Pending[Any] | None = None


class Bench(FakePeer):
    """A session over a fake hub loop, and a service that keeps what it is asked for."""

    def __init__(
        self,
        limits: SessionLimits | None = None,
        ring: RingLimits | None = None,
        grant: Grant = EVERYTHING,
        store: TopicStore | None = None,
    ) -> None:
        super().__init__(grant)
        self.turns = Turns()
        self.hub = make_hub(self.turns, HubLimits(ring=ring or RingLimits()), store)
        self.draining = False
        self.refusals: Refusals = Counter()
        self.owners: list[Owner] = []
        self.batch: FakeBatch | None = None
        self.acceptance: Pending[Any] | None = None
        self.cancelled: Pending[int] | None = None
        self.made: Pending[dict[str, object]] = Pending()
        self.grants = {"right": EVERYTHING}
        self.session = Session(self.hub, self, limits or SessionLimits(), self, grant)  # type: ignore[arg-type]

    def fetch(self, request: BatchRequest, owner: Owner, grant: Grant) -> FakeBatch:
        self.owners.append(owner)
        self.batch = FakeBatch(self.hub.log("batch:b1"), len(request.urls or ()))
        self.batch.accepted = self.acceptance
        return self.batch

    def cancel(self, batch_id: str) -> int | Pending[int]:
        if batch_id != "b1":
            raise NotFound("the batch does not exist or has expired")
        return self.cancelled or 3

    def job(self, request: JobRequest, owner: Owner, grant: Grant) -> Pending[dict[str, object]]:
        self.owners.append(owner)
        self.made = Pending()
        return self.made

    def cancel_job(self, job_id: str) -> Pending[dict[str, object]]:
        answer: Pending[dict[str, object]] = Pending()
        answer.settle({"cancelled": True, "state": "cancelled"} if job_id == "j1" else NotFound("no such job"))
        return answer

    def authenticate(self, token: str) -> Grant:
        if token not in self.grants:
            raise Unauthorized("token: not valid")
        return self.grants[token]

    def send(self, value: Any, now: float = 0.0) -> Any:
        text = value if isinstance(value, bytes) else orjson.dumps(value)
        answer = self.session.receive(text, now)
        return orjson.loads(answer.text) if answer.text else None

    def call(self, method: str, now: float = 0.0, **params: Any) -> Any:
        answer = self.send({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, now)
        return answer.get("result") or answer.get("error") or answer["result"]


def test_subscribe_tells_the_position_and_messages_follow_it() -> None:
    bench = Bench()
    bench.hub.publish("t", b'"before"', 0.0)
    assert bench.call("subscribe", topic="t") == {"topic": "t", "epoch": "e1", "offset": 1, "recovered": False}
    assert bench.call("publish", topic="t", data={"a": [1, None]}) == {"epoch": "e1", "offset": 2}
    bench.turns.settle()
    assert bench.readers[0].lines == ['{"a":[1,null]}']


def test_the_answer_comes_before_every_message_that_the_request_causes() -> None:
    bench = Bench()
    bench.hub.publish("t", b"1", 0.0)
    answer = bench.call("subscribe", topic="t", since="oldest")
    assert answer["offset"] == 0
    assert bench.readers[0].sent == []
    bench.turns.settle()
    assert bench.readers[0].lines == ["1"]


@pytest.mark.parametrize("since", ["e1:1", {"epoch": "e1", "offset": 1}])
def test_a_position_is_resumed_in_both_spellings(since: Any) -> None:
    bench = Bench()
    bench.hub.publish("t", b"1", 0.0)
    bench.hub.publish("t", b"2", 0.0)
    assert bench.call("subscribe", topic="t", since=since)["recovered"] is True
    bench.turns.settle()
    assert bench.readers[0].lines == ["2"]


@pytest.mark.parametrize(("since", "ended"), [("oldest", {}), ("newest", {"ended": True})])
def test_a_reader_learns_that_a_stream_has_ended_and_where_its_last_run_begins(since: str, ended: Any) -> None:
    bench = Bench()
    topic = bench.hub.log("job:1")
    bench.hub.append(topic, b'{"event":"done"}', 0.0)
    topic.earlier = 1
    bench.hub.finish(topic)
    answer = bench.call("subscribe", topic="job:1", since=since)
    assert {key: answer[key] for key in ("earlier", "ended") if key in answer} == {"earlier": 1, **ended}


def test_unsubscribe_ends_it_and_is_harmless_twice() -> None:
    bench = Bench()
    bench.call("subscribe", topic="t")
    assert bench.call("unsubscribe", topic="t") == {}
    assert bench.call("unsubscribe", topic="t") == {}
    bench.call("publish", topic="t", data=1)
    bench.turns.settle()
    assert bench.readers[0].sent == []
    assert bench.call("presence", topic="t") == {"readers": 0}


def test_the_same_key_publishes_once() -> None:
    bench = Bench()
    first = bench.call("publish", topic="t", data=1, key="k")
    assert bench.call("publish", topic="t", data=1, key="k", now=119.0) == first
    assert bench.call("publish", topic="t", data=1, key="k", now=121.0)["offset"] == 2


def test_a_key_belongs_to_the_subject_or_else_the_token_or_else_the_address() -> None:
    bench = Bench()
    named = [replace(EVERYTHING, subject=subject, bearer="t1") for subject in ("ann", "bob")]
    nameless = [replace(EVERYTHING, bearer=token) for token in ("t1", "t2")]
    for offset, grant in enumerate([*named, *nameless, EVERYTHING], start=1):
        bench.belong_to(grant)
        for _ in range(2):
            assert bench.call("publish", topic="t", data=1, key="order-17")["offset"] == offset
    bench.owner = EVERYTHING.owner("2001:db8::/64")
    assert bench.call("publish", topic="t", data=1, key="order-17")["offset"] == 6
    bench.belong_to(replace(named[0], bearer="renewed"))
    assert bench.call("publish", topic="t", data=1, key="order-17")["offset"] == 1


@pytest.mark.parametrize(
    ("value", "code", "named"),
    [
        (b"{", -32700, "JSON"),
        (b'{"jsonrpc":"2.0","method":"ping","id":1} x', -32700, "JSON"),
        (b'{"jsonrpc":"2.0","method":"ping","id":NaN}', -32700, "JSON"),
        (1, -32600, "object"),
        ([], -32600, "array"),
        ([1] * 101, -32600, "100"),
        ({"method": "ping", "id": 1}, -32600, "jsonrpc"),
        ({"jsonrpc": "2.0", "method": 1, "id": 1}, -32600, "method"),
        ({"jsonrpc": "2.0", "method": "ping", "id": True}, -32600, "id"),
        ({"jsonrpc": "2.0", "method": "ping", "id": {}}, -32600, "id"),
        ({"jsonrpc": "2.0", "method": "nope", "id": 1}, -32601, "nope"),
        ({"jsonrpc": "2.0", "method": "subscribe", "id": 1}, -32602, "topic"),
        ({"jsonrpc": "2.0", "method": "subscribe", "id": 1, "params": ["t"]}, -32602, "params"),
        ({"jsonrpc": "2.0", "method": "subscribe", "id": 1, "params": {"topic": 5}}, -32602, "topic"),
        ({"jsonrpc": "2.0", "method": "subscribe", "id": 1, "params": {"topic": "a b"}}, -32602, "topic"),
        ({"jsonrpc": "2.0", "method": "subscribe", "id": 1, "params": {"topic": "t", "x": 1}}, -32602, "x"),
        (
            {"jsonrpc": "2.0", "method": "subscribe", "id": 1, "params": {"topic": "t", "since": "e:-1"}},
            -32602,
            "since",
        ),
        (
            {"jsonrpc": "2.0", "method": "subscribe", "id": 1, "params": {"topic": "t", "on_lag": "x"}},
            -32602,
            "on_lag",
        ),
        (
            {"jsonrpc": "2.0", "method": "publish", "id": 1, "params": {"topic": "_stats", "data": 1}},
            -32002,
            "_stats",
        ),
        (
            {"jsonrpc": "2.0", "method": "publish", "id": 1, "params": {"topic": "batch:x", "data": 1}},
            -32002,
            "batch",
        ),
        (
            {"jsonrpc": "2.0", "method": "subscribe", "id": 1, "params": {"topic": "batch:none"}},
            -32001,
            "batch:none",
        ),
        ({"jsonrpc": "2.0", "method": "cancel", "id": 1, "params": {"batch": "none"}}, -32001, "batch"),
        ({"jsonrpc": "2.0", "method": "authenticate", "id": 1, "params": {"token": "w"}}, -32003, "token"),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong_and_the_session_lives_on(
    value: Any, code: int, named: str
) -> None:
    bench = Bench()
    answer = bench.send(value)
    assert answer["error"]["code"] == code
    assert named in answer["error"]["message"]
    assert set(answer["error"]["data"]) >= {"reason", "temporary"}
    assert bench.call("ping") == {}
    assert bench.bugs == []


def test_an_error_carries_the_id_where_it_can_be_read() -> None:
    bench = Bench()
    assert bench.send({"id": 7, "method": "ping"})["id"] == 7
    assert bench.send({"id": [7], "method": "ping"})["id"] is None
    assert bench.send(b"{")["id"] is None


def test_a_request_without_id_is_never_answered_not_even_with_an_error() -> None:
    bench = Bench()
    for params in ({"topic": "t"}, {"topic": 5}, {}):
        assert bench.send({"jsonrpc": "2.0", "method": "subscribe", "params": params}) is None
    assert bench.send({"jsonrpc": "2.0", "method": "nope"}) is None
    assert list(bench.session.readers) == ["t"]


def test_a_null_id_is_answered() -> None:
    assert Bench().send({"jsonrpc": "2.0", "method": "ping", "id": None}) == {
        "jsonrpc": "2.0",
        "id": None,
        "result": {},
    }


def test_an_array_is_answered_by_one_array_in_its_order() -> None:
    bench = Bench()
    ping = {"jsonrpc": "2.0", "method": "ping"}
    answers = bench.send([{**ping, "id": 1}, ping, 5, {**ping, "id": "b"}])
    assert [answer["id"] for answer in answers] == [1, None, "b"]
    assert bench.send([ping, ping]) is None


def test_twice_in_a_row_not_json_closes_once_does_not() -> None:
    bench = Bench()
    assert bench.session.receive(b"{", 0.0).closing is None
    bench.call("ping")
    assert bench.session.receive(b"{", 0.0).closing is None
    assert bench.session.receive(b"[", 0.0).closing is NOT_TEXT


def test_what_is_not_utf8_closes_at_once() -> None:
    assert Bench().session.receive(b'{"a":"\xff"}', 0.0).closing is NOT_TEXT


def test_one_subscription_a_topic_and_a_bounded_number() -> None:
    bench = Bench(SessionLimits(topics=2))
    bench.call("subscribe", topic="a")
    assert bench.call("subscribe", topic="a")["code"] == -32004
    bench.call("subscribe", topic="b")
    refusal = bench.call("subscribe", topic="c")
    assert refusal["code"] == -32005
    assert "2" in refusal["message"]
    assert bench.call("fetch", urls=["http://x/"])["code"] == -32005
    bench.call("unsubscribe", topic="a")
    assert "offset" in bench.call("subscribe", topic="c")


def test_too_fast_is_refused_with_the_time_to_wait_and_a_flood_closes() -> None:
    bench = Bench(SessionLimits(rate=10.0, burst=5, refusals=10.0, refusals_burst=3))
    results = [bench.call("ping") for _ in range(8)]
    assert results[:5] == [{}] * 5
    assert [result["code"] for result in results[5:]] == [-32006] * 3
    assert bench.refusals == {("request", "rate"): 3}
    assert 0 < results[5]["data"]["retry_after"] <= 0.11
    answer = bench.session.receive(orjson.dumps({"jsonrpc": "2.0", "method": "ping", "id": 1}), 0.0)
    assert answer.closing is FLOODING
    assert b"-32006" in answer.text


def test_a_client_that_waits_as_asked_is_accepted_again() -> None:
    bench = Bench(SessionLimits(rate=10.0, burst=1))
    assert bench.call("ping") == {}
    wait = bench.call("ping")["data"]["retry_after"]
    assert bench.call("ping", now=wait + 0.001) == {}


def test_a_batch_that_has_to_be_stored_is_answered_and_read_after_that() -> None:
    for closed in (False, True):
        bench = Bench()
        bench.acceptance = Pending()
        assert bench.send({"jsonrpc": "2.0", "id": 1, "method": "fetch", "params": {"urls": ["http://a/"]}}) is None
        assert not bench.session.readers
        if closed:
            bench.session.close()
        bench.acceptance.settle("accepted")
        assert list(bench.session.readers) == ([] if closed else ["batch:b1"])


def test_a_cancel_that_has_to_be_stored_is_answered_after_that() -> None:
    bench = Bench()
    bench.cancelled = Pending()
    answers: list[bytes] = []
    bench.answer = answers.append  # type: ignore[method-assign, assignment]
    assert bench.send({"jsonrpc": "2.0", "id": 1, "method": "cancel", "params": {"batch": "b1"}}) is None
    bench.cancelled.settle(5)
    assert [orjson.loads(answer)["result"] for answer in answers] == [{"cancelled": 5}]


def test_fetch_subscribes_its_caller_from_the_first_event() -> None:
    bench = Bench()
    answer = bench.call("fetch", urls=["http://a/", "http://b/"])
    assert answer == {"batch": "b1", "topic": "batch:b1", "epoch": "e1", "total": 2}
    assert bench.owners == ["me"]
    topic = bench.hub.topics["batch:b1"]
    bench.hub.append(topic, b'{"event":"done"}', 0.0)
    bench.hub.finish(topic)
    bench.turns.settle()
    assert bench.readers[0].lines == ['{"event":"done"}']
    assert bench.readers[0].complete
    assert bench.call("cancel", batch="b1") == {"cancelled": 3}


def publish(bench: "Bench", data: str, number: str = "1") -> dict[str, Any]:
    """Publish a text of JSON as it stands; return the answer."""
    params = f'{{"topic":"t","data":{data}}}'
    text = f'{{"jsonrpc":"2.0","id":{number},"method":"publish","params":{params}}}'
    answer: dict[str, Any] = orjson.loads(bench.session.receive(text.encode(), 0.0).text)
    return answer


EXACT = [
    "18446744073709551615",
    "-9223372036854775808",
    "[[[[]]]]",
    '"\\\\ud800"',
    "1.5",
    '"\\ud83d\\ude00"',
    '"9999999999999999999999"',
]
INEXACT = [
    "18446744073709551616",
    "-9223372036854775809",
    "1" * 5000,
    "1e400",
    '"\\ud83d"',
    '{"\\udc00\\ud800":[]}',
    '{"n":[99999999999999999999]}',
]


@pytest.mark.parametrize("data", EXACT)
def test_what_was_published_comes_out_as_it_was(data: str) -> None:
    bench = Bench()
    bench.call("subscribe", topic="t")
    assert publish(bench, data)["result"]["offset"] == 1
    bench.turns.settle()
    assert json.loads(bench.readers[0].lines[0]) == json.loads(data)


@pytest.mark.parametrize("data", INEXACT)
def test_what_could_not_be_passed_on_unchanged_is_refused_and_nothing_else_is(data: str) -> None:
    bench = Bench()
    for number in ("7", '"seven"'):
        answer = publish(bench, data, number)
        assert answer["id"] == json.loads(number)
        assert answer["error"]["code"] == -32602
        assert "string" in answer["error"]["message"]
    good = '{"jsonrpc":"2.0","id":8,"method":"publish","params":{"topic":"t","data":1}}'
    bad = f'{{"jsonrpc":"2.0","id":9,"method":"publish","params":{{"topic":"t","data":{data}}}}}'
    answers = orjson.loads(bench.session.receive(f"[{bad},{good},{bad}]".encode(), 0.0).text)
    assert [answer.get("error", {}).get("code") for answer in answers] == [-32602, None, -32602]
    assert [answer["id"] for answer in answers] == [9, 8, 9]


@pytest.mark.parametrize("depth", [1100, 20_000])
def test_what_is_too_deep_to_be_read_is_refused_by_its_id(depth: int) -> None:
    bench = Bench()
    for _ in range(3):
        answer = publish(bench, "[" * depth + '"}]{[\\""' + "]" * depth, '"deep"')
        assert (answer["id"], answer["error"]["code"]) == ("deep", -32009)


@pytest.mark.parametrize("number", ["1" * 30, "1e999", "[1]", '"\\ud800"'])
def test_an_id_that_could_not_come_back_unchanged_is_refused(number: str) -> None:
    answer = publish(Bench(), "1", number)
    assert answer["id"] is None
    assert answer["error"]["code"] == -32600


@pytest.mark.parametrize("text", ["NaN", "[1,]", "{'a':1}", "\ufeff1", '"\x01"', "1 2", ""])
def test_what_is_not_json_is_still_not(text: str) -> None:
    assert publish(Bench(), text)["error"]["code"] == -32700


def test_a_structure_deeper_than_can_be_written_is_too_large() -> None:
    bench = Bench()
    deep = b"[" * 600 + b"]" * 600
    answer = bench.session.receive(
        b'{"jsonrpc":"2.0","id":1,"method":"publish","params":{"topic":"t","data":' + deep + b"}}", 0.0
    )
    assert orjson.loads(answer.text)["error"]["code"] == -32009
    assert bench.bugs == []


def test_draining_refuses_what_is_new_and_serves_what_is_there() -> None:
    bench = Bench()
    bench.call("subscribe", topic="t")
    bench.draining = True
    assert bench.call("subscribe", topic="u")["code"] == -32008
    assert bench.call("fetch", urls=["http://a/"])["code"] == -32008
    assert bench.call("publish", topic="t", data=1)["offset"] == 1
    assert bench.call("ping") == {}


def test_an_internal_error_is_logged_and_does_not_leave_its_text() -> None:
    bench = Bench()
    bench.cancel = lambda batch_id: 1 // 0  # type: ignore[method-assign]
    answer = bench.call("cancel", batch="b1")
    assert answer["code"] == -32603
    assert "division" not in answer["message"]
    assert isinstance(bench.bugs[0], ZeroDivisionError)
    assert bench.call("ping") == {}


def test_close_leaves_every_topic() -> None:
    bench = Bench()
    bench.call("subscribe", topic="a")
    bench.call("subscribe", topic="b")
    bench.session.close()
    assert not bench.hub.topics["a"].readers
    assert not bench.session.readers


@pytest.mark.parametrize("text", [b"{}", b"1", b"[]", b"[1]", b'{"jsonrpc":"2.0","method":"nope"}'])
def test_malformed_requests_count_and_a_flood_of_them_closes(text: bytes) -> None:
    bench = Bench(SessionLimits(rate=10.0, burst=5, refusals=10.0, refusals_burst=3))
    closings = [bench.session.receive(text, 0.0).closing for _ in range(9)]
    assert closings == [None] * 8 + [FLOODING]


def test_too_many_bytes_are_refused_with_the_time_to_wait() -> None:
    bench = Bench(SessionLimits(bytes=1000.0, bytes_burst=2000))
    assert bench.call("publish", topic="t", data="x" * 1900) == {"epoch": "e1", "offset": 1}
    refusal = bench.call("publish", topic="t", data="x" * 900)
    assert (refusal["code"], refusal["message"]) == (-32006, "limit bytes: 1000 bytes a second")
    wait = refusal["data"]["retry_after"]
    assert 0.9 < wait < 1.1
    assert bench.call("publish", now=wait + 0.01, topic="t", data="x" * 900)["offset"] == 2


def test_a_flood_of_bytes_closes() -> None:
    bench = Bench(SessionLimits(bytes=1000.0, bytes_burst=1000, refusals=10.0, refusals_burst=3))
    ping = orjson.dumps({"jsonrpc": "2.0", "method": "ping", "id": 1, "params": {}}) + b" " * 1000
    closings = [bench.session.receive(ping, 0.0).closing for _ in range(5)]
    assert closings == [None] * 4 + [FLOODING]


def test_pings_of_the_sockets_own_count_with_the_requests() -> None:
    bench = Bench(SessionLimits(rate=10.0, burst=5, refusals=10.0, refusals_burst=3))
    assert [bench.session.control(0, 0.0) for _ in range(6)] == [True] * 5 + [False]
    assert bench.call("ping")["code"] == -32006
    assert not bench.session.flooding
    assert [bench.session.control(0, 0.0) for _ in range(2)] == [False, False]
    assert bench.session.flooding


def test_a_stranger_may_authenticate_and_nothing_else() -> None:
    bench = Bench(grant=NOTHING)
    for method, params in (("ping", {}), ("subscribe", {"topic": "t"}), ("publish", {"topic": "t", "data": 1})):
        assert bench.call(method, **params)["code"] == -32003
    assert bench.hub.topics == {}
    assert bench.call("authenticate", token="right") == {"expires": None}
    assert bench.call("ping") == {}


@pytest.mark.parametrize(("stranger", "closing"), [(True, UNAUTHORIZED), (False, None)])
def test_a_stranger_guesses_once_a_connection(stranger: bool, closing: Any) -> None:
    bench = Bench(grant=NOTHING if stranger else EVERYTHING)
    text = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "authenticate", "params": {"token": "wrong"}})
    answer = bench.session.receive(text, 0.0)
    assert orjson.loads(answer.text)["error"]["code"] == -32003
    assert answer.closing is closing


def test_pings_count_as_requests() -> None:
    bench = Bench(replace(SessionLimits(), rate=1.0, burst=2))
    assert [bench.session.control(0, 0.0) for _ in range(3)] == [True, True, False]


def test_a_topic_that_has_ended_makes_room_for_another() -> None:
    bench = Bench(SessionLimits(topics=1))
    bench.call("fetch", urls=["http://a.example/"])
    assert repr(bench.session.subscriptions) == "<Subscriptions 1 topics>"
    bench.session.subscriptions.forget("batch:b1")
    assert repr(bench.session.subscriptions) == "<Subscriptions 0 topics>"
    bench.session.subscriptions.forget("batch:b1")
    assert "epoch" in bench.call("subscribe", topic="t")


def test_a_job_is_answered_when_it_is_stored() -> None:
    bench = Bench()
    request = {"jsonrpc": "2.0", "id": 1, "method": "job", "params": {"publish": {"topic": "t", "data": 1}}}
    assert bench.send(request) is None
    bench.made.settle({"job": "j1"})
    (answer,) = bench.wire
    assert answer == {"jsonrpc": "2.0", "id": 1, "result": {"job": "j1"}}
    assert bench.owners == [bench.owner]


def test_a_job_or_a_batch_is_cancelled() -> None:
    bench = Bench()
    asked: list[dict[str, str]] = [{"job": "j1"}, {"job": "j2"}, {}, {"job": "j1", "batch": "b1"}]
    answers = []
    for params in asked:
        answer = bench.send({"jsonrpc": "2.0", "id": 1, "method": "cancel", "params": params})
        answers.append(answer or bench.wire.pop())
    assert answers[0]["result"] == {"cancelled": True, "state": "cancelled"}
    assert answers[1]["error"]["code"] == -32001
    assert [one["error"]["message"] for one in answers[2:]] == ["batch, job: give one of them"] * 2
