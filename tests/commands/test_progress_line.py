"""How far a command is: written over on a terminal, a line now and then elsewhere."""

import os

import pytest

from service.commands.progress_line import ProgressLine


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_terminal_has_one_line_that_goes_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 2)
    monkeypatch.setenv("TERM", "xterm")
    clock = Clock()
    with ProgressLine("copying", str, clock) as meter:
        meter.report(1, 4)
        assert capsys.readouterr().err == "", "a short command shows nothing"
        clock.now = 0.2
        meter.report(2, 4)
        meter.report(3, 4)
        assert (
            capsys.readouterr().err
            == "\r\x1b[Kcopying  50 %  [###############...............]  2 of 4  10/s  0:00 left"
        )
    assert capsys.readouterr().err == "\r\x1b[K"


def test_elsewhere_there_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with ProgressLine("verifying", str, clock) as meter:
        clock.now = 9.9
        meter.report(1, 4)
        clock.now = 10
        meter.report(4, 4)
    assert capsys.readouterr().err == "sluice: verifying 100 %  4 of 4  0/s\n"


def test_of_nothing_all_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with ProgressLine("verifying", str, clock) as meter:
        clock.now = 10
        meter.report(0, 0)
    assert capsys.readouterr().err == "sluice: verifying 100 %  0 of 0\n"


def test_a_total_need_not_be_known(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with ProgressLine("counting", str, clock) as meter:
        clock.now = 10
        meter.report(500, None)
        clock.now = 20
        meter.report(900, 1900)
        meter.clear()
    assert capsys.readouterr().err == (
        "sluice: counting  500  50/s\nsluice: counting  47 %  900 of 1900  45/s  0:22 left\n"
    )


def test_a_narrow_terminal_has_no_bar_and_a_quiet_one_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 2)
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((30, 24)))
    monkeypatch.setenv("TERM", "xterm")
    clock = Clock()
    with ProgressLine("counting", str, clock) as meter, ProgressLine("x", str, clock, quiet=True) as quiet:
        clock.now = 10
        quiet.report(1, 2)
        meter.report(100, 1000)
        assert capsys.readouterr().err == "\r\x1b[Kcounting  10 %  100 of 1000  "
