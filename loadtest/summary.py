"""The report in a terminal's lines."""

from loadtest.report import RunReport

__all__ = ["summary"]

_PARTS = ("p50", "p90", "p99", "p999", "max")


def summary(report: RunReport) -> list[str]:
    """Return what a run has found, a line each; none longer than 80 columns except for what others have written."""
    few = report.few_samples()
    lines = [f"{name:26}{value:>16,.0f}" for name, value in report.counters.items()]
    if report.latencies:
        lines.append(f"{'ms':16}" + "".join(f"{part:>10}" for part in _PARTS) + f"{'count':>13}")
    for name, histogram in report.latencies.items():
        figures = histogram.summary()
        cells = (f"{figures[part]:,.1f}{'?' if part in few.get(name, ()) else ''}" for part in _PARTS)
        lines.append(f"{name:16}" + "".join(f"{cell:>10}" for cell in cells) + f"{figures['count']:>13,.0f}")
    if few:
        lines.append("?: too few samples for this percentile")
    lines += [f"{name:32}{value:>10,.1f}" for name, value in report.gauges.items()]
    if report.kept_account():
        lines.append("checks: " + ", ".join(f"{name} {count:,}" for name, count in report.checks.items()))
    lines += [finding.text for finding in report.findings]
    lines += [f"error: {text}: {count:,}" for text, count in report.errors.most_common()]
    for judgement in report.judgements:
        if not (judgement.implied and judgement.passed):
            lines.append(f"{'ok    ' if judgement.passed else 'FAILED'} {judgement.text}")
    lines.append(f"verdict: {report.verdict.text}")
    return lines
