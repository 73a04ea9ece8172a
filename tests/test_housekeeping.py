"""Housekeeping: what fails in one duty or for one item does not cost the others their turn."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from service.core.overload import Level
from service.core.topics.hub import Hub
from service.ops.overload_controller import OverloadController
from service.sources.watches import Watches
from service.upstream.fetcher import Fetcher
from tests.edge.running import client_of


class Odd(RuntimeError):
    """What a bug raises."""


def broken(*_: object) -> int:
    raise Odd


async def test_topics_age_though_addresses_cannot_be_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    async with client_of(ring_age=5.0) as client:
        monkeypatch.setattr(client.service.admission.addresses, "sweep", broken)
        client.service.hub.publish("t", b"1", client.service.hub.clock())
        await asyncio.sleep(90)
        assert client.service.hub.topics.get("t") is None
        assert client.service.supervisor.failures["other"] > 50
        assert client.service.supervisor.failures["sweep"] == 0


async def test_one_topic_that_cannot_age_leaves_the_others_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Hub._age

    def odd(hub: Hub, topic: Any, now: float) -> None:
        if topic.name == "odd":
            raise Odd
        right(hub, topic, now)

    monkeypatch.setattr(Hub, "_age", odd)
    async with client_of(ring_age=5.0) as client:
        for name in ("a", "odd", "z"):
            client.service.hub.publish(name, b"1", client.service.hub.clock())
        await asyncio.sleep(90)
        assert [name for name in ("a", "odd", "z") if name in client.service.hub.topics] == ["odd"]


async def test_readers_are_shed_though_one_crowd_fails() -> None:
    overload = SimpleNamespace(update=lambda *_: Level.SHED, why="memory")
    crowds = [SimpleNamespace(shed=broken), SimpleNamespace(shed=lambda: 3)]
    runner = SimpleNamespace(slow=lambda _: None)
    controller: Any = OverloadController(overload, runner, crowds, broken, 0)  # type: ignore[arg-type]
    controller.sample(0.0, 0.0)
    assert controller.shed == 3


async def test_one_part_that_cannot_be_closed_leaves_no_other_open(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    right = Fetcher.close

    async def close(fetcher: Fetcher) -> None:
        closed.append("fetcher")
        await right(fetcher)

    async def fails(watches: Watches) -> None:
        closed.append("watches")
        raise Odd

    monkeypatch.setattr(Fetcher, "close", close)
    monkeypatch.setattr(Watches, "close", fails)
    with pytest.raises(Odd):
        async with client_of():
            closed.append("begun")
    assert closed == ["begun", "watches", "fetcher"]
