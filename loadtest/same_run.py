"""Whether reports are of one run: the same scenario, at the same time, by clocks that agree."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import combinations
from typing import Any

__all__ = ["check_same_run", "timeline"]

_ENOUGH = 0.9
"""Share of the longest run in which all of them have to run, or it is said."""
_AGREE = 0.5
"""Seconds by which clocks may differ without being mentioned."""
JsonObject = dict[str, Any]


def check_same_run(names: Sequence[str], reports: Sequence[JsonObject]) -> list[str]:
    """Return what has to be known to read reports as one; raises ValueError for what are not parts of one run."""
    for (one, first), (other, second) in combinations(list(zip(names, reports, strict=True)), 2):
        if first == second and first.get("load"):
            raise ValueError(f"{one} and {other} are the same report")
        if first["scenario"] != second["scenario"]:
            raise ValueError(f"{one} is of {first['scenario']} and {other} of {second['scenario']}")
    loads = [report.get("load") or {} for report in reports]
    unknown = [name for name, load in zip(names, loads, strict=True) if not load.get("ended")]
    if unknown:
        return [
            f"{unknown[0]} does not say when its load was made, so nobody knows whether it was at the same time"
        ]
    notes = list(_clocks(names, loads))
    spans = [_span(load) for load in loads]
    latest, earliest = max(spans), min(spans, key=lambda span: span[1])
    together = earliest[1] - latest[0]
    if together <= 0:
        done, late = names[spans.index(earliest)], names[spans.index(latest)]
        raise ValueError(
            f"{done} had ended {-together:,.1f} s before {late} began: they were not made at the same time "
            "(--start-at TIME has several machines begin together)"
        )
    longest = max(end - begin for begin, end in spans)
    if together < _ENOUGH * longest:
        notes.append(f"all of them ran together for {together:,.1f} of {longest:,.1f} s only")
    return notes


def _ahead(load: JsonObject) -> float:
    """Return by how much a machine's clock is certainly ahead of the server's, negative where it is behind."""
    low, high = load.get("ahead_of_server_s") or (0.0, 0.0)
    return float(min(max(0.0, low), high)) if low > 0 or high < 0 else 0.0


def _span(load: JsonObject) -> tuple[float, float]:
    begin, end = (datetime.fromisoformat(load[name]).timestamp() for name in ("began", "ended"))
    return begin - _ahead(load), end - _ahead(load)


def _clocks(names: Sequence[str], loads: Sequence[JsonObject]) -> Iterator[str]:
    for name, load in zip(names, loads, strict=True):
        if abs(load.get("clock_step_s") or 0.0) > _AGREE:
            yield f"{name}: the clock was set by {load['clock_step_s']:+,.1f} s during the run"
    for (one, first), (other, second) in combinations(zip(names, loads, strict=True), 2):
        known, others = first.get("ahead_of_server_s"), second.get("ahead_of_server_s")
        least = max(known[0] - others[1], others[0] - known[1]) if known and others else 0.0
        if least > _AGREE:
            yield f"the clocks of {one} and {other} differ by {least:,.1f} s at least; the server's counts"


def timeline(reports: Sequence[JsonObject]) -> list[dict[str, float]]:
    """Return the seconds of all reports, counted from the begin of the load.

    Counts are added up. Percentiles of a second cannot be put together exactly: the largest stands for all of them.
    """
    seconds: dict[int, dict[str, float]] = {}
    for report in reports:
        begun = float((report.get("load") or {}).get("at_s") or 0.0)
        added = {*report["counters"], "errors", "clients"}
        for moment in report["timeline"]:
            whole = seconds.setdefault(round(moment["at_s"] - begun), {})
            for name, value in moment.items():
                whole[name] = whole.get(name, 0.0) + value if name in added else max(value, whole.get(name, value))
    first = min(seconds, default=0)
    return [{**moment, "at_s": float(second - first)} for second, moment in sorted(seconds.items())]
