"""What a run has found, as data: the reporters and the thresholds read this and nothing else."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from loadtest.histogram import Histogram
from loadtest.ledger import Checks
from loadtest.thresholds import Threshold

__all__ = ["Moment", "Report", "Verdict"]

SCHEMA = 1


@dataclass(slots=True)
class Moment:
    """One second of the time line: counts in that second, and gauges at its end."""

    at: float
    counts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a threshold came out; ``value`` is None for a figure that was not measured."""

    threshold: str
    value: float | None
    passed: bool


@dataclass(slots=True)
class Report:
    """One run; docs/loadtest.md describes the JSON that :meth:`document` returns."""

    scenario: str
    command: str
    checks: Checks = field(default_factory=Checks)
    latencies: dict[str, Histogram] = field(default_factory=dict)
    counters: dict[str, float] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    timeline: list[Moment] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    elapsed: float = 0.0

    def latency(self, name: str) -> Histogram:
        """Return the histogram of one thing measured, made when it is missing."""
        if name not in self.latencies:
            self.latencies[name] = Histogram()
        return self.latencies[name]

    def count(self, name: str, more: float = 1) -> None:
        """Add to a counter."""
        self.counters[name] = self.counters.get(name, 0) + more

    def error(self, text: str) -> None:
        """Count an error by its text; beyond a hundred kinds, as other."""
        kind = text if text in self.errors or len(self.errors) < 100 else "other"
        self.errors[kind] = self.errors.get(kind, 0) + 1

    def figures(self) -> dict[str, float]:
        """Return every figure that a threshold can name."""
        figures: dict[str, float] = {**asdict(self.checks), **self.counters}
        figures["errors"] = sum(self.errors.values())
        for name, histogram in self.latencies.items():
            for part, value in histogram.summary().items():
                figures[f"{name}_{part}" if part == "count" else f"{name}_{part}_ms"] = value
        return figures

    def judge(self, thresholds: Sequence[Threshold]) -> bool:
        """Judge every threshold and return whether all of them hold."""
        figures = self.figures()
        for threshold in thresholds:
            passed, value = threshold.judge(figures)
            self.verdicts.append(Verdict(threshold.text, value, passed))
        return all(verdict.passed for verdict in self.verdicts)

    def document(self) -> dict[str, Any]:
        """Return the JSON report."""
        return {
            "schema": SCHEMA,
            "scenario": self.scenario,
            "command": self.command,
            "started": self.started,
            "elapsed_s": round(self.elapsed, 3),
            "checks": asdict(self.checks),
            "latency_ms": {name: histogram.summary() for name, histogram in self.latencies.items()},
            "counters": self.counters,
            "errors": self.errors,
            "thresholds": [asdict(verdict) for verdict in self.verdicts],
            "timeline": [{"at_s": round(moment.at, 3), **moment.counts} for moment in self.timeline],
            "notes": self.notes,
            "environment": {
                "python": platform.python_version(),
                "system": f"{platform.system()} {platform.release()}",
                "cores": os.cpu_count(),
            },
        }
