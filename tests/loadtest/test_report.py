"""What a run reports, as data, as a page and in a terminal; and the thresholds that judge it."""

from io import StringIO

import orjson
import pytest
from rich.console import Console

from loadtest.findings import Finding
from loadtest.histogram import Histogram
from loadtest.live import Display, sparkline
from loadtest.outcome import settle
from loadtest.page.document import render
from loadtest.plots import lines, rounds
from loadtest.report import RunReport
from loadtest.summary import summary
from loadtest.thresholds import parse_threshold


def report() -> RunReport:
    report = RunReport("broadcast", "python -m loadtest broadcast --header 'X: <script>'")
    for ms in range(1, 1001):
        report.latency("delivery").record(ms)
    report.counters["connected"] = 10
    report.counters["delivered"] = 12
    report.checks["lost"] = 2
    report.errors["<b>refused</b>"] = 1
    report.findings.append(Finding("lost", "lost: message 7 of <t>, for 2 clients", 1, 2))
    report.timeline += [
        {"at_s": 1.0, "delivered": 5.0, "clients": 10, "delivery_p50_ms": 3.0, "delivery_p99_ms": 5.0},
        {"at_s": 2.0, "delivered": 7.0, "server_rss_mib": 70.5, "delivery_p50_ms": 4.0, "delivery_p99_ms": 9.0},
        *(
            {"at_s": at, "server_rss_mib": 70.0, "delivery_p50_ms": 4.0, "delivery_p99_ms": 9.0}
            for at in (3.0, 4.0)
        ),
    ]
    return report


def test_percentiles_are_of_three_digits() -> None:
    summary = report().latency("delivery").summary()
    assert summary["p50"] == pytest.approx(500, rel=0.002)
    assert summary["p99"] == pytest.approx(990, rel=0.002)
    assert summary["max"] == pytest.approx(1000, rel=0.002)
    assert summary["count"] == 1000


def test_histograms_merge_and_travel_without_loss() -> None:
    one, two = Histogram(), Histogram()
    one.record(1.0, 10)
    two.record(100.0, 30)
    one.add(Histogram.decode(two.encode()))
    assert one.count == 40
    assert one.percentile(50.0) == pytest.approx(100, rel=0.002)
    assert sum(count for _, _, count in one.buckets()) == 40
    assert Histogram.decode(one.encode()).summary() == one.summary()


@pytest.mark.parametrize("text", ["", "nonsense", "HISTFAAAAA=="])
def test_invalid_histograms_are_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError, match="no HDR histogram"):
        Histogram.decode(text)


def test_nothing_measured_is_nothing_and_no_error() -> None:
    assert Histogram().summary()["p99"] == 0
    assert Histogram().buckets() == []
    assert "<h1" in render(RunReport("connect", "x"))
    assert summary(RunReport("connect", "x"))


def test_the_json_report_has_the_contracts_fields() -> None:
    document = orjson.loads(orjson.dumps(report().document()))
    assert document["checks"] == {"lost": 2, "gapped": 0, "repeated": 0, "reordered": 0}
    assert set(document["latency_ms"]["delivery"]) == {"p50", "p90", "p99", "p999", "max", "count"}
    assert Histogram.decode(document["histograms"]["delivery"]).count == 1000
    assert document["findings"][0]["clients"] == 2


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


def test_rounds_are_added_up_and_kept_apart() -> None:
    whole = RunReport("broadcast", "x")
    for _ in range(3):
        report().close_round(whole)
    assert whole.latency("delivery").count == 3000
    assert (whole.counters["delivered"], whole.checks["lost"]) == (36, 6)
    assert [round_.latency_ms["delivery"]["count"] for round_ in whole.rounds] == [1000] * 3
    assert [moment["at_s"] for moment in whole.timeline] == [float(at) for at in range(1, 13)]
    assert "round 3" in render(whole)


def outcome(arrivals: list[list[float]], readers: int, measured_from: float = 0.0) -> dict[str, object]:
    beats = sorted({int(moment * 100) for one in arrivals for moment in one[2:4]})
    return {"arrivals": {"t": arrivals}, "readers": {"t": readers}, "beats": beats, "delays": [], "troubles": [],
            "measured_from": measured_from, "settled": True}  # fmt: skip


def test_workers_know_only_together_when_the_last_reader_had_it() -> None:
    whole = RunReport("broadcast", "x")
    found = settle(whole, [outcome([[1, 0.0, 0.1, 0.2, 5]], 5), outcome([[1, 0.0, 0.15, 0.3, 5]], 5)], 0.0)
    assert found == []
    assert whole.latency("last_delivery").percentile(50) == pytest.approx(300, rel=0.01)
    assert whole.latency("spread").percentile(50) == pytest.approx(200, rel=0.01)


