"""Watches on a virtual clock: one poll for all, the events that are sent, when it is asked again, and when it ends."""

import asyncio
import gc
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import orjson
import pytest

from service.core.access.grants import EVERYTHING, HostPatterns
from service.core.errors import Forbidden, InvalidParams, LimitReached
from service.core.fetching.batch import BatchRequest, Keep
from service.core.fetching.outcome import Failure, Fetched
from service.core.owner import SERVICE, Owner
from service.core.ports import TopicStore, WatchInterest, WatchStore
from service.core.topics.topic import Topic
from service.runtime.per_turn import PerTurn
from service.sources.watch import View
from service.sources.watches import Watches, WatchLimits, _digest
from service.upstream.attempts import FetchAttempt
from service.upstream.content.result_events import LARGE
from service.upstream.content.selection import select_from
from service.upstream.content.selection_process import SelectTimeout
from tests.upstream.test_batches import Bench, FakeReader

URL = "http://h.example/page"


class Page:
    """A resource with an ETag, which answers conditional requests, and a record of them."""

    def __init__(self, body: bytes = b"one") -> None:
        self.body = body
        self.status = 200
        self.headers: dict[str, str] = {}
        self.failure: Failure | None = None
        self.orders: list[tuple[float, FetchAttempt]] = []

    @property
    def conditional(self) -> list[bool]:
        return ["If-None-Match" in attempt.headers for _, attempt in self.orders]

    @property
    def at(self) -> list[float]:
        return [at for at, _ in self.orders]

    async def __call__(self, attempt: FetchAttempt) -> Fetched | Failure:
        self.orders.append((asyncio.get_running_loop().time(), attempt))
        await asyncio.sleep(0.01)
        if self.failure:
            return self.failure
        etag = f'"{self.body.decode()}"'
        if attempt.headers.get("If-None-Match") == etag and self.status == 200:
            return Fetched(304, attempt.target, {"etag": etag}, b"", truncated=False)
        headers = {"etag": etag, "content-type": "text/plain", **self.headers}
        return Fetched(self.status, attempt.target, headers, self.body, truncated=False)


class InProcess:
    """Selects here and now: the process that does it has a clock of its own."""

    def __init__(self) -> None:
        self.full = False
        """Whether its client has as many pages that wait for a selection as it may have."""
        self.begun: asyncio.Event | None = None
        """If it is set, selections begin and never end."""

    def refusal(self, owner: Owner, size: int) -> str | None:
        return f"no room for {size} bytes" if self.full else None

    async def select(
        self,
        body: bytes,
        select: str,
        content_type: str | None = None,
        *,
        cut: bool = False,
        owner: Owner = SERVICE,
    ) -> bytes:
        if self.begun is not None:
            self.begun.set()
            await asyncio.Event().wait()
        if select == "slow":
            raise SelectTimeout("took longer than 2 s")
        return select_from(body, select, content_type, cut=cut)


class Watched(Bench):
    def __init__(
        self,
        page: Page,
        limits: WatchLimits,
        topics: TopicStore | None = None,
        kept: WatchStore | None = None,
        opened: Iterable[str] = (),
        steps: Any = None,
    ) -> None:
        super().__init__(page, store=topics)
        for name in opened:
            self.hub.own(name)
        self.page = page
        self.selector = InProcess()
        selector: Any = self.selector
        self.watches = Watches(
            self.hub, self.runner, limits, policy=self.fetcher.policy, selector=selector, chance=lambda: 0.5, store=kept,
            steps=steps,
        )  # fmt: skip

    def watch(
        self, url: str = URL, every: float = 1.0, select: str | None = None
    ) -> tuple[FakeReader, WatchInterest]:
        watching = self.watches.watch(url, every, select)
        reader = FakeReader(watching.topic)
        self.hub.attach(reader, watching.since)
        return reader, watching


def reported(reader: FakeReader) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in reader.lines]


def names(reader: FakeReader) -> list[str]:
    return [event["event"] for event in reported(reader)]


@asynccontextmanager
async def watched(page: Page | None = None, **limits: Any) -> AsyncIterator[Watched]:
    bench = Watched(page or Page(), WatchLimits(**limits))
    try:
        yield bench
    finally:
        await bench.watches.close()
        await bench.close()


