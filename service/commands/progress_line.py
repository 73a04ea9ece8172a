"""How far a command is, on standard error: a bar that is written over on a terminal, else a line now and then."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from service.commands.units import clock_text

__all__ = ["CLEAR", "EVERY", "PLAIN", "WINDOW", "ProgressLine", "bar_text", "can_write_over", "terminal_width"]

EVERY: Final = 0.2
"""Seconds between two updates of the line on a terminal."""
PLAIN: Final = 10.0
"""Seconds between two lines elsewhere."""
WINDOW: Final = 50
"""Samples that the rate is taken over: 10 s on a terminal."""
_BAR: Final = 30
_SHORTEST: Final = 5
"""Columns of the bar."""
CLEAR: Final = "\r\x1b[K"


class ProgressLine:
    """Shows what was reported; a context manager that takes its line away at the end."""

    def __init__(
        self,
        what: str,
        shown: Callable[[int], str],
        clock: Callable[[], float] = time.monotonic,
        *,
        quiet: bool = False,
    ) -> None:
        self._what = what
        self._text = shown
        self._clock = clock
        self._terminal = can_write_over()
        self._every = EVERY if self._terminal else PLAIN
        self._quiet = quiet
        began = clock()
        self._next = began + self._every
        self._samples: deque[tuple[float, int]] = deque([(began, 0)], maxlen=WINDOW)
        self._visible = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def clear(self) -> None:
        """Take the line away, for something else that is written."""
        if self._visible:
            self._write(CLEAR)
            self._visible = False

    def report(self, done: int, total: int | None) -> None:
        """Record how much is done; shown at most five times a second. None is a total that is not known."""
        now = self._clock()
        if self._quiet or now < self._next:
            return
        self._next = now + self._every
        self._samples.append((now, done))
        line = self._line(done, total)
        self._write(f"{CLEAR}{line[: terminal_width() - 1]}" if self._terminal else f"sluice: {line}\n")
        self._visible = self._terminal

    def _line(self, done: int, total: int | None) -> str:
        (began, before), (now, _) = self._samples[0], self._samples[-1]
        rate = (done - before) / max(now - began, 1e-3)
        speed = f"{self._text(int(rate))}/s" if rate else ""
        if total is None:
            return "  ".join(filter(None, (self._what, self._text(done), speed)))
        part = min(1.0, done / total) if total else 1.0
        left = f"{clock_text((total - done) / rate)} left" if rate and done < total else ""
        head = f"{self._what} {int(part * 100):3} %"
        figures = "  ".join(filter(None, (f"{self._text(done)} of {self._text(total)}", speed, left)))
        room = min(_BAR, terminal_width() - len(head) - len(figures) - 6) if self._terminal else 0
        return "  ".join(filter(None, (head, bar_text(part, room), figures)))

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def can_write_over() -> bool:
    """Return whether standard error is a terminal that can overwrite a line."""
    return os.isatty(2) and os.environ.get("TERM") != "dumb"


def bar_text(part: float, room: int) -> str:
    """Return a bar of this many columns and its frame; empty if there is not enough room."""
    full = int(part * room)
    return f"[{'#' * full}{'.' * (room - full)}]" if room >= _SHORTEST else ""


def terminal_width() -> int:
    """Return the columns of the terminal that standard error is, at least 20."""
    try:
        columns = os.get_terminal_size(2).columns
    except OSError:  # not a terminal any more
        columns = 0
    return max(20, columns or 80)  # nobody may have set the width
