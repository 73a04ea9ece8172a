"""Each step of overload is taken when its level is entered, said, and undone by itself."""

import logging
from math import inf
from typing import Any

import pytest

from service.core.overload import Level, Overload, Rule
from service.ops.overload_controller import OverloadController


class Parts:
    """What pressure acts on, and what it did to them."""

    def __init__(self) -> None:
        self.share = 1.0
        self.shedding = 0
        self.closed = 0
        rule = Rule("lag", (1.0, 2.0, 3.0), (0.5, 1.5, 2.5))
        crowd: Any = self
        self.controller = OverloadController(Overload([rule]), crowd, [crowd, crowd], self.close_unused)
        self.now = 0.0

    def slow(self, share: float) -> None:
        self.share = share

    def shed(self) -> int:
        self.shedding += 1
        return 5

    def close_unused(self) -> int:
        self.closed += 1
        return 1

    def look(self, lag: float, seconds: int = 1) -> tuple[Level, float, int, int]:
        for _ in range(seconds):
            self.controller.sample(lag, self.now)
            self.now += 1.0
        return self.controller.level, self.share, self.closed, self.shedding


def test_every_step_is_taken_and_undone() -> None:
    parts = Parts()
    assert parts.look(0.9) == (Level.NORMAL, 1.0, 0, 0)
    assert parts.look(1.0) == (Level.SLOW, 0.1, 0, 0)
    assert parts.look(2.0) == (Level.REFUSE, 0.1, 1, 0)
    assert parts.look(3.0) == (Level.SHED, 0.1, 2, 2)
    assert parts.controller.shed == 10
    level, _, _, shedding = parts.look(0.0, seconds=6)
    assert (level, shedding) == (Level.REFUSE, 12)
    assert parts.look(0.0, seconds=6)[:2] == (Level.SLOW, 0.1)
    assert parts.look(0.0, seconds=6)[:2] == (Level.NORMAL, 1.0)
    closed = parts.closed
    assert parts.look(0.0, seconds=5) == (Level.NORMAL, 1.0, closed, 12)


def test_entering_and_leaving_is_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts()
    with caplog.at_level(logging.WARNING):
        parts.look(0.0, seconds=3)
        parts.look(2.5, seconds=10)
        parts.look(0.0, seconds=30)
    reported = [(record.getMessage(), vars(record)) for record in caplog.records]
    assert [text for text, _ in reported] == ["overload: entered", "overload: left", "overload: left"]
    assert (reported[0][1]["overload"], reported[0][1]["why"]) == ("refuse", "lag 2.5 of 2")
    assert [(more["before"], more["overload"]) for _, more in reported[1:]] == [
        ("refuse", "slow"),
        ("slow", "normal"),
    ]


def test_memory_and_descriptors_are_measured() -> None:
    for figure in ("memory", "descriptors"):
        overload = Overload([Rule(figure, (3.0, inf, inf), (1.0, inf, inf))])
        parts: Any = Parts()
        OverloadController(overload, parts, [], parts.close_unused).sample(0.0, 0.0)
        assert overload.level is Level.SLOW
        assert overload.why.startswith(figure)
