"""What a run reports, as data and as a page; and the thresholds that judge it."""

import re
from html.parser import HTMLParser

import orjson
import pytest

from loadtest.histogram import Histogram
from loadtest.html import render
from loadtest.report import Moment, Report
from loadtest.thresholds import parse_threshold


def report() -> Report:
    report = Report("broadcast", "python -m loadtest broadcast --header 'X: <script>'")
    for ms in range(1, 1001):
        report.latency("delivery").record(ms)
    report.count("connected", 10)
    report.checks.lost = 2
    report.error("<b>refused</b>")
    report.timeline += [Moment(1.0, {"delivered": 5.0, "clients": 10}), Moment(2.0, {"delivered": 7.0})]
    return report


def test_percentiles_are_of_three_digits() -> None:
    summary = report().latency("delivery").summary()
    assert summary["p50"] == pytest.approx(500, rel=0.002)
    assert summary["p99"] == pytest.approx(990, rel=0.002)
    assert summary["max"] == pytest.approx(1000, rel=0.002)
    assert summary["count"] == 1000


def test_histograms_merge_without_loss() -> None:
    one, two = Histogram(), Histogram()
    one.record(1.0, 10)
    two.record(100.0, 30)
    one.add(two)
    assert one.count == 40
    assert one.percentile(50.0) == pytest.approx(100, rel=0.002)
    assert sum(count for _, _, count in one.buckets()) == 40


def test_nothing_measured_is_nothing_and_no_error() -> None:
    assert Histogram().summary()["p99"] == 0
    assert Histogram().buckets() == []
    assert "<h1" in render(Report("connect", "x"))


def test_the_json_report_has_the_contracts_fields() -> None:
    document = orjson.loads(orjson.dumps(report().document()))
    assert document["checks"] == {"lost": 2, "gapped": 0, "repeated": 0, "reordered": 0}
    assert set(document["latency_ms"]["delivery"]) == {"p50", "p90", "p99", "p999", "max", "count"}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("delivery_p99_ms<1000", True),
        ("delivery_p99_ms<900", False),
        ("lost==0", False),
        ("lost<=2", True),
        ("connected>=10", True),
        ("errors!=0", True),
        ("never_measured<1", False),
    ],
)
def test_thresholds(text: str, holds: bool) -> None:
    assert report().judge([parse_threshold(text)]) is holds


@pytest.mark.parametrize("text", ["", "lost", "lost=0", "lost<", "<5", "lost<x", "lost<1;2"])
def test_a_wrong_threshold_shows_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="delivery_p99_ms<250"):
        parse_threshold(text)


class Reader(HTMLParser):
    """Finds what would make the page need something else, and tags that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.outside += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "script":
            self.outside.append("script")
        if tag not in ("meta", "br", "link", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        return

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_and_escapes_what_it_shows() -> None:
    page = render(report())
    reader = Reader()
    reader.feed(page)
    assert reader.outside == []
    assert reader.open in ([], ["html"], ["html", "body"])
    assert "<b>refused" not in page
    assert page.count("<svg") >= 2
    assert not re.search(r"\bnan\b|\binf\b", page)
