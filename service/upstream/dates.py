"""Dates and delays as HTTP writes them."""

from email.utils import parsedate_to_datetime

__all__ = ["delay_of", "seconds_of"]


def delay_of(text: str | None) -> float | None:
    """Return a number of seconds (delta-seconds, RFC 9111, section 1.2.2), or None for anything else."""
    return float(text[:10]) if text and text.isascii() and text.isdigit() else None


def seconds_of(text: str | None) -> float | None:
    """Return the seconds of the Unix epoch of an HTTP date (RFC 9110, section 5.6.7), or None."""
    if not text:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
