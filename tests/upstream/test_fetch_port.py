"""The port of the fetch engine: what it relies on, for each who wants URLs and for the fake that tests use.

Every adapter is run by the real engine on the same upstream; what passes through the port is recorded.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from service.commands.fetch import run as command
from service.commands.fetch.inputs import UrlList
from service.commands.fetch.run import FetchRun
from service.commands.fetch.stepping import BodySteps
from service.commands.fetch.tally import Tally
from service.core.fetching.batch import Batch, BatchLimits, BatchRequest, Keep
from service.core.fetching.dial_policy import Policy
from service.core.fetching.outcome import Failure, Fetched, Permit
from service.core.fetching.request import Options
from service.core.fetching.task import FetchGroup, FetchListener, FetchTask
from service.core.owner import Owner
from service.core.topics.topic import Topic
from service.sources.watches import Watches, WatchLimits
from service.upstream.attempts import FetchAttempt
from service.upstream.runner import Runner
from tests.core.listeners import FakeListener
from tests.upstream.test_batches import Bench, FakeFetcher, at_once

WELL, ILL = "http://h.example/well", "http://h.example/ill"


async def upstream(attempt: FetchAttempt) -> Fetched | Failure:
    if attempt.target.url == ILL:
        await asyncio.sleep(0)
        return Failure("dns", "there is no such name")
    return await at_once(attempt)


@dataclass
class Recorded:
    """What passed through the port, by group."""

    groups: dict[str, FetchGroup] = field(default_factory=dict)
    admitted: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, int]] = field(default_factory=Counter)
    kinds: set[str] = field(default_factory=set)
    hold: int = 3
    """How often a group is held back before the listener is asked: once each time it is woken."""

    def listen(self, runner: Runner, listener: FetchListener[Any]) -> None:
        """Record what a listener is asked and gets from now on."""
        admit, succeeded, failed = listener.admit, listener.succeeded, listener.failed

        def admitted(group: FetchGroup) -> Permit | Failure:
            if self.held[group.id] < self.hold:
                self.held[group.id] += 1
                asyncio.get_running_loop().call_later(1.0, runner.wake, group)
                return Permit.HOLD
            permit = admit(group)
            self.groups[group.id] = group
            self.admitted[group.id] += permit is Permit.START
            return permit

        def answered(group: FetchGroup, task: FetchTask, fetched: Fetched, queued: float, *, shared: bool) -> None:
            self.outcomes[group.id, task.index] += 1
            self.kinds.add("succeeded")
            succeeded(group, task, fetched, queued, shared=shared)

        def refused(
            group: FetchGroup, index: int, failure: Failure, attempts: int, timing: dict[str, float]
        ) -> None:
            self.outcomes[group.id, index] += 1
            self.kinds.add("failed")
            failed(group, index, failure, attempts, timing)

        listener.admit, listener.succeeded, listener.failed = admitted, answered, refused  # type: ignore[method-assign]


@asynccontextmanager
async def batches(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    bench = Bench(upstream)
    recorded.listen(bench.runner, bench.batches)
    batch = bench.batches.start(BatchRequest(urls=[WELL, ILL]), owner=Owner("o"), keep=Keep.DETACHED)
    await asyncio.sleep(10)
    assert batch.done
    yield
    await bench.close()


@asynccontextmanager
async def polls(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    bench = Bench(upstream)
    watches = Watches(
        bench.hub, bench.runner, WatchLimits(), policy=Policy(), selector=None, chance=lambda: 0.5  # type: ignore[arg-type]
    )  # fmt: skip
    recorded.listen(bench.runner, watches._polls)
    watching = [watches.watch(url, 60.0, None) for url in (WELL, ILL)]
    await asyncio.sleep(30)
    assert all(one.topic.head for one in watching)
    yield
    await watches.close()
    await bench.close()


@asynccontextmanager
async def sluice_fetch(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    class Fetcher(FakeFetcher):
        def __init__(self, *_: Any) -> None:
            super().__init__(upstream, BatchLimits())

        async def close(self) -> None:
            pass

    class Recording(Runner):
        def add(self, group: FetchGroup) -> None:
            recorded.listen(self, group.listener)
            super().add(group)

    monkeypatch.setattr(command, "Fetcher", Fetcher)
    monkeypatch.setattr(command, "Runner", Recording)
    urls, tally = UrlList("list"), Tally(2)
    urls.add(WELL, 1)
    urls.add(ILL, 2)
    await FetchRun(urls, Options(), None, {}, None, tally, BodySteps()).run(Policy(), BatchLimits())
    assert (tally.answered, tally.failed) == (1, 1)
    yield


@asynccontextmanager
async def fake(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    bench, listener = Bench(upstream), FakeListener()
    recorded.listen(bench.runner, listener)
    bench.runner.add(
        Batch(
            "fake", Topic("batch:fake", "e", None), Owner("o"), Keep.DETACHED, [WELL, ILL], Options(), 0.0, listener
        )
    )
    await asyncio.sleep(10)
    assert len(listener.outcomes) == 2
    yield
    await bench.close()


Adapter = Callable[[Recorded, pytest.MonkeyPatch], AbstractAsyncContextManager[None]]


@pytest.mark.parametrize("adapter", [batches, polls, sluice_fetch, fake], ids=lambda one: one.__name__)
class TestContract:
    async def test_each_url_is_admitted_and_has_one_outcome(
        self, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recorded = Recorded()
        async with adapter(recorded, monkeypatch):
            wanted = {(group.id, index) for group in recorded.groups.values() for index in group.wanted}
            assert recorded.outcomes == dict.fromkeys(wanted, 1)
            assert recorded.admitted == {group.id: len(group.wanted) for group in recorded.groups.values()}
            assert recorded.kinds == {"succeeded", "failed"}

    async def test_a_group_that_is_held_back_waits_until_it_is_woken(
        self, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recorded = Recorded()
        async with adapter(recorded, monkeypatch):
            assert recorded.held == dict.fromkeys(recorded.groups, recorded.hold)

    async def test_the_engine_counts_in_the_group_and_leaves_nothing(
        self, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recorded = Recorded(hold=0)
        async with adapter(recorded, monkeypatch):
            for group in recorded.groups.values():
                assert (group.active, group.under_way, group.landed) == (0, 0, 0)
                assert len(group.items) in (len(group.wanted), 0), "a batch forgets its URLs when it is done"
