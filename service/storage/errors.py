"""What goes wrong with storage, in words for an operator."""

__all__ = ["CommitFailed", "StorageUnusable"]


class StorageUnusable(Exception):
    """The data directory cannot be used at all; the text is one line and names what to do."""


class CommitFailed(Exception):
    """A group of changes was not stored, none of it; the same may work later."""
