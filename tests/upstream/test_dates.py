"""Dates mean GMT in all three forms, in any time zone of this machine."""

import os
import time
from collections.abc import Iterator

import pytest

from service.core.fetching.dial_policy import Policy
from service.core.fetching.outcome import Fetched
from service.upstream.attempts import retry_after_of
from service.upstream.caching.dates import delay_of, seconds_of
from tests.upstream.servers import target_of

BIRTH = 784_111_777.0
"""RFC 9110, section 5.6.7."""


@pytest.fixture(params=["UTC", "Asia/Tokyo", "XYZ+8"])
def zone(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        " Sun, 06-Nov-1994 08:49:37 GMT ",
    ],
)
def test_a_moment_in_every_form(text: str) -> None:
    assert seconds_of(text) == BIRTH


@pytest.mark.parametrize(
    "text",
    [
        None, "", "0", "-1", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 +0100", "Sun, 31 Feb 2026 00:00:00 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06 Nix 1994 08:49:37 GMT", "tomorrow",
        "Sa, 1. M\u00e4rz 2026", "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", "\u0661" * 3,
        "Sun, \u0660\u0666 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 0000 08:49:37 GMT", "1994-11-06T08:49:37Z",
    ],
)  # fmt: skip
def test_invalid_dates_are_refused(text: str | None) -> None:
    assert seconds_of(text) is None


def test_two_digits_of_a_year_are_at_most_fifty_years_ahead() -> None:
    this_year = time.gmtime().tm_year
    for ahead in (-49, 0, 1, 50):
        year = this_year + ahead
        assert seconds_of(f"Sunday, 06-Nov-{year % 100:02} 08:49:37 GMT") == seconds_of(
            f"Sun, 06 Nov {year} 08:49:37 GMT"
        )
    assert seconds_of(f"Sunday, 06-Nov-{(this_year + 51) % 100:02} 08:49:37 GMT") == seconds_of(
        f"Sun, 06 Nov {this_year - 49} 08:49:37 GMT"
    )


def test_a_leap_second_is_a_moment() -> None:
    assert seconds_of("Sat, 31 Dec 2016 23:59:60 GMT") == 1_483_228_800


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("70", 70), ("007", 7), ("9" * 30, 2**31), ("-1", None), ("1.5", None), ("", None), ("+1", None),
     (" 1", None), ("\u0661", None), ("1, 2", None), (None, None)],
)  # fmt: skip
def test_delays(text: str | None, seconds: float | None) -> None:
    assert delay_of(text) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120),
        # The clocks of the two machines need not agree.
        ({"date": "Sun, 06 Nov 1994 08:49:37 GMT", "retry-after": "Sun, 06 Nov 1994 08:50:07 GMT"}, 30),
        ({"date": "Sun, 06 Nov 2094 08:49:37 GMT", "retry-after": "Sunday, 06-Nov-2094 08:49:47 GMT"}, 10),
        ({"date": "Sun Nov  6 08:49:37 1994", "retry-after": "Sun, 06 Nov 1994 08:49:00 GMT"}, 0),
        ({"retry-after": "Sun, 06 Nov 1994 08:50:07 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_a_retry_after_counts_from_the_date_of_its_answer(headers: dict[str, str], seconds: float | None) -> None:
    fetched = Fetched(503, target_of("http://a.example/", Policy()), headers, b"", truncated=False)
    assert retry_after_of(fetched) == seconds
