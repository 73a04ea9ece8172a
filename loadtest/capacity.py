"""How much a server carries: steps up until a threshold breaks, then a search between the last two."""

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

from loadtest.live import Display
from loadtest.masking import Secrets
from loadtest.report import RunReport
from loadtest.run import Run
from loadtest.verdict import COULD_NOT_RUN, FAILED, INTERRUPTED, PASSED, Verdict

__all__ = ["HELP", "Search", "add_options", "run", "validate"]

HELP = "find the largest --rate or --clients of a scenario at which every --threshold holds"
_OF = ("broadcast", "echo", "fetch", "connect", "churn", "idle")
_MOST_RUNS = 40


@dataclass(slots=True)
class Search:
    """The search by itself: yields loads to try, and learns which held.

    Doubles from ``low``; between the largest that held and the smallest that broke it halves the distance (on a
    scale of ratios) until they are within ``precision`` of each other. ``best`` is 0 when not even ``low`` held.
    """

    low: float
    high: float
    precision: float
    whole: bool = False
    best: float = 0.0
    broken: float = math.inf

    def next(self) -> float | None:
        """Return the next load to try, or None when the answer is known well enough."""
        if self.broken == math.inf:
            load = self.low if not self.best else min(self.best * 2, self.high)
            return None if self.best >= self.high else load
        if not self.best or self.broken / self.best <= 1 + self.precision:
            return None
        between = math.sqrt(self.best * self.broken)
        if self.whole:
            between = float(round(between))
        return between if self.best < between < self.broken else None

    def record(self, load: float, held: bool) -> None:
        """Say how a load came out."""
        if held:
            self.best = max(self.best, load)
        else:
            self.broken = min(self.broken, load)


def add_options(parser: ArgumentParser) -> None:
    """Declare the options; those of the scenario may follow."""
    parser.epilog = (
        "All options of the scenario may follow: loadtest capacity broadcast --from 10 --clients 5000 ..."
    )
    parser.add_argument("of", choices=_OF, help="the scenario")
    parser.add_argument("--vary", choices=("rate", "clients"), default="rate", help="what grows (default rate)")
    parser.add_argument("--from", dest="low", type=float, default=10.0, help="the first load (default 10)")
    parser.add_argument(
        "--to", dest="high", type=float, default=100_000.0, help="no more than this (default 100000)"
    )
    parser.add_argument("--precision", type=float, default=0.1, help="stop within this share (default 0.1)")


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    wrong = [] if options.threshold else ["--threshold: needed: it says what 'holds' means"]
    if not 0 < options.low <= options.high:
        wrong.append("--from: above 0 and not above --to")
    if options.precision < 0.01:
        wrong.append("--precision: not below 0.01")
    if options.rounds != 1:
        wrong.append("--rounds: has no place in a search; a load that breaks is tried twice anyway")
    return wrong


async def run(options: Namespace, scenario: ModuleType, report: RunReport, display: Display) -> Verdict:
    """Search, and fill the report: a line for each load, the figures of the largest that holds, ``capacity``."""
    interrupted = False
    search = Search(options.low, options.high, options.precision, options.vary == "clients")
    for load in _loads(search):
        one = await _try(options, scenario, load, display)
        held, interrupted = one.verdict.passed, one.verdict.status is INTERRUPTED
        if one.verdict.status is COULD_NOT_RUN and not one.counters.get("connected"):
            for text in one.notes:
                report.note(text)
            report.verdict, report.counters = one.verdict, one.counters
            return report.verdict
        if interrupted:
            report.note("interrupted: the search is not at its end")
            break
        search.record(load, held)
        report.loads.append({"load": load, "holds": float(held), **_shown(one)})
        report.note(f"{options.vary} {load:g}: {'holds' if held else _why(one)}")
        if held:
            report.latencies, report.counters = one.latencies, one.counters
            report.checks, report.gauges = one.checks, one.gauges
            report.judgements, report.timeline = one.judgements, one.timeline
    report.elapsed = report.since_began()
    report.counters = {"capacity": search.best, **report.counters}
    report.note(
        f"the largest {options.vary} that holds: {search.best:g}"
        if search.best
        else "not even the first load holds"
    )
    report.verdict = _verdict(search, interrupted)
    return report.verdict


def _verdict(search: Search, interrupted: bool) -> Verdict:
    if interrupted:
        return Verdict(INTERRUPTED, ("the search was stopped before its end",))
    return Verdict(PASSED) if search.best else Verdict(FAILED, (f"not even {search.low:g} holds",))


def _loads(search: Search) -> Iterator[float]:
    for _ in range(_MOST_RUNS):
        load = search.next()
        if load is None:
            return
        yield load


async def _try(options: Namespace, scenario: ModuleType, load: float, display: Display) -> RunReport:
    """Run one load; one that breaks gets a second chance, because machines have bad moments."""
    values = (
        {**vars(options), "clients": round(load)}
        if options.vary == "clients"
        else {**vars(options), "rate": f"{load:g}"}
    )
    report = RunReport(options.scenario, "")
    for attempt in range(2):
        report = RunReport(f"{options.of} at {options.vary} {load:g}", "", secrets=Secrets(options))
        display.show(report, "" if attempt == 0 else "again")
        verdict = await Run(Namespace(**values), scenario, report, display).run()
        if verdict.status in (PASSED, INTERRUPTED):
            break
    return report


def _why(report: RunReport) -> str:
    return "breaks " + "; ".join(report.verdict.reasons)


def _shown(report: RunReport) -> dict[str, float]:
    shown: dict[str, float] = {
        one.threshold: one.value for one in report.judgements if one.value is not None and not one.implied
    }
    for name in ("server_cpu_percent", "own_cpu_percent"):
        if name in report.gauges:
            shown[name] = report.gauges[name]
    return shown
