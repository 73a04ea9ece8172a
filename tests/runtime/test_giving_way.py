"""Work that gives way waits for urgent work, and not for ever."""

import asyncio

from service.runtime.giving_way import GivingWay


async def test_nothing_is_waited_for_where_nothing_goes_first() -> None:
    now = asyncio.get_running_loop().time
    began = now()
    await GivingWay().wait()
    assert now() == began


async def test_it_waits_until_that_is_over() -> None:
    loop, gives_way = asyncio.get_running_loop(), GivingWay()
    end = loop.time() + 0.012
    gives_way.busy = lambda: loop.time() < end
    assert "under way" in repr(gives_way)
    await gives_way.wait()
    assert end <= loop.time() < end + 0.01


async def test_it_goes_on_where_that_never_ends() -> None:
    loop, gives_way = asyncio.get_running_loop(), GivingWay()
    gives_way.busy = lambda: True
    began = loop.time()
    await gives_way.wait()
    assert 0.025 < loop.time() - began < 0.05
