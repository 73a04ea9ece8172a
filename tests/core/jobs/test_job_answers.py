"""The types of what is said of jobs agree with what is said."""

import msgspec
import pytest

from service.core.jobs import answers
from service.core.jobs.events import (
    Cancelled,
    Done,
    Event,
    Failed,
    Instant,
    Progress,
    Queued,
    Rescheduled,
    Retry,
    Started,
)

SAID: list[tuple[Event, type]] = [
    (Queued(Instant(1.0), 2), answers.JobQueued),
    (Started(1, "slot"), answers.JobStarted),
    (Progress(1.0, 2.0, "half", [1]), answers.JobProgress),
    (Retry(1, "timeout", "slow", Instant(1.0)), answers.JobRetry),
    (Rescheduled(Instant(1.0)), answers.JobRescheduled),
    (Done({"a": 1}), answers.JobDone),
    (Failed("timeout", "slow", 3), answers.JobFailed),
    (Cancelled(), answers.JobCancelled),
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
