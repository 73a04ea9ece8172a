"""Laws of sessions, hub, rings and readers over a store that answers late, wrongly ordered between topics, or not well.

No reader gets a message twice, or misses one without a gap; order is kept; what comes is what was stored at that
position; each request is answered once; and an answer comes before every message that its request causes.
"""

from collections import Counter
from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from service.core.access.grants import EVERYTHING, Grant
from service.core.owner import SERVICE, Owner
from service.core.ports import Refusals
from service.core.sessions.session import Session, SessionLimits
from service.core.topics.hub import HubLimits
from service.core.topics.position import Position
from service.core.topics.topic import OnLag, Reader, RingLimits, Topic
from service.core.topics.wire import Encoding
from tests.core.readers import Turns, make_hub
from tests.core.stores import FakeStore

TOPICS = ("a", "b")
KEYS = st.sampled_from([None, None, "k"])
SELDOM = st.sampled_from([False] * 7 + [True])


class WireReader(Reader):
    """Writes to its client's wire unless that is stuck or held."""

    __slots__ = ("_client",)

    def __init__(self, topic: Topic, on_lag: OnLag, client: "Wire") -> None:
        super().__init__(topic, Encoding.LINES, on_lag)
        self._client = client

    def visit(self) -> None:
        if self._client.stuck and self.overtaken:
            self.read()
        while not self._client.stuck and not self._client.held and self.behind:
            for line in self.read().splitlines():
                self._client.got(self.topic, orjson.loads(line))

    def evict(self) -> None:
        self._client.session.subscriptions.leave(self.topic.name)
        self._client.expected.pop(self.topic.name, None)


class Wire:
    """One connection: it checks what comes as it comes."""

    def __init__(self, machine: "Laws") -> None:
        self.machine = machine
        self.owner: Owner = SERVICE
        self.stuck = self.held = False
        self.expected: dict[str, int] = {}
        self.unanswered: set[int] = set()
        self.session = Session(machine.hub, machine, SessionLimits(rate=1e9), self, EVERYTHING)

    def belong_to(self, grant: Grant) -> None:
        raise NotImplementedError

    def new_reader(self, topic: Topic, on_lag: OnLag) -> WireReader:
        return WireReader(topic, on_lag, self)

    def hold(self) -> None:
        self.held = True

    def resume(self) -> None:
        self.held = False
        self.read()

    def read(self) -> None:
        for reader in tuple(self.session.readers.values()):
            reader.visit()

    def answer(self, text: bytes) -> None:
        answers = orjson.loads(text)
        for answer in answers if isinstance(answers, list) else [answers]:
            self.unanswered.remove(answer["id"])
            if "recovered" in answer.get("result", {}):
                self.expected[answer["result"]["topic"]] = answer["result"]["offset"] + 1

    def on_bug(self, error: BaseException) -> None:
        raise error

    def send(self, requests: list[Any], *, array: bool) -> None:
        self.unanswered.update(request["id"] for request in requests)
        for value in [requests] if array else requests:
            text = self.session.receive(orjson.dumps(value), self.machine.turns.now).text
            if text:
                self.answer(text)

    def got(self, topic: Topic, line: Any) -> None:
        name = topic.name
        if line.get("event") == "gap":
            assert line["from"] == self.expected[name] <= line["to"]
            newest = self.session.readers[name].on_lag is OnLag.LATEST
            assert line["to"] < topic.first or (newest and line["to"] < topic.head)
            self.expected[name] = line["to"] + 1
            return
        assert line["offset"] == self.expected[name]
        self.expected[name] += 1
        position = Position(topic.epoch, line["offset"])
        assert orjson.loads(self.machine.store.stored[name, position]) == line["data"]
        assert line["data"]["n"] not in self.unanswered


