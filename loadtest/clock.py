"""The clock on the wall: when a run is to begin, and how far this machine's is from that of the server."""

import math
from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic, time

__all__ = ["ServerClock", "beginning", "moment_text", "parse_moment", "settle_start", "wall_minus_monotonic"]

_EPOCHS = range(1_000_000_000, 10_000_000_000)
"""Seconds since 1970 that somebody may mean."""


def parse_moment(text: str) -> float:
    """Return the seconds since 1970 of a number or a time of ISO 8601 with its zone; raises ValueError."""
    try:
        seconds = float(text)
    except ValueError:
        return _iso(text)
    if math.isfinite(seconds) and int(seconds) in _EPOCHS:
        return seconds
    raise ValueError(f"--start-at: {text!r} is not a number of seconds since 1970")


def _iso(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--start-at: {text!r} is not like 2026-11-27T09:30:00Z, or seconds since 1970") from None
    if found.tzinfo is None:
        raise ValueError(f"--start-at: {text!r} has no zone, and machines may be in several; write {text}Z for UTC")
    return found.timestamp()


def settle_start(options: Namespace) -> list[str]:
    """Settle ``options.start_at`` as seconds since 1970; return what is wrong with it."""
    text, options.start_at = options.start_at, 0.0
    if not text:
        return []
    try:
        options.start_at = parse_moment(text)
    except ValueError as error:
        return [str(error)]
    late = time() - options.start_at
    if late > 0:
        return [f"--start-at: that was {late:,.1f} s ago by the clock of this machine"]
    if options.rounds != 1 or options.scenario == "capacity":
        return ["--start-at: has no place where several runs follow each other; they would drift apart"]
    return []


def beginning(start_at: float, soonest: float) -> float:
    """Return the moment of the monotonic clock at which a load begins."""
    return monotonic() + start_at - time() if start_at else soonest


def moment_text(seconds: float) -> str:
    """Return a moment in the format of reports."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def wall_minus_monotonic() -> float:
    """Return what turns the monotonic clock into the one on the wall; it changes when somebody sets the latter."""
    return time() - monotonic()


class ServerClock:
    """How far the clock of this machine is ahead of the server's, by the ``Date`` of its answers.

    A date has whole seconds, so one answer says little; many, asked for at different moments, close in on it.
    """

    def __init__(self, now: Callable[[], float] = time) -> None:
        self.now = now
        self._low, self._high = -math.inf, math.inf

    def observe(self, date: str | None, asked: float) -> None:
        """Take the date of an answer that was asked for at ``asked`` and has come now."""
        try:
            at = parsedate_to_datetime(date or "").timestamp()
        except (ValueError, TypeError, OverflowError):
            return
        # When the server wrote it, its clock was from ``at`` on, and below the next second.
        self._low = max(self._low, asked - at - 1)
        self._high = min(self._high, self.now() - at)

    @property
    def ahead(self) -> tuple[float, float] | None:
        """The least and the most seconds; None when it is not known, or one of the clocks was set meanwhile."""
        known = math.isfinite(self._low) and self._low <= self._high
        return (round(self._low, 3), round(self._high, 3)) if known else None
