"""Dates as HTTP writes them."""

from email.utils import parsedate_to_datetime

__all__ = ["seconds_of"]


def seconds_of(text: str | None) -> float | None:
    """Return the seconds of the Unix epoch of an HTTP date (RFC 9110, section 5.6.7), or None."""
    if not text:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
