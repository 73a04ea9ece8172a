"""The load itself, counted: what was intended, begun, made, and what had no answer."""

from collections.abc import Callable, Iterator

from loadtest.tally import Tally

__all__ = ["LoadAccount"]


class LoadAccount:
    """One scenario's account; a part of a mixed plan has its own beside the sum."""

    def __init__(self, tally: Tally, part: str = "") -> None:
        self._tally = tally
        self._part = part

    def intended(self, count: int = 1) -> None:
        """Count what the plan wants."""
        self._add("intended", count)

    def started(self, count: int = 1) -> None:
        """Count what has begun."""
        self._add("started", count)

    def made(self, count: int = 1) -> None:
        """Count what has ended as it should."""
        self._add("made", count)

    def unanswered(self, count: int = 1) -> None:
        """Count what had no answer in its time."""
        self._add("unanswered", count)

    def planned(
        self, times: Iterator[tuple[int, float]], size_of: Callable[[int], int] = lambda number: 1
    ) -> Iterator[tuple[int, float]]:
        """Yield what a schedule has, and count each by its size as intended; :meth:`rest` counts what is left."""
        for number, at in times:
            self.intended(size_of(number))
            yield number, at

    @staticmethod
    def rest(times: Iterator[tuple[int, float]]) -> None:
        """Count as intended what a run that ends early leaves of :meth:`planned` times."""
        for _ in times:
            pass

    def _add(self, name: str, count: int) -> None:
        self._tally.count(name, count)
        if self._part:
            self._tally.count(f"{self._part}_{name}", count)
