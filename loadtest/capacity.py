"""How much a server carries: steps up until a threshold breaks, then a search between the last two."""

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

from loadtest.live import Display
from loadtest.masking import Secrets
from loadtest.report import Report
from loadtest.run import FAILED_TO_RUN, PASSED, THRESHOLD_FAILED, Run

__all__ = ["HELP", "Search", "add_options", "run", "validate"]

HELP = "find the largest --rate or --clients of a scenario at which every --threshold holds"
_OF = ("broadcast", "echo", "fetch", "connect", "churn", "idle")
_MOST_RUNS = 40


@dataclass(slots=True)
class Search:
    """The search by itself: yields loads to try, and is told which held.

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

    def tell(self, load: float, held: bool) -> None:
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


async def run(options: Namespace, scenario: ModuleType, report: Report, display: Display) -> int:
    """Search, and fill the report: a line for each load, the figures of the largest that holds, ``capacity``."""
    search = Search(options.low, options.high, options.precision, options.vary == "clients")
    for load in _loads(search):
        held, one, code = await _try(options, scenario, load, display)
        if code == FAILED_TO_RUN and not one.counters.get("connected"):
            for text in one.notes:
                report.note(text)
            return FAILED_TO_RUN
        search.tell(load, held)
        report.loads.append({"load": load, "holds": float(held), **_shown(one)})
        report.note(f"{options.vary} {load:g}: {'holds' if held else _why(one)}")
        if held:
            report.latencies, report.counters = one.latencies, one.counters
            report.checks, report.gauges = one.checks, one.gauges
            report.verdicts, report.timeline = one.verdicts, one.timeline
        if any("interrupted" in text for text in one.notes):
            report.note("interrupted: the search is not at its end")
            break
    report.elapsed = report.since_began()
    report.counters = {"capacity": search.best, **report.counters}
    report.note(
        f"the largest {options.vary} that holds: {search.best:g}"
        if search.best
        else "not even the first load holds"
    )
    return PASSED if search.best else THRESHOLD_FAILED


def _loads(search: Search) -> Iterator[float]:
    for _ in range(_MOST_RUNS):
        load = search.next()
        if load is None:
            return
        yield load


async def _try(options: Namespace, scenario: ModuleType, load: float, display: Display) -> tuple[bool, Report, int]:
    """Run one load; one that breaks gets a second chance, because machines have bad moments."""
    values = (
        {**vars(options), "clients": round(load)}
        if options.vary == "clients"
        else {**vars(options), "rate": f"{load:g}"}
    )
    report, code = Report(options.scenario, ""), FAILED_TO_RUN
    for attempt in range(2):
        report = Report(f"{options.of} at {options.vary} {load:g}", "", secrets=Secrets(options))
        display.show(report, "" if attempt == 0 else "again")
        one = Run(Namespace(**values), scenario, report, display)
        code = await one.run()
        if code == PASSED or one.interrupted:
            break
    return code == PASSED, report, code


def _why(report: Report) -> str:
    broken = [f"{verdict.threshold} ({verdict.value})" for verdict in report.verdicts if not verdict.passed]
    return "breaks " + (", ".join(broken) or "; ".join(report.notes) or "it could not run")


def _shown(report: Report) -> dict[str, float]:
    shown: dict[str, float] = {
        verdict.threshold: verdict.value for verdict in report.verdicts if verdict.value is not None
    }
    for name in ("server_cpu_percent", "own_cpu_percent"):
        if name in report.gauges:
            shown[name] = report.gauges[name]
    return shown
