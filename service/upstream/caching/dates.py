"""Dates and delays as HTTP writes them."""

import re
import time
from calendar import timegm
from datetime import UTC, datetime
from typing import Final

__all__ = ["delay_of", "seconds_of"]

_DELAY: Final = re.compile(r"[0-9]+", re.ASCII)
_LONGEST_DELAY: Final = 2**31
"""Seconds; what a cache counts with where it is given more (RFC 9111, section 1.2.2)."""
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME: Final = r"(?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})"
# RFC 9110, section 5.6.7: IMF-fixdate and RFC 850, with one or two digits for the day; asctime.
_FORMS: Final = (
    re.compile(
        rf"[a-z]+, ?(?P<day>[0-9]{{1,2}})[ -](?P<month>[a-z]{{3}})[ -](?P<year>[0-9]{{4}}|[0-9]{{2}}) {_TIME} GMT",
        re.ASCII | re.IGNORECASE,
    ),
    re.compile(
        rf"[a-z]{{3}} (?P<month>[a-z]{{3}}) (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})",
        re.ASCII | re.IGNORECASE,
    ),
)


def delay_of(text: str | None) -> float | None:
    """Return a number of seconds (delta-seconds, RFC 9111, section 1.2.2), or None for anything else."""
    if not text or not _DELAY.fullmatch(text):
        return None
    return float(min(int(text[:11]), _LONGEST_DELAY))


def seconds_of(text: str | None) -> float | None:
    """Return the seconds of the Unix epoch of an HTTP date (RFC 9110, section 5.6.7), or None.

    All three forms are in GMT, not in the time zone of this machine; a date in another zone is invalid.
    """
    found = next((found for form in _FORMS if (found := form.fullmatch(text.strip()))), None) if text else None
    if found is None or found["month"].lower() not in _MONTHS:
        return None
    month = _MONTHS.index(found["month"].lower()) + 1
    year, day = int(found["year"]), int(found["day"])
    if len(found["year"]) == 2:
        year = _full(year)
    hour, minute, second = map(int, found["time"].split(":"))
    try:
        # A leap second counts as the second after it.
        datetime(year, month, day, hour, minute, second - second // 60, tzinfo=UTC)
    except ValueError:
        return None
    return float(timegm((year, month, day, hour, minute, second)))


def _full(year: int) -> int:
    """Return the year that two digits mean: one more than 50 years ahead is past."""
    now = time.gmtime().tm_year
    full = now - now % 100 + year
    return full - 100 if full > now + 50 else full
