"""Bodies beyond their owner's share are read one after another; others notice nothing."""

import asyncio
from collections import Counter
from functools import partial

import pytest

from service.core.owner import Owner
from service.core.pool import Pool
from service.upstream.reading import LEAST, BodyReads
from tests.virtual import VirtualClockLoop

A, B = Owner("a"), Owner("b")


async def read(reading: BodyReads, owner: Owner, pieces: int, ends: list[str], name: str) -> None:
    body = reading.begin(owner, lambda: None)
    try:
        for _ in range(pieces):
            await asyncio.sleep(0.1)
            await body.charge(100)
    finally:
        body.end()
    ends.append(name)


async def test_an_owner_over_its_share_reads_one_after_another_and_another_reads_at_once() -> None:
    pool = Pool("reading_bytes", 2000)
    reading, ends = BodyReads(pool), list[str]()
    tasks = [asyncio.create_task(read(reading, A, 9, ends, f"a{number}")) for number in range(5)]
    await asyncio.sleep(1.05)
    assert pool.held(A) <= 1000 + 900
    small = asyncio.create_task(read(reading, B, 2, ends, "b"))
    await small
    await asyncio.gather(*tasks)
    assert ends[0] in ("a0", "b")
    assert "b" in ends[:3]
    assert sorted(ends) == ["a0", "a1", "a2", "a3", "a4", "b"]
    assert (pool.used, reading._bodies) == (0, {})


async def test_the_content_is_all_pieces_and_the_only_one_is_not_copied() -> None:
    reading = BodyReads(Pool("reading_bytes", 1000))
    none, one, several = (reading.begin(A, lambda: None) for _ in range(3))
    piece = bytes(range(250))
    one.add(piece)
    for number in range(1000):
        several.add(b"%d," % number)

    assert none.content == b""
    assert one.content is piece
    assert several.content == b"".join(b"%d," % number for number in range(1000))
    for body in (none, one, several):
        body.end()
    reading.close()


async def test_a_body_that_waits_and_is_given_up_leaves_nothing_behind() -> None:
    pool = Pool("reading_bytes", 400)
    reading, ends = BodyReads(pool), list[str]()
    first, second, third = (
        asyncio.create_task(read(reading, A, pieces, ends, str(pieces))) for pieces in (20, 8, 3)
    )
    await asyncio.sleep(1.0)
    second.cancel()
    await asyncio.wait([second])
    first.cancel()
    await asyncio.wait([first])
    await third
    assert ends == ["3"]
    assert (pool.used, reading._bodies) == (0, {})
    assert pool.refused >= 2


async def trickle(reading: BodyReads, piece: int, every: float, most: float) -> float | None:
    """Return after how many seconds a body was ended that brings so many bytes every so many seconds, if it was."""
    loop = asyncio.get_running_loop()
    begun, ended = loop.time(), loop.create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(loop.time() - begun)

    body = reading.begin(A, end)
    try:
        async with asyncio.timeout(most):
            while not ended.done():
                await asyncio.wait([ended], timeout=every)
                await body.charge(piece)
    except TimeoutError:
        return None
    finally:
        body.end()
    return float(ended.result())


@pytest.mark.parametrize(
    ("piece", "every", "cut"),
    [(0, 1000.0, True), (1, 5.0, True), (LEAST // 4, 10.0, True), (LEAST // 2, 10.0, False), (LEAST, 25.0, False)],
)
async def test_a_body_that_comes_too_slowly_is_ended(piece: int, every: float, cut: bool) -> None:
    reading = BodyReads(Pool("reading_bytes", 1 << 20))
    ended = await trickle(reading, piece, every, 300.0)
    assert ended is not None and 30.0 <= ended <= 35.0 if cut else ended is None
    reading.close()


async def test_a_body_that_waits_for_its_turn_is_not_too_slow() -> None:
    reading, ends = BodyReads(Pool("reading_bytes", 400)), list[str]()
    first = reading.begin(A, lambda: ends.append("first"))
    await first.charge(1000)
    second = reading.begin(A, lambda: ends.append("second"))
    waiting = asyncio.create_task(second.charge(10))
    for _ in range(10):
        await asyncio.sleep(25)
        await first.charge(LEAST)
    first.end()
    await waiting
    second.end()
    assert ends == []
    await asyncio.sleep(10)
    assert not reading._timer.running


async def test_hundreds_that_stall_together_are_ended_once_each_and_a_few_in_each_turn() -> None:
    loop, reading, ended = asyncio.get_running_loop(), BodyReads(Pool("reading_bytes", 1 << 20)), Counter[int]()
    assert isinstance(loop, VirtualClockLoop)

    async def stalled() -> None:
        task = asyncio.current_task()
        assert task is not None
        body = reading.begin(A, task.cancel)
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            ended[loop.turns] += 1
            await asyncio.sleep(0)  # a connection to close, say
        finally:
            body.end()

    await asyncio.gather(*(stalled() for _ in range(100)))
    assert max(ended.values()) <= 8
    assert ended.total() == 100
    assert 30.0 <= loop.time() < 33.0
    reading.close()


async def test_a_body_that_waits_for_others_of_its_owner_says_so() -> None:
    reading, waits = BodyReads(Pool("reading_bytes", 400)), list[str]()
    first, second = (reading.begin(A, lambda: None, partial(waits.append, name)) for name in ("first", "second"))
    await first.charge(300)
    task = asyncio.create_task(second.charge(10))
    await asyncio.sleep(0.01)
    assert waits == ["second"]
    first.end()
    await task
    second.end()
    reading.close()
