"""Timestamps as other programs and people read them (RFC 3339)."""

from datetime import UTC, datetime

__all__ = ["timestamp"]


def timestamp(seconds: float) -> str:
    """Return a time since 1970 in UTC with milliseconds; raises ValueError, OverflowError or OSError after 9999."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
