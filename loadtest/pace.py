"""How load is started: by the clock (open model), or by the reply (closed model)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from time import monotonic

__all__ = ["closed_model", "open_model", "until", "until_all"]

_IN_FLIGHT = 20_000
_LOOK = 0.02


async def until(moment: float) -> None:
    """Wait for a moment of the monotonic clock."""
    wait = moment - monotonic()
    if wait > 0:
        await asyncio.sleep(wait)


async def until_all(conditions: Callable[[], bool], seconds: float) -> bool:
    """Check a condition again and again for this many seconds; return whether it holds.

    It is polled because ten thousand accounts decide it, at each message.
    """
    deadline = monotonic() + seconds
    while not conditions() and monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK)
    return conditions()


async def open_model(
    times: Iterator[tuple[int, float]],
    begin: float,
    one: Callable[[int, float], Awaitable[None]],
    dropped: Callable[[], None],
    at_most: int = _IN_FLIGHT,
) -> None:
    """Start ``one(number, due)`` at each time, also while others are under way; wait until all have ended.

    ``due`` is the intended moment on the monotonic clock: latency counts from there. Where ``at_most`` are
    under way already, the iteration is left out and counted by ``dropped()``: the service is so far behind
    that the generator would be the next to fall over.
    """
    running: set[asyncio.Task[None]] = set()
    try:
        async with asyncio.TaskGroup() as group:
            for number, at in times:
                await until(begin + at)
                if len(running) >= at_most:
                    dropped()
                    continue
                task = group.create_task(_awaited(one(number, begin + at)))
                running.add(task)
                task.add_done_callback(running.discard)
    finally:
        running.clear()


async def closed_model(users: int, end: float, think: float, one: Callable[[int, float], Awaitable[None]]) -> None:
    """Let each user do ``one(user, now)``, think, and begin again until ``end``.

    A user who waits does not ask: a slow service gets less load, and its latencies look better than what
    people who come by themselves would see. For rates that nobody keeps up, and for comparison.
    """

    async def user(number: int) -> None:
        while monotonic() < end:
            await one(number, monotonic())
            await asyncio.sleep(think)

    async with asyncio.TaskGroup() as group:
        for number in range(users):
            group.create_task(user(number))


async def _awaited(job: Awaitable[None]) -> None:
    await job
