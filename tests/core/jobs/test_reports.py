"""What workers say of an attempt, as it comes over HTTP."""

import msgspec
import pytest

from service.core.jobs.reports import (
    Claim,
    Report,
    WorkerDone,
    WorkerEvent,
    WorkerFailed,
    WorkerProgress,
    WorkerStopped,
)


def test_each_event_is_read_as_it_was_written() -> None:
    events: list[WorkerEvent] = [
        WorkerProgress(done=1.0, data=[1]), WorkerDone(msgspec.Raw(b"[1]"), "out"),
        WorkerFailed("killed", "why", again=False, after=0.2), WorkerStopped(),
    ]  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(Report(3, events)), type=Report) == Report(3, events)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Claim, b'{"claim":"short","worker":"w"}'),
        (Claim, b'{"claim":"0123456789abcdef","worker":""}'),
        (Claim, b'{"claim":"0123456789abcdef","worker":"w","more":1}'),
        (Report, b'{"first":0}'),
        (Report, b"{}"),
        (Report, b'{"first":1,"events":[{"event":"started"}]}'),
        (Report, b'{"first":1,"events":[{"event":"failed","error":"lost","detail":""}]}'),
        (Report, b'{"first":1,"events":[{"event":"stopped","output":"%s"}]}' % (b"x" * (17 << 10))),
    ],
)
def test_what_no_worker_says_is_refused(kind: type, text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=kind)
