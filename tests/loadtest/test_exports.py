"""The report for other programs, and the reports of several machines put together."""

import csv
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as classic_families

from loadtest.command import main
from loadtest.exports import csv_text, junit, openmetrics
from loadtest.findings import Finding
from loadtest.judging import judged
from loadtest.merge import merged
from loadtest.report import RunReport
from loadtest.thresholds import parse_threshold
from loadtest.verdict import FAILED, PASSED, Verdict


def report(lost: int = 0, made: int = 100) -> RunReport:
    one = RunReport("broadcast", "x")
    one.counters = {"intended": 100, "started": 100, "made": made, "unanswered": 0, "delivered": 500}
    one.checks["lost"] = lost
    one.gauges["server_rss_mib_max"] = 70.0 + lost
    one.errors['closed "4000"\n\x01<&'] = 2
    for ms in range(1, 101):
        one.latency("delivery").record(ms)
    one.timeline = [{"at_s": 1.0, "delivered": 500.0}, {"at_s": 2.0, "own_lag_ms": 1.5}]
    one.findings = [Finding("lost", "lost: message 7 <&\x01", 1, 1)] if lost else []
    one.judgements = judged(one, [], [parse_threshold("lost==0")])
    reasons = tuple(judgement.text for judgement in one.judgements if not judgement.passed)
    one.verdict = Verdict(FAILED if reasons else PASSED, reasons)
    return one


def test_junit_has_a_case_for_the_run_and_each_threshold() -> None:
    suite = ElementTree.fromstring(junit(report(lost=2)).encode())
    assert (suite.get("tests"), suite.get("failures")) == (str(1 + 3), "2")
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == ["run", "lost==0"]
    assert ElementTree.fromstring(junit(report()).encode()).get("failures") == "0"


def test_openmetrics_is_read_by_prometheus() -> None:
    families = {one.name: one for one in text_string_to_metric_families(openmetrics(report()))}
    assert families["loadtest_passed"].samples[0].value == 1
    counts = {sample.labels["name"]: sample.value for sample in families["loadtest_count"].samples}
    assert counts["delivered"] == 500
    delivery = {
        sample.labels.get("quantile"): sample.value for sample in families["loadtest_delivery_seconds"].samples
    }
    assert delivery["0.99"] == pytest.approx(0.099, rel=0.01)
    assert families["loadtest_errors"].samples[0].value == 2


@pytest.mark.parametrize(("classic", "parse"), [(False, text_string_to_metric_families), (True, classic_families)])
def test_counts_are_exact_and_names_are_names(classic: bool, parse: Callable[[str], Any]) -> None:
    one = report()
    one.counters["delivered"] = 12_345_678
    one.latency("answer-time").record(5)
    one.latency("never")
    families = {family.name: family for family in parse(openmetrics(one, classic=classic))}
    counts = {sample.labels["name"]: sample.value for sample in families["loadtest_count"].samples}
    assert counts["delivered"] == 12_345_678
    assert "loadtest_answer_time_seconds" in families
    assert families["loadtest_never_seconds"].samples[-1].value == 0


def test_a_run_that_has_not_ended_is_running() -> None:
    assert 'status="running"' in openmetrics(RunReport("x", ""))
    assert 'status="passed"' in openmetrics(report())


def test_csv_has_a_row_a_second() -> None:
    rows = list(csv.DictReader(StringIO(csv_text(report()))))
    assert rows == [
        {"at_s": "1.0", "delivered": "500.0", "own_lag_ms": ""},
        {"at_s": "2.0", "delivered": "", "own_lag_ms": "1.5"},
    ]


def document(**more: Any) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(orjson.dumps(report(**more).document()))
    return found


def test_reports_of_several_machines_are_one() -> None:
    whole = merged([document(), document(lost=1)], [])
    assert whole.counters["delivered"] == 1000
    assert whole.latencies["delivery"].count == 200
    assert whole.gauges["server_rss_mib_max"] == 71
    assert whole.verdict.status is FAILED
    assert whole.verdict.reasons == ("lost==0: 1",)
    assert merged([document(), document()], []).verdict.passed


def test_the_load_of_all_machines_is_judged_together() -> None:
    short = document(made=98)
    assert short["status"] == "failed"
    assert merged([document(), short], []).verdict.passed
    assert not merged([short, short], []).verdict.passed
    interrupted = {**document(), "status": "interrupted", "reasons": ["stopped"]}
    assert merged([document(), interrupted], []).verdict.exit_code == 1


def test_the_command_refuses_what_was_not_made_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(tmp_path / name) for name in "abc"]
    for minute, path in zip((0, 0, 30), paths, strict=True):
        load = {
            "began": f"2026-11-27T09:{minute:02}:00.000Z", "ended": f"2026-11-27T09:{minute + 1:02}:00.{len(path):03}Z", "at_s": 1.0,
        }  # fmt: skip
        Path(path).write_bytes(orjson.dumps({**document(lost=int(path == paths[1])), "load": load}))
    assert main(["merge", paths[0], paths[1], "--threshold", "lost==1"]) == 0
    assert main(["merge", paths[0], paths[2]]) == 2
    assert "they were not made at the same time" in capsys.readouterr().err
    assert main(["merge", paths[0], paths[0]]) == 2
    assert "are the same report" in capsys.readouterr().err
    Path(paths[1]).write_bytes(orjson.dumps({"schema": 3, "latency_ms": {}, "checks": {}}))
    assert main(["merge", paths[0], paths[1]]) == 2
    assert f"{paths[1]}: not a report of this loadtest" in capsys.readouterr().err


def test_the_command_writes_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(orjson.dumps(document()))
    forms = [
        part
        for name in ("json", "html", "junit", "openmetrics", "csv")
        for part in (f"--{name}", str(tmp_path / name))
    ]
    assert main(["merge", str(tmp_path / "a"), str(tmp_path / "b"), *forms, "--threshold", "delivered==1000"]) == 0
    assert "ok     delivered==1000: 1,000" in capsys.readouterr().out
    assert orjson.loads((tmp_path / "json").read_bytes())["status"] == "passed"
    assert all((tmp_path / name).stat().st_size for name in ("html", "junit", "openmetrics", "csv"))
    assert main(["merge", str(tmp_path / "a"), str(tmp_path / "csv")]) == 2
    assert main(["merge", str(tmp_path / "a"), "--csv", "/no/such/folder/x"]) == 2
    assert re.search(r"there is no folder /no/such/folder", capsys.readouterr().err)
