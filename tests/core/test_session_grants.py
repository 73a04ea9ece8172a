"""What a session may do within its grant, and what happens to it when another token comes."""

from typing import Any

import pytest

from service.core.access.grants import ClientLimits, HostPatterns, read_claims
from service.core.errors import Forbidden
from service.core.owner import Owner
from service.core.sessions.session import Session, SessionLimits
from service.core.topics.topic import Topic
from tests.core.test_session import Bench


class FakeWatching:
    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.since = "oldest"
        self.released = 0

    def release(self) -> None:
        self.released += 1


class Guarded(Bench):
    """A session whose token has these claims; other tokens have names."""

    def __init__(self, of_all: SessionLimits | None = None, /, **claims: Any) -> None:
        super().__init__(of_all)
        self.watched: list[FakeWatching] = []
        grant = self.token("first", **claims)
        self.belong_to(grant)
        self.session = Session(self.hub, self, of_all or SessionLimits(), self, grant)  # type: ignore[arg-type]

    def token(self, name: str, **claims: Any) -> Any:
        most = ClientLimits(topics=100, rate=100.0)
        self.grants[name] = read_claims({"exp": 1000, **claims}, most)
        return self.grants[name]

    def watch(
        self, url: str, every: float, select: str | None, hosts: HostPatterns, owner: Owner, steps: Any
    ) -> FakeWatching:
        host = url.split("/")[2]
        if not hosts.allows(host):
            raise Forbidden(hosts.refusal(host))
        self.watched.append(FakeWatching(self.hub.own(f"watch:{host}{hosts.mark.strip()}")))
        return self.watched[-1]


@pytest.mark.parametrize(
    ("method", "params", "named"),
    [
        ("subscribe", {"topic": "other"}, "claim subscribe: it does not cover the topic 'other'"),
        ("subscribe", {"topic": "_stats"}, "claim subscribe"),
        ("subscribe", {"topic": "watch:0123"}, "claim watch"),
        ("presence", {"topic": "other"}, "claim subscribe"),
        (
            "publish",
            {"topic": "news.eu", "data": 1},
            "claim publish: it does not cover the topic 'news.eu'",
        ),
        ("fetch", {"urls": ["http://a.example/"]}, "claim fetch: the token does not have it"),
        ("watch", {"url": "http://other.example/", "every": 5}, "claim watch: it does not cover the host"),
    ],
)
def test_what_no_claim_covers_is_forbidden_and_the_claim_is_named(
    method: str, params: dict[str, Any], named: str
) -> None:
    bench = Guarded(subscribe=["news.*"], publish=["mine"], watch=["a.example"])
    answer = bench.call(method, **params)
    assert answer["code"] == -32002
    assert answer["data"] == {"reason": "forbidden", "temporary": False}
    assert named in answer["message"]
    assert not bench.session.readers
    assert "other" not in bench.hub.topics


def test_what_the_claims_cover_is_done() -> None:
    bench = Guarded(subscribe=["news.*"], publish=["mine"], fetch=["a.example"], watch=["a.example"])
    assert bench.call("subscribe", topic="news.eu")["topic"] == "news.eu"
    assert bench.call("presence", topic="news.eu") == {"readers": 1}
    assert bench.call("publish", topic="mine", data=1)["offset"] == 1
    assert bench.call("watch", url="http://a.example/", every=5)["topic"].startswith("watch:a.example")
    assert bench.call("fetch", urls=["http://a.example/"])["topic"] == "batch:b1"


def test_a_batch_is_read_by_any_client_that_knows_its_id() -> None:
    bench = Guarded()
    bench.hub.log("batch:b9")
    assert bench.call("subscribe", topic="batch:b9", since="oldest")["topic"] == "batch:b9"
    assert bench.call("cancel", batch="b1") == {"cancelled": 3}


def test_a_client_that_may_not_read_a_topic_cannot_find_out_whether_it_exists() -> None:
    bench = Guarded(subscribe=["news.*"])
    bench.hub.publish("there", b"1", 0.0)
    refusals = [bench.call("subscribe", topic=topic)["message"] for topic in ("there", "away!")]
    assert refusals[0].replace("there", "away!") == refusals[1]