def test_the_clients_behind_a_check_come_with_the_most_messages_first() -> None:
    whole = RunReport("broadcast", "x")
    for troubles in (
        [("lost", number, 1 + number % 25) for number in range(50)],
        [("lost", 7, 90), ("repeated", 3, 2)],
    ):
        settle(whole, [{**outcome([], 5), "troubles": troubles}], 0.0)
    found = whole.document()["clients"]
    assert found[:2] == [
        {"check": "lost", "client": 7, "messages": 98},
        {"check": "lost", "client": 24, "messages": 25},
    ]
    assert found[-1] == {"check": "repeated", "client": 3, "messages": 2}
    assert len(found) == 21
    assert "<td>client 24</td><td>lost</td><td>25</td>" in render(whole)


def test_what_did_not_reach_all_has_no_last() -> None:
    whole = RunReport("broadcast", "x")
    settle(whole, [outcome([[1, 0.0, 0.1, 0.2, 4]], 5)], 0.0)
    assert "last_delivery" not in whole.latencies


def test_a_line_ends_at_its_axes() -> None:
    svg = lines([("a", [(0.0, 0.0), (10.0, 5.0)])], rounds(0.0, 10.0, " s"), "title", (0.0, 10.0))
    assert 'points="46.0,174.0 450.0,10.0"' in svg
    assert ">5<" in svg
    assert ">10 s<" in svg


def test_the_live_panel_stays_inside_80_columns() -> None:
    reported = report()
    reported.errors["an error with a text that is much longer than anybody would like to read in a panel"] = 3
    reported.counters["origin_requests_of_a_very_long_name"] = 1e9
    out = StringIO()
    console = Console(file=out, width=80, force_terminal=False)
    console.print(Display(reported, console).panel())
    text = out.getvalue()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "▄███" in text
    assert "delivery ms" in text


def test_a_sparkline_is_as_high_as_its_share_of_the_highest() -> None:
    assert sparkline([0, 1, 2, 4, 8]) == " ▁▂▄█"
    assert sparkline([0, 0]) == sparkline([]) == ""


def test_the_summary_names_what_failed() -> None:
    reported = report()
    reported.judge([parse_threshold("lost==0"), parse_threshold("delivered>10")])
    text = summary(reported)
    assert "FAILED lost==0: 2" in text
    assert "ok     delivered>10: 12" in text
    assert "lost: message 7 of <t>, for 2 clients" in text


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [(0, 10, ["0 s", "2 s", "4 s", "6 s", "8 s", "10 s"]), (0, 33, ["0 s", "10 s", "20 s", "30 s"]), (0, 1, 6), (0, 0, 1),
     (3.3, 9.1, ["4 s", "6 s", "8 s"])],
)  # fmt: skip
def test_marks_are_round_numbers(low: float, high: float, marks: list[str] | int) -> None:
    found = list(rounds(low, high, " s").values())
    assert found == marks if isinstance(marks, list) else len(found) == marks


@pytest.mark.parametrize("height", [12, 24, 50])
def test_the_panel_fits_the_terminal_with_anything_to_show(height: int) -> None:
    reported = RunReport("broadcast", "")
    reported.counters.update(
        {f"counter_{number}": 1 for number in range(60)}, part0_made=5, clients_intended=9, idle=0
    )
    out = StringIO()
    console = Console(file=out, width=80, height=height, force_terminal=True, color_system=None)
    console.print(Display(reported, console).panel())
    text = out.getvalue()
    assert len(text.splitlines()) <= height - 2
    assert max(map(len, text.splitlines())) <= 80
    assert "counter_1" in text
    assert not any(hidden in text for hidden in ("part0_made", "clients_intended", "idle"))


def test_the_bar_goes_from_connecting_to_the_end_of_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("loadtest.live.monotonic", lambda: now[0])
    reported = RunReport("broadcast", "")
    reported.options = {"duration": 10.0}
    display = Display(reported)
    seen = [display._progress()]
    reported.counters.update(clients_intended=10, connected=5)
    seen.append(display._progress())
    reported.counters.update(connected=10, published=1)
    seen.append(display._progress())
    for now[0] in (105.0, 110.0, 130.0):
        seen.append(display._progress())
    assert seen == pytest.approx([0, 1 / 6, 1 / 3, 2 / 3, 1, 1])
