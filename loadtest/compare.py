"""Two reports side by side, with a verdict that knows what noise is.

Each report has rounds; each round has a figure. Whether two sets of rounds differ is asked of the Mann-Whitney
test (Annals of Mathematical Statistics 18, 1947) in its exact form: the share of all ways to deal the figures
out to the two sides that look at least as one-sided. It needs four rounds a side to say anything at 5 %, and it
says nothing about how large a difference is: that is the ratio of the medians, and it is none
below ``--tolerance``.
"""

import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import orjson

__all__ = ["HELP", "Comparison", "add_options", "compared", "likely", "run"]

HELP = "compare two JSON reports, respecting the noise between their rounds"
_CERTAIN = 0.05
_WAYS = 200_000
_PARTS = ("p50", "p90", "p99", "max")
_FEWEST = 4


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of both reports; medians over rounds."""

    figure: str
    before: float
    after: float
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


def run(options: Namespace) -> int:
    """Print the comparison; return 0, 2 when a file is no report, or 99 when something got worse."""
    try:
        before, after = (_read(path) for path in (options.before, options.after))
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    rows = compared(before, after, options.tolerance)
    lines = [f"{'figure':24}{'before':>12}{'after':>12}{'ratio':>8}{'chance':>8}  verdict"]
    for row in rows:
        ratio = f"{row.after / row.before:.2f}" if row.before else "-"
        chance = "-" if row.chance is None else f"{row.chance:.3f}"
        lines.append(f"{row.figure:24}{row.before:>12,.2f}{row.after:>12,.2f}{ratio:>8}{chance:>8}  {row.verdict}")
    if before.get("scenario") != after.get("scenario"):
        lines.append(
            f"careful: these are different scenarios: {before.get('scenario')} and {after.get('scenario')}"
        )
    print("\n".join(lines))  # noqa: T201
    return 99 if any(row.verdict == "worse" for row in rows) else 0


def compared(before: dict[str, Any], after: dict[str, Any], tolerance: float) -> list[Comparison]:
    """Compare every percentile of every latency that both have, and every check."""
    rows = []
    for name in before["latency_ms"]:
        rows += [
            _latency(f"{name}_{part}_ms", _values(before, name, part), _values(after, name, part), tolerance)
            for part in (_PARTS if name in after["latency_ms"] else ())
        ]
    for name, count in before["checks"].items():
        now = after["checks"].get(name, 0)
        # A lost message is no noise.
        verdict = "same" if now == count else "worse" if now > count else "better"
        rows.append(Comparison(name, count, now, None, verdict))
    return rows


def _latency(figure: str, before: list[float], after: list[float], tolerance: float) -> Comparison:
    a, b = median(before), median(after)
    if min(len(before), len(after)) < _FEWEST:
        return Comparison(
            figure, a, b, None, f"cannot tell: {min(len(before), len(after))} rounds, --rounds {_FEWEST} or more"
        )
    chance = likely(before, after)
    if chance >= _CERTAIN:
        return Comparison(figure, a, b, chance, "no difference beyond the noise")
    if abs(b - a) <= tolerance * a:
        return Comparison(figure, a, b, chance, f"within {tolerance:.0%}")
    return Comparison(figure, a, b, chance, "worse" if b > a else "better")


def likely(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the two-sided p-value of the exact Mann-Whitney test (the normal approximation for many rounds)."""
    both = sorted([*before, *after])
    rank = {value: (both.index(value) + both.index(value) + both.count(value) + 1) / 2 for value in set(both)}
    ranks = [rank[value] for value in (*before, *after)]
    size, total = len(before), len(ranks)
    mean = size * (total + 1) / 2
    seen = abs(sum(ranks[:size]) - mean)
    if math.comb(total, size) > _WAYS:
        deviation = math.sqrt(size * (total - size) * (total + 1) / 12)
        return math.erfc(max(seen - 0.5, 0.0) / deviation / math.sqrt(2))
    ways = [abs(sum(some) - mean) >= seen - 1e-9 for some in combinations(ranks, size)]
    return sum(ways) / len(ways)


def _values(report: dict[str, Any], name: str, part: str) -> list[float]:
    rounds = [one["latency_ms"][name][part] for one in report.get("rounds", ()) if name in one["latency_ms"]]
    return rounds or [report["latency_ms"][name][part]]


def _read(path: str) -> dict[str, Any]:
    try:
        report: dict[str, Any] = orjson.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(report, dict) or "latency_ms" not in report or "checks" not in report:
        raise ValueError(f"{path}: no report of loadtest (--json FILE writes one)")
    return report
