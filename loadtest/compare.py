"""Two reports side by side, with a verdict that knows what noise is.

Each report has rounds; each round has a figure. Whether two sets of rounds differ is asked of the Mann-Whitney
test (Annals of Mathematical Statistics 18, 1947) in its exact form: the share of all ways to deal the figures
out to the two sides that look at least as one-sided. It says nothing about how large a difference is: that is the
ratio of the medians, and it is none below ``--tolerance``. Many figures are many chances to be wrong: Holm's
correction keeps the chance that any of them is called different without reason at 5 %.
"""

import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from loadtest.documents import read_report
from loadtest.significance import fewest_rounds, holm, likely, ranked
from loadtest.verdict import Status

__all__ = ["HELP", "Comparison", "add_options", "compared", "different_options", "run"]

HELP = "compare two JSON reports, respecting the noise between their rounds"
_CERTAIN = 0.05
_PARTS = ("p50", "p90", "p99", "max")
_FEWEST = 4
_LOAD = 0.99
_CAPACITY = 0.85
_STATUSES = tuple(Status)
_TROUBLES = (
    "unanswered",
    "dropped",
    "misrouted",
    "altered",
    "missing",
    "failed",
    "changes_missed",
    "not_recovered",
    "republished",
    "epochs_changed",
)
_NO_LOAD = frozenset(
    {"ca", "cert", "key", "insecure", "sni", "server_pid", "rounds", "abort_on_fail", "low", "high", "start_at"}
)
"""Options that do not change what is asked of a server."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of both reports; medians over rounds."""

    figure: str
    before: float | None
    after: float | None
    chance: float | None
    """How likely rounds as different as these are when nothing has changed; None when there are too few."""
    verdict: str


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("before", help="JSON report of the first run")
    parser.add_argument("after", help="JSON report of the second run")
    parser.add_argument(
        "--tolerance", type=float, default=0.05, help="share below which nothing is a difference (default 0.05)"
    )
    parser.add_argument(
        "--figure", action="append", default=[],
        help="repeatable: compare these latencies alone, like delivery_p99_ms; fewer rounds tell them apart",
    )  # fmt: skip


def run(options: Namespace) -> int:
    """Print the comparison; return 0, 2 when a file is not a report, or 99 when something got worse."""
    try:
        before, after = (read_report(path) for path in (options.before, options.after))
        rows = compared(before, after, options.tolerance, options.figure)
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    lines = [f"{'figure':28}{'before':>12}{'after':>12}{'ratio':>8}{'chance':>8}  verdict", *map(_line, rows)]
    lines += [f"careful: {text}" for text in different_options(before, after)]
    lines += _too_few_rounds(rows, before, after)
    worse = [row.figure for row in rows if row.verdict.startswith("worse")]
    lines.append(f"verdict: worse: {', '.join(worse)}" if worse else "verdict: not worse")
    print("\n".join(lines))  # noqa: T201
    return 99 if worse else 0


def _line(row: Comparison) -> str:
    def cell(value: float | None) -> str:
        return "-" if value is None else f"{value:,.2f}"

    ratio = f"{row.after / row.before:.2f}" if row.before and row.after is not None else "-"
    chance = "-" if row.chance is None else f"{row.chance:.3f}"
    return f"{row.figure:28}{cell(row.before):>12}{cell(row.after):>12}{ratio:>8}{chance:>8}  {row.verdict}"


