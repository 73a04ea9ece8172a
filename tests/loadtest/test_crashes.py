"""Runs with crashes: what is refused before, and what is counted after."""

import os
import socket
from argparse import Namespace

import pytest

from loadtest.command import main
from loadtest.crashes import wrong_crashes
from loadtest.outcome import settle
from loadtest.payloads import Payloads, payload
from loadtest.report import RunReport
from loadtest.targets.sluice import Sluice


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--target", "echo"], "target"),
        (["--apart"], "--apart"),
        (["--crashes", "0"], "--crashes"),
        (["--url", "http://192.0.2.1:1"], "on this machine"),
    ],
)
def test_what_cannot_be_crashed_is_refused_before_the_run(
    given: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["broadcast", "--crash", "true", *given]) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "named"),
    [("sluice 'serve", "is not a command: No closing quotation"), (" ", "a process or a command")],
)
def test_what_is_not_a_command_is_refused(command: str, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["broadcast", "--crash", command]) == 2
    assert named in capsys.readouterr().err


def test_every_round_has_its_crashes_and_a_threshold_of_ones_own_wins() -> None:
    options = Namespace(
        crash="sluice serve", crashes=2, rounds=3, target="sluice", apart=False, user_rows=[],
        url="http://127.0.0.1:1", threshold=["lost==5"],
    )  # fmt: skip
    assert wrong_crashes(options) == []
    assert "crashes==6" in options.threshold
    assert [text for text in options.threshold if text.startswith("lost")] == ["lost==5"]


def test_a_process_that_is_not_the_service_is_not_killed(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert main(["broadcast", "--crash", str(os.getpid()), "--url", url]) == 2
    assert f"process {os.getpid()} does not listen at {url}" in capsys.readouterr().err


def test_what_was_acknowledged_and_reached_nobody_is_missing() -> None:
    outcome = {"arrivals": {"t": [[1, 0.0, 0.1, 0.2, 5]]}, "readers": {"t": 5}, "beats": [], "delays": [],
               "troubles": [], "measured_from": 0.0, "settled": True}  # fmt: skip
    report = RunReport("broadcast", "x")
    report.counters = {"published": 3, "acknowledged": 0, "missing": 0}
    settle(report, [outcome], 0.0)
    assert (report.counters["acknowledged"], report.counters["missing"]) == (3, 2)
    # A run that was stopped has not waited for the rest.
    settle(report, [{**outcome, "settled": False}], 0.0)
    assert report.counters["missing"] == 0


def test_a_message_under_a_second_number_was_published_twice() -> None:
    known = Payloads(Sluice.MARKER, Sluice.OPENING, "0123abcd", topic=Sluice.TOPIC)

    def message(offset: int, number: int) -> bytes:
        return b'%b{"topic":"t","offset":%d,"data":%b}}' % (
            Sluice.OPENING.replace(b'"method":"message",', b'"method":"message","params":'),
            offset,
            payload("0123abcd", number, 0.0, 50),
        )

    for offset, number in ((1, 1), (2, 2), (1, 1)):
        assert not known.compare(message(offset, number), offset)
    assert known.republished == 0
    known.compare(message(3, 2), 3)
    assert known.republished == 1
    assert known.compare(message(3, 4), 3), "one position with two contents"
