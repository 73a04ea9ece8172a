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
def test_the_time_of_a_standstill_is_given_back(run: Any) -> None:
    async def main() -> str:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        async with running_timeout(0.3):
            loop.call_soon(time.sleep, 0.5)
            loop.call_later(0.55, ended.set)
            await ended.wait()
        return "ended"

    assert run(main()) == "ended"


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_so_is_that_of_one_that_ends_before_the_time_is_over(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_time, "_LOOK", 0.1)

    async def main() -> str:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        async with running_timeout(0.6):
            loop.call_soon(time.sleep, 0.5)
            loop.call_later(0.8, ended.set)
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
