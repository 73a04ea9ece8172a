"""A run: its rounds, what stops it, its verdict."""

import asyncio
import signal
from argparse import Namespace
from functools import partial
from time import monotonic
from types import ModuleType

from loadtest.crashes import CannotCrash, crashing
from loadtest.endpoint import endpoint_of
from loadtest.judging import broken_bound, judged, load_not_made
from loadtest.live import Display
from loadtest.measures import Measures
from loadtest.options import measures_of, plan
from loadtest.report import RunReport
from loadtest.server import Server
from loadtest.supervisor import Supervisor
from loadtest.thresholds import parse_threshold
from loadtest.verdict import COULD_NOT_RUN, FAILED, INTERRUPTED, PASSED, Verdict

__all__ = ["Run"]

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MEASURED = frozenset({"delivery_p99_ms", "round_trip_p99_ms", "freshness_p99_ms"})


class Run:
    """Makes the rounds of one scenario with one set of options, and fills a report."""

    def __init__(self, options: Namespace, scenario: ModuleType, report: RunReport, display: Display) -> None:
        self._options = options
        self._scenario = scenario
        self._report = report
        self._display = display
        self._thresholds = [parse_threshold(text) for text in options.threshold]
        self._measures: Measures = measures_of(options, scenario)
        self._supervisor: Supervisor | None = None
        self._round = report
        self._rounds: list[RunReport] = []
        self._cannot: str | None = None
        self._aborted: str | None = None
        self._interrupted = False
        report.counters = self._measures.zeros()

    async def run(self) -> Verdict:
        """Make all rounds; return the verdict, which the report has, too."""
        loop, began = asyncio.get_running_loop(), monotonic()
        for kind in _STOPPING:
            loop.add_signal_handler(kind, self._interrupt)
        try:
            for number in range(self._options.rounds):
                await self._one(number)
                if self._cannot or self._aborted or self._interrupted:
                    break
        finally:
            for kind in _STOPPING:
                loop.remove_signal_handler(kind)
        self._report.elapsed = monotonic() - began
        self._report.judgements = judged(self._report, self._rounds, self._thresholds)
        self._report.findings += load_not_made(self._report)
        self._report.verdict = self._decide()
        return self._report.verdict

    def _decide(self) -> Verdict:
        reasons = tuple(judgement.text for judgement in self._report.judgements if not judgement.passed)
        if self._cannot is not None and not self._interrupted:
            return Verdict(COULD_NOT_RUN, (self._cannot,))
        if self._interrupted:
            return Verdict(INTERRUPTED, ("it was stopped before its end",))
        if self._aborted is not None or reasons:
            return Verdict(FAILED, tuple(filter(None, (self._aborted, *reasons))))
        return Verdict(PASSED)

    async def _one(self, number: int) -> None:
        options, several = self._options, self._options.rounds > 1
        whole = self._report
        report = self._round = RunReport(whole.scenario, whole.command, secrets=whole.secrets) if several else whole
        report.counters = self._measures.zeros()
        self._display.show(report, f"round {number + 1} of {options.rounds}" if several else "")
        server = Server(
            endpoint_of(options), pid=options.server_pid, origin=getattr(options, "origin", ""),
            credentials=options.metrics_credentials, restarts=bool(getattr(options, "crash", "")),
        )  # fmt: skip
        supervisor = self._supervisor = Supervisor(plan(options, self._scenario), report, server, self._second)
        try:
            async with crashing(options, report) as crashes:
                if crashes is not None:
                    crashes.on_started = server.restarted
                    supervisor.on_begun = partial(crashes.begin, supervisor.give_up)
                await supervisor.run()
        except CannotCrash as error:
            supervisor.cannot = str(error)
        finally:
            await server.finish(report)
        _taint(report)
        self._rounds.append(report)
        if self._supervisor.cannot is not None:
            report.note(self._supervisor.cannot)
            self._cannot = self._supervisor.cannot
        if several:
            report.close_round(whole)
        if options.abort_on_fail and self._aborted is None:
            broken = broken_bound(report, self._thresholds, ended=True)
            if broken is not None:
                self._abort(broken)

    def _second(self) -> None:
        self._display.update()
        if not self._options.abort_on_fail or self._supervisor is None or self._aborted is not None:
            return
        broken = broken_bound(self._round, self._thresholds)
        if broken is not None:
            self._abort(broken)
            self._supervisor.stop()

    def _abort(self, why: str) -> None:
        self._aborted = f"aborted after {self._round.elapsed:.0f} s: {why}"
        self._report.note(self._aborted)

    def _interrupt(self) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        self._round.note("interrupted: the report covers what was done until then")
        if self._supervisor is not None:
            self._supervisor.stop()


def _taint(report: RunReport) -> None:
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
