"""The report in the forms that other programs read: JUnit XML, OpenMetrics, CSV."""

import csv
import re
from collections.abc import Callable
from io import StringIO
from xml.sax.saxutils import escape, quoteattr

from loadtest.histogram import Histogram
from loadtest.report import RunReport
from loadtest.verdict import NOT_ENDED

__all__ = ["EXPORTS", "csv_text", "junit", "openmetrics"]

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_QUANTILES = {"0.5": 50.0, "0.9": 90.0, "0.99": 99.0, "0.999": 99.9}


def junit(report: RunReport) -> str:
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


def openmetrics(report: RunReport, *, classic: bool = False) -> str:
    """Return all figures in the text format of OpenMetrics 1.0, or in the older one of Prometheus (0.0.4).

    Of a run that has not ended the status is ``running``.
    """
    label = f'scenario="{_label(report.scenario)}"'
    status = "running" if report.verdict is NOT_ENDED else str(report.verdict.status)
    # The older format knows no type info; the sample is the same.
    lines = ["# TYPE loadtest_run_info gauge" if classic else "# TYPE loadtest_run info"]
    lines += [f'loadtest_run_info{{{label},status="{status}"}} 1']
    lines += ["# TYPE loadtest_passed gauge", f"loadtest_passed{{{label}}} {int(report.verdict.passed)}"]
    for kind, values in (("count", report.counters), ("check", report.checks if report.kept_account() else {})):
        lines += [f"# TYPE loadtest_{kind} gauge"] if values else []
        lines += [
            f'loadtest_{kind}{{{label},name="{_label(name)}"}} {_number(value)}' for name, value in values.items()
        ]
    for name, value in report.gauges.items():
        metric = f"loadtest_{_name(name)}"
        lines += [f"# TYPE {metric} gauge", f"{metric}{{{label}}} {_number(value)}"]
    lines += ["# TYPE loadtest_errors gauge"]
    lines += [f'loadtest_errors{{{label},error="{_label(text)}"}} {count}' for text, count in report.errors.items()]
    for name, histogram in report.latencies.items():
        lines += _summary(f"loadtest_{_name(name)}_seconds", label, histogram)
    return "\n".join([*lines, "" if classic else "# EOF\n"])


def _summary(metric: str, label: str, histogram: Histogram) -> list[str]:
    quantiles = [
        f'{metric}{{{label},quantile="{quantile}"}} {_number(histogram.percentile(percent) / 1000)}'
        for quantile, percent in _QUANTILES.items()
        if histogram.count
    ]
    total = histogram.part("mean") * histogram.count / 1000 if histogram.count else 0
    return [
        f"# TYPE {metric} summary",
        *quantiles,
        f"{metric}_sum{{{label}}} {_number(total)}",
        f"{metric}_count{{{label}}} {histogram.count}",
    ]


def _number(value: float) -> str:
    # Counts to the last unit: a million deliveries and one are not a million.
    return str(int(value)) if float(value).is_integer() else repr(round(float(value), 9))


def _name(text: str) -> str:
    """Return a name as metrics may have it."""
    return re.sub(r"[^A-Za-z0-9_]", "_", text)


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def csv_text(report: RunReport) -> str:
    """Return the time line: a row a second, a column for everything that is in any of them."""
    names = list(dict.fromkeys(name for moment in report.timeline for name in moment))
    out = StringIO()
    writer = csv.DictWriter(out, names or ["at_s"], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(report.timeline)
    return out.getvalue()


EXPORTS: dict[str, Callable[[RunReport], str]] = {"junit": junit, "openmetrics": openmetrics, "csv": csv_text}
"""By the name of the option."""
