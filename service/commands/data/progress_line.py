"""How far a command is, on standard error: a line that is written over on a terminal, else one now and then."""

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

__all__ = ["ProgressLine"]

_EVERY: Final = 0.2
_PLAIN: Final = 10.0
_CLEAR: Final = "\r\x1b[K"


class ProgressLine:
    """Shows what was reported; a context manager that takes its line away at the end."""

    def __init__(self, what: str, shown: Callable[[int], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._text = shown
        self._clock = clock
        self._terminal = os.isatty(2) and os.environ.get("TERM") != "dumb"
        self._every = _EVERY if self._terminal else _PLAIN
        self._next = clock() + self._every
        self._visible = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._visible:
            self._write(_CLEAR)

    def report(self, done: int, total: int) -> None:
        """Record how much is done; shown at most five times a second."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + self._every
        percent = min(100, done * 100 // total) if total else 100
        line = f"{self._what} {percent:3} %  {self._text(done)} of {self._text(total)}"
        self._write(f"{_CLEAR}{line}" if self._terminal else f"sluice: {line}\n")
        self._visible = self._terminal

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
