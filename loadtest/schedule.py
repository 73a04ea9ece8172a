"""When things are meant to happen: intended start times, pure and exact.

An open model starts by the clock and not by the reply: what waits because the service is slow is then
part of the measured latency, instead of being left out (coordinated omission).
"""

from collections.abc import Callable, Iterator
from itertools import count
from math import log

__all__ = ["constant", "poisson", "ramp", "steps"]


def constant(rate: float, duration: float) -> Iterator[float]:
    """Yield the seconds from the start of ``rate`` things a second, evenly spread, for ``duration`` seconds."""
    if rate <= 0:
        return
    for number in range(round(rate * duration)):
        yield number / rate


def ramp(first: float, last: float, duration: float) -> Iterator[float]:
    """Yield times while the rate grows (or falls) linearly from ``first`` to ``last`` a second.

    The nth thing happens when the area under the rate reaches n: a quadratic equation for each.
    """
    slope = (last - first) / duration
    for number in count():
        if abs(slope) < 1e-12:
            at = number / first if first else duration
        else:
            inside = first * first + 2 * slope * number
            if inside < 0:
                return
            at = max(0.0, (inside**0.5 - first) / slope)
        if at >= duration - 1e-9:
            return
        yield at


def steps(rates: list[float], each: float) -> Iterator[float]:
    """Yield times at one constant rate after another, each for ``each`` seconds."""
    for number, rate in enumerate(rates):
        yield from (number * each + at for at in constant(rate, each))


def poisson(rate: float, duration: float, chance: Callable[[], float]) -> Iterator[float]:
    """Yield times of independent arrivals, ``rate`` a second on average; ``chance`` gives numbers from 0 to 1."""
    at = -log(1.0 - chance()) / rate
    while at < duration:
        yield at
        at += -log(1.0 - chance()) / rate
