"""Latencies and sizes: drawn anew for each key, and always the same for the same key."""

import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Distribution", "parse_distribution"]

_HIGHEST = 1e9
_EXPONENT = 700.0
"""What ``math.exp`` can bear."""
_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_FORM = re.compile(rf"exp:{_NUMBER}|lognormal:{_NUMBER}:{_NUMBER}|{_NUMBER}(?:\.\.{_NUMBER})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution of numbers from 0 on."""

    text: str
    draw: Callable[[random.Random], float]

    def of(self, key: str) -> float:
        """Return the number of a key."""
        chance = random.Random(f"{self.text} {key}")  # noqa: S311 - no secret
        return min(max(self.draw(chance), 0.0), _HIGHEST)


def parse_distribution(text: str) -> Distribution:
    """Return the distribution that a text describes, or raise ValueError that shows the forms."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not like 20, 10..50, exp:20 or lognormal:20:1.5")
    mean, median, sigma, low, high = (float(part) if part else None for part in found.groups())
    if mean is not None:
        return Distribution(text, lambda chance: mean * chance.expovariate(1.0))
    if median is not None and sigma is not None:
        return Distribution(text, lambda chance: median * math.exp(min(chance.gauss(0.0, sigma), _EXPONENT)))
    first, last = low or 0.0, (low if high is None else high) or 0.0
    return Distribution(text, lambda chance: chance.uniform(first, last))
