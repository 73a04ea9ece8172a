"""What a run has found, as data: the reporters and the thresholds read this and nothing else."""

import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from loadtest.findings import Finding
from loadtest.histogram import PERCENTILES, Histogram
from loadtest.ledger import KINDS
from loadtest.masking import Secrets
from loadtest.measures import latency_figure
from loadtest.tally import bounded
from loadtest.thresholds import Threshold
from loadtest.verdict import NOT_ENDED, Verdict

__all__ = ["SCHEMA", "Judgement", "Round", "RunReport"]

SCHEMA = 3
_MOST_CLIENTS = 20


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a threshold came out; ``value`` is None for a figure that was not measured."""

    threshold: str
    value: float | None
    passed: bool
    implied: bool = False
    """Whether it is one that every run has to keep."""
    note: str = ""
    """What limits the figure: too few samples, or the round that it is of."""

    @property
    def text(self) -> str:
        """The threshold with what was measured."""
        value = "not measured" if self.value is None else f"{self.value:,.6g}"
        return f"{self.threshold}: {value}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True, slots=True)
class Round:
    """The figures of one of several rounds."""

    latency_ms: dict[str, dict[str, float]]
    counters: dict[str, float]


@dataclass(slots=True)
class RunReport:
    """One run; docs/loadtest.md describes the JSON that :meth:`document` returns."""

    scenario: str
    command: str
    checks: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(KINDS, 0)))
    troubles: Counter[tuple[str, int]] = field(default_factory=Counter)
    """The messages behind the checks, by (check, client)."""
    latencies: dict[str, Histogram] = field(default_factory=dict)
    counters: dict[str, float] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    gauges: dict[str, float] = field(default_factory=dict)
    """Figures of the server, the origin and the generator itself, found at the end."""
    timeline: list[dict[str, float]] = field(default_factory=list)
    """For each second ``at_s``, what each counter grew by, ``errors``, percentiles of that second, and gauges."""
    loads: list[dict[str, float]] = field(default_factory=list)
    """Of a search: ``load``, whether it ``holds`` (1 or 0), and the figures that thresholds name."""
    findings: list[Finding] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)
    verdict: Verdict = NOT_ENDED
    options: dict[str, Any] = field(default_factory=dict)
    """What the load was made with."""
    notes: list[str] = field(default_factory=list)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    load: dict[str, Any] = field(default_factory=dict)
    """When the load was made, by which clock."""
    elapsed: float = 0.0
    phase: str = "starting"
    secrets: Secrets = field(default_factory=Secrets)
    """What no form of the report may show."""
    _began: float = field(default_factory=monotonic)
    _places: Counter[tuple[str, str, int, int]] = field(default_factory=Counter)
    _grown: Counter[str] = field(default_factory=Counter)
    _recent: dict[str, Histogram] = field(default_factory=dict)

    def since_began(self) -> float:
        """Return the seconds since the report was begun."""
        return monotonic() - self._began

    def latency(self, name: str) -> Histogram:
        """Return the histogram of one thing measured, made when it is missing."""
        return self.latencies.setdefault(name, Histogram())

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self.notes:
            self.notes.append(text)

    def turn(self, phase: str) -> None:
        """Note what is going on now."""
        self.phase = phase

    def add(self, increment: dict[str, Any]) -> None:
        """Add what a worker has counted since the last time."""
        for name, more in increment["counters"].items():
            self.counters[name] = self.counters.get(name, 0) + more
            self._grown[name] += more
        for text, count in increment["errors"].items():
            self.errors[bounded(self.errors, text)] += count
            self._grown["errors"] += count
        self.checks.update(increment["checks"])
        for kind, topic, first, last, readers in increment["places"]:
            self._places[kind, topic, first, last] += readers
        for name, encoded in increment["latencies"].items():
            histogram = Histogram.decode(encoded)
            self.latency(name).add(histogram)
            self._recent.setdefault(name, Histogram()).add(histogram)

    def pop_places(self) -> Counter[tuple[str, str, int, int]]:
        """Return where the troubles were, and forget it."""
        places, self._places = self._places, Counter()
        return places

    def moment(self, gauges: dict[str, float]) -> None:
        """Close one second of the time line."""
        self.elapsed = self.since_began()
        moment = {"at_s": round(self.elapsed, 3), **self._grown, **gauges}
        for name, histogram in self._recent.items():
            if histogram.count:
                moment[f"{name}_p50_ms"] = histogram.percentile(50.0)
                moment[f"{name}_p99_ms"] = histogram.percentile(99.0)
                histogram.clear()
        self._grown.clear()
        self.timeline.append(moment)

    def figures(self) -> dict[str, float]:
        """Return the figures that have one name: latencies with the percentiles of the summary."""
        figures: dict[str, float] = {**self.checks, **self.counters, **self.gauges}
        figures["errors"] = sum(self.errors.values())
        for name, histogram in self.latencies.items():
            for part, value in histogram.summary().items():
                figures[f"{name}_{part}" if part == "count" else f"{name}_{part}_ms"] = value
        return figures

    def figure(self, name: str) -> float | None:
        """Return the figure that a threshold names; None when nothing was measured for it."""
        if name in self.checks and name not in self.counters:
            return self.checks[name] if self.kept_account() else None
        if name in self.counters or name in self.gauges:
            return self.counters.get(name, self.gauges.get(name))
        if name == "errors":
            return sum(self.errors.values())
        rate = name.removesuffix("_per_s")
        if rate != name and rate in self.counters:
            seconds = self.gauges.get("load_s")
            return self.counters[rate] / seconds if seconds else None
        found = latency_figure(name)
        histogram = self.latencies.get(found[0]) if found else None
        return histogram.part(found[1]) if found and histogram is not None and histogram.count else None

    def kept_account(self) -> bool:
        """Return whether there was any message to keep account of."""
        return any(self.checks.values()) or any(
            value for name, value in self.counters.items() if name.startswith("delivered")
        )

    def _limits_of(self, figure: str) -> str:
        found = latency_figure(figure)
        histogram = self.latencies.get(found[0]) if found else None
        needed = histogram.too_few_for(found[1]) if found and histogram is not None and histogram.count else 0
        return f"{histogram.count} samples, and {found[1]} needs {needed}" if needed and histogram and found else ""

    def judgement(self, threshold: Threshold, *, implied: bool = False) -> Judgement:
        """Judge one threshold by what is known now."""
        value = threshold.value(self.figure)
        note = "; ".join(filter(None, map(self._limits_of, threshold.names)))
        return Judgement(threshold.text, value, threshold.holds(value), implied, note)

    def judge(self, thresholds: Sequence[Threshold]) -> bool:
        """Judge every threshold and return whether all of them hold."""
        self.judgements = [self.judgement(threshold) for threshold in thresholds]
        return all(judgement.passed for judgement in self.judgements)

    def close_round(self, before: "RunReport") -> None:
        """Note one round of several, and add it to those ``before``."""
        summaries = {name: histogram.summary() for name, histogram in self.latencies.items()}
        before.rounds.append(Round(summaries, dict(self.counters)))
        for name, histogram in self.latencies.items():
            before.latency(name).add(histogram)
        for name, value in self.counters.items():
            before.counters[name] = before.counters.get(name, 0) + value
        before.checks.update(self.checks)
        before.troubles.update(self.troubles)
        for text, count in self.errors.items():
            before.errors[bounded(before.errors, text)] += count
        before.findings += self.findings
        before.load = {
            **self.load,
            **{name: before.load[name] for name in ("began", "at_s") if name in before.load},
        }
        last = before.timeline[-1]["at_s"] if before.timeline else 0.0
        before.timeline += [{**moment, "at_s": moment["at_s"] + last} for moment in self.timeline]
        for name, value in self.gauges.items():
            had = before.gauges.get(name, value)
            before.gauges[name] = had + value if name == "load_s" and before.rounds[1:] else max(had, value)
        for text in self.notes:
            before.note(text)

    def document(self) -> dict[str, Any]:
        """Return the JSON report."""
        document: dict[str, Any] = self.secrets.document(self._document())
        return document

    def _document(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "scenario": self.scenario,
            "status": str(self.verdict.status),
            "reasons": list(self.verdict.reasons),
            "command": self.command,
            "options": self.options,
            "started": self.started,
            "load": self.load,
            "elapsed_s": round(self.elapsed, 3),
            "checks": dict(self.checks),
            "clients": self.troubled(),
            "findings": [asdict(finding) for finding in self.findings],
            "latency_ms": {name: histogram.summary() for name, histogram in self.latencies.items()},
            "histograms": {name: histogram.encode() for name, histogram in self.latencies.items()},
            "few_samples": self.few_samples(),
            "counters": self.counters,
            "gauges": self.gauges,
            "errors": dict(self.errors),
            "thresholds": [asdict(judgement) for judgement in self.judgements],
            "rounds": [asdict(one) for one in self.rounds],
            "loads": self.loads,
            "timeline": self.timeline,
            "notes": self.notes,
            "environment": self.environment(),
        }

    def troubled(self) -> list[dict[str, Any]]:
        """Return the clients behind the checks, those with the most messages first: at most twenty of a check."""
        return [
            {"check": check, "client": client, "messages": messages}
            for check in self.checks
            for messages, client in sorted(
                ((messages, client) for (kind, client), messages in self.troubles.items() if kind == check),
                key=lambda one: (-one[0], one[1]),
            )[:_MOST_CLIENTS]
        ]

    def few_samples(self) -> dict[str, list[str]]:
        """Return for each latency the percentiles of the summary that its samples do not carry."""
        few = {name: [part for part in PERCENTILES if histogram.too_few_for(part)]
               for name, histogram in self.latencies.items()}  # fmt: skip
        return {name: parts for name, parts in few.items() if parts}

    @staticmethod
    def environment() -> dict[str, Any]:
        """Return what it ran on."""
        return {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()}",
            "cores": os.cpu_count(),
        }
