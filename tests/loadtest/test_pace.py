"""How load is started: what waits is measured, and a closed loop would hide it."""

import asyncio

import pytest

from loadtest import pace
from loadtest.histogram import Histogram
from loadtest.pace import closed_model, open_model, until_all
from loadtest.schedule import constant, dealt


@pytest.fixture(autouse=True)
def _virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "monotonic", now)


def now() -> float:
    return asyncio.get_running_loop().time()


class Server:
    """Answers within a millisecond, but nothing between second 5 and second 6."""

    def __init__(self) -> None:
        self.latencies = Histogram()

    async def ask(self, number: int, due: float) -> None:
        wait = 6.0 - now() if 5.0 <= now() < 6.0 else 0.0
        await asyncio.sleep(wait + 0.001)
        self.latencies.record((now() - due) * 1000)


async def test_a_stall_of_one_second_is_one_second_at_the_maximum_and_in_the_right_percentiles() -> None:
    server = Server()
    await open_model(dealt(constant(100, 10).even(), 0, 1), now(), server.ask, pytest.fail)
    latencies = server.latencies
    assert latencies.count == 1000
    assert latencies.percentile(100) == pytest.approx(1001, rel=0.01)
    # A tenth of all fell into it, evenly: the slowest hundredth waited for more than nine tenths of a second.
    assert latencies.percentile(99) == pytest.approx(901, rel=0.02)
    assert latencies.percentile(95) == pytest.approx(501, rel=0.03)
    assert latencies.percentile(89) == pytest.approx(1, abs=0.1)


async def test_a_closed_loop_hides_it() -> None:
    server = Server()
    await closed_model(1, 10.0, 0.009, server.ask)
    assert server.latencies.count == pytest.approx(900, abs=5)
    assert server.latencies.percentile(100) == pytest.approx(1001, rel=0.02)
    assert server.latencies.percentile(99.8) == pytest.approx(1, abs=0.1)


async def test_what_would_be_too_much_at_once_is_left_out_and_counted() -> None:
    asked: list[int] = []
    dropped: list[None] = []

    async def one(number: int, due: float) -> None:
        asked.append(number)
        await asyncio.sleep(0.95)

    await open_model(dealt(constant(10, 2).even(), 0, 1), now(), one, lambda: dropped.append(None), 5)
    assert asked == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert len(dropped) == 10


async def test_each_starts_at_its_time_even_if_those_before_fail() -> None:
    begun: list[float] = []

    async def one(number: int, due: float) -> None:
        assert due == pytest.approx(now())
        begun.append(now())
        await asyncio.sleep(100.0)

    await open_model(dealt(constant(2, 3).even(), 0, 1), now() + 1.0, one, pytest.fail)
    assert begun == pytest.approx([1.0, 1.5, 2.0, 2.5, 3.0, 3.5])


async def test_an_error_ends_the_others() -> None:
    ended: list[int] = []

    async def one(number: int, due: float) -> None:
        if number == 2:
            raise ZeroDivisionError
        try:
            await asyncio.sleep(100.0)
        finally:
            ended.append(number)

    with pytest.raises(ExceptionGroup) as caught:
        await open_model(dealt(constant(10, 1).even(), 0, 1), now(), one, pytest.fail)
    assert caught.group_contains(ZeroDivisionError)
    assert sorted(ended) == [0, 1]


async def test_waiting_ends_when_it_holds_or_when_the_time_is_over() -> None:
    begun = now()
    assert await until_all(lambda: now() - begun > 1.0, 5.0)
    assert now() - begun == pytest.approx(1.0, abs=0.05)
    assert not await until_all(lambda: False, 2.0)
    assert now() - begun == pytest.approx(3.0, abs=0.1)
