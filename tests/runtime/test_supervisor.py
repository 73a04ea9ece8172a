"""Supervised tasks: one that fails is logged, counted and restarted with a bound, and its neighbours go on."""

import asyncio
import logging
from collections import Counter

import pytest

from service import serving
from service.config.configuration import SettingsError
from service.config.settings import Settings
from service.ops.loop_lag import LoopLag
from service.runtime.background import BACKGROUND, OnFailure
from service.runtime.supervisor import Supervisor

NAMES = [name for name, policy in BACKGROUND.items() if policy in (OnFailure.STOP, OnFailure.DISABLE)]


@pytest.mark.parametrize("name", NAMES)
async def test_a_task_that_fails_is_logged_counted_and_restarted(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor, again = Supervisor(), asyncio.Event()

    async def fragile() -> None:
        if supervisor.failures[name] < 2:
            raise RuntimeError("odd")
        again.set()
        await asyncio.Event().wait()

    supervisor.start(name, fragile)
    await asyncio.wait_for(again.wait(), 10)
    assert supervisor.failures[name] == supervisor.failures.total() == 2
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [(vars(record)["task"], vars(record)["pause_s"]) for record in records] == [(name, 1.0), (name, 2.0)]
    assert all(record.exc_info for record in records)
    assert not supervisor.failed
    await supervisor.close()


@pytest.mark.parametrize("name", NAMES)
async def test_a_task_that_keeps_failing_stops_the_service_or_stays_off(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor, notified = Supervisor(), asyncio.Event()
    supervisor.on_failed = notified.set

    async def broken() -> None:
        await asyncio.sleep(1)
        raise RuntimeError("odd")

    supervisor.start(name, broken)
    await asyncio.sleep(3600)
    assert supervisor.failures[name] == 9
    assert supervisor.failed == notified.is_set() == (BACKGROUND[name] is OnFailure.STOP)
    last = caplog.records[-1]
    assert "keeps failing" in last.message
    assert last.levelno == (logging.CRITICAL if supervisor.failed else logging.ERROR)
    await supervisor.close()


async def test_failures_long_ago_do_not_count() -> None:
    supervisor = Supervisor()

    async def odd_now_and_then() -> None:
        await asyncio.sleep(301)
        raise RuntimeError("odd")

    supervisor.start("sweep", odd_now_and_then)
    await asyncio.sleep(20 * 303)
    assert supervisor.failures["sweep"] > 15
    assert not supervisor.failed
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

    supervisor.start("notify", once)
    supervisor.start("sweep", forever)
    await asyncio.sleep(5)
    assert ended == ["once"]
    await supervisor.close()
    assert ended == ["once", "forever"]


async def test_a_task_without_a_line_in_the_table_is_not_started() -> None:
    with pytest.raises(KeyError):
        Supervisor().start("unheard of", asyncio.Event().wait)  # type: ignore[arg-type]


async def test_the_service_ends_with_exit_code_1_when_it_cannot_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(_: LoopLag) -> None:
        raise RuntimeError("odd")

    def read_again() -> Settings:
        raise SettingsError("not asked for")

    monkeypatch.setattr(LoopLag, "run", broken)
    monkeypatch.setattr(serving, "_settle_memory", lambda: None)
    monkeypatch.setattr(serving, "greet", lambda text: None)
    stopping = serving._until_stopped(Settings(port=0, drain=0.1), read_again, Counter())
    assert await asyncio.wait_for(stopping, 3600) == 1
