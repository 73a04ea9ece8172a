"""The page of a report: what its plots get, and that nothing in it is more than text."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest

from loadtest.findings import Finding
from loadtest.page.columns import Columns
from loadtest.page.document import frame, render
from loadtest.page.series import Plot, Plots, plots_of
from loadtest.report import Judgement, RunReport
from loadtest.verdict import FAILED, PASSED, Verdict

ROOT = Path(__file__).parent.parent.parent
STATIC = ROOT / "loadtest" / "page" / "static"


def report(seconds: int = 5, **more: list[float]) -> RunReport:
    """Return a report of this many seconds, with these columns in its time line."""
    report = RunReport("broadcast", "python -m loadtest broadcast")
    report.counters |= {"published": 10.0 * seconds, "delivered": 100.0 * seconds}
    for ms in range(1, 101):
        report.latency("delivery").record(ms)
    for second in range(seconds):
        moment = {"at_s": second + 1.0, "published": 10.0, "delivered": 100.0, "server_lag_ms": 2.0,
                  "delivery_p50_ms": 3.0, "delivery_p99_ms": 9.0}  # fmt: skip
        report.timeline.append({**moment, **{name: values[second] for name, values in more.items()}})
    report.elapsed = float(seconds)
    report.verdict = Verdict(PASSED)
    return report


def drawn(report: RunReport) -> Plots:
    columns = Columns(1_200)
    columns.extend(report)
    return plots_of(report, columns, report.judgements)


def by_key(report: RunReport) -> dict[str, Plot]:
    return {plot.key: plot for plot in drawn(report).plots}


def embedded(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, object] = orjson.loads(found[1])
    return data


def test_the_plots_have_every_second_and_the_distributions() -> None:
    plots = drawn(report())
    assert (plots.at, plots.stride) == ([1.0, 2.0, 3.0, 4.0, 5.0], 1)
    found = by_key(report())
    assert list(found) == ["delivery", "published", "delivered", "server_lag_ms", "bars delivery", "curve delivery"]
    assert [series.name for series in found["delivery"].series] == ["p50", "p99"]
    assert found["delivered"].series[0].values == [100.0] * 5
    bars = found["bars delivery"]
    assert sum(value or 0 for value in bars.series[0].values) == 100
    assert len(bars.x) == len(bars.series[0].values) + 1


@pytest.mark.parametrize("seconds", [0, 1, 2])
def test_a_run_of_a_moment_has_a_page_without_lines(seconds: int) -> None:
    reported = report(seconds)
    assert not [plot for plot in drawn(reported).plots if plot.kind == "time"]
    assert "loadtest broadcast: <span" in render(reported)
    reported.latencies.clear()
    assert drawn(reported).plots == []


def test_errors_are_shown_where_they_were_however_few() -> None:
    reported = report(errors=[0, 0, 3, 0, 0])
    assert drawn(reported).errors == [0, 0, 3, 0, 0]
    assert by_key(reported)["errors"].series[0].values == [0, 0, 3, 0, 0]
    assert "errors" not in by_key(report())


def test_errors_are_in_the_time_line() -> None:
    reported = RunReport("echo", "")
    reported.add(
        {"counters": {}, "errors": {"refused": 2, "reset": 1}, "checks": {}, "places": [], "latencies": {}}
    )
    reported.moment({})
    reported.moment({})
    assert [moment.get("errors", 0) for moment in reported.timeline] == [3, 0]


def test_half_an_hour_is_thinned_and_keeps_its_peak_and_its_stall() -> None:
    reported = report(1_800)
    reported.timeline[777]["delivery_p99_ms"] = 5_000.0
    reported.timeline[1234]["delivered"] = 0.0
    reported.timeline[5]["errors"] = 1
    plots = drawn(reported)
    found = by_key(reported)
    assert plots.stride == 2
    assert len(plots.at) == 900
    assert plots.at == sorted(plots.at)
    for plot in found.values():
        assert all(len(series.values) == len(plots.at) for series in plot.series if plot.kind == "time")
    assert max(value or 0 for value in found["delivery"].series[1].values) == 5_000
    assert min(value or 0 for value in found["delivered"].series[0].values) == 0
    assert sum(map(bool, plots.errors)) >= 1
    assert len(render(reported)) < 500_000


@pytest.mark.parametrize("seconds", [11, 12, 13, 23, 24, 25, 26, 27, 47, 48, 1_000, 1_001])
def test_every_length_is_bounded_and_keeps_what_stands_out(seconds: int) -> None:
    reported = RunReport("idle", "")
    columns = Columns(12)
    for second in range(seconds):
        reported.timeline.append({"at_s": float(second), "clients": 1e6 if second == 7 else 100.0 + second})
        columns.extend(reported)
        assert len(columns.times) <= 13
    times, values = columns.times, [value or 0 for value in columns.column("clients")]
    assert len(values) == len(times)
    assert times == sorted(times)
    assert (times[0], values[0], max(values)) == (0.0, 100.0, 1e6)
    assert seconds - times[-1] <= 2 * columns.stride


def test_what_is_counted_and_not_named_has_not_grown_and_what_is_measured_was_not_seen() -> None:
    reported, columns = report(3), Columns(4)
    reported.timeline[1] = {"at_s": 2.0, "server_fds": 5.0}
    columns.extend(reported)
    assert columns.column("delivered") == [100.0, 0.0, 100.0]
    assert columns.column("server_lag_ms") == [2.0, None, 2.0]
    assert columns.column("server_fds") == [None, 5.0, None]
    assert columns.column("errors") == [0.0] * 3
    reported.timeline += [{"at_s": float(at)} for at in range(4, 20)]
    columns.extend(reported)
    assert sorted(value or 0 for value in columns.column("delivered")[:2]) == [0.0, 100.0]


def test_thresholds_are_lines_in_the_plots_that_show_their_figure() -> None:
    reported = report()
    reported.judgements = [
        Judgement("delivery_p99_ms<250", 9.0, passed=True),
        Judgement("published_per_s>=20", 10.0, passed=False),
        Judgement("delivered>=500", 500.0, passed=True),
        Judgement("server_lag_ms_max<5", 2.0, passed=True),
        Judgement("errors/published<0.1%", 0.0, passed=True),
        Judgement("delivery_count>5", 100.0, passed=True),
    ]
    bounds = {key: [(one.value, one.passed) for one in plot.bounds] for key, plot in by_key(reported).items()}
    assert bounds["delivery"] == bounds["curve delivery"] == [(250.0, True)]
    assert bounds["published"] == [(20.0, False)]
    # The sum of a run is not a rate, and neither is a number of samples a latency.
    assert bounds["delivered"] == bounds["bars delivery"] == []
    assert bounds["server_lag_ms"] == [(5.0, True)]


HOSTILE = "</script><img src=x onerror=alert(1)>&\"'`{}<!--\u2028é"


def hostile() -> RunReport:
    reported = report(errors=[1, 0, 0, 0, 0], **{HOSTILE: [1.0] * 5})  # type: ignore[arg-type]
    reported.scenario, reported.command = HOSTILE, f"python -m loadtest {HOSTILE}"
    reported.counters[HOSTILE] = 3
    reported.gauges[HOSTILE] = 3
    reported.checks[HOSTILE] = 1
    reported.options = {"path": HOSTILE}
    reported.latency(HOSTILE).record(5.0, 100)
    reported.errors[HOSTILE] = 1
    reported.findings.append(Finding("lost", HOSTILE, 1, 2))
    reported.notes.append(HOSTILE)
    reported.judgements = [Judgement("delivery_p99_ms<1", 9.0, passed=False, note=HOSTILE)]
    reported.loads = [{"load": 1.0, HOSTILE: 1.0}]
    reported.verdict = Verdict(FAILED, (HOSTILE,))
    return reported


class Reader(HTMLParser):
    """Finds tags and attributes that ours does not have, what leads outside, and tags that are not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.outside: list[str] = []
        self.handlers: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open in ([], ["html"], ["html", "body"])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.outside += [
            value or "" for name, value in attrs if name in ("src", "href", "action", "data", "poster")
        ]
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        if tag not in ("meta", "br", "link", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        return

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_titles(page: str) -> list[str]:
    return [series["name"] for plot in embedded(page)["plots"]["plots"] for series in plot["series"]]  # type: ignore[index]


@pytest.mark.parametrize("events", [False, True])
def test_hostile_names_are_text(events: bool) -> None:
    page = render(hostile(), running="load" if events else "")
    assert not Reader(page).tags & {"img", "iframe", "object", "embed", "form", "base"}
    assert Reader(page).handlers == []
    assert [link.partition(",")[0] for link in Reader(page).outside] == ["data:image/svg+xml"]
    assert "<img" not in page
    assert page.count("</script>") == 3
    assert HOSTILE in page_titles(page)
    for html in frame(hostile(), Columns(600), running="load")["sections"].values():
        assert "<img" not in html


def test_nothing_but_our_own_code_may_run_and_nothing_may_be_asked_for() -> None:
    page = render(hostile())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    rules = dict(rule.split(" ", 1) for rule in policy[1].replace("&#x27;", "'").split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert "connect-src" not in rules
    scripts = re.findall(r"<script(?: type=\"module\")?>(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in scripts]
    assert rules["script-src"].split() == [f"'sha256-{one}'" for one in hashes]
    assert len(hashes) == 2
    assert "connect-src 'self'" in render(report(), running="load").replace("&#x27;", "'")


def test_secrets_are_masked_in_words_and_data_and_leave_the_code_alone() -> None:
    class Options:
        token, header, user_rows, url, path = "function", [], [], "http://127.0.0.1", ""

    from loadtest.masking import Secrets

    reported = report()
    reported.secrets = Secrets(Options())  # type: ignore[arg-type]
    reported.notes.append("a function of the service")
    reported.counters["function"] = 5
    page = render(reported)
    assert "a *** of the service" in page
    assert (STATIC / "page.js").read_text() in page
    assert "function" not in str(embedded(page))


def test_a_page_of_a_run_that_goes_on_says_so() -> None:
    made = frame(report(), Columns(600), running="round 1 of 2, load", remark="a remark")
    assert (made["state"], made["title"], made["remark"]) == ("running", "loadtest broadcast: running", "a remark")
    assert "round 1 of 2, load" in made["sections"]["head"]
    assert frame(report(), Columns(600), running="")["state"] == "passed"
    # All that is replaced while it runs has to be in the page from the beginning.
    ids = set(re.findall(r' id="(\w+)"', render(report(), running="load")))
    assert set(made["sections"]) <= ids


def test_many_thresholds_and_notes_are_bounded() -> None:
    reported = report()
    reported.judgements = [Judgement("delivery_p99_ms<250", 9.0, passed=True)] * 5_000
    reported.notes += ["a note"] * 5_000
    reported.findings += [Finding("lost", "lost: a message", 1, 1)] * 5_000
    page = render(reported)
    assert "4,800 more rows are in the JSON report" in page
    assert len(page) < 1_000_000


def test_a_scenario_that_counts_thousands_of_things_has_a_page_that_can_be_opened() -> None:
    names = [f"counter_{number}" for number in range(3_000)]
    reported = report(5, **{name: [1.0] * 5 for name in names})
    reported.counters |= dict.fromkeys(names, 5.0)
    for name in names[:100]:
        reported.latency(name).record(1.0, 100)
    plots = drawn(reported)
    assert plots.cut
    assert len(plots.plots) == 120
    assert not drawn(report()).cut
    assert len(render(reported)) < 1_000_000


def test_it_is_in_the_colours_of_the_service() -> None:
    palette = re.compile(r":root \{.*?\}", re.DOTALL)
    service = (ROOT / "service" / "edge" / "static" / "page.css").read_text()
    assert palette.search((STATIC / "page.css").read_text())[0] == palette.search(service)[0]  # type: ignore[index]


def test_the_library_is_the_one_that_the_documents_name() -> None:
    library = (STATIC / "uplot.js").read_bytes()
    version = re.search(rb"uPlot \(v([\d.]+)\)", library)
    assert version
    named = (ROOT / "docs" / "licences.md").read_text()
    assert f"uPlot {version[1].decode()}" in named
    for name in ("uplot.js", "uplot.css"):
        assert (
            hashlib.sha256((STATIC / name).read_bytes()).hexdigest()
            in (ROOT / "docs" / "decisions" / "14-report-page.md").read_text()
        )
