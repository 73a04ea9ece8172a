"""What a suite needs that is not here."""

__all__ = ["Missing"]


class Missing(Exception):
    """A suite cannot run on this machine; says what would have to be installed."""
