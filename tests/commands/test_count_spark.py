"""What is said where Spark cannot be used, and what of its errors."""

import sys
from pathlib import Path

import pytest

from service.__main__ import main
from service.work.file_counts.spark import _reason


def test_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("a\n")
    arguments = ["count", str(tmp_path / "file"), "--field", "1", "--spark", "local"]
    monkeypatch.setitem(sys.modules, "pyspark", None)
    assert main(arguments) == 1
    assert capfd.readouterr() == ("", "sluice: --spark needs the package pyspark: pip install 'sluice[spark]'\n")


def test_java_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyspark")
    (tmp_path / "file").write_text("a\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert main(["count", str(tmp_path / "file"), "--field", "1", "--spark", "local"]) == 1
    assert capfd.readouterr() == ("", "sluice: --spark needs Java 17 or newer (Debian: openjdk-17-jre-headless)\n")


def test_without_a_file_that_can_be_read_no_cluster_is_asked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["count", str(tmp_path / "none"), "--field", "1", "--json", "--spark", "local"]) == 1
    out, err = capfd.readouterr()
    assert out == '{"lines":0,"skipped":0,"keys":0,"exact":true,"error_bound":0,"top":[],"missed":1}\n'
    assert err == f"sluice: {tmp_path}/none: No such file or directory\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "An error occurred while calling o1.collect.\n: org.apache.spark.SparkException: Job aborted\n\tat x",
            "org.apache.spark.SparkException: Job aborted",
        ),
        (
            """An error occurred while calling o1.collect.
: org.apache.spark.SparkException: Job aborted: Traceback (most recent call last):
  File "a"
ModuleNotFoundError: no x

\tat y
Caused by: java.Error: z""",
            "ModuleNotFoundError: no x",
        ),
        ("[JAVA_GATEWAY_EXITED] Java has ended.", "[JAVA_GATEWAY_EXITED] Java has ended."),
        ("", "ValueError('')"),
    ],
)
def test_the_line_of_an_error_that_says_what_is_wrong_is_shown(text: str, reason: str) -> None:
    assert _reason(ValueError(text)) == reason
