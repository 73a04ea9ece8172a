"""The memory of items under way: who has used up a share waits, and everything comes back."""

import asyncio

from service.core.owner import Owner
from service.work.pipelines.frames import FrameMemory, MemoryReservation

A, B = Owner("a"), Owner("b")


async def test_one_that_has_its_share_waits_until_something_comes_back_and_others_find_room() -> None:
    memory = FrameMemory(1000)
    first, other = MemoryReservation(memory, A), MemoryReservation(memory, B)
    for _ in range(8):
        await first.reserve(100)
    waiting = asyncio.create_task(first.reserve(100))
    await asyncio.sleep(0)
    await other.reserve(100)
    assert not waiting.done()
    assert memory.pool.refused == 1
    other.close()
    first.release(100)
    first.release(100)
    async with asyncio.timeout(30):
        assert await waiting == 100
    first.close()
    assert memory.pool.used == 0


async def test_one_that_holds_nothing_may_have_any_one_item() -> None:
    memory = FrameMemory(1000)
    reservation = MemoryReservation(memory, A)
    async with asyncio.timeout(30):
        assert await reservation.reserve(5000) == 5000
    reservation.close()


async def test_what_has_grown_waits_for_room_but_for_the_first_of_one_run_of_each_owner() -> None:
    memory = FrameMemory(1 << 20)
    first, second = MemoryReservation(memory, A), MemoryReservation(memory, A)
    for reservation in (first, second):
        await reservation.reserve(100)
    assert first.fits(100, 60_000)
    assert not first.fits(100, 1 << 20)
    async with asyncio.timeout(30):
        assert await first.wait_to_grow(100, 2 << 20, lambda: True) == 2 << 20
    assert memory.pool.refused == 1
    later = [False]
    waiting = asyncio.create_task(second.wait_to_grow(100, 2 << 20, lambda: later[0]))
    first.release(0)
    await asyncio.sleep(0)
    later[0] = True
    first.release(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    first.came_out(2 << 20)
    async with asyncio.timeout(30):
        assert await waiting == 2 << 20
    for reservation in (first, second):
        reservation.close()
    assert memory.pool.used == 0


async def test_a_run_takes_as_much_as_its_items_came_to_need() -> None:
    memory = FrameMemory(1000)
    reservation = MemoryReservation(memory, A)
    taken = await reservation.reserve(10)
    assert reservation.grow(taken, 5) == 10
    taken = reservation.grow(taken, 300)
    assert (taken, memory.pool.used) == (300, 300)
    assert await reservation.reserve(10) == 300
    assert memory.pool.used == 600
    waiting = asyncio.create_task(reservation.reserve(10))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    reservation.close()
    assert memory.pool.used == 0
