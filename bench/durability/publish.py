"""Publishes acknowledged: the rate, the time to the answer, the loop's delay and the CPU of a message."""

import asyncio
import statistics
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.delays import delays, more, percentile
from bench.durability.figure import FULL, MEMORY, NORMAL, Figure, Kind, data_folder
from bench.durability.load import Load, Report
from bench.processes import Child, settle

__all__ = ["add_options", "run"]

_RATE: Final = 20_000.0
_SIZE: Final = 200
_TOPICS: Final = 1000
_RING: Final = 100
"""Messages that a topic keeps: rings are full before the first round, so that each message has another one go."""
_LATER: Final = 3.0
"""Milliseconds that the p99 of the loop's delay may be greater than without a data directory."""
_DEARER: Final = 5.0
"""Microseconds of CPU that a message may cost more."""


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--rate", type=float, default=_RATE, help="publishes a second (default 20,000)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round of publishes")


@dataclass
class _Entrant:
    kind: Kind
    child: Child
    port: int
    reports: list[Report] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    late: dict[float, float] = field(default_factory=dict)

    def lag_ms(self, share: float) -> float:
        """Return how late the loop was at most in this share of the samples."""
        return percentile(self.late, share) * 1000


def run(options: Namespace) -> list[Figure]:
    """Measure by turns; return the figures."""
    entrants: list[_Entrant] = []
    with data_folder() as folder:
        try:
            for number, kind in enumerate((MEMORY, FULL, NORMAL)):
                entrants.append(_enter(kind, options.port + number, folder))
            for one in entrants:
                _publish(one, options.rate, 1.5 * _RING * _TOPICS / options.rate)
            for number in range(options.rounds):
                for one in entrants[number % 3 :] + entrants[: number % 3]:
                    _round(one, options)
                print(f"  publish: round {number + 1} of {options.rounds}", file=sys.stderr)
            return _figures(*entrants, rate=options.rate)
        finally:
            for one in entrants:
                one.child.stop(30)


def _enter(kind: Kind, port: int, folder: Path) -> _Entrant:
    limits = ("--client-rate", "1e9", "--client-bytes", "1000000000", "--ring-messages", str(_RING))
    return _Entrant(kind, kind.start(port, folder, *limits, module="bench.peers.looking"), port)


def _publish(one: _Entrant, rate: float, seconds: float) -> Report:
    async def publish() -> Report:
        load = await Load.connect(one.port, topics=_TOPICS, size=_SIZE)
        try:
            return await load.steady(rate, seconds)
        finally:
            load.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(publish())


def _round(one: _Entrant, options: Namespace) -> None:
    settle(one.child)
    cpu, late = one.child.cpu(), delays(one.port)
    report = _publish(one, options.rate, options.seconds)
    more(one.late, late, delays(one.port))
    settle(one.child)
    one.cpu_us.append((one.child.cpu() - cpu) / report.acknowledged * 1e6)
    one.reports.append(report)
    if report.refused:
        raise RuntimeError(f"{one.kind.name} refused {report.refused} publishes")


def _figures(memory: _Entrant, full: _Entrant, normal: _Entrant, *, rate: float) -> list[Figure]:
    later = full.lag_ms(0.99) - memory.lag_ms(0.99)
    dearer = statistics.median(a - b for a, b in zip(full.cpu_us, memory.cpu_us, strict=True))

    def both(show: Callable[[_Entrant], str]) -> dict[str, Any]:
        return {"found": f"{show(full)}; normal: {show(normal)}", "control": show(memory)}

    def acknowledged(one: _Entrant) -> str:
        return f"{_median(one, 'rate'):,.0f}/s"

    def times(one: _Entrant) -> str:
        return f"{_median(one, 'p50_ms'):.1f}, {_median(one, 'p99_ms'):.1f}, {_median(one, 'max_ms'):.0f} ms"

    def lag(one: _Entrant) -> str:
        return f"{one.lag_ms(0.5):.1f}, {one.lag_ms(0.99):.1f} ms"

    def cpu(one: _Entrant) -> str:
        return f"{statistics.median(one.cpu_us):.1f} us"

    load = f"{rate:,.0f}/s of {_SIZE} bytes, 4 connections, {_TOPICS:,} full topics of {_RING}"
    return [
        Figure(
            "publish: acknowledged", load, **both(acknowledged), bar=f"{rate:,.0f}/s",
            held=_median(full, "rate") >= 0.99 * rate,
        ),
        Figure("publish: time to the answer", "p50, p99, longest of the median round", **both(times)),
        Figure(
            "publish: loop late", "p50, p99", **both(lag), bar=f"p99 {_LATER:g} ms more (it is {later:.1f})",
            held=later <= _LATER,
        ),
        Figure(
            "publish: CPU", "a message with its answer", **both(cpu),
            bar=f"{_DEARER:g} us more (it is {dearer:.1f})", held=dearer <= _DEARER,
        ),
    ]  # fmt: skip


def _median(one: _Entrant, name: str) -> float:
    return float(statistics.median(getattr(report, name) for report in one.reports))
