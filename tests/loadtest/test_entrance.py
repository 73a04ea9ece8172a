"""The entrance: what is not installed is one line, and no traceback."""

import sys

import pytest

from loadtest.__main__ import main


def test_without_its_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setitem(sys.modules, "hdrh", None)
    assert main(["idle"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        "loadtest: not installed: hdrhistogram and rich; run pip install 'sluice[loadtest]'\n",
    )


def test_the_origin_does_without_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("rich", "hdrh", "psutil", "loadtest.command"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit) as ended:
        main(["origin", "--help"])
    assert ended.value.code == 0
    assert "usage: loadtest origin" in capsys.readouterr().out


def test_with_it_the_command_line_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "usage: loadtest" in capsys.readouterr().out
