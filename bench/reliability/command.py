"""Reliability: each fault of docs/reliability.md against the running service, with a control group of clients."""

import os
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.processes import raise_descriptors
from bench.reliability import crowds, fetching, inputs, looping, model, offenders, pressure, process, readers, soak
from bench.reliability.table import RELIABILITY, machine, row
from bench.reliability.trial import Outcome, Scene, Trial

__all__ = ["TRIALS", "add_options", "run"]

_FAMILIES = (crowds, fetching, inputs, looping, model, offenders, pressure, process, readers, soak)
TRIALS: list[Trial] = sorted((one for family in _FAMILIES for one in family.TRIALS), key=lambda one: one.number)
_BUSY = 0.5
"""Load average at the start from which the figures are marked: they are the machine's as much as ours."""


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full load and time (default 1)")
    parser.add_argument("--only", action="append", choices=[trial.name for trial in TRIALS], help="repeatable")
    parser.add_argument("--port", type=int, default=18800, help="this one and the nine after it are used")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the rows into the table of this document")


def run(options: Namespace) -> dict[str, Any]:
    """Run the trials, print a line for each and the table, and return the figures."""
    load = os.getloadavg()[0]
    where = f"{machine()}, load {load:.1f} before"
    busy = ", **machine busy**" if load > _BUSY else ""
    raise_descriptors()
    # The server has core 0.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    # Attacks stand for other machines: the control group, on the same core, goes first.
    os.sched_setscheduler(0, os.SCHED_IDLE | os.SCHED_RESET_ON_FORK, os.sched_param(0))
    scene = Scene(options.port, options.scale)
    mark = f"{datetime.now(UTC):%Y-%m-%d}, scale {options.scale:g}{busy}"
    outcomes: dict[str, Outcome] = {}
    for trial in TRIALS:
        if options.only is None or trial.name in options.only:
            print(f"  {trial.number:2} {trial.name}: {trial.rule}", flush=True)
            outcomes[trial.name] = outcome = trial.run(scene)
            _show(outcome)
            # At once: a later one may fail, after hours.
            if options.write is not None:
                RELIABILITY.write(options.write, [row(trial, outcome, mark)], where)
    passed = sum(outcome.passed for outcome in outcomes.values())
    print(f"{passed} of {len(outcomes)} passed ({where})")
    return {
        "machine": where,
        "scale": options.scale,
        "trials": {name: asdict(one) for name, one in outcomes.items()},
    }


def _show(outcome: Outcome) -> None:
    print(f"     held: {outcome.load}")
    for name, holds in outcome.checks.items():
        print(f"     {'ok ' if holds else 'NOT'} {name}")
    if outcome.control is not None:
        windows = ", ".join(f"{window.p50:.1f}/{window.p99:.1f}" for window in outcome.control)
        print(f"     control p50/p99 before, during, after: {windows} ms; lost {outcome.lost}; "
              f"memory +{outcome.more_resident_mib:.1f} MiB, kernel +{outcome.more_kernel_mib:.1f} MiB; "
              f"loop lag {outcome.lag_ms:.0f} ms")  # fmt: skip
    for name, value in outcome.figures.items():
        print(f"     {name}: {value}")
    if outcome.stock:
        print(f"     plain aiohttp: {outcome.stock}", flush=True)