async def test_a_page_is_not_asked_for_whose_selection_would_be_refused() -> None:
    async with watched() as bench:
        reader, _ = bench.watch(select="/a")
        bench.page.body = b'{"a": 1}'
        await asyncio.sleep(2.2)
        asked = len(bench.page.orders)
        bench.selector.full = True
        await asyncio.sleep(5)
        assert len(bench.page.orders) == asked
        assert reported(reader)[-1]["error"] == "unavailable"
        assert reported(reader)[-1]["detail"] == "select: no room for 8 bytes"
        bench.selector.full = False
        await asyncio.sleep(2)
        assert names(reader) == ["state", "error", "recovered"]


async def test_a_page_is_asked_for_where_somebody_wants_all_of_it() -> None:
    async with watched() as bench:
        bench.page.body = b'{"a": 1}'
        bench.watch(select="/a")
        bench.watch()
        await asyncio.sleep(2.2)
        asked = len(bench.page.orders)
        bench.selector.full = True
        await asyncio.sleep(5)
        assert len(bench.page.orders) >= asked + 4


async def test_a_selection_ends_with_the_watch_that_waits_for_it() -> None:
    async with watched(linger=1.0) as bench:
        bench.selector.begun = asyncio.Event()
        reader, watching = bench.watch(select="/a")
        await bench.selector.begun.wait()
        (watch,) = bench.watches.watched()
        reading = watch.reading
        assert reading is not None
        reader.detach()
        watching.release()
        await asyncio.sleep(1.5)
        assert reading.cancelled()
        assert watch.reading is None


@pytest.mark.parametrize("select", [None, "/a"])
async def test_a_watch_that_has_ended_leaves_nothing_to_the_collector(select: str | None) -> None:
    page = Page(b'{"a": 1}')
    async with watched(page, linger=1.0) as bench:
        reader, watching = bench.watch(select=select)
        await asyncio.sleep(2.5)
        page.body = b'{"a": 2}'
        await asyncio.sleep(2.5)
        assert names(reader) == ["state", "changed"]
        (watch,) = bench.watches.watched()
        assert len(watch.views) == 1
        gc.collect()
        gc.disable()
        try:
            reader.detach()
            watching.release()
            del reader, watching, watch
            await asyncio.sleep(2)
            assert [one for one in gc.get_objects() if isinstance(one, View | Topic)] == []
        finally:
            gc.enable()


async def test_a_watch_takes_three_kilobytes() -> None:
    async with watched() as bench:
        bench.watches.watch(URL, 1.0, None)
        tracemalloc.start()
        try:
            interests = [bench.watches.watch(f"{URL}/{number}", 1.0, None) for number in range(500)]
            assert tracemalloc.get_traced_memory()[0] / len(interests) < 3200
        finally:
            tracemalloc.stop()


async def test_a_state_at_once_then_what_changes_and_nothing_else() -> None:
    async with watched() as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(10)
        [state] = reported(reader)
        assert (state["event"], state["url"], state["status"], state["body"]) == ("state", URL, 200, "one")
        assert state["etag"] == '"one"'
        assert len(state["sha256"]) == 64
        bench.page.body = b"two"
        await asyncio.sleep(1.5)
        assert [(event["event"], event["body"]) for event in reported(reader)] == [
            ("state", "one"),
            ("changed", "two"),
        ]