class Laws(RuleBasedStateMachine):
    """Every step is something that a client, the store, a network or a clock may do."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns()
        self.draining = False
        self.refusals: Refusals = Counter()
        self.store = FakeStore(late_history=True)
        limits = HubLimits(ring=RingLimits(messages=6, size=900, age=20.0), slice_readers=2, ring_bytes=1500)
        self.hub = make_hub(self.turns, limits, self.store)
        self.wires = [Wire(self) for _ in range(3)]
        self.number = 0
        for wire, on_lag in zip(range(3), OnLag, strict=True):
            for topic in TOPICS:
                self.subscribe(wire, topic, on_lag, False, "newest")
        self.store.settle()

    fetch: Any
    watch: Any
    job: Any
    cancel: Any
    cancel_job: Any
    authenticate: Any

    def request(self, method: str, **params: Any) -> Any:
        self.number += 1
        if method == "publish":
            params["data"] = {"n": self.number, "x": "x" * (self.number % 7 * 40)}
        return {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}

    @rule(
        wire=st.integers(0, 2), topics=st.lists(st.tuples(st.sampled_from(TOPICS), KEYS), min_size=1, max_size=4),
        array=st.booleans(),
    )  # fmt: skip
    def publish(self, wire: int, topics: list[tuple[str, str | None]], array: bool) -> None:
        requests = [self.request("publish", topic=topic, **({"key": key} if key else {})) for topic, key in topics]
        self.wires[wire].send(requests, array=array)

    @rule(
        wire=st.integers(0, 2), topic=st.sampled_from(TOPICS), on_lag=st.sampled_from(OnLag), array=st.booleans(),
        since=st.sampled_from(["newest", "oldest", "e1:2", "e2:3"]),
    )  # fmt: skip
    def subscribe(self, wire: int, topic: str, on_lag: OnLag, array: bool, since: str) -> None:
        request = self.request("subscribe", topic=topic, since=since, on_lag=on_lag)
        more = [self.request("publish", topic=topic)] if array else []
        self.wires[wire].send([*more, request], array=array)

    @rule(wire=st.integers(0, 2), topic=st.sampled_from(TOPICS), really=SELDOM)
    def unsubscribe(self, wire: int, topic: str, really: bool) -> None:
        if really:
            self.wires[wire].send([self.request("unsubscribe", topic=topic)], array=False)

    @rule(wire=st.integers(0, 2))
    def stall(self, wire: int) -> None:
        self.wires[wire].stuck ^= True
        self.wires[wire].read()

    @precondition(lambda self: self.store.appends)
    @rule(topic=st.sampled_from([None, *TOPICS]), failing=SELDOM, count=st.integers(1, 4))
    def store_answers(self, topic: str | None, failing: bool, count: int) -> None:
        for _ in range(count):
            if any(topic is None or topic in one.names for one in self.store.appends):
                (self.store.fail if failing else self.store.answer)(topic)

    @precondition(lambda self: self.store.histories)
    @rule(failing=SELDOM)
    def store_opens(self, failing: bool) -> None:
        (self.store.refuse_open if failing else self.store.open)()

    @rule(topic=st.sampled_from(TOPICS), really=SELDOM)
    def store_begins_anew(self, topic: str, really: bool) -> None:
        if really and topic in self.store.topics:
            self.store.lose(topic)

    @rule(turns=st.integers(1, 3))
    def turn(self, turns: int) -> None:
        for _ in range(turns):
            self.turns.turn()

    @rule(seconds=st.sampled_from([0.1, 0.1, 1.0, 10.0, 25.0]))
    def sweep(self, seconds: float) -> None:
        self.turns.now += seconds
        self.hub.sweep(self.turns.now)

    @rule(wire=st.integers(0, 2), really=SELDOM)
    def reconnect(self, wire: int, really: bool) -> None:
        if not really:
            return
        self.wires[wire].session.end()
        self.wires[wire] = Wire(self)

    def teardown(self) -> None:
        """In the end everything is answered, and every reader has all of its topic."""
        self.store.settle()
        self.store.settle()
        self.turns.settle()
        for wire in self.wires:
            if wire.stuck:  # its transport drains; the others have had their visits
                wire.stuck = False
                wire.read()
        assert (self.hub.pending_appends.messages, self.hub.pending_appends.pool.used) == (0, 0)
        for wire in self.wires:
            assert not wire.unanswered
            assert not wire.held
            for name, reader in wire.session.readers.items():
                assert wire.expected[name] == self.hub.topics[name].head + 1
                assert reader.offset == self.hub.topics[name].head


Laws.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLaws = Laws.TestCase
