"""Reports of one run from several machines, put together: ``loadtest merge A.json B.json --json ALL.json``."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from loadtest.compare import different_options
from loadtest.documents import read_report
from loadtest.findings import Finding
from loadtest.histogram import Histogram
from loadtest.judging import judged, load_not_made
from loadtest.ledger import KINDS
from loadtest.report import SCHEMA, RunReport
from loadtest.same_run import check_same_run, timeline
from loadtest.tally import bounded
from loadtest.thresholds import parse_threshold
from loadtest.verdict import FAILED, PASSED, Status, Verdict

__all__ = ["HELP", "add_options", "merged", "run"]

HELP = "put the JSON reports of several machines together, and judge the whole"
_FIELDS = frozenset(RunReport("", "").document())
_ORDER = tuple(Status)


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("reports", nargs="+", help="JSON reports of runs that were made at the same time")


def run(options: Namespace) -> RunReport:
    """Return the whole; raises ValueError for what is not a report."""
    return merged([_read(path) for path in options.reports], options.threshold, options.reports)


def merged(reports: list[dict[str, Any]], thresholds: list[str], names: Sequence[str] | None = None) -> RunReport:
    """Add reports up: counts are sums, latencies are merged without loss, gauges are the largest.

    Raises ValueError for reports that are not of one run.
    """
    first = reports[0]
    names = names or [f"report {number}" for number in range(1, len(reports) + 1)]
    careful = check_same_run(names, reports)
    whole = RunReport(first["scenario"], " ; ".join(one["command"] for one in reports))
    whole.started = min(one["started"] for one in reports)
    whole.elapsed = max(one["elapsed_s"] for one in reports)
    whole.options = first.get("options", {})
    for text in careful:
        whole.note(text)
    for one in reports[1:]:
        for text in different_options(first, one):
            whole.note(f"they differ: {text}")
    whole.timeline = timeline(reports)
    whole.load = _load(reports)
    for one in reports:
        _add(whole, one)
    texts = thresholds or list(dict.fromkeys(_asked(reports)))
    whole.judgements = judged(whole, [], [parse_threshold(text) for text in texts])
    whole.findings += load_not_made(whole)
    worst = max((one.get("status", "could not run") for one in reports), key=_ORDER.index)
    reasons = tuple(judgement.text for judgement in whole.judgements if not judgement.passed)
    status = Status(worst) if worst in _ORDER[2:] else FAILED if reasons else PASSED
    whole.verdict = Verdict(status, reasons or tuple(text for one in reports for text in one.get("reasons", ())
                                                     if status is not PASSED))  # fmt: skip
    return whole


def _load(reports: list[dict[str, Any]]) -> dict[str, Any]:
    loads = [one["load"] for one in reports if one.get("load")]
    if len(loads) < len(reports):
        return {}
    return {
        "began": min(load["began"] for load in loads),
        "ended": max(load["ended"] for load in loads),
        "at_s": 0.0,
    }


def _add(whole: RunReport, one: dict[str, Any]) -> None:
    for name, value in one["counters"].items():
        whole.counters[name] = whole.counters.get(name, 0) + value
    for name in KINDS:
        whole.checks[name] += one["checks"].get(name, 0)
    for text, count in one["errors"].items():
        whole.errors[bounded(whole.errors, text)] += count
    for name, value in one["gauges"].items():
        whole.gauges[name] = max(value, whole.gauges.get(name, value))
    for name, text in one["histograms"].items():
        whole.latency(name).add(Histogram.decode(text))
    whole.findings += [Finding(**finding) for finding in one["findings"] if finding["kind"] != "load"]
    for text in one["notes"]:
        whole.note(text)


def _asked(reports: list[dict[str, Any]]) -> list[str]:
    return [one["threshold"] for report in reports for one in report["thresholds"] if not one.get("implied")]


def _read(path: str) -> dict[str, Any]:
    report = read_report(path)
    if report.get("schema") != SCHEMA or _FIELDS - {"load", *report}:
        raise ValueError(f"{path}: not a report of this loadtest (--json FILE writes one)")
    return report
