"""When things are meant to happen: intended start times, pure and exact.

An open model starts by the clock and not by the reply: what waits because the service is slow is then
part of the measured latency, instead of being left out (coordinated omission).

A schedule is a rate over time. The nth thing happens when the area under the rate reaches n; for random
arrivals the areas between two things are exponential, which is a Poisson process under every rate.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

__all__ = ["RampStage", "Schedule", "constant", "dealt", "parse_rate", "parse_stages", "ramp", "steps"]

_TINY = 1e-9
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_STAGE = re.compile(rf"({_NUMBER})(s|m)?:({_NUMBER})", re.ASCII)
_FORM = re.compile(rf"{_NUMBER}(?:\.\.{_NUMBER}|(?:,{_NUMBER})*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class RampStage:
    """A rate that goes in a straight line from ``first`` to ``last`` things a second."""

    first: float
    last: float
    seconds: float

    @property
    def area(self) -> float:
        """How many things it has, fractions of one included."""
        return (self.first + self.last) / 2 * self.seconds

    def when(self, area: float) -> float:
        """Return the second at which the area under the rate reaches ``area``."""
        if not area:
            return 0.0
        slope = (self.last - self.first) / self.seconds
        # The quadratic in the form that does not subtract two numbers that are nearly the same.
        root = math.sqrt(max(0.0, self.first * self.first + 2 * slope * area))
        return 2 * area / (self.first + root)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Stages one after another."""

    stages: tuple[RampStage, ...]

    @property
    def duration(self) -> float:
        """How many seconds it takes."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def count(self) -> int:
        """How many things it starts when they are evenly spread."""
        return math.ceil(sum(stage.area for stage in self.stages) - _TINY)

    def even(self) -> Iterator[float]:
        """Yield the seconds from the start at which things are meant to happen, evenly spread under the rate."""
        return self._at(float(number) for number in count())

    def poisson(self, chance: Callable[[], float]) -> Iterator[float]:
        """Yield the seconds of independent arrivals; ``chance`` gives numbers from 0 up to and without 1."""
        return self._at(_exponential(chance))

    def _at(self, areas: Iterator[float]) -> Iterator[float]:
        begun = done = 0.0
        area = next(areas)
        for stage in self.stages:
            while area - done < stage.area - _TINY:
                yield begun + stage.when(max(0.0, area - done))
                area = next(areas)
            begun += stage.seconds
            done += stage.area


def constant(rate: float, duration: float) -> Schedule:
    """Return a schedule of ``rate`` things a second for ``duration`` seconds."""
    return Schedule((RampStage(rate, rate, duration),))


def ramp(first: float, last: float, duration: float) -> Schedule:
    """Return a schedule whose rate grows (or falls) linearly from ``first`` to ``last`` a second."""
    return Schedule((RampStage(first, last, duration),))


def steps(rates: list[float], duration: float) -> Schedule:
    """Return a schedule of one constant rate after another, each for its part of ``duration`` seconds."""
    return Schedule(tuple(RampStage(rate, rate, duration / len(rates)) for rate in rates))


def parse_rate(text: str, duration: float) -> Schedule:
    """Return the schedule of ``100``, ``10..200`` (a ramp) or ``10,50,100`` (steps); or raise ValueError."""
    if not _FORM.fullmatch(text):
        raise ValueError(f"{text!r} is not like 100, 10..200 (a ramp) or 10,50,100 (steps)")
    if ".." in text:
        first, last = map(float, text.split(".."))
        schedule = ramp(first, last, duration)
    else:
        schedule = steps([float(part) for part in text.split(",")], duration)
    if not any(stage.area for stage in schedule.stages):
        raise ValueError("a rate must be above 0")
    return schedule


def parse_stages(texts: Sequence[str]) -> Schedule:
    """Return the schedule of stages such as ``30s:1000``: each goes from the rate before it to its own."""
    stages, before = [], 0.0
    for text in texts:
        found = _STAGE.fullmatch(text)
        if found is None:
            raise ValueError(f"--stage: {text!r} is not like 30s:1000 or 2m:500 (seconds or minutes, a rate)")
        seconds, rate = float(found[1]) * (60 if found[2] == "m" else 1), float(found[3])
        if seconds > 0:
            stages.append(RampStage(before, rate, seconds))
        # A stage of no time is a step.
        before = rate
    if not any(stage.area for stage in stages):
        raise ValueError("--stage: one has to have some time and a rate above 0")
    return Schedule(tuple(stages))


def dealt(times: Iterator[float], index: int, shares: int) -> Iterator[tuple[int, float]]:
    """Yield (number, time) of share ``index`` of ``shares``: all shares together are the whole, once."""
    return islice(enumerate(times), index, None, shares)


def _exponential(chance: Callable[[], float]) -> Iterator[float]:
    area = 0.0
    while True:
        area -= math.log(1.0 - chance())
        yield area