def _too_few_rounds(rows: list[Comparison], before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    tested = sum(row.chance is not None for row in rows)
    rounds = min(len(one.get("rounds", ())) for one in (before, after))
    needed = fewest_rounds(tested, _CERTAIN) if tested else 0
    if tested and rounds < needed:
        yield f"{rounds} rounds are few for {tested} figures: --rounds {needed} to be certain of any, or --figure"


def compared(
    before: dict[str, Any], after: dict[str, Any], tolerance: float, figures: list[str] | None = None
) -> list[Comparison]:
    """Compare every percentile of every latency, what went wrong, and every check; raises ValueError."""
    rows = _latencies(before, after, tolerance, figures or [])
    return [*rows, *_load(before, after), *_errors(before, after), *_checks(before, after)]


def _latencies(
    before: dict[str, Any], after: dict[str, Any], tolerance: float, figures: list[str]
) -> list[Comparison]:
    mine, theirs = before["latency_ms"], after["latency_ms"]
    named = {f"{name}_{part}_ms": (name, part) for name in mine for part in _PARTS}
    unknown = [figure for figure in figures if figure not in named]
    if unknown:
        raise ValueError(f"--figure: {unknown[0]} is not in the first report; it has {', '.join(named)}")
    wanted = {figure: named[figure] for figure in figures} if figures else named
    both = {figure: (name, part) for figure, (name, part) in wanted.items() if name in theirs}
    gone = dict.fromkeys(name for name, _ in wanted.values() if name not in theirs)
    pairs = {figure: (_values(before, *place), _values(after, *place)) for figure, place in both.items()}
    tested = {figure: pair for figure, pair in pairs.items() if min(map(len, pair)) >= _FEWEST}
    chances = holm([likely(*pair) for pair in tested.values()], [ranked(a + b) for a, b in tested.values()])
    corrected = dict(zip(tested, chances, strict=True))
    rows = [_latency(figure, *pair, corrected.get(figure), tolerance) for figure, pair in pairs.items()]
    return rows + [
        Comparison(name, mine[name]["count"], None, None, "worse: not measured any more") for name in gone
    ]


def _latency(
    figure: str, before: list[float], after: list[float], chance: float | None, tolerance: float
) -> Comparison:
    a, b = median(before), median(after)
    if chance is None:
        rounds = min(len(before), len(after))
        return Comparison(figure, a, b, None, f"cannot tell: {rounds} rounds, --rounds {_FEWEST} or more")
    if chance >= _CERTAIN:
        return Comparison(figure, a, b, chance, "no difference beyond the noise")
    if abs(b - a) <= tolerance * a:
        return Comparison(figure, a, b, chance, f"within {tolerance:.0%}")
    return Comparison(figure, a, b, chance, "worse" if b > a else "better")


def _load(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Comparison]:
    """Yield how both runs ended, and what share of their load they made."""
    was, now = before.get("status"), after.get("status")
    if was in _STATUSES and now in _STATUSES and _STATUSES.index(now) > _STATUSES.index(was):
        yield Comparison("status", None, None, None, f"worse: {now}")
    yield from _capacity(*(one.get("counters", {}).get("capacity") for one in (before, after)))
    for name, over in (("made", "intended"), ("clients_ready", "clients_intended"), ("held", "connected")):
        shares = [one.get("counters", {}).get(name, 0) / one["counters"][over]
                  for one in (before, after) if one.get("counters", {}).get(over)]  # fmt: skip
        if len(shares) == 2:
            verdict = (
                "worse" if shares[1] < shares[0] * _LOAD else "better" if shares[0] < shares[1] * _LOAD else "same"
            )
            yield Comparison(f"{name}/{over}", shares[0], shares[1], None, verdict)


def _capacity(was: float | None, now: float | None) -> Iterator[Comparison]:
    """Yield what a search has found: it is known only to its own precision."""
    if was is not None and now is not None:
        worse = "worse" if now < was * _CAPACITY else "better" if was < now * _CAPACITY else "same"
        yield Comparison("capacity", was, now, None, worse)


def _errors(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Comparison]:
    """Yield the errors that are new, or more; one that there was before and is rarer is better."""
    was, now = before.get("errors", {}), after.get("errors", {})
    for text in {**was, **now}:
        a, b = was.get(text, 0), now.get(text, 0)
        yield Comparison(f"error: {text}"[:60], a, b, None, _trouble(a, b) if a else "worse: a new error")
    for name in _TROUBLES:
        a, b = (one.get("counters", {}).get(name, 0) for one in (before, after))
        if a or b:
            yield Comparison(name, a, b, None, _trouble(a, b) if a else "worse")


def _trouble(was: float, now: float) -> str:
    beyond_chance = abs(now - was) > 2 * math.sqrt(was + now)
    return ("worse" if now > was else "better") if beyond_chance else "same"


def _checks(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Comparison]:
    for name, count in before["checks"].items():
        now = after["checks"].get(name, 0)
        # A lost message is never noise.
        verdict = "same" if now == count else "worse" if now > count else "better"
        yield Comparison(name, count, now, None, verdict)


def different_options(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Yield what differs in how the two loads were made."""
    if before.get("scenario") != after.get("scenario"):
        yield f"these are different scenarios: {before.get('scenario')} and {after.get('scenario')}"
    was, now = before.get("options", {}), after.get("options", {})
    for name in sorted((was.keys() | now.keys()) - _NO_LOAD - {"scenario"}):
        if was.get(name) != now.get(name):
            yield f"--{name.replace('_', '-')} was {was.get(name)!s} and is {now.get(name)!s}"


def _values(report: dict[str, Any], name: str, part: str) -> list[float]:
    rounds = [one["latency_ms"][name][part] for one in report.get("rounds", ()) if name in one["latency_ms"]]
    return rounds or [report["latency_ms"][name][part]]
