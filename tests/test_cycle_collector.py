"""Circles of objects are found, at once where that is quick, and where it is not, seldom."""

import asyncio
import gc
import sys
import weakref

import pytest

from service.ops import cycle_collector
from service.ops.cycle_collector import CycleCollector


class Circle:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


class Interpreter:
    """Counts looks; says how much there is, and how often objects have grown old."""

    def __init__(self) -> None:
        self.looks: list[float] = []
        self.blocks = 1_000_000
        self.aged = 7
        self.now = 0.0
        self.overloaded = False


@pytest.fixture
def interpreter(monkeypatch: pytest.MonkeyPatch) -> Interpreter:
    one = Interpreter()
    monkeypatch.setattr(sys, "getallocatedblocks", lambda: one.blocks)
    monkeypatch.setattr(gc, "collect", lambda: one.looks.append(one.now))
    monkeypatch.setattr(gc, "get_stats", lambda: [{"collections": one.aged}, {}, {}])
    return one


def looks(interpreter: Interpreter, collector: CycleCollector, until: float) -> list[float]:
    """Have it called every 15 s, while something grows old all the time; return when it looked."""
    interpreter.looks.clear()
    while interpreter.now < until:
        interpreter.now += 15.0
        interpreter.aged += 1
        collector.collect(interpreter.now)
    return interpreter.looks


def test_it_looks_each_time_where_that_is_quick(interpreter: Interpreter) -> None:
    collector = CycleCollector(0.0, lambda: interpreter.overloaded)
    interpreter.blocks += cycle_collector._QUICK
    assert looks(interpreter, collector, 60) == [15, 30, 45, 60]


def test_it_looks_seldom_where_there_is_much(interpreter: Interpreter) -> None:
    collector = CycleCollector(0.0, lambda: interpreter.overloaded)
    interpreter.blocks += cycle_collector._QUICK + 1
    assert looks(interpreter, collector, 5000) == [1800, 3600]
    interpreter.blocks -= 1
    assert looks(interpreter, collector, interpreter.now + 15) == [interpreter.now]


def test_it_looks_each_minute_in_an_overload(interpreter: Interpreter) -> None:
    collector = CycleCollector(0.0, lambda: interpreter.overloaded)
    interpreter.blocks += cycle_collector._QUICK + 1
    interpreter.overloaded = True
    assert looks(interpreter, collector, 150) == [60, 120]
    interpreter.overloaded = False
    assert looks(interpreter, collector, 1905) == []


def test_it_looks_no_more_where_nothing_has_grown_old(interpreter: Interpreter) -> None:
    collector = CycleCollector(0.0, lambda: interpreter.overloaded)
    for now in (15.0, 30.0, 4000.0):
        collector.collect(now)
    assert interpreter.looks == []


@pytest.mark.usefixtures("uncollected")
async def test_a_circle_is_freed_soon_after_it_has_grown_old() -> None:
    running = asyncio.create_task(CycleCollector(asyncio.get_running_loop().time(), lambda: False).run())
    kept: Circle | None = Circle()
    circle = weakref.ref(kept)
    gc.collect(0)
    kept = None
    assert circle() is not None
    await asyncio.sleep(20)
    assert circle() is None
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
