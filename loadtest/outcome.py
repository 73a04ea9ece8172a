"""What only all workers together know: when a message reached its last reader, who was late, what stood still."""

from collections import Counter
from statistics import fmean
from typing import Any

from loadtest.audience import Arrival
from loadtest.findings import Finding, late_clients, places, stalls
from loadtest.histogram import Histogram
from loadtest.report import RunReport

__all__ = ["settle"]


def settle(report: RunReport, outcomes: list[dict[str, Any]], began: float) -> list[Finding]:
    """Put the outcomes of all workers together: latencies go to the report, troubles are returned.

    An outcome has ``arrivals`` (by topic), ``beats``, ``delays``, ``troubles`` (by client), ``readers`` (by
    topic), ``measured_from``, and whether it had the time to ``settled``.
    """
    readers = Counter[str]()
    for outcome in outcomes:
        readers.update(outcome["readers"])
    arrivals = _merged(outcomes)
    last, spread = Histogram(), Histogram()
    measured_from = max((outcome["measured_from"] for outcome in outcomes), default=0.0)
    for (topic, _), (_, due, first_at, last_at, times) in arrivals.items():
        if times >= readers[topic] and due >= measured_from:
            last.record((last_at - due) * 1000)
            spread.record((last_at - first_at) * 1000)
    for name, histogram in (("last_delivery", last), ("spread", spread)):
        if histogram.count:
            report.latency(name).add(histogram)
    beats = {beat for outcome in outcomes for beat in outcome["beats"]}
    delays: dict[int, list[float]] = {}
    for outcome in outcomes:
        for number, delay in outcome["delays"]:
            delays.setdefault(number, []).append(delay)
    of_clients = [(number, fmean(some)) for number, some in delays.items()]
    _add_troubles(report, outcomes)
    _add_acknowledged(report, len(arrivals), whole=all(outcome["settled"] for outcome in outcomes))
    return [*stalls(arrivals.values(), beats, began), *late_clients(of_clients), *places(report.pop_places())]


def _add_troubles(report: RunReport, outcomes: list[dict[str, Any]]) -> None:
    for outcome in outcomes:
        for check, client, messages in outcome["troubles"]:
            report.troubles[check, client] += messages


def _add_acknowledged(report: RunReport, arrived: int, *, whole: bool) -> None:
    """Count what was acknowledged and came to no reader at all, where a run looks for that."""
    if "acknowledged" in report.counters:
        report.counters["acknowledged"] = report.counters["published"]
        report.counters["missing"] = report.counters["published"] - arrived if whole else 0


def _merged(outcomes: list[dict[str, Any]]) -> dict[tuple[str, int], Arrival]:
    arrivals: dict[tuple[str, int], Arrival] = {}
    for outcome in outcomes:
        for topic, some in outcome["arrivals"].items():
            for one in some:
                arrivals[topic, one[0]] = _joined(arrivals.get((topic, one[0])), one)
    return arrivals


def _joined(one: Arrival | None, other: Arrival) -> Arrival:
    if one is None:
        return other
    return one[0], one[1], min(one[2], other[2]), max(one[3], other[3]), one[4] + other[4]
