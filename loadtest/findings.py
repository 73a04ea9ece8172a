"""What a run was like beyond its percentiles: where messages were lost, when nothing moved, who was late."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, quantiles

from loadtest.audience import BEATS, Arrival

__all__ = ["Finding", "late_clients", "places", "stalls"]

_STALL = 0.5
"""Seconds without any delivery, while some were due, that count as a stall."""
_LATE = 0.02
_FEW = 0.1
_LINES = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One trouble with its size and its place: ``text`` says both to a person."""

    kind: str
    text: str
    size: float
    """Messages, or milliseconds."""
    clients: int


def places(found: Counter[tuple[str, str, int, int]]) -> list[Finding]:
    """Return the places of (kind, topic, first, last): readers, the largest first, at most twenty of a kind."""
    findings: list[Finding] = []
    for kind in dict.fromkeys(kind for kind, *_ in found):
        mine = sorted(
            ((place, readers) for place, readers in found.items() if place[0] == kind),
            key=lambda item: (-(item[0][3] - item[0][2] + 1) * item[1], item[0][2]),
        )
        findings += [_place(place, readers) for place, readers in mine[:_LINES]]
        if len(mine) > _LINES:
            findings.append(Finding(kind, f"{kind} at {len(mine) - _LINES:,} more places", len(mine) - _LINES, 0))
    return findings


def _place(place: tuple[str, str, int, int], readers: int) -> Finding:
    kind, topic, first, last = place
    what = f"message {first:,}" if first == last else f"messages {first:,} to {last:,}"
    return Finding(kind, f"{kind}: {what} of {topic}, for {readers:,} clients", last - first + 1, readers)


def stalls(arrivals: Iterable[Arrival], beats: Iterable[int], began: float) -> list[Finding]:
    """Return the times when nothing came to anybody while a message was due: half a second each, or longer.

    ``beats`` are the hundredths of a second of the monotonic clock in which something came. A silence
    between two of them is a stall for as long as a message was due that came, to its last reader, after it.
    """
    spans = sorted((due, last) for _, due, _, last, _ in arrivals)
    found: list[Finding] = []
    for before, after in pairwise(sorted(beats)):
        quiet, loud = (before + 1) / BEATS, after / BEATS
        if loud - quiet < _STALL:
            continue
        waiting = [due for due, last in spans if due < loud <= last + 1 / BEATS]
        begin = max(quiet, min(waiting, default=loud))
        if loud - begin >= _STALL:
            ms = (loud - begin) * 1000
            when = f"from second {begin - began:.1f} on"
            text = f"stalled: nothing came for {ms:,.0f} ms {when}, while messages were due"
            found.append(Finding("stalled", text, ms, 0))
    return found


def late_clients(delays: Sequence[tuple[int, float]]) -> list[Finding]:
    """Return the clients whose mean delay (seconds) is far outside of what the others have.

    Far outside is Tukey's outer fence: beyond the upper quartile by three times the distance of the quartiles,
    and 20 ms beyond the median. A fan-out that reaches one client after another is not a finding: its
    delays are spread evenly. Nor is it one when more than a tenth are late: then that is the distribution.
    """
    if len(delays) < 10:
        return []
    values = [delay for _, delay in delays]
    low, _, high = quantiles(values, n=4)
    usual = median(values)
    fence = max(high + 3 * (high - low), usual + _LATE)
    late = sorted(number for number, delay in delays if delay > fence)
    if not late or len(late) > _FEW * len(delays):
        return []
    ms = (median(delay for _, delay in delays if delay > fence) - usual) * 1000
    who = _ranges(late)
    text = f"late: {len(late):,} of {len(delays):,} clients have everything {ms:,.0f} ms after the others ({who})"
    return [Finding("late", text, ms, len(late))]


def _ranges(numbers: Sequence[int]) -> str:
    """Return ``990 to 999, 1003`` for sorted numbers, the first few."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    parts = [f"{a:,}" if a == b else f"{a:,} to {b:,}" for a, b in runs[:5]]
    return "numbers " + ", ".join(parts) + (" and more" if len(runs) > 5 else "")
