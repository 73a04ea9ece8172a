"""Background tasks: one that fails is seen, counted and started again, and its neighbours never notice."""

import asyncio
import logging
from typing import Any

import pytest

from service.core.histogram import Histogram
from service.ops.supervisor import Supervisor
from tests.edge.running import client_of


async def test_a_task_that_fails_is_logged_counted_and_started_again(caplog: pytest.LogCaptureFixture) -> None:
    supervisor, runs, again = Supervisor(), 0, asyncio.Event()

    async def fragile() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError("odd")
        again.set()
        await asyncio.Event().wait()

    supervisor.start("fragile", fragile)
    await asyncio.wait_for(again.wait(), 10)
    assert supervisor.failures == {"fragile": 2}
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [vars(record)["task"] for record in records] == ["fragile", "fragile"]
    assert all(record.exc_info for record in records)
    await supervisor.close()


async def test_a_task_that_returns_is_over_and_closing_ends_the_others() -> None:
    supervisor = Supervisor()
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("forever")

    async def once() -> None:
        ended.append("once")

    supervisor.start("once", once)
    supervisor.start("forever", forever)
    await asyncio.sleep(5)
    assert ended == ["once"]
    await supervisor.close()
    assert ended == ["once", "forever"]


@pytest.mark.parametrize(
    ("task", "owner", "method"),
    [
        ("sweep", "hub", "sweep"),
        ("overload", "overload", "look"),
        ("statistics", "batches", "statistics"),
        ("loop lag", "hub", None),
    ],
)
async def test_each_task_of_the_service_goes_on_after_an_error(
    task: str, owner: str, method: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of() as client, client.socket() as socket:
        service = client.service
        target: Any
        if method is None:
            target, method = Histogram, "observe"
        else:
            target = getattr(service, owner)
        right, calls = getattr(target, method), 0

        def odd(*arguments: object, **more: object) -> object:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise RuntimeError("odd")
            return right(*arguments, **more)

        await socket.send_str('{"jsonrpc":"2.0","method":"subscribe","params":{"topic":"_stats"}}')
        monkeypatch.setattr(target, method, odd)
        while calls < 3:
            await asyncio.sleep(1)
        assert service.supervisor.failures[task] == 1
        body = (await client.ask("GET", "/metrics"))[1]
        assert f'sluice_task_failures_total{{task="{task}"}} 1.0'.encode() in body
