"""What the engine does to hosts that are overloaded, failing or gone, seen from both sides."""

import asyncio
from typing import Any

from service.core.fetching.batch import BatchLimits, BatchRequest, Keep
from service.core.fetching.dial_policy import Policy
from service.core.fetching.outcome import Failure, Fetched
from service.core.fetching.request import Options
from service.core.owner import Owner
from service.upstream.attempts import FetchAttempt
from tests.upstream.servers import target_of
from tests.upstream.test_batches import Bench, events


class Host:
    """A host that counts what it carries."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.now = 0
        self.peak = 0
        self.at: list[float] = []

    async def __call__(self, attempt: FetchAttempt) -> Fetched | Failure:
        loop = asyncio.get_running_loop()
        self.at.append(loop.time())
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            await asyncio.sleep(0.05)
            answer = self.answer(len(self.at), loop.time())
            if isinstance(answer, Failure):
                return answer
            status, headers = answer
            return Fetched(status, attempt.target, headers, b"", truncated=False)
        finally:
            self.now -= 1


def urls(count: int) -> list[str]:
    return [f"http://h.example/{number}" for number in range(count)]


async def outcome(bench: Bench, count: int, seconds: float, **options: Any) -> list[dict[str, Any]]:
    request = BatchRequest(urls=urls(count), options=Options(**options))
    reader = bench.read(bench.batches.start(request, owner=Owner("o"), keep=Keep.DETACHED))
    await asyncio.sleep(seconds)
    return events(reader)


async def test_a_thousand_starts_at_once_keep_the_host_s_limit() -> None:
    host = Host(lambda count, now: (200, {}))
    reported = await outcome(Bench(host), 1000, 30, concurrency=500)
    assert (host.peak, len(reported)) == (20, 1001)


async def test_a_retry_after_holds_everything_to_that_host_and_nothing_is_lost() -> None:
    host = Host(lambda count, now: (429, {"retry-after": "3"}) if count <= 20 else (200, {}))
    began = asyncio.get_running_loop().time()
    reported = await outcome(Bench(host), 100, 60)
    assert [event["status"] for event in reported[:-1]] == [200] * 100
    assert host.at[19] - began < 0.1
    assert host.at[20] - began >= 3.0


async def test_a_dead_host_is_left_alone_and_found_again() -> None:
    back = asyncio.get_running_loop().time() + 4
    host = Host(lambda count, now: (200, {}) if now > back else Failure("connect", "nobody"))
    reported = await outcome(Bench(host), 60, 60)
    asked_in_vain = sum(at < back for at in host.at)
    assert asked_in_vain < 50  # 20 at once, those that took their places, a few probes
    assert sum(event.get("status") == 200 for event in reported[:-1]) >= 40


async def test_a_host_that_stays_dead_is_unavailable_with_a_time() -> None:
    host = Host(lambda count, now: Failure("connect", "nobody"))
    reported = await outcome(Bench(host), 1000, 600)
    assert reported[-1] == {**reported[-1], "event": "done", "failed": 1000}
    assert len(host.at) < 100
    unavailable = [event for event in reported[:-1] if event["error"] == "unavailable"]
    assert len(unavailable) > 900
    assert all(0 < event["retry_after"] <= 60 for event in unavailable)


async def test_a_redirect_to_a_dead_host_says_nothing_about_its_sender() -> None:
    async def redirected(attempt: FetchAttempt) -> Failure:
        attempt.target = target_of("http://dead.example/", Policy())
        return Failure("connect", "nobody")

    reported = await outcome(Bench(redirected), 100, 60, retries=0)
    assert {event["error"] for event in reported[:-1]} == {"connect"}


class Redirecting:
    """Many hosts that all lead to one, as a fetcher does it: which waits for a place before it moves on."""

    def __init__(self, takes: float = 1.0) -> None:
        self.takes = takes
        self.now = 0
        self.peak = 0
        self.asked = 0

    async def __call__(self, attempt: FetchAttempt) -> Fetched | Failure:
        if attempt.target.host != "victim.example":
            await asyncio.sleep(0.01)
            assert attempt.move is not None
            if refused := await attempt.move("http://victim.example:80"):
                return refused
            attempt.target = target_of("http://victim.example/", Policy())
        self.now += 1
        self.asked += 1
        self.peak = max(self.peak, self.now)
        try:
            await asyncio.sleep(self.takes)
            return Fetched(200, attempt.target, {}, b"", truncated=False)
        finally:
            self.now -= 1


def scattered(count: int) -> list[str]:
    return [f"http://h{number}.example/{number}" for number in range(count)]


async def test_names_that_all_redirect_to_one_host_keep_its_limit() -> None:
    victim = Redirecting()
    bench = Bench(victim)
    request = BatchRequest(urls=scattered(200), options=Options(concurrency=500, timeout=60))
    reader = bench.read(bench.batches.start(request, owner=Owner("o"), keep=Keep.DETACHED))
    direct = BatchRequest(
        urls=[f"http://victim.example/{number}" for number in range(40)], options=Options(timeout=60)
    )
    other = bench.read(bench.batches.start(direct, owner=Owner("p"), keep=Keep.DETACHED))
    await asyncio.sleep(120)
    assert victim.peak == 20
    assert events(reader)[-1]["ok"] == 200
    assert events(other)[-1]["ok"] == 40
    assert "0 waiting" in repr(bench.runner._redirects)
    assert capacity_left(bench) == 20


async def test_who_waits_for_a_place_and_is_cancelled_leaves_none_behind() -> None:
    victim = Redirecting(takes=1000.0)
    bench = Bench(victim)
    for owner in ("a", "b"):
        request = BatchRequest(urls=scattered(100), options=Options(concurrency=500, timeout=300))
        batch = bench.batches.start(request, owner=Owner(owner), keep=Keep.DETACHED)
        await asyncio.sleep(1)
        assert victim.peak == 20
        bench.batches.cancel(batch.id)
        await asyncio.sleep(1)
        assert victim.now == 0
    assert capacity_left(bench) == 20
    assert "0 waiting" in repr(bench.runner._redirects)


def capacity_left(bench: Bench) -> int:
    hosts, origin, count = bench.runner.hosts, "http://victim.example:80", 0
    while hosts.has_place(origin, asyncio.get_running_loop().time()):
        hosts.begin(origin)
        count += 1
    return count


async def test_a_page_that_asks_for_two_minutes_leaves_its_host_to_others() -> None:
    async def page(attempt: FetchAttempt) -> Fetched:
        await asyncio.sleep(0.01)
        if attempt.target.url.endswith("/limited"):
            return Fetched(429, attempt.target, {"retry-after": "120"}, b"", truncated=False)
        return Fetched(200, attempt.target, {}, b"", truncated=False)

    bench = Bench(page)
    for _ in range(3):
        request = BatchRequest(urls=["http://h.example/limited"] * 3, options=Options(timeout=10))
        bench.batches.start(request, owner=Owner("a"), keep=Keep.DETACHED)
        await asyncio.sleep(0.1)
        urls = [f"http://h.example/{number}" for number in range(20)]
        reader = bench.read(
            bench.batches.start(
                BatchRequest(urls=urls, options=Options(timeout=3)), owner=Owner("b"), keep=Keep.DETACHED
            )
        )
        await asyncio.sleep(5)
        assert events(reader)[-1]["ok"] == 20


async def test_pages_of_one_client_that_ask_for_less_hold_back_nobody_else() -> None:
    async def answer(attempt: FetchAttempt) -> Fetched | Failure:
        await asyncio.sleep(0.01)
        if "good" in attempt.target.url:
            return Fetched(200, attempt.target, {}, b"", truncated=False)
        if "gone" in attempt.target.url:
            return Failure("connect", "nobody")
        return Fetched(429, attempt.target, {"retry-after": "120"}, b"", truncated=False)

    bench = Bench(answer, BatchLimits(hosts_shared=True))
    for number in range(20):
        for kind in ("gone", "slow"):
            urls = [f"http://h.example/{kind}/{number}-{one}" for one in range(20)]
            bench.batches.start(
                BatchRequest(urls=urls, options=Options(retries=3)), owner=Owner("greedy"), keep=Keep.DETACHED
            )
        good = [f"http://h.example/good/{number}-{one}" for one in range(10)]
        reader = bench.read(
            bench.batches.start(BatchRequest(urls=good), owner=Owner("careful"), keep=Keep.DETACHED)
        )
        # The first answers may come after the first wish, which is the host's as far as is known.
        await asyncio.sleep(0.5 if number else 3.0)
        assert events(reader)[-1]["ok"] == 10, number
    await bench.close()


async def test_one_end_makes_room_for_several_and_all_of_them_begin() -> None:
    loop, began = asyncio.get_running_loop(), dict[str, float]()

    async def answer(attempt: FetchAttempt) -> Fetched:
        began[attempt.target.url] = loop.time()
        await asyncio.sleep(1 if attempt.target.url.endswith("first") else 100)
        return Fetched(200, attempt.target, {}, b"", truncated=False)

    bench = Bench(answer, BatchLimits(active_per_host=1))
    for owner, *asked in (("a", "http://h.example/first", "http://free.example/"), ("b", "http://h.example/next")):
        request = BatchRequest(urls=asked, options=Options(concurrency=1, timeout=300))
        bench.batches.start(request, owner=Owner(owner), keep=Keep.DETACHED)
        await asyncio.sleep(0.1)
    await asyncio.sleep(50)
    # The end of the first makes room in its batch, and at its host for another client's.
    assert [round(at - began["http://h.example/first"], 1) for at in began.values()] == [0.0, 1.0, 1.0]
    await bench.close()


async def test_a_place_that_was_offered_to_a_cancelled_batch_goes_to_a_redirect() -> None:
    moved: list[str] = []

    async def answer(attempt: FetchAttempt) -> Fetched:
        host = attempt.target.host
        await asyncio.sleep({"busy.example": 100, "far.example": 2}.get(host, 1))
        if host == "far.example":
            assert attempt.move is not None
            assert await attempt.move("http://h.example:80") is None
            moved.append(host)
        return Fetched(200, attempt.target, {}, b"", truncated=False)

    bench = Bench(answer, BatchLimits(active_per_host=1))

    def start(url: str) -> str:
        request = BatchRequest(urls=[url], options=Options(timeout=300))
        return bench.batches.start(request, owner=Owner(url), keep=Keep.DETACHED).id

    for host in ("busy", "far", "h"):
        start(f"http://{host}.example/")
    await asyncio.sleep(0.1)
    waiting = start("http://h.example/second")
    await asyncio.sleep(0.1)
    bench.runner.slow(0.001)  # This batch is offered the place of the first, and may not begin.
    await asyncio.sleep(5)
    assert not moved
    bench.batches.cancel(waiting)
    await asyncio.sleep(0.1)
    assert moved == ["far.example"]
    await bench.close()
