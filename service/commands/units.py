"""Sizes as people read them."""

__all__ = ["size_text"]


def size_text(count: int) -> str:
    """Return a number of bytes with its unit."""
    size, units = float(count), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while size >= 1000 and unit != "TiB":
        size, unit = size / 1024, next(units)
    return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
