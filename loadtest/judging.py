"""Thresholds against what a run has found: those that were asked for, and those that every run has to keep."""

from collections.abc import Sequence

from loadtest.findings import Finding
from loadtest.report import Judgement, RunReport
from loadtest.thresholds import IMPLIED, Threshold, parse_threshold

__all__ = ["broken_bound", "judged", "load_not_made"]

_OPTIONAL = ("clients_intended", "connected")
"""What a run may well have none of: then nothing is asked of it."""


def judged(report: RunReport, rounds: Sequence[RunReport], thresholds: Sequence[Threshold]) -> list[Judgement]:
    """Judge the whole, and each of several rounds by what is not a sum over them: the worst counts."""
    found = [_worst(report, rounds, threshold) for threshold in thresholds]
    return found + [report.judgement(threshold, implied=True) for threshold in _implied(report, thresholds)]


def _worst(report: RunReport, rounds: Sequence[RunReport], threshold: Threshold) -> Judgement:
    whole = report.judgement(threshold)
    if len(rounds) < 2 or not whole.passed or _is_sum(report, threshold):
        return whole
    for number, one in enumerate(rounds):
        judgement = one.judgement(threshold)
        if not judgement.passed:
            note = "; ".join(filter(None, (f"round {number + 1}", judgement.note)))
            return Judgement(judgement.threshold, judgement.value, False, note=note)
    return whole


def _is_sum(report: RunReport, threshold: Threshold) -> bool:
    return not threshold.over and (
        threshold.figure in report.counters or threshold.figure in report.checks or threshold.figure == "errors"
    )


def _implied(report: RunReport, thresholds: Sequence[Threshold]) -> list[Threshold]:
    """Return what is asked of every run, without what a threshold of its own replaces."""
    named = {name for threshold in thresholds for name in threshold.names[:1]}
    parts = [
        parse_threshold(f"{name}/{name.removesuffix('made')}intended>=0.99")
        for name in report.counters
        if name.startswith("part") and name.endswith("_made")
    ]
    kept = [threshold for threshold in (*IMPLIED, *parts) if threshold.figure not in named]
    return [threshold for threshold in kept if _is_asked(report, threshold)]


def _is_asked(report: RunReport, threshold: Threshold) -> bool:
    if not threshold.over:
        return threshold.figure in report.counters
    return threshold.over not in _OPTIONAL or bool(report.counters.get(threshold.over))


def broken_bound(report: RunReport, thresholds: Sequence[Threshold], *, ended: bool = False) -> str | None:
    """Return a threshold that cannot hold any more, with its figure; at the end of a round, an implied one, too."""
    for threshold in thresholds:
        judgement = report.judgement(threshold)
        if threshold.broken_for_good(judgement.value) or (ended and judgement.value is None):
            return judgement.text
    for judgement in judged(report, [], thresholds) if ended else ():
        if judgement.implied and not judgement.passed:
            return judgement.text
    return None


def load_not_made(report: RunReport) -> list[Finding]:
    """Return as a finding that less than the plan was made."""
    counters = report.counters
    intended, made = counters.get("intended", 0), counters.get("made", 0)
    if not intended or made >= 0.99 * intended:
        return []
    text = (
        f"load not made: {made:,.0f} of {intended:,.0f} intended ({made / intended:.1%}); "
        f"{counters.get('started', 0):,.0f} were started, {counters.get('unanswered', 0):,.0f} had no answer"
    )
    return [Finding("load", text, intended - made, 0)]
