"""A report is written whole or not at all, and what could not be written is in every form that could."""

from argparse import Namespace
from pathlib import Path

import orjson
import pytest

from loadtest.command import _finish
from loadtest.report import RunReport
from loadtest.verdict import PASSED, Verdict
from loadtest.writing import written


def options(folder: Path, **paths: str) -> Namespace:
    given = dict.fromkeys(("json", "html", "junit", "openmetrics", "csv"), "")
    return Namespace(**{**given, "json": str(folder / "r.json"), **paths}, quiet=False)


def passed() -> RunReport:
    report = RunReport("echo", "x")
    report.verdict = Verdict(PASSED)
    return report


def test_a_full_disk_is_the_verdict_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = passed()
    code = _finish(report, options(tmp_path, html="/dev/full"), lambda: [f"verdict: {report.verdict.text}"])
    said = "could not run: --html: /dev/full cannot be written: No space left on device"
    assert (code, capsys.readouterr().out) == (1, f"verdict: {said}\n")
    assert orjson.loads((tmp_path / "r.json").read_bytes())["status"] == "could not run"


def test_the_report_of_before_is_kept_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.json"
    path.write_text("old")
    real = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        real(self, data[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        (wrong,) = written(passed(), options(tmp_path))
    assert "No space left on device" in wrong
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["r.json"]
    assert written(passed(), options(tmp_path)) == []
    assert orjson.loads(path.read_bytes())["status"] == "passed"


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "r.json").symlink_to(tmp_path / "real.json")
    (tmp_path / "real.json").write_text("old")
    assert written(passed(), options(tmp_path)) == []
    assert (tmp_path / "r.json").is_symlink()
    assert orjson.loads((tmp_path / "real.json").read_bytes())["scenario"] == "echo"
