"""What ends when its token does: on time, renewed by a word, and never all at once. The time is virtual."""

import asyncio
from collections.abc import Callable

import pytest

from service.edge.access.expiries import Expiries


class FakeHolder:
    """Records when it ended, and how many others have in the same turn."""

    def __init__(self) -> None:
        self.ended: float | None = None

    def expire(self) -> None:
        assert self.ended is None
        self.ended = asyncio.get_running_loop().time()


def wall(start: float = 1_000_000.0) -> Callable[[], float]:
    """Return a clock that goes with the loop's and says another time."""
    loop = asyncio.get_running_loop()
    return lambda: start + loop.time()


@pytest.mark.parametrize("lives", [0.0, 0.5, 1.0, 30.0, 600.5])
async def test_a_holder_ends_within_two_seconds_of_its_time(lives: float) -> None:
    expiries, holder = Expiries(wall()), FakeHolder()
    expiries.set(holder, 1_000_000.0 + lives)
    await asyncio.sleep(lives + 2)
    assert holder.ended is not None
    assert lives <= holder.ended <= lives + 2
    assert repr(expiries) == "<Expiries 0>"


async def test_the_last_word_counts_whether_later_or_sooner_or_never() -> None:
    expiries = Expiries(wall())
    longer, sooner, never = FakeHolder(), FakeHolder(), FakeHolder()
    for holder in (longer, sooner, never):
        expiries.set(holder, 1_000_100.0)
    expiries.set(longer, 1_000_200.0)
    expiries.set(sooner, 1_000_010.0)
    expiries.set(never, None)
    await asyncio.sleep(150)
    assert sooner.ended is not None
    assert sooner.ended <= 12
    assert (longer.ended, never.ended) == (None, None)
    await asyncio.sleep(100)
    assert longer.ended is not None


async def test_a_clock_that_is_set_after_a_token_was_checked_moves_nobody() -> None:
    ahead = 0.0
    clock = wall()
    expiries, holder = Expiries(lambda: clock() + ahead), FakeHolder()
    end = expiries.when(1_000_030.0)
    ahead = 1000.0
    expiries.set_at(holder, end)
    await asyncio.sleep(32)
    assert holder.ended is not None
    assert 30.0 <= holder.ended <= 32
    assert expiries.when(None) is None


async def test_what_is_over_already_ends_at_the_next_look() -> None:
    expiries, first, late = Expiries(wall()), FakeHolder(), FakeHolder()
    expiries.set(first, 1_000_050.0)
    await asyncio.sleep(10.5)
    expiries.set(late, 999_999.0)
    await asyncio.sleep(1.5)
    assert late.ended is not None
    assert first.ended is None


async def test_a_connection_that_has_left_is_forgotten() -> None:
    expiries, holder = Expiries(wall()), FakeHolder()
    expiries.set(holder, 1_000_001.0)
    expiries.discard(holder)
    expiries.discard(holder)
    await asyncio.sleep(5)
    assert holder.ended is None
    assert not expiries._due


async def test_renewals_leave_nothing_behind() -> None:
    expiries, holder = Expiries(wall()), FakeHolder()
    for number in range(10_000):
        expiries.set(holder, 1_000_100.0 + number)
    assert len(expiries._due) == len(expiries._second_of) == 1


async def test_ten_thousand_that_end_together_go_in_slices() -> None:
    expiries = Expiries(wall())
    holders = [FakeHolder() for _ in range(10_000)]
    for holder in holders:
        expiries.set(holder, 1_000_010.0)
    await asyncio.sleep(20)
    times: dict[float, int] = {}
    for holder in holders:
        assert holder.ended is not None
        times[holder.ended] = times.get(holder.ended, 0) + 1
    assert max(times.values()) == 100
    assert max(times) - min(times) == pytest.approx(4.95)


async def test_a_clock_that_is_put_forward_ends_nobody() -> None:
    now = wall()
    jump = 0.0
    expiries, holder = Expiries(lambda: now() + jump), FakeHolder()
    expiries.set(holder, 1_000_100.0)
    jump = 3600.0
    await asyncio.sleep(50)
    assert holder.ended is None
    await asyncio.sleep(52)
    assert holder.ended is not None


async def test_the_timer_rests_while_there_is_nobody_and_ends_with_close() -> None:
    expiries, holder = Expiries(wall()), FakeHolder()
    assert not expiries._timer.running
    expiries.set(holder, 1_000_001.0)
    await asyncio.sleep(4)
    assert not expiries._timer.running
    other = FakeHolder()
    expiries.set(other, 1_000_006.0)
    expiries.close()
    await asyncio.sleep(10)
    assert other.ended is None