@pytest.mark.parametrize("select", [None, "/a"])
async def test_a_large_page_is_hashed_and_encoded_in_steps_and_others_go_on_between_them(
    select: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: Counter[PerTurn] = Counter()
    wait = PerTurn.wait

    async def counted(turn: PerTurn, owner: Owner, cost: int = 1) -> None:
        waits[turn] += 1
        await wait(turn, owner, cost)

    monkeypatch.setattr(PerTurn, "wait", counted)
    text, counts = "gr\u00fc\u00df dich, " * 50_000, []
    for content in ("small", text):
        body = orjson.dumps({"a": content})
        page = Page(body)
        page.headers["etag"] = '"1"'
        async with watched(page) as bench:
            reader, _ = bench.watch(select=select)
            await asyncio.sleep(0.9)
            counts.append(waits[bench.watches._polls._turn])
        (event,) = reported(reader)
        shown = body.decode() if select is None else orjson.dumps(content).decode()
        assert (event["event"], event["encoding"]) == ("state", "utf-8")
        assert event["body"] == shown
        assert event["sha256"] == sha256(shown.encode()).hexdigest()
    size = len(text.encode())
    assert counts[0] == 0
    assert counts[1] >= size // (24 << 10) + size // LARGE


async def test_ten_thousand_watchers_are_one_poll_a_second_all_but_the_first_conditional() -> None:
    async with watched() as bench:
        readers = [bench.watch()[0] for _ in range(10_000)]
        await asyncio.sleep(60)
        assert 59 <= len(bench.page.orders) <= 61
        assert bench.page.conditional == [False] + [True] * (len(bench.page.orders) - 1)
        assert all(names(reader) == ["state"] for reader in readers)


async def test_a_late_watcher_has_the_last_state_at_once_however_old() -> None:
    async with watched() as bench:
        bench.watch(every=100)
        await asyncio.sleep(1050)
        bench.hub.sweep(asyncio.get_running_loop().time())
        asked = len(bench.page.orders)
        reader, _ = bench.watch(every=100)
        await asyncio.sleep(0.05)
        assert names(reader) == ["state"]
        assert len(bench.page.orders) == asked


async def test_where_memory_was_short_the_state_is_fetched_again() -> None:
    async with watched() as bench:
        bench.watch()
        await asyncio.sleep(1)
        bench.page.failure = Failure("connect", "nobody")
        await asyncio.sleep(2)
        bench.hub.topics[next(iter(bench.hub.topics))].ring.shrink()  # all but the newest, which is the error
        bench.page.failure = None
        reader, _ = bench.watch()
        await asyncio.sleep(2)
        assert reported(reader)[-1]["body"] == "one"


async def test_the_shortest_interval_wins_while_it_is_wanted() -> None:
    async with watched() as bench:
        bench.watch(every=10)
        await asyncio.sleep(100)
        slow = len(bench.page.orders)
        assert 9 <= slow <= 11
        reader, watching = bench.watch(every=2)
        await asyncio.sleep(100)
        assert 48 <= len(bench.page.orders) - slow <= 52
        fast = len(bench.page.orders)
        reader.detach()
        watching.release()
        await asyncio.sleep(100)
        assert len(bench.page.orders) - fast <= 11


async def test_the_last_one_stops_it_after_a_moment_in_which_one_may_come_back() -> None:
    async with watched() as bench:
        reader, watching = bench.watch()
        await asyncio.sleep(5)
        reader.detach()
        watching.release()
        await asyncio.sleep(1.5)
        again, watching = bench.watch()
        await asyncio.sleep(5)
        assert names(again) == ["state"]
        assert bench.page.conditional.count(False) == 1
        again.detach()
        watching.release()
        watching.release()
        await asyncio.sleep(3)
        asked = len(bench.page.orders)
        await asyncio.sleep(100)
        assert len(bench.page.orders) == asked
        assert bench.watches.statistics().urls == 0
        assert not bench.hub.topics


async def test_a_reader_of_the_topic_keeps_the_watch_alive_too() -> None:
    async with watched() as bench:
        reader, watching = bench.watch()
        watching.release()
        await asyncio.sleep(10)
        bench.page.body = b"two"
        await asyncio.sleep(100)
        assert names(reader) == ["state"]  # nobody wants an interval any more
        reader.detach()
        await asyncio.sleep(3)
        assert bench.watches.statistics().urls == 0


async def test_errors_and_recoveries_are_sent_once() -> None:
    async with watched() as bench:
        reader, _ = bench.watch(every=5)
        await asyncio.sleep(1)
        bench.page.failure = Failure("connect", "no connection")
        await asyncio.sleep(30)
        bench.page.failure, bench.page.status = None, 503
        await asyncio.sleep(30)
        bench.page.status = 200
        await asyncio.sleep(60)
        assert names(reader) == ["state", "error", "error", "recovered"]
        assert [event.get("error") for event in reported(reader)[1:3]] == ["connect", "unavailable"]


async def test_an_answer_of_404_is_a_state() -> None:
    async with watched() as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(1)
        bench.page.status = 404
        await asyncio.sleep(2)
        assert [(event["event"], event["status"]) for event in reported(reader)] == [
            ("state", 200),
            ("changed", 404),
        ]


async def test_a_retry_after_wins_over_every_interval() -> None:
    async with watched() as bench:
        bench.watch()
        await asyncio.sleep(5.2)
        bench.page.status, bench.page.headers = 429, {"retry-after": "30"}
        await asyncio.sleep(1.2)
        bench.page.status, bench.page.headers = 200, {}
        asked = len(bench.page.orders)
        await asyncio.sleep(25)
        assert len(bench.page.orders) == asked
        await asyncio.sleep(10)
        assert len(bench.page.orders) > asked


async def test_what_was_begun_together_is_spread() -> None:
    page = Page()
    async with watched(page) as bench:
        phases = iter(number / 100 for number in range(100))
        bench.watches._polls._chance = lambda: next(phases)
        for number in range(100):
            bench.watch(f"http://h{number}.example/", every=10)
        await asyncio.sleep(20)
        second = sorted(page.at[100:200])
        assert second[-1] - second[0] > 9


async def test_a_selection_has_a_topic_of_its_own_and_the_poll_is_shared() -> None:
    page = Page(b'{"a": {"b": 1}, "time": 1}')
    page.headers = {"etag": '"x"'}
    async with watched(page) as bench:
        whole, _ = bench.watch()
        part, _ = bench.watch(select="/a/b")
        await asyncio.sleep(2)
        page.body = b'{"a": {"b": 1}, "time": 2}'
        await _until(lambda: len(reported(whole)) == 2)
        page.body = b'{"a": {"b": 2}, "time": 3}'
        await _until(lambda: len(reported(whole)) == 3)
        await _until(lambda: len(reported(part)) == 2)
        assert [event["body"] for event in reported(part)] == ["1", "2"]
        page.body = b"[]"
        await _until(lambda: names(part)[-1] == "error")
        assert reported(part)[-1]["detail"] == "select: there is nothing at this place"
        assert whole.topic.name != part.topic.name


async def test_a_selection_that_takes_too_long_is_not_tried_every_second() -> None:
    page = Page()
    async with watched(page) as bench:
        reader, _ = bench.watch(select="slow")
        await asyncio.sleep(59)
        assert names(reader) == ["error"]
        assert len(page.orders) == 1


async def _until(condition: Any) -> None:
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it never came")


@pytest.mark.parametrize(
    ("url", "select", "refusal"),
    [
        ("ftp://h.example/", None, InvalidParams),
        ("http://127.0.0.1/", None, Forbidden),
        (URL, "div[", InvalidParams),
        (URL, "/a~", InvalidParams),
    ],
)
async def test_what_cannot_be_watched(url: str, select: str | None, refusal: type[Exception]) -> None:
    async with watched() as bench:
        with pytest.raises(refusal):
            bench.watches.watch(url, 1.0, select)
        assert bench.watches.statistics().urls == 0


async def test_they_are_bounded() -> None:
    async with watched(urls=1) as bench:
        bench.watch()
        bench.watch()
        with pytest.raises(LimitReached):
            bench.watch("http://other.example/")
        assert "1 URLs" in repr(bench.watches)


async def test_the_first_poll_and_a_batch_are_one_request() -> None:
    async with watched() as bench:
        bench.watch()
        batch = bench.batches.start(BatchRequest(urls=[URL]), owner=Owner("o"), keep=Keep.DETACHED)
        await asyncio.sleep(0.5)
        assert batch.ok == 1
        assert len(bench.page.orders) == 1


async def test_watchers_with_other_claims_have_a_watch_apart() -> None:
    """A redirect may show a page to one that it must not show to another."""
    async with watched() as bench:
        some, more = HostPatterns("watch", ("h.example",)), HostPatterns("watch", endings=(".example",))
        every = [bench.watches.watch(URL, 10.0, None, hosts) for hosts in (EVERYTHING.watch, some, more, some)]
        for watching in every:
            bench.hub.attach(FakeReader(watching.topic), watching.since)
        assert len({watching.topic.name for watching in every}) == 3
        assert every[1].topic is every[3].topic
        await asyncio.sleep(1)
        assert {attempt.hosts for _, attempt in bench.page.orders} == {EVERYTHING.watch, some, more}
        assert len(bench.page.orders) == 3
        every[1].release()
        every[3].release()
        assert bench.watches.statistics().urls == 3


async def test_a_host_that_the_claim_does_not_cover_is_not_watched() -> None:
    async with watched() as bench:
        with pytest.raises(Forbidden, match="claim watch: it does not cover the host 'h.example'"):
            bench.watches.watch(URL, 1.0, None, HostPatterns("watch", ("other.example",)))
        assert bench.watches.statistics().urls == 0


def test_the_names_of_topics_differ_wherever_what_is_watched_does() -> None:
    assert _digest("a", "bc", "") != _digest("ab", "c", "")
    assert _digest("a", None, "") != _digest("a", "", "")
    assert _digest("a", "b\nc", "") != _digest("a", "b", "c")
    assert _digest("a", "b", "") == _digest("a", "b", "")


async def test_who_watches_many_urls_is_refused_and_others_are_not() -> None:
    async with watched(urls=20) as bench:
        greedy = [
            bench.watches.watch(f"http://h.example/{n}", 9.0, None, owner=Owner("sub greedy")) for n in range(10)
        ]
        with pytest.raises(LimitReached, match="limit watches: this client has 10, its share of 20"):
            bench.watches.watch("http://h.example/10", 9.0, None, owner=Owner("sub greedy"))
        for number in (3, 20, 21):
            bench.watches.watch(f"http://h.example/{number}", 9.0, None, owner=Owner("sub careful"))
        assert bench.watches.watch("http://h.example/20", 9.0, None, owner=Owner("sub greedy"))
        for watching in greedy:
            watching.release()
        await asyncio.sleep(10)
        bench.watches.watch("http://h.example/30", 9.0, None, owner=Owner("sub greedy"))
        assert bench.watches.owners.statistics().owners == 2


async def test_watches_that_hang_do_not_hold_up_the_polls_of_others() -> None:
    class Hanging(Page):
        async def __call__(self, attempt: FetchAttempt) -> Fetched | Failure:
            if attempt.target.host.startswith("hang"):
                await asyncio.sleep(9.9)
            return await super().__call__(attempt)

    async with watched(Hanging()) as bench:
        for number in range(500):
            bench.watches.watch(f"http://hang{number}.example/", 1.0, None, owner=Owner("sub greedy"))
        await asyncio.sleep(0.5)
        began, watching = (
            asyncio.get_running_loop().time(),
            bench.watches.watch(URL, 1.0, None, owner=Owner("sub careful")),
        )
        await asyncio.sleep(15)
        polled = [at - began for at, attempt in bench.page.orders if attempt.target.url == URL]
        assert len(polled) >= 14
        assert polled[0] < 0.1
        watching.release()


async def test_a_state_that_has_no_room_is_an_error_of_its_watch_and_comes_when_there_is() -> None:
    async with watched() as bench:
        owner, other = Owner("a"), Owner("b")
        bench.hub.rings.pool.bound, bench.hub.rings._calm = 50_000, 0
        bench.hub.publish("own", b"1", 0.0, owner=owner)
        bench.page.body = b"x" * 45_000
        watching = bench.watches.watch(URL, 10.0, None, owner=owner)
        reader = FakeReader(watching.topic)
        bench.hub.attach(reader, "oldest")
        await asyncio.sleep(1)
        [error] = reported(reader)
        assert (error["event"], error["error"]) == ("error", "too_large")
        assert "limit rings_size" in error["detail"]
        small = bench.watches.watch("http://h.example/other", 10.0, None, owner=other)
        bench.page.body = b"small"
        await asyncio.sleep(30)
        assert [event["event"] for event in reported(reader)] == ["error", "recovered", "state"]
        watching.release()
        small.release()
