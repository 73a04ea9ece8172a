"""A bounded queue that can be closed, and turns by ticket."""

import asyncio

import pytest

from service.work.pipelines.channel import Channel, Closed, InOrder


async def test_a_channel_gives_tickets_in_order_and_ends_when_it_is_closed_and_empty() -> None:
    channel: Channel[str] = Channel(2)
    await channel.put("a")
    await channel.put("b")
    assert channel.full
    await channel.close()
    assert await channel.get() == (0, "a")
    assert await channel.get() == (1, "b")
    with pytest.raises(Closed):
        await channel.get()


async def test_closing_ends_all_that_wait() -> None:
    channel: Channel[str] = Channel(1)
    waiting = [asyncio.create_task(channel.get()) for _ in range(3)]
    await asyncio.sleep(0)
    await channel.close()
    async with asyncio.timeout(30):
        assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [Closed] * 3


async def test_one_who_is_cancelled_takes_nothing() -> None:
    channel: Channel[str] = Channel(1)
    waiting = asyncio.create_task(channel.get())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await channel.put("a")
    assert await channel.get() == (0, "a")


async def test_what_was_taken_out_at_the_front_has_no_ticket() -> None:
    channel: Channel[str] = Channel(2)
    assert (channel.oldest, channel.pop_oldest()) == (None, None)
    await channel.put("a")
    await channel.put("b")
    assert channel.pop_oldest() == "a"
    assert channel.oldest == "b"
    assert await channel.get() == (0, "b")


async def test_tickets_have_their_turn_in_order() -> None:
    order, passed = InOrder(), []

    async def use(ticket: int) -> None:
        await order.wait(ticket)
        passed.append(ticket)
        await order.done()

    async with asyncio.timeout(30):
        await asyncio.gather(*(use(ticket) for ticket in (3, 1, 0, 2)))
    assert passed == [0, 1, 2, 3]
