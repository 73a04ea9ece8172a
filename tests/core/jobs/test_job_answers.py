"""The types of what is said of jobs agree with what is said."""

import msgspec
import pytest

from service.core.jobs import answers
from service.core.jobs.events import (
    CancelledEvent,
    DoneEvent,
    Event,
    FailedEvent,
    Instant,
    ProgressEvent,
    QueuedEvent,
    RescheduledEvent,
    RetryEvent,
    StartedEvent,
)

SAID: list[tuple[Event, type]] = [
    (QueuedEvent(Instant(1.0), 2), answers.JobQueued),
    (StartedEvent(1, "slot"), answers.JobStarted),
    (ProgressEvent(1.0, 2.0, "half", [1]), answers.JobProgress),
    (RetryEvent(1, "timeout", "slow", Instant(1.0)), answers.JobRetry),
    (RescheduledEvent(Instant(1.0)), answers.JobRescheduled),
    (DoneEvent({"a": 1}), answers.JobDone),
    (FailedEvent("timeout", "slow", 3), answers.JobFailed),
    (CancelledEvent(), answers.JobCancelled),
]


@pytest.mark.parametrize(("event", "kind"), SAID)
def test_each_event_is_of_its_type(event: Event, kind: type) -> None:
    said = msgspec.json.encode(event, enc_hook=lambda instant: f"{instant.seconds}")
    read = msgspec.json.decode(said, type=kind)
    assert msgspec.json.decode(said)["event"] == kind.__struct_config__.tag  # type: ignore[attr-defined]
    assert set(msgspec.json.decode(said)) - {"event"} <= set(kind.__struct_fields__)  # type: ignore[attr-defined]
    assert read is not None


def test_every_event_has_a_type() -> None:
    assert {type(event) for event, _ in SAID} == set(Event.__args__)
