"""A session over a store that answers late: who is answered when, and in which order."""

from typing import Any

import orjson
import pytest

from service.core.pending import Pending
from service.core.sessions.late_answers import PATIENCE, LateAnswers
from service.core.sessions.messages import dump, publish_answer, published, result_answer
from service.core.sessions.session import Reply
from service.core.topics.position import Position
from service.core.topics.topic import Topic
from tests.core.stores import FakeStore
from tests.core.test_session import Bench as SessionBench


class Bench(SessionBench):
    def __init__(self, *, late_history: bool = False) -> None:
        self.store = FakeStore(late_history=late_history)
        super().__init__(store=self.store)

    def ask(self, *requests: Any, array: bool = False) -> Reply:
        """Send requests; those with a number get it as their id."""
        made = [
            {"jsonrpc": "2.0", "method": method, "params": params} | ({} if number is None else {"id": number})
            for number, method, params in requests
        ]
        answers = [self.session.receive(orjson.dumps(value), 0.0) for value in ([made] if array else made)]
        assert all(not answer.text for answer in answers) or len(answers) == 1
        return answers[0]


def publish(number: int | None, topic: str = "t", data: Any = 1, **others: Any) -> tuple[int | None, str, Any]:
    return number, "publish", {"topic": topic, "data": data, **others}


def subscribe(number: int, topic: str = "t") -> tuple[int, str, Any]:
    return number, "subscribe", {"topic": topic}


def test_a_publish_is_answered_when_it_is_stored_and_before_its_message() -> None:
    bench = Bench()
    bench.call("subscribe", topic="t")
    assert bench.ask(publish(7)) == Reply()
    bench.turns.settle()
    assert (bench.wire, bench.readers[0].sent, bench.session.late.waiting) == ([], [], 1)
    bench.store.answer()
    assert bench.wire == [{"jsonrpc": "2.0", "id": 7, "result": {"epoch": "e1", "offset": 1}}]
    assert bench.readers[0].sent == []
    bench.turns.settle()
    assert (bench.readers[0].lines, bench.session.late.waiting) == (["1"], 0)


def test_answers_overtake_each_other_but_not_on_one_topic() -> None:
    bench = Bench()
    bench.ask(publish(1, "a"), publish(2, "b"), publish(3, "a"))
    assert bench.call("ping") == {}
    bench.store.answer("b")
    bench.store.answer("a")
    bench.store.answer("a")
    assert [answer["id"] for answer in bench.wire] == [2, 1, 3]


def test_a_publish_that_failed_is_answered_with_the_reason() -> None:
    bench = Bench()
    bench.ask(publish(1))
    bench.store.fail()
    assert bench.wire[0]["error"] == {
        "code": -32010,
        "message": "the disk is full",
        "data": {"reason": "storage", "temporary": True, "retry_after": 5.0},
    }
    assert bench.refusals["request", "storage"] == 1


def test_a_request_without_an_id_gets_no_late_answer_either() -> None:
    bench = Bench()
    bench.ask(publish(None), publish(None))
    bench.store.answer()
    bench.store.fail()
    assert (bench.wire, bench.session.late.waiting, bench.refusals["request", "storage"]) == ([], 0, 1)


def test_an_array_is_answered_whole_and_no_message_comes_before_that() -> None:
    bench = Bench()
    bench.ask(publish(1, "a"), (2, "ping", {}), publish(None, "c"), publish(3, "b"), array=True)
    bench.store.answer("b")
    bench.store.answer("a")
    assert bench.wire == ["hold"]
    bench.store.fail("c")
    assert bench.wire[0] == "hold"
    assert [answer["id"] for answer in bench.wire[1]] == [1, 2, 3]
    assert bench.wire[2:] == ["resume"]


def test_an_array_without_ids_ends_its_hold_and_gets_nothing() -> None:
    bench = Bench()
    bench.ask(publish(None), publish(None), array=True)
    bench.store.settle()
    assert bench.wire == ["hold", "resume"]


def test_messages_wait_for_the_last_of_several_arrays() -> None:
    bench = Bench()
    bench.ask(publish(1, "a"), array=True)
    bench.ask(publish(2, "b"), array=True)
    bench.store.answer("b")
    assert bench.wire[:2] == ["hold", "hold"]
    assert [answer["id"] for answer in bench.wire[2]] == [2]
    bench.store.answer("a")
    assert [answer["id"] for answer in bench.wire[3]] == [1]
    assert bench.wire[4:] == ["resume"]


def test_a_subscription_may_wait_for_what_the_store_has_of_the_topic() -> None:
    bench = Bench(late_history=True)
    bench.ask(subscribe(1), subscribe(2))
    assert not bench.session.readers
    bench.store.open()
    assert bench.wire[0]["result"] == {"topic": "t", "epoch": "e1", "offset": 0, "recovered": False}
    assert bench.wire[1]["error"]["data"]["reason"] == "already_subscribed"
    assert list(bench.session.readers) == ["t"]


