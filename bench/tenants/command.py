"""Tenants: a careful client beside one that wants everything; docs/tenants.md."""

import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.processes import raise_descriptors
from bench.reliability.table import Table, machine
from bench.tenants.rows import BY_NAME, ROWS, Row
from bench.tenants.trial import Figures, Trial, row_seconds
from bench.tenants.verdict import milliseconds

__all__ = ["TABLE", "add_options", "run"]

_PORT: Final = 18900
_REPORTED: Final = 4
"""Answers that the table has of an attacker: the most frequent."""
_TIMED: Final = ("fetch", "publish", "delivery", "watch", "connect")
TABLE: Final = Table(
    "./x bench tenants --write docs/tenants.md",
    ("attack", "rules", "errors", *(f"{name} p99, ms" for name in _TIMED),
     "loop lag, ms", "more memory, MiB", "back, s", "what the attacker was answered", "run"),
    lambda name: list(BY_NAME).index(name.split()[1]),
)  # fmt: skip


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--seconds", type=float, default=60.0, help="of each attack (default 60)")
    parser.add_argument("--only", action="append", choices=list(BY_NAME), help="repeatable")
    parser.add_argument(
        "--repeat", type=int, default=1, metavar="N",
        help="attack N times, and check that memory does not grow from attack to attack (default 1)",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=_PORT, help="this one and the three after it are used")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the rows into the table of this document")


def run(options: Namespace) -> dict[str, Any]:
    """Have each attacker beside the careful client, print what that noticed, and return the figures."""
    where = f"{machine()}, load {os.getloadavg()[0]:.1f} before"
    raise_descriptors()
    # A run that is ended ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # The services have core 0.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    mark = f"{datetime.now(UTC):%Y-%m-%d}, {options.seconds:g} s"
    rows = [row for row in ROWS if options.only is None or row.name in options.only]
    minutes = row_seconds(options.seconds, options.repeat) * len(rows) / 60
    print(f"{len(rows)} attacks, {minutes:.0f} minutes at least", flush=True)
    attacks: dict[str, Any] = {}
    trial = Trial(options.port, options.seconds, options.repeat)
    for number, row in enumerate(rows, start=1):
        print(f"[{number}/{len(rows)}] {row.kind} {row.name}: {row.what}", flush=True)
        try:
            figures = trial.run(row)
        except (OSError, RuntimeError, ValueError) as error:
            # One row that cannot be measured says nothing of the others.
            print(f"     NOT measured: {type(error).__name__}: {error}", flush=True)
            attacks[row.name] = {"checks": {"measured": False}, "why": str(error)}
            continue
        _show(figures)
        attacks[row.name] = {**asdict(figures), "checks": figures.outcome.checks}
        if options.write is not None:
            TABLE.write(options.write, [_cells(row, figures, mark)], where)
    passed = sum(all(one["checks"].values()) for one in attacks.values())
    machines = sum(bool(one.get("verdict", {}).get("machine")) for one in attacks.values())
    print(
        f"{passed} of {len(attacks)} passed; {machines} have a p99 over its bound that is the machine's ({where})"
    )
    return {"machine": where, "seconds": options.seconds, "attacks": attacks}


def _show(figures: Figures) -> None:
    outcome = figures.outcome
    for name, holds in outcome.checks.items():
        if not holds:
            print(f"     NOT {name}")
    for text in figures.verdict.over:
        print(f"     OVER {text}")
    for text in figures.verdict.machine:
        print(f"     the machine's: {text}")
    for name in figures.alone:
        print(f"     {name:8} p99 {_three(figures, name)}")
    print(f"     loop lag {outcome.lag_ms:.0f} ms; memory +{outcome.more_resident_mib:.0f} MiB; back after "
          f"{figures.back} s, all after {outcome.recovered} s")  # fmt: skip
    print(f"     wrong: {dict(figures.wrong)}; alone: {dict(figures.wrong_alone)}")
    print(f"     answered: {_answers(figures)}", flush=True)


def _three(figures: Figures, name: str) -> str:
    """Return a p99 alone, with the attacker, and with the attacker at another service."""
    alone, attacked, control = (
        milliseconds(times[name][1] if name in times else None)
        for times in (figures.alone, figures.attacked, figures.control)
    )
    return f"{alone} → {attacked} ({control})"


def _cells(row: Row, figures: Figures, mark: str) -> list[str]:
    outcome = figures.outcome
    held = sum(outcome.checks.values())
    words = [f"**not: {name}**" for name, holds in outcome.checks.items() if not holds]
    if figures.kept_mib:
        words.append(f"MiB kept after each attack: {', '.join(f'{mib:g}' for mib in figures.kept_mib)}")
    words += [*figures.verdict.over, *(f"the machine's: {text}" for text in figures.verdict.machine)]
    back = None if None in (figures.back, outcome.recovered) else max(figures.back or 0, outcome.recovered or 0)
    return [
        f"{row.kind} {row.name}", "; ".join([f"{held} of {len(outcome.checks)}", *words]),
        str(sum(figures.wrong.values())), *(_three(figures, name) for name in _TIMED),
        f"{outcome.lag_ms:.0f}", f"{outcome.more_resident_mib:.0f}",
        "no" if back is None else f"{back:.0f}",
        _answers(figures), mark,
    ]  # fmt: skip


def _answers(figures: Figures) -> str:
    """Return what the attacker was answered most often."""
    most = sorted(figures.answered.items(), key=lambda pair: -pair[1])[:_REPORTED]
    return "; ".join(f"{text}: {count:,.0f}" for text, count in most)
