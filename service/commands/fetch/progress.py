"""How far a run is, on standard error: a bar on a terminal, a line now and then elsewhere, a summary at the end."""

import time
from collections import deque

from service.commands.fetch.output import OutputWriter
from service.commands.fetch.tally import Tally
from service.commands.progress_line import CLEAR, EVERY, PLAIN, WINDOW, bar_text, terminal_width
from service.commands.units import clock_text, size_text
from service.runtime.timer import Periodic

__all__ = ["ProgressDisplay"]

_LONGEST = 40
"""Columns of the bar."""


class ProgressDisplay:
    """Shows a tally; ``output`` None shows nothing. ``bar`` is for terminals."""

    def __init__(self, tally: Tally, output: OutputWriter | None, *, bar: bool) -> None:
        self._tally = tally
        self._output = output
        self._bar = bar
        self._room = _LONGEST if bar else 0
        self._began = time.monotonic()
        self._samples: deque[tuple[float, int]] = deque([(self._began, 0)], maxlen=WINDOW)

    def start(self) -> Periodic:
        """Show it now and then until the timer that is returned is stopped."""
        timer = Periodic("progress", EVERY if self._bar else PLAIN, self._update)
        if self._output is not None:
            timer.start()
        return timer

    def _update(self) -> float:
        # One that is not taken yet is enough: a terminal that was stopped gets no backlog.
        if self._output is not None and not self._output.waiting:
            line = self.line(terminal_width() - 1 if self._bar else 200)
            self._show(f"\r{line}\x1b[K" if self._bar else line + "\n")
        return EVERY if self._bar else PLAIN

    def line(self, width: int) -> str:
        """Return the figures of now."""
        tally = self._tally
        fetched = tally.answered + tally.failed
        now = time.monotonic()
        self._samples.append((now, fetched))
        began, before = self._samples[0]
        rate = (fetched - before) / max(now - began, 1e-3)
        part = tally.done / tally.total if tally.total else 1.0
        left = f"{clock_text((tally.total - tally.done) / rate)} left" if rate else ""
        refused = f"{tally.refused:,} HTTP errors" if tally.refused else ""
        failed = f"{tally.failed:,} failed" if tally.failed else ""
        done = f"{tally.done:,}/{tally.total:,}"
        figures = "  ".join(filter(None, (done, f"{rate:,.0f}/s", size_text(tally.bytes), left, failed, refused)))
        # It only ever shrinks, so that it does not tremble with the length of the figures.
        self._room = room = min(self._room, max(0, width - len(figures) - 8))
        bar = bar_text(part, room)
        return f"{int(part * 100):3}% {bar}{' ' if bar else ''}{figures}"[:width]

    @property
    def elapsed_ms(self) -> float:
        """How long the run has taken."""
        return round((time.monotonic() - self._began) * 1000, 1)

    def clear(self) -> None:
        """Take the bar away."""
        if self._bar:
            self._show(CLEAR)

    def print_line(self, text: str) -> None:
        """Show a line that stays."""
        self._show(f"{CLEAR if self._bar else ''}{text}\n")

    def end(self, *, hint: str) -> None:
        """Show the summary; ``hint`` says what can be done about what is missing."""
        tally, passed = self._tally, time.monotonic() - self._began
        skipped = f", {tally.skipped:,} already saved" if tally.skipped else ""
        left = f", {tally.total - tally.done:,} not done" if tally.done < tally.total else ""
        fine = tally.answered - tally.refused
        lines = tally.table(terminal_width() if self._bar else None)
        lines.append(
            f"{fine:,} fetched, {tally.refused:,} HTTP errors, {tally.failed:,} failed{skipped}{left}; "
            f"{size_text(tally.bytes)} in {passed:.1f} s"
        )
        self._show((CLEAR if self._bar else "") + "\n".join(lines) + "\n" + (f"{hint}\n" if hint else ""))

    def _show(self, text: str) -> None:
        if self._output is not None:
            data = text.encode("utf-8", "replace")
            self._output.put([data], len(data))