def test_nobody_subscribes_after_the_connection_has_begun_to_close() -> None:
    for drains in (False, True):
        bench = Bench(late_history=True)
        bench.ask(subscribe(1))
        if drains:
            bench.draining = True
        else:
            bench.session.close()
        bench.store.open()
        assert bench.wire[0]["error"]["data"]["reason"] == "draining"
        topic = bench.hub.topics["t"]
        assert isinstance(topic, Topic)
        assert not topic.readers


def test_nobody_is_answered_after_the_end() -> None:
    bench = Bench(late_history=True)
    bench.ask(publish(1), subscribe(2, "u"))
    bench.ask(publish(3, "w"), array=True)
    bench.session.end()
    bench.store.settle()
    assert bench.wire == ["hold"]
    assert bench.hub.own("t").head == 1


def test_a_bug_behind_a_late_answer_is_reported_and_logged() -> None:
    bench = Bench()
    bench.ask(publish(1))
    bug = ValueError("not ours to foresee")
    bench.store.appends.popleft().pending.settle(bug)
    assert bench.bugs == [bug]
    assert bench.wire[0]["error"]["code"] == -32603


def test_a_bug_after_the_end_reaches_the_loop() -> None:
    bench = Bench()
    bench.ask(publish(1))
    bench.session.end()
    bug = ValueError("not ours to foresee")
    with pytest.raises(ValueError, match="not ours to foresee"):
        bench.store.appends.popleft().pending.settle(bug)


def test_a_connection_can_wait_until_all_is_answered() -> None:
    bench = Bench()
    ended: list[str] = []
    bench.session.late.when_answered(lambda: ended.append("at once"))
    bench.ask(publish(1), publish(2))
    bench.session.late.when_answered(lambda: ended.append("later"))
    bench.store.answer()
    assert ended == ["at once"]
    bench.store.fail()
    assert ended == ["at once", "later"]


def test_nothing_is_held_or_sent_for_an_array_that_comes_after_the_end() -> None:
    bench = Bench()
    late = LateAnswers(bench, bench.refusals)
    late.end()
    reply: Pending[dict[str, Any]] = Pending()
    late.hold()
    late.send_array([reply, {"id": 2}])
    assert late.waiting == 1
    reply.settle({"id": 1})
    assert (bench.wire, late.waiting) == ([], 0)


@pytest.mark.parametrize("request_id", [7, 1.5, None, 'x"\\', "é", 1 << 53])
def test_a_publish_that_was_late_is_answered_as_one_that_was_not(request_id: Any) -> None:
    position = Position('e"1', 1 << 52)
    assert publish_answer(request_id, position) == dump(result_answer(request_id, published(position)))


def test_requests_that_the_store_does_not_answer_end_with_an_error_in_their_time() -> None:
    bench = Bench(late_history=True)
    bench.ask(publish(1), subscribe(2, "u"), publish(None))
    late = bench.session.late
    late.expire(PATIENCE - 0.1)
    assert (bench.wire, late.bounded) == ([], True)
    late.expire(PATIENCE)
    errors = [(answer["id"], answer["error"]["code"], answer["error"]["data"]) for answer in bench.wire]
    data = {"reason": "gateway_timeout", "temporary": True}
    assert errors == [(1, -32011, data), (2, -32011, data)]
    assert (late.bounded, late.waiting, bench.refusals["request", "gateway_timeout"]) == (False, 0, 3)
    # What comes after that answers nothing a second time, and the messages that were stored are there.
    bench.store.settle()
    assert len(bench.wire) == 2
    assert bench.hub.own("t").head == 2


def test_an_array_that_the_store_answers_in_part_is_answered_in_its_time_and_holds_up_nothing_after_it() -> None:
    bench = Bench()
    bench.ask(publish(1, "a"), publish(2, "b"), (3, "ping", {}), array=True)
    bench.store.answer("b")
    bench.session.late.expire(PATIENCE)
    assert bench.wire[0] == "hold"
    assert [one.get("error", {}).get("code") for one in bench.wire[1]] == [-32011, None, None]
    assert bench.wire[2:] == ["resume"]


def test_requests_that_are_over_are_forgotten_when_the_next_comes() -> None:
    bench = Bench()
    for number in range(10):
        bench.ask(publish(number))
    for _ in range(9):
        bench.store.answer()
    bench.ask(publish(10))
    assert [waiting.id for waiting in bench.session.late._line] == [9, 10]


def test_a_bug_that_comes_too_late_for_an_answer_is_reported() -> None:
    bench = Bench()
    bench.ask(publish(1))
    bench.session.late.expire(PATIENCE)
    bug = ValueError("not ours to foresee")
    bench.store.appends.popleft().pending.settle(bug)
    assert (bench.bugs, len(bench.wire)) == ([bug], 1)


def test_nobody_waits_for_a_store_after_the_end_of_the_connection() -> None:
    bench = Bench()
    bench.ask(publish(1))
    bench.session.end()
    assert not bench.session.late.bounded
    bench.store.answer()
    assert (bench.wire, bench.session.late.waiting) == ([], 0)