def test_a_subject_is_the_owner_of_its_fetches() -> None:
    bench = Guarded(sub="ann", fetch=True)
    bench.call("fetch", urls=["http://a.example/"])
    assert bench.owners == ["sub ann"]


def test_limits_of_the_token_hold_in_place_of_the_services() -> None:
    bench = Guarded(SessionLimits(topics=5, rate=10.0, burst=50), subscribe=["*"], limits={"topics": 2, "rate": 1})
    assert [bench.call("subscribe", topic=name).get("code") for name in "abc"] == [None, None, -32005]
    # A tenth of the rate, and a tenth of the burst: the three subscribes and two more.
    assert [bench.call("ping").get("code") for _ in range(3)] == [None, None, -32006]
    assert "limit rate: 1 requests a second" in bench.call("ping")["message"]
    assert bench.call("ping", now=1.01) == {}


def test_a_new_token_does_not_give_a_new_burst() -> None:
    bench = Guarded(SessionLimits(rate=10.0, burst=10), subscribe=["*"])
    bench.token("faster", limits={"rate": 20})
    for _ in range(8):
        bench.call("ping")
    assert bench.call("authenticate", token="faster")["expires"] == 1000
    assert [bench.call("ping").get("code") for _ in range(3)] == [None, None, -32006]


def test_authenticate_tells_the_expiry_and_leaves_what_is_still_covered() -> None:
    bench = Guarded(subscribe=["news.*"])
    bench.token("same", subscribe=["news.eu", "more"])
    bench.call("subscribe", topic="news.eu")
    assert bench.call("authenticate", token="same") == {"expires": 1000}
    assert list(bench.session.readers) == ["news.eu"]
    assert bench.call("subscribe", topic="more")["topic"] == "more"
    assert bench.call("subscribe", topic="news.us")["code"] == -32002


def test_topics_that_a_new_token_does_not_cover_are_left_and_named() -> None:
    bench = Guarded(subscribe=["*"], watch=["a.example", "b.example"])
    bench.hub.log("batch:b9")
    for topic in ("mine", "other", "batch:b9"):
        bench.call("subscribe", topic=topic)
    watched = bench.call("watch", url="http://a.example/", every=5)["topic"]
    bench.token("less", subscribe=["mine"], watch=["b.example"])
    answer = bench.call("authenticate", token="less")
    assert answer == {"expires": 1000, "unsubscribed": ["other", watched]}
    assert list(bench.session.readers) == ["mine", "batch:b9"]
    assert bench.watched[0].released == 1
    bench.hub.publish("other", b"1", 0.0)
    bench.turns.settle()
    assert not any(reader.sent for reader in bench.readers)


@pytest.mark.parametrize("watch", [["b.example", "a.example"], True])
def test_a_watch_goes_on_under_the_same_claim_and_under_the_whole(watch: Any) -> None:
    bench = Guarded(watch=["a.example", "b.example"])
    topic = bench.call("watch", url="http://a.example/", every=5)["topic"]
    bench.token("next", watch=watch)
    assert bench.call("authenticate", token="next") == {"expires": 1000}
    assert list(bench.session.readers) == [topic]


def test_a_wrong_token_changes_nothing() -> None:
    bench = Guarded(subscribe=["a"])
    bench.call("subscribe", topic="a")
    assert bench.call("authenticate", token="wrong")["code"] == -32003
    assert bench.session.grant is bench.grants["first"]
    assert list(bench.session.readers) == ["a"]


def test_a_url_is_watched_once_for_each_connection_and_released_at_its_end() -> None:
    bench = Guarded(watch=["a.example"])
    assert "topic" in bench.call("watch", url="http://a.example/", every=5)
    assert bench.call("watch", url="http://a.example/", every=5)["data"]["reason"] == "already_subscribed"
    assert [watching.released for watching in bench.watched] == [0, 1]
    bench.session.end()
    assert [watching.released for watching in bench.watched] == [1, 1]
    assert not bench.session.readers


def test_a_watch_that_is_left_is_released() -> None:
    bench = Guarded(watch=["a.example"])
    topic = bench.call("watch", url="http://a.example/", every=5)["topic"]
    assert bench.call("unsubscribe", topic=topic) == {}
    assert [watching.released for watching in bench.watched] == [1]
