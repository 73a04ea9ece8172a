"""How far a run is, on standard error: a bar on a terminal, a line now and then elsewhere."""

import asyncio
import time
from typing import TextIO

__all__ = ["Progress"]

_EVERY = 0.2
_PLAIN = 10.0
_WIDTH = 24


class Progress:
    """Counts what became of each URL; ``stream`` None shows nothing."""

    def __init__(self, total: int, stream: TextIO | None) -> None:
        self.total = total
        self.ok = 0
        self.failed = 0
        self.skipped = 0
        self.bytes = 0
        self._stream = stream
        self._bar = stream is not None and stream.isatty()
        self._began = time.monotonic()

    @property
    def done(self) -> int:
        """How many have their end."""
        return self.ok + self.failed + self.skipped

    async def run(self) -> None:
        """Show it until cancelled."""
        while self._stream is not None:
            await asyncio.sleep(_EVERY if self._bar else _PLAIN)
            self._show("\r\x1b[K" + self.line() if self._bar else self.line() + "\n")

    def line(self) -> str:
        """Return the figures of now, within 80 columns."""
        passed = max(time.monotonic() - self._began, 1e-3)
        fetched = self.ok + self.failed
        rate = fetched / passed
        part = self.done / self.total if self.total else 1.0
        full = round(part * _WIDTH)
        left = f"{_clock((self.total - self.done) / rate)} left" if fetched else ""
        bad = f", {self.failed:,} failed" if self.failed else ""
        return f"[{'#' * full}{'.' * (_WIDTH - full)}] {self.done:,}/{self.total:,} {rate:,.0f}/s{bad} {left}"[:79]

    def end(self, *, interrupted: bool) -> None:
        """Show the last line."""
        passed = time.monotonic() - self._began
        skipped = f", {self.skipped:,} there already" if self.skipped else ""
        text = (
            f"{self.ok:,} fetched, {self.failed:,} failed{skipped}; {self.bytes / 2**20:,.1f} MiB in {passed:.1f} s"
        )
        if interrupted:
            text += f"; interrupted with {self.total - self.done:,} left"
        self._show(("\r\x1b[K" if self._bar else "") + text + "\n")

    def _show(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()


def _clock(seconds: float) -> str:
    whole = int(min(seconds, 359_999))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
