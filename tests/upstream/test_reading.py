"""Bodies beyond their owner's share are read one after another; others notice nothing."""

import asyncio

from service.core.owner import Owner
from service.core.pool import Pool
from service.upstream.reading import Reading

A, B = Owner("a"), Owner("b")


async def read(reading: Reading, owner: Owner, pieces: int, ends: list[str], name: str) -> None:
    body = reading.begin(owner)
    try:
        for _ in range(pieces):
            await asyncio.sleep(0.1)
            await body.take(100)
    finally:
        body.end()
    ends.append(name)


async def test_an_owner_over_its_share_reads_one_after_another_and_another_reads_at_once() -> None:
    pool = Pool("reading_bytes", 2000)
    reading, ends = Reading(pool), list[str]()
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


async def test_a_body_that_waits_and_is_given_up_leaves_nothing_behind() -> None:
    pool = Pool("reading_bytes", 400)
    reading, ends = Reading(pool), list[str]()
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
