"""A time-out gives back the time for which the loop stood still, and no more."""

import asyncio
import time
from typing import Any

import pytest
import uvloop

from service.runtime import running_time
from service.runtime.running_time import running_timeout


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a loop that is 0.05 s late for one that stood still: the real one has to stand still in these tests."""
    monkeypatch.setattr(running_time, "_LATE", 0.05)


async def test_it_is_a_time_out_as_any_other() -> None:
    async with running_timeout(5.0):
        await asyncio.sleep(4.9)
    with pytest.raises(TimeoutError):
        async with running_timeout(5.0):
            await asyncio.sleep(5.1)
    with pytest.raises(ZeroDivisionError):
        async with running_timeout(5.0):
            raise ZeroDivisionError


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize(
    ("seconds", "end", "look"),
    [
        pytest.param(0.3, 0.55, running_time._LOOK, id="ends after the time is over"),
        pytest.param(0.6, 0.8, 0.1, id="ends before the time is over"),
    ],
)
def test_the_time_of_a_standstill_is_given_back(
    run: Any, seconds: float, end: float, look: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_time, "_LOOK", look)

    async def main() -> str:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        async with running_timeout(seconds):
            loop.call_soon(time.sleep, 0.5)
            loop.call_later(end, ended.set)
            await ended.wait()
        return "ended"

    assert run(main()) == "ended"


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_it_ends_all_the_same(run: Any) -> None:
    async def wait() -> None:
        async with running_timeout(0.05):
            asyncio.get_running_loop().call_soon(time.sleep, 0.2)
            await asyncio.Event().wait()

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        run(wait())
    assert time.monotonic() - began >= 0.25


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_pauses_without_end_do_not_prolong_it_without_end(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_time, "_LOOK", 0.05)

    async def wait() -> None:
        async with running_timeout(0.1):
            for _ in range(50):
                time.sleep(0.15)
                await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        run(wait())
