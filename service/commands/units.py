"""Sizes and times as people read them."""

__all__ = ["clock_text", "size_text"]


def size_text(count: int) -> str:
    """Return a number of bytes with its unit."""
    size, units = float(count), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while size >= 1000 and unit != "TiB":
        size, unit = size / 1024, next(units)
    return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"


def clock_text(seconds: float) -> str:
    """Return a time that something takes, as a clock shows it."""
    whole = int(min(seconds, 359_999))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
