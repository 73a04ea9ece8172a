"""How overloaded the service is, and why: figures in, a level out.

Each figure is watched by itself, against three thresholds; the highest level of any of them counts. A level
is entered when its threshold has been reached for ``hold`` seconds, and left, one step at a time, when the
figure has been below its ``leave`` for five: what is between the two changes nothing, so that a figure that
stands still never has the level swing.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import IntEnum
from heapq import nlargest
from math import inf
from typing import TypeVar

__all__ = ["SLOWED", "Level", "LoadSample", "Overload", "Rule", "heaviest", "rules"]

T = TypeVar("T")

SLOWED = 0.1
"""The share of their places that fetches have while the level is SLOW or above."""

CALM = 5.0
"""Seconds below a level's ``leave`` until it is left."""


class Level(IntEnum):
    """What is done about it; each level does what those below it do, too."""

    NORMAL = 0
    SLOW = 1
    """New fetches and polls get a tenth of their places."""
    REFUSE = 2
    """New connections and requests are refused."""
    SHED = 3
    """The heaviest of the readers that lag are cut."""


@dataclass(frozen=True, slots=True)
class LoadSample:
    """What was measured; a figure that is not known is 0."""

    lag: float = 0.0
    """Seconds that the loop was late."""
    memory: float = 0.0
    """Bytes: the process's resident ones, and the kernel's for TCP."""
    sockets: float = 0.0
    """Bytes of the kernel for TCP."""
    descriptors: float = 0.0
    """How many are open."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The thresholds of one figure, one for each level from SLOW on; ``inf`` where it never leads there."""

    figure: str
    enter: tuple[float, float, float]
    leave: tuple[float, float, float]
    hold: float = 0.0


def rules(*, lag: float, memory: float, sockets: float, descriptors: float) -> tuple[Rule, ...]:
    """Return the rules for these limits (seconds, bytes, bytes, a count); 0 for none.

    Loop lag never sheds: cutting readers frees memory and descriptors, and takes time. It has to last,
    because ten thousand clients that come back at once are seconds of work that is soon over.
    """
    found = []
    if lag:
        found.append(Rule("lag", (lag / 4, lag, inf), (lag / 8, lag / 2, inf), hold=10.0))
    if memory:
        found.append(Rule("memory", _shares(memory, 0.80, 0.90, 0.95), _shares(memory, 0.75, 0.85, 0.90)))
    if sockets:
        found.append(Rule("sockets", _shares(sockets, 0.60, 0.75, 0.90), _shares(sockets, 0.50, 0.65, 0.80)))
    if descriptors:
        # The number that is left counts: a house that is full by its own limits has 70 to spare.
        left = (60.0, 40.0, 20.0)
        enter = tuple(descriptors - spare for spare in left)
        leave = tuple(descriptors - spare - 10 for spare in left)
        found.append(Rule("descriptors", _three(enter), _three(leave)))
    return tuple(found)


def _shares(limit: float, *shares: float) -> tuple[float, float, float]:
    return _three(share * limit for share in shares)


def _three(values: Iterable[float]) -> tuple[float, float, float]:
    first, second, third = values
    return first, second, third


class Overload:
    """The level, and what led to it."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.level = Level.NORMAL
        self.why = ""
        """What led to the level, for people; empty when nothing did."""
        self._watches = [_Watch(rule) for rule in rules]

    def __repr__(self) -> str:
        return f"<Overload {self.level.name.lower()} {self.why}>"

    def update(self, figures: LoadSample, now: float) -> Level:
        """Take the figures of now and return the level."""
        for watch in self._watches:
            watch.update(getattr(figures, watch.rule.figure), now)
        self.level = max((watch.level for watch in self._watches), default=Level.NORMAL)
        self.why = ", ".join(watch.why for watch in self._watches if watch.level is self.level is not Level.NORMAL)
        return self.level


class _Watch:
    """One figure: since when it has been above each threshold, and since when it has been calm."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.level = Level.NORMAL
        self._last = 0.0
        self._since: list[float | None] = [None, None, None]
        self._calm: float | None = None

    @property
    def why(self) -> str:
        return f"{self.rule.figure} {_shown(self._last)} of {_shown(self.rule.enter[self.level - 1])}"

    def update(self, figure: float, now: float) -> None:
        self._last = figure
        reached = self._reached(figure, now)
        if reached >= self.level:
            self.level, self._calm = reached, None
        elif figure >= self.rule.leave[self.level - 1]:
            self._calm = None
        elif self._calm is None:
            self._calm = now
        elif now - self._calm >= CALM:
            self.level, self._calm = Level(self.level - 1), None

    def _reached(self, figure: float, now: float) -> Level:
        """Return the highest level whose threshold has been reached for long enough."""
        reached = Level.NORMAL
        for level, threshold in zip((Level.SLOW, Level.REFUSE, Level.SHED), self.rule.enter, strict=True):
            if figure < threshold:
                self._since[level - 1] = None
                continue
            since = self._since[level - 1]
            if since is None:
                since = self._since[level - 1] = now
            if now - since >= self.rule.hold:
                reached = level
        return reached


def heaviest(things: Collection[T], weight: Callable[[T], float]) -> list[T]:
    """Return the tenth that weighs most, at least one of any: what is shed at one look."""
    return nlargest(-(-len(things) // 10), things, key=weight)


def _shown(value: float) -> str:
    return f"{value / (1 << 20):.0f} MiB" if value >= 1 << 20 else f"{value:.4g}"
