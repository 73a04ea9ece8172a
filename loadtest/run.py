"""A run: its rounds, what stops it, its verdict, its exit code."""

import asyncio
import signal
from argparse import Namespace
from time import monotonic
from types import ModuleType

from loadtest.endpoint import endpoint_of
from loadtest.live import Display
from loadtest.options import plan
from loadtest.report import Report
from loadtest.server import Server
from loadtest.supervisor import Supervisor
from loadtest.thresholds import Threshold, parse_threshold

__all__ = ["ABORTED", "FAILED_TO_RUN", "PASSED", "THRESHOLD_FAILED", "Run"]

PASSED, FAILED_TO_RUN, THRESHOLD_FAILED = 0, 1, 99
ABORTED = "aborted"
_MEASURED = frozenset({"delivery_p99_ms", "round_trip_p99_ms", "freshness_p99_ms"})


class Run:
    """Makes the rounds of one scenario with one set of options, and fills a report."""

    def __init__(self, options: Namespace, scenario: ModuleType, report: Report, display: Display) -> None:
        self._options = options
        self._scenario = scenario
        self._report = report
        self._display = display
        self._thresholds = [parse_threshold(text) for text in options.threshold]
        self._supervisor: Supervisor | None = None
        self._round = report
        self._failed = False
        self.interrupted = False

    async def run(self) -> int:
        """Make all rounds and return the exit code."""
        loop, began = asyncio.get_running_loop(), monotonic()
        for kind in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(kind, self._interrupt)
        try:
            for number in range(self._options.rounds):
                await self._one(number)
                if self._failed or self.interrupted:
                    break
        finally:
            for kind in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(kind)
        self._report.elapsed = monotonic() - began
        held = self._report.judge(self._thresholds)
        if self._failed or self.interrupted:
            return FAILED_TO_RUN
        return PASSED if held else THRESHOLD_FAILED

    async def _one(self, number: int) -> None:
        options, several = self._options, self._options.rounds > 1
        whole = self._report
        report = self._round = Report(whole.scenario, whole.command, secrets=whole.secrets) if several else whole
        self._display.show(report, f"round {number + 1} of {options.rounds}" if several else "")
        server = Server(
            endpoint_of(options), pid=options.server_pid, origin=getattr(options, "origin", ""),
            credentials=options.metrics_credentials,
        )  # fmt: skip
        self._supervisor = Supervisor(plan(options, self._scenario), report, server, self._second)
        try:
            await self._supervisor.run()
        finally:
            await server.finish(report)
        _taint(report)
        if self._supervisor.cannot is not None:
            report.note(self._supervisor.cannot)
            self._failed = True
        if several:
            report.close_round(self._report)

    def _second(self) -> None:
        self._display.tell()
        if self._options.abort_on_fail and self._supervisor is not None:
            for threshold in self._thresholds:
                broken = _broken(threshold, self._round.figures())
                if broken is not None:
                    self._round.note(
                        f"{ABORTED} after {self._round.elapsed:.0f} s: {threshold.text}, and it was {broken:,.6g}"
                    )
                    self._supervisor.stop()

    def _interrupt(self) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        self._round.note("interrupted: the report covers what was done until then")
        if self._supervisor is not None:
            self._supervisor.stop()


def _broken(threshold: Threshold, figures: dict[str, float]) -> float | None:
    """Return a figure that has already gone above its bound; lower bounds may still be reached."""
    value = figures.get(threshold.figure)
    if value is None or threshold.sign not in ("<", "<=", "=="):
        return None
    over = value > threshold.bound or (threshold.sign == "<" and value == threshold.bound)
    return value if over else None


def _taint(report: Report) -> None:
    """Say where the generator's own lateness is part of what was measured."""
    watched = [moment for moment in report.timeline if "own_cpu_percent" in moment]
    # What happens while everyone connects is in no latency of a message.
    during = [moment for moment in watched if not _MEASURED.isdisjoint(moment)] or watched
    if not during:
        return
    cpu = [moment["own_cpu_percent"] for moment in during]
    report.gauges["own_cpu_percent"] = round(sum(cpu) / len(cpu), 1)
    report.gauges["own_lag_ms_max"] = max(moment["own_lag_ms"] for moment in during)
    report.gauges["own_rss_mib_max"] = max(moment["own_rss_mib"] for moment in during)
    full = sum(share > 90 for share in cpu)
    if full > len(cpu) / 10:
        report.note(
            f"tainted: the generator itself used a whole core in {full} of {len(cpu)} seconds; its latencies are "
            "upper bounds (--processes shares the work)"
        )
    measured = [
        report.latencies[name].percentile(99.0) for name in ("delivery", "round_trip") if name in report.latencies
    ]
    late = sum(moment["own_lag_ms"] > max(10.0, min(measured, default=0.0) / 2) for moment in during)
    if measured and late > len(during) / 10:
        report.note(
            f"tainted: the generator's own loop was late by more than half of the measured p99 in {late} of "
            f"{len(during)} seconds"
        )
