"""What every clock of the service does, and those of the tests too."""

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
import uvloop

from service.core.ports import Clock
from service.runtime.clock import clock_of
from tests.core.readers import Turns
from tests.virtual import VirtualClockLoop

PASSED = 0.05
"""Seconds that the contract lets pass."""


class ClockContract:
    """Subclasses make a clock, and let time pass."""

    def clock(self) -> Clock:
        raise NotImplementedError

    def let_pass(self, seconds: float) -> None:
        raise NotImplementedError

    def test_it_never_goes_back_and_goes_on_by_what_has_passed(self) -> None:
        clock = self.clock()
        times = [clock()]
        for _ in range(3):
            times += [clock() for _ in range(10)]
            self.let_pass(PASSED)
        times.append(clock())
        assert all(isinstance(at, float) for at in times)
        assert all(earlier <= later for earlier, later in pairwise(times))
        # libuv calls up to a millisecond early.
        assert times[-1] - times[0] >= 3 * (PASSED - 0.001)


class TestFakeClock(ClockContract):
    """That of the hub's tests."""

    def clock(self) -> Clock:
        self.turns = Turns()
        return self.turns.clock

    def let_pass(self, seconds: float) -> None:
        self.turns.now += seconds


class LoopClockContract(ClockContract):
    """A clock goes as the timers of its loop do."""

    make: Callable[[], asyncio.AbstractEventLoop]

    @pytest.fixture(autouse=True)
    def loop(self) -> object:
        self.running = type(self).make()
        yield
        self.running.close()

    def clock(self) -> Clock:
        return clock_of(self.running)

    def let_pass(self, seconds: float) -> None:
        self.running.run_until_complete(asyncio.sleep(seconds))


class TestVirtualClock(LoopClockContract):
    """That of the unit tests."""

    make = VirtualClockLoop


class TestClockOfAsyncio(LoopClockContract):
    """That of asyncio's own loop."""

    make = asyncio.new_event_loop


class TestClockOfUvloop(LoopClockContract):
    """That of the service: it goes on inside a callback, unlike uvloop's own."""

    make = uvloop.new_event_loop

    def test_it_goes_on_while_a_callback_runs(self) -> None:
        clock = self.clock()

        async def busy() -> float:
            begun = clock()
            time.sleep(PASSED)
            return clock() - begun

        assert self.running.run_until_complete(busy()) >= PASSED - 0.001
