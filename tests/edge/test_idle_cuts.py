"""A proxy's idle time-out is found by the silence after which connections are cut."""

import socket
from collections.abc import Iterable

import pytest

from service.edge.http.idle_cuts import IdleCuts, silence_of


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.advice for record in caplog.records if "same silence" in record.message]  # type: ignore[attr-defined]


def noted(silences: Iterable[float], every: float = 1.0, heartbeat: float = 25.0) -> IdleCuts:
    now = 100.0
    cuts = IdleCuts(heartbeat, lambda: now)
    for silence in silences:
        now += every
        cuts.note(silence)
    return cuts


@pytest.mark.parametrize(
    "silences",
    [
        [5.0, 5.01, 5.02, 4.99, 5.0],
        [12.0, 5.0, 5.2, 5.1, 5.0, 5.0],
        [60.2, 9.9, 10.1, 10.0, 10.3, 10.0],
        [1.0, 1.1, 1.2, 1.0, 1.0],
    ],
)
def test_cuts_after_one_silence_are_warned_of(silences: list[float], caplog: pytest.LogCaptureFixture) -> None:
    noted(silences)
    [advice] = warnings(caplog)
    assert "--heartbeat below" in advice


@pytest.mark.parametrize(
    "silences",
    [
        [5.0, 5.0, 5.0, 5.0],
        [5.0, 9.0, 13.0, 2.0, 20.0, 7.0, 3.0, 16.0],
        [0.4] * 20,
        [37.5] * 20,
        [25.0] * 20,
    ],
    ids=["few", "different", "short", "longer than the heartbeat", "the heartbeat"],
)
def test_other_ends_are_not_warned_about(silences: list[float], caplog: pytest.LogCaptureFixture) -> None:
    noted(silences)
    assert not warnings(caplog)


def test_many_that_go_together_say_as_much_as_one(caplog: pytest.LogCaptureFixture) -> None:
    noted([5.0] * 1000, every=0.0001)
    assert not warnings(caplog)


def test_it_is_said_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    noted([5.0] * 3000)
    assert len(warnings(caplog)) == 1
    noted([5.0] * 3700)
    assert len(warnings(caplog)) == 3


def test_the_kernel_knows_how_long_a_connection_was_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as one:
        other, _ = server.accept()
        with other:
            one.sendall(b"x")
            assert other.recv(1) == b"x"
            silence = silence_of(other)
    assert silence is not None
    assert 0 <= silence < 5
    assert silence_of(other) is None, "closed"
