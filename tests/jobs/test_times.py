"""Times of jobs, as they are read and written."""

import pytest

from service.core.errors import InvalidParams
from service.core.jobs.events import Instant, QueuedEvent, RetryEvent
from service.core.jobs.request import JobRequest
from service.jobs.times import due_of, encode_event
from service.runtime.timestamps import timestamp


@pytest.mark.parametrize(
    ("at", "seconds"),
    [
        ("2026-11-27T09:30:00Z", 1795771800.0),
        ("2026-11-27T09:30:00.25+00:00", 1795771800.25),
        ("2026-11-27T11:30:00+02:00", 1795771800.0),
        ("2026-11-27t09:30:00z", 1795771800.0),
        ("2026-11-27 09:30:00Z", 1795771800.0),
        ("2026-11-27T09:30:00.250000001-00:00", 1795771800.25),
        ("2016-12-31T23:59:60Z", 1483228800.0),
        ("2016-12-31T23:59:60.5Z", 1483228800.5),
        ("2017-01-01T05:29:60+05:30", 1483228800.0),
        ("1970-01-01T00:00:00Z", 0.0),
        ("0001-01-01T00:00:00+00:00", 0.0),
        ("9999-12-31T23:59:59Z", 253370764800.0),
    ],
)
def test_times_are_read_in_any_zone(at: str, seconds: float) -> None:
    assert due_of(JobRequest(at=at), 5.0) == seconds


@pytest.mark.parametrize(
    "at",
    [
        "",
        "now",
        "2026-11-27",
        "2026-11-27T09:30:00",
        "2026-13-27T09:30:00Z",
        "2026-11-27T09:30:60Z",
        "2026-11-27T09:59:60Z",
        "2026-11-27T23:59:61Z",
        "2026-11-27T09:30:00+24:00",
        "2026-11-27T09:30:00+05:60",
        "2026-11-27T24:00:00Z",
        "2026-11-27T09:30Z",
        "2026-11-27T09:30:00,5Z",
        "2026-11-27T09:30:00+05:30:15",
        "2026-11-27T09:30:00+0530",
        "20261127T093000Z",
        "2026-W48-5T09:30:00Z",
        "2026-11-27_09:30:00Z",
        "2026-11-27T09:30:0\u0661Z",
        " 2026-11-27T09:30:00Z",
        "2026-11-27T09:30:00Z\n",
    ],
)
def test_what_is_not_a_time_with_its_zone_is_refused(at: str) -> None:
    with pytest.raises(InvalidParams, match="at: a time as RFC 3339 has it"):
        due_of(JobRequest(at=at), 5.0)


def test_without_a_time_it_is_due_now_or_after_its_delay() -> None:
    assert (due_of(JobRequest(), 5.0), due_of(JobRequest(delay=2.5), 5.0)) == (5.0, 7.5)
    with pytest.raises(InvalidParams, match="give one of them"):
        due_of(JobRequest(delay=1, at="2026-11-27T09:30:00Z"), 5.0)


def test_events_have_times_in_utc_with_milliseconds() -> None:
    assert timestamp(1795771800.25) == "2026-11-27T09:30:00.250Z"
    assert (
        encode_event(QueuedEvent(Instant(1795771800.0))) == b'{"event":"queued","due":"2026-11-27T09:30:00.000Z"}'
    )
    retry = encode_event(RetryEvent(1, "timeout", "slow", Instant(0.0)))
    assert (
        retry == b'{"event":"retry","attempt":1,"error":"timeout","detail":"slow","at":"1970-01-01T00:00:00.000Z"}'
    )
