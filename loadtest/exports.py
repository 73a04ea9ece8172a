"""The report in the forms that other programs read: JUnit XML, OpenMetrics, CSV."""

import csv
import re
from collections.abc import Callable
from io import StringIO
from xml.sax.saxutils import escape, quoteattr

from loadtest.report import Report

__all__ = ["EXPORTS", "csv_text", "junit", "openmetrics"]

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_QUANTILES = {"0.5": 50.0, "0.9": 90.0, "0.99": 99.0, "0.999": 99.9}


def junit(report: Report) -> str:
    """Return a test suite with a case for the run itself and for each threshold."""
    cases = [_case("run", "" if report.verdict.passed else report.verdict.text)]
    cases += [_case(one.threshold, "" if one.passed else one.text) for one in report.judgements]
    failures = sum("<failure" in case for case in cases)
    name = quoteattr(f"loadtest {report.scenario}")
    head = (
        f'<testsuite name={name} tests="{len(cases)}" failures="{failures}" errors="0" time="{report.elapsed:.3f}"'
    )
    texts = "".join(f"{finding.text}\n" for finding in report.findings)
    out = f"<system-out>{_xml(escape(texts))}</system-out>" if texts else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"{head} timestamp={quoteattr(report.started)}>\n{''.join(cases)}{out}</testsuite>\n"
    )


def _case(name: str, failure: str) -> str:
    inside = f"<failure message={quoteattr(_xml(failure))}/>" if failure else ""
    return f'<testcase classname="loadtest" name={quoteattr(_xml(name))}>{inside}</testcase>\n'


def _xml(text: str) -> str:
    # XML has no way to write these.
    return _CONTROL.sub("?", text)


def openmetrics(report: Report) -> str:
    """Return all figures in the text format of OpenMetrics 1.0, which Prometheus reads."""
    label = f'scenario="{_label(report.scenario)}"'
    lines = ["# TYPE loadtest_run info", f'loadtest_run_info{{{label},status="{report.verdict.status}"}} 1']
    lines += ["# TYPE loadtest_passed gauge", f"loadtest_passed{{{label}}} {int(report.verdict.passed)}"]
    for kind, values in (("count", report.counters), ("check", report.checks if report.kept_account() else {})):
        lines += [f"# TYPE loadtest_{kind} gauge"] if values else []
        lines += [f'loadtest_{kind}{{{label},name="{name}"}} {value:g}' for name, value in values.items()]
    for name, value in report.gauges.items():
        lines += [f"# TYPE loadtest_{name} gauge", f"loadtest_{name}{{{label}}} {value:g}"]
    lines += ["# TYPE loadtest_errors gauge"]
    lines += [f'loadtest_errors{{{label},error="{_label(text)}"}} {count}' for text, count in report.errors.items()]
    for name, histogram in report.latencies.items():
        metric = f"loadtest_{name}_seconds"
        lines += [f"# TYPE {metric} summary", f"# UNIT {metric} seconds"]
        lines += [
            f'{metric}{{{label},quantile="{quantile}"}} {histogram.percentile(percent) / 1000:g}'
            for quantile, percent in _QUANTILES.items()
        ]
        lines += [
            f"{metric}_sum{{{label}}} {histogram.part('mean') * histogram.count / 1000:g}",
            f"{metric}_count{{{label}}} {histogram.count}",
        ]
    return "\n".join([*lines, "# EOF", ""])


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def csv_text(report: Report) -> str:
    """Return the time line: a row a second, a column for everything that is in any of them."""
    names = list(dict.fromkeys(name for moment in report.timeline for name in moment))
    out = StringIO()
    writer = csv.DictWriter(out, names or ["at_s"], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(report.timeline)
    return out.getvalue()


EXPORTS: dict[str, Callable[[Report], str]] = {"junit": junit, "openmetrics": openmetrics, "csv": csv_text}
"""By the name of the option."""
